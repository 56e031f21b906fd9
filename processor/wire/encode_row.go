package wire

import (
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// Member encodes the row that a change leaves on the members topic: the
// membership after an entry, a tombstone after an exit. Both carry version,
// time and reason as headers. ok is false for an erasure, which has no row of
// its own: the exits before it removed them all.
func (e *Encoder) Member(c *subject.Change, to Place) (m stream.Message, ok bool) {
	if c.Kind == subject.Erased {
		return m, false
	}
	e.bytes.Room(jsonFrame + len(c.Subject.Value)*(jsonGrowth+1) + 4*len(c.Segment))
	m = to.message()
	m.Key = e.keepText(c.Subject.MemberKeyPrefix() + c.Segment)
	if c.Kind == subject.Entered {
		start := len(e.bytes.Open)
		e.bytes.Open = appendMember(e.bytes.Open, c)
		m.Value = e.bytes.Open[start:len(e.bytes.Open):len(e.bytes.Open)]
	}
	start := e.beginHeaders(3)
	e.header("version", e.versionText(c.Version))
	e.header("time", e.timeText(c.Time))
	e.header("reason", e.keepText(c.Reason.String()))
	m.Headers = e.headers.Open[start:len(e.headers.Open):len(e.headers.Open)]
	return m, true
}

func appendMember(b []byte, c *subject.Change) []byte {
	b = appendSubject(append(b, '{'), c.Subject)
	b = appendText(b, "segment", c.Segment)
	b = appendTime(b, "since", c.Time)
	b = appendUint(b, "version", c.Version)
	return append(b, '}')
}

// Rejected is what is published about a rejected record.
type Rejected struct {
	Source subject.Position
	Reject Reject
	Time   subject.Instant // when it was rejected
}

// Rejected encodes a rejected record's reference. It has no key: the record's
// own may be a subject's id.
func (e *Encoder) Rejected(r *Rejected, to Place) stream.Message {
	e.bytes.Room(jsonFrame + jsonGrowth*(len(r.Source.Topic)+len(r.Reject.Detail)))
	m := to.message()
	start := len(e.bytes.Open)
	e.bytes.Open = appendRejected(e.bytes.Open, r)
	m.Value = e.bytes.Open[start:len(e.bytes.Open):len(e.bytes.Open)]
	m.Headers = e.contentHeader()
	return m
}

func appendRejected(b []byte, r *Rejected) []byte {
	b = appendText(append(b, '{'), "topic", r.Source.Topic)
	b = appendInt(b, "partition", int64(r.Source.Partition))
	b = appendInt(b, "offset", r.Source.Offset)
	b = appendText(b, "reason", r.Reject.Reason.String())
	b = appendText(b, "detail", r.Reject.Detail)
	b = appendTime(b, "time", r.Time)
	return append(b, '}')
}

func (e *Encoder) contentHeader() []stream.Header {
	start := e.beginHeaders(1)
	e.header("content-type", jsonContent)
	return e.headers.Open[start:len(e.headers.Open):len(e.headers.Open)]
}

// RequestResult is what is published about a request.
type RequestResult struct {
	RequestID string
	Status    subject.RequestStatus
	Time      subject.Instant
	Detail    string
}

// RequestResult encodes a request's result, keyed by the request's id.
func (e *Encoder) RequestResult(r *RequestResult, to Place) stream.Message {
	e.bytes.Room(jsonFrame + (jsonGrowth+1)*len(r.RequestID) + jsonGrowth*len(r.Detail))
	m := to.message()
	m.Key = e.keepText(r.RequestID)
	start := len(e.bytes.Open)
	b := appendText(append(e.bytes.Open, '{'), "requestId", r.RequestID)
	b = appendText(b, "status", r.Status.String())
	b = appendTime(b, "time", r.Time)
	b = appendText(b, "detail", r.Detail)
	e.bytes.Open = append(b, '}')
	m.Value = e.bytes.Open[start:len(e.bytes.Open):len(e.bytes.Open)]
	m.Headers = e.contentHeader()
	return m
}
