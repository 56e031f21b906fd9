package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// Event names of FormatSegment. Segment has no name for an erasure.
const (
	audienceEntered = "Audience Entered"
	audienceExited  = "Audience Exited"
	subjectErased   = "Subject Erased"
	audienceKey     = "audience_key" // of a segment of that very key, names stay unique
)

// jsonFrame is more than the fixed text of any record the encoder writes;
// escaping makes a text at most 6 times as long.
const (
	jsonFrame  = 1024
	jsonGrowth = 6
)

// Change encodes a change, keyed by the subject's id.
func (e *Encoder) Change(c *subject.Change, to Place) stream.Message {
	e.bytes.Room(jsonFrame + (len(c.Subject.Value)+len(c.CausedBy))*(jsonGrowth+1) + 4*len(c.Segment))
	m := to.message()
	m.Key = e.keepText(c.Subject.Value)
	id := e.changeID(c)
	start := len(e.bytes.Open)
	if e.opts.Format == FormatSegment {
		e.bytes.Open = e.appendTrack(e.bytes.Open, c, id)
	} else {
		e.bytes.Open = e.appendChange(e.bytes.Open, c, id)
	}
	m.Value = e.bytes.Open[start:len(e.bytes.Open):len(e.bytes.Open)]
	m.Headers = e.changeHeaders(c, id, m.Key)
	return m
}

// AppendChange appends the JSON of a change in the encoder's format to b.
func (e *Encoder) AppendChange(b []byte, c *subject.Change) []byte {
	var id [2 * changeIDBytes]byte
	e.hashed = changeText(e.hashed[:0], e.opts.Group, c.Subject, c.Version)
	if e.opts.Format == FormatSegment {
		return e.appendTrack(b, c, appendChangeID(id[:0], e.hashed))
	}
	return e.appendChange(b, c, appendChangeID(id[:0], e.hashed))
}

func (e *Encoder) changeID(c *subject.Change) []byte {
	e.hashed = changeText(e.hashed[:0], e.opts.Group, c.Subject, c.Version)
	start := len(e.bytes.Open)
	e.bytes.Open = appendChangeID(e.bytes.Open, e.hashed)
	return e.bytes.Open[start:len(e.bytes.Open):len(e.bytes.Open)]
}

func (e *Encoder) keepText(text string) []byte {
	start := len(e.bytes.Open)
	e.bytes.Open = append(e.bytes.Open, text...)
	return e.bytes.Open[start:len(e.bytes.Open):len(e.bytes.Open)]
}

func (e *Encoder) appendChange(b []byte, c *subject.Change, id []byte) []byte {
	b = append(appendName(append(b, '{'), "id"), '"')
	b = append(append(b, id...), '"')
	b = appendSubject(b, c.Subject)
	if c.Kind != subject.Erased {
		b = appendText(b, "segment", c.Segment)
	}
	b = appendText(b, "change", c.Kind.String())
	b = appendTime(b, "time", c.Time)
	b = e.appendCause(b, c)
	return append(b, '}')
}

// appendSubject appends the subject's id and its type.
func appendSubject(b []byte, id subject.ID) []byte {
	b = appendText(b, "userId", id.Value)
	return appendText(b, "idType", id.Type.String())
}

// appendCause appends why a change came to be and its place in the order.
func (e *Encoder) appendCause(b []byte, c *subject.Change) []byte {
	b = appendText(b, "reason", c.Reason.String())
	if c.Purpose != "" {
		b = appendText(b, "purpose", c.Purpose)
	}
	b = appendUint(b, "version", c.Version)
	if c.CausedBy != "" {
		b = appendText(b, "causedBy", c.CausedBy)
	}
	return appendText(b, "ruleSet", e.opts.RuleSet)
}

// appendTrack appends the change as a track call. What Segment has no place
// for stands in context.segmentd.
func (e *Encoder) appendTrack(b []byte, c *subject.Change, id []byte) []byte {
	b = append(appendName(appendText(append(b, '{'), "type", "track"), "messageId"), '"')
	b = append(append(b, id...), '"')
	b = appendText(b, c.Subject.Type.String(), c.Subject.Value)
	b = appendText(b, "event", trackName(c.Kind))
	b = appendTime(b, "timestamp", c.Time)
	b = append(appendName(b, "properties"), '{')
	if c.Kind != subject.Erased {
		b = appendText(b, audienceKey, c.Segment)
		if c.Segment != audienceKey {
			b = strconv.AppendBool(appendName(b, c.Segment), c.Kind == subject.Entered)
		}
	}
	b = append(appendName(append(b, '}'), "context"), '{')
	if c.Kind != subject.Erased {
		b = e.appendPersonas(b, c.Segment)
	}
	b = append(appendName(b, "segmentd"), '{')
	b = e.appendCause(b, c)
	return append(b, "}}}"...)
}

func trackName(k subject.ChangeKind) string {
	switch k {
	case subject.Entered:
		return audienceEntered
	case subject.Exited:
		return audienceExited
	}
	return subjectErased
}

func (e *Encoder) appendPersonas(b []byte, segment string) []byte {
	b = append(appendName(b, "personas"), '{')
	b = appendText(b, "computation_class", "audience")
	b = appendText(b, "computation_key", segment)
	b = appendText(b, "computation_id", e.computationID(segment))
	return append(b, '}')
}

// computationID is stable for a group and segment: "aud_" and a hash of both.
func (e *Encoder) computationID(segment string) string {
	id, ok := e.computations[segment]
	if !ok {
		sum := sha256.Sum256([]byte(e.opts.Group + "\x00" + segment))
		id = "aud_" + hex.EncodeToString(sum[:changeIDBytes])
		e.computations[segment] = id
	}
	return id
}

// changeHeaders are CloudEvents attributes in binary mode.
func (e *Encoder) changeHeaders(c *subject.Change, id, key []byte) []stream.Header {
	start := e.beginHeaders(10)
	e.header("ce_id", id)
	e.header("ce_source", e.source)
	e.header("ce_type", e.types[c.Kind])
	e.header("ce_subject", key)
	e.header("ce_time", e.timeText(c.Time))
	e.header("ce_specversion", ceVersion)
	if c.Kind != subject.Erased {
		e.header("ce_segment", e.keepText(c.Segment))
	}
	e.header("ce_reason", e.keepText(c.Reason.String()))
	e.header("ce_version", e.versionText(c.Version))
	e.header("content-type", jsonContent)
	return e.headers.Open[start:len(e.headers.Open):len(e.headers.Open)]
}

// beginHeaders makes room for n headers without moving those of other messages.
func (e *Encoder) beginHeaders(n int) (start int) {
	e.headers.Room(n)
	return len(e.headers.Open)
}

func (e *Encoder) header(key string, value []byte) {
	e.headers.Open = append(e.headers.Open, stream.Header{Key: key, Value: value})
}

func (e *Encoder) timeText(t subject.Instant) []byte {
	start := len(e.bytes.Open)
	e.bytes.Open, _ = t.AppendText(e.bytes.Open)
	return e.bytes.Open[start:len(e.bytes.Open):len(e.bytes.Open)]
}

func (e *Encoder) versionText(v uint64) []byte {
	start := len(e.bytes.Open)
	e.bytes.Open = strconv.AppendUint(e.bytes.Open, v, 10)
	return e.bytes.Open[start:len(e.bytes.Open):len(e.bytes.Open)]
}
