package wire

import (
	"errors"
	"fmt"

	"github.com/segmentd/segmentd/processor/wire/scan"
	"github.com/segmentd/segmentd/state/subject"
)

// Published is a change as it was read back.
type Published struct {
	ID      string
	Change  subject.Change
	RuleSet string
}

// ErrChange means that a record is no change segmentd writes.
var ErrChange = errors.New("not a change")

// ParseChange reads the value of a changes record of either format. Its errors
// wrap ErrChange and name fields, never values.
func ParseChange(value []byte) (Published, error) {
	d := NewDecoder(DecoderOptions{MaxRecordBytes: len(value) + 1, Format: FormatJSON})
	object, rejected := d.open(Input{Value: value})
	if rejected != nil {
		return Published{}, fmt.Errorf("%w: %s", ErrChange, rejected.Detail)
	}
	p := parser{d: d, found: map[string][]byte{}}
	p.flatten(object, "", deepestMember)
	if _, ok := p.found["messageId"]; ok {
		return p.track()
	}
	return p.change()
}

// parser reads members by their path and remembers the first error.
type parser struct {
	d     *Decoder
	found map[string][]byte
	err   error
}

// deepestMember is how deep the formats nest: context.segmentd.reason.
const deepestMember = 3

// flatten collects the members of an object, down to a depth, under their dotted paths.
func (p *parser) flatten(object []byte, prefix string, depth int) {
	for m := scan.MembersOf(object); ; {
		quoted, value, ok := m.Next()
		if !ok {
			return
		}
		path := prefix + string(p.d.unquote(quoted))
		if value[0] == '{' && depth > 1 {
			p.flatten(value, path+".", depth-1)
			continue
		}
		p.found[path] = value
	}
}

func (p *parser) wrong(path, what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: %s %s", ErrChange, path, what)
	}
}

// text returns a text, "" where it is missing.
func (p *parser) text(path string) string {
	raw, ok := p.found[path]
	switch {
	case !ok:
		return ""
	case raw[0] != '"':
		p.wrong(path, "is "+scan.KindOf(raw)+", not a string")
		return ""
	}
	return string(p.d.unquote(raw))
}

// need returns a text that must be there.
func (p *parser) need(path string) string {
	s := p.text(path)
	if s == "" {
		p.wrong(path, "is missing")
	}
	return s
}

func (p *parser) version(path string) uint64 {
	raw, ok := p.found[path]
	if !ok {
		p.wrong(path, "is missing")
		return 0
	}
	v := number(raw)
	n, whole := v.Number().Int64()
	if v.Kind() != subject.NumberKind || !whole || n < 1 {
		p.wrong(path, "is no whole number above 0")
	}
	return uint64(n)
}

func (p *parser) instant(path string) subject.Instant {
	at, err := subject.ParseInstant(p.need(path))
	if err != nil {
		p.wrong(path, "is not RFC 3339")
	}
	return at
}

// change reads segmentd's own format.
func (p *parser) change() (Published, error) {
	out := Published{ID: p.need("id")}
	out.Change.Subject.Value = p.need("userId")
	switch p.need("idType") {
	case subject.UserID.String():
	case subject.AnonymousID.String():
		out.Change.Subject.Type = subject.AnonymousID
	default:
		p.wrong("idType", "is none that is known")
	}
	kind := p.need("change")
	out.Change.Kind = p.kind("change", func(k subject.ChangeKind) bool { return k.String() == kind })
	if out.Change.Kind != subject.Erased {
		out.Change.Segment = p.need("segment")
	}
	out.Change.Time = p.instant("time")
	p.cause(&out, "")
	return out, p.err
}

func (p *parser) kind(path string, is func(subject.ChangeKind) bool) subject.ChangeKind {
	for k := subject.Entered; k <= subject.Erased; k++ {
		if is(k) {
			return k
		}
	}
	p.wrong(path, "is none that is known")
	return subject.Entered
}

// cause reads why and in which order, below prefix.
func (p *parser) cause(out *Published, prefix string) {
	out.Change.Reason = p.reason(prefix + "reason")
	out.Change.Purpose = p.text(prefix + "purpose")
	out.Change.Version = p.version(prefix + "version")
	out.Change.CausedBy = p.text(prefix + "causedBy")
	out.RuleSet = p.text(prefix + "ruleSet")
}

func (p *parser) reason(path string) subject.Reason {
	text := p.need(path)
	for r := range subject.Reasons {
		if r.String() == text {
			return r
		}
	}
	p.wrong(path, "is none that is known")
	return subject.ByEvent
}

// track reads Segment's format.
func (p *parser) track() (Published, error) {
	out := Published{ID: p.need("messageId")}
	if out.Change.Subject.Value = p.text("userId"); out.Change.Subject.Value == "" {
		out.Change.Subject = subject.ID{Type: subject.AnonymousID, Value: p.need("anonymousId")}
	}
	name := p.need("event")
	out.Change.Kind = p.kind("event", func(k subject.ChangeKind) bool { return trackName(k) == name })
	if out.Change.Kind != subject.Erased {
		out.Change.Segment = p.need("properties.audience_key")
	}
	out.Change.Time = p.instant("timestamp")
	p.cause(&out, "context.segmentd.")
	return out, p.err
}
