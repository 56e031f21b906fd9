package wire

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/segmentd/segmentd/processor/wire/mapping"
)

// mapped is what a decoder needs to read records of another shape: it fills the
// envelope from expressions in place of the record's members, and all that
// follows is as for any other record.
type mapped struct {
	evaluator *mapping.Evaluator
	fields    []field // of the mapping's keys, in their order
	typed     bool    // the mapping has a type
	text      []byte  // of members that a CloudEvent's attributes give
}

func newMapped(m *mapping.Mapping, unit TimestampUnit) *mapped {
	x := &mapped{evaluator: mapping.NewEvaluator(m, unit.appendInstant)}
	for _, key := range m.Keys() {
		f := fieldOf([]byte(key))
		x.fields = append(x.fields, f)
		x.typed = x.typed || f == fieldType
	}
	return x
}

// noValue is what expressions read of a record without one.
var noValue = []byte("null")

// typesOf is the type of a record whose mapping has none, as JSON.
var typesOf = [...][]byte{Events: []byte(`"track"`), Decisions: []byte(`"decision"`), Requests: []byte(`"request"`)}

func (d *Decoder) decodeMapped(kind Kind, in Input) (Item, *Reject) {
	failed, rejected := d.rewrite(kind, in)
	switch {
	case rejected != nil:
		return Item{}, rejected
	case failed != "" && kind == Decisions:
		return d.misunderstood(in, failed)
	case failed != "" && kind == Requests:
		return d.protect(in, failed)
	case failed != "":
		return Item{}, &Reject{BadMapping, failed}
	case kind == Decisions:
		return d.fromDecisions(in)
	case kind == Requests:
		return d.fromRequests(in)
	}
	t, rejected := d.recordType()
	if rejected != nil {
		return Item{}, rejected
	}
	return d.fromType(in, t)
}

// rewrite fills the envelope with what the mapping makes of a record. failed
// says what could not be evaluated, if the record's subject does not depend on it.
func (d *Decoder) rewrite(kind Kind, in Input) (failed string, rejected *Reject) {
	event, value, rejected := d.openMapped(kind, in)
	if rejected != nil {
		return "", rejected
	}
	results, failures := d.mapped.evaluator.Eval(mapping.Record{Key: in.Key, Value: value, Headers: in.Headers})
	for _, f := range failures {
		switch fieldOf([]byte(f.Key)) {
		case fieldUserID, fieldAnonymousID:
			return "", &Reject{BadMapping, f.Detail}
		case fieldNoticeVersion, fieldMethod, fieldRecordID: // nothing is decided by them
			continue
		}
		if failed == "" {
			failed = f.Detail
		}
	}
	d.env = envelope{}
	for i, f := range d.mapped.fields {
		d.env[f] = results[i]
	}
	if !d.mapped.typed {
		d.env[fieldType] = typesOf[kind]
	}
	if event != nil {
		rejected = d.complete(in, event)
	}
	return failed, rejected
}

// cloudEvent is a CloudEvent that a mapping adds to.
type cloudEvent struct {
	attributes
	data []byte
}

// openMapped validates a record. event is set if it is a CloudEvent; value is
// what expressions read.
func (d *Decoder) openMapped(kind Kind, in Input) (event *cloudEvent, value []byte, rejected *Reject) {
	mode, rejected := d.ceMode(kind, in)
	if rejected != nil {
		return nil, nil, rejected
	}
	if mode == ceBinary {
		event = &cloudEvent{attributes: attributesOf(in.Headers)}
		if len(in.Value) == 0 {
			return event, noValue, event.check(nil)
		}
		if rejected = event.checkContent(); rejected != nil {
			return nil, nil, rejected
		}
	}
	value, rejected = d.parse(in)
	switch {
	case rejected != nil || kind != Events:
		return nil, value, rejected
	case mode == ceBinary:
		event.data = value
		return event, value, event.check(value)
	}
	event, rejected = d.structured(value, mode)
	return event, value, rejected
}

// structured reads a structured CloudEvent, nil if the value is none.
func (d *Decoder) structured(value []byte, mode ceMode) (*cloudEvent, *Reject) {
	d.env = envelope{}
	if value[0] == '{' {
		d.scratch = d.env.scan(value, d.scratch)
	}
	if is, rejected := d.isCloudEvent(mode); !is {
		return nil, rejected
	}
	a, rejected := d.attributes()
	if rejected == nil {
		rejected = a.check(d.env[fieldData])
	}
	return &cloudEvent{a, d.env[fieldData]}, rejected
}

// complete gives the envelope what a CloudEvent says and the mapping does not.
func (d *Decoder) complete(in Input, e *cloudEvent) *Reject {
	if d.env[fieldUserID] == nil && d.env[fieldAnonymousID] == nil {
		id, rejected := d.cloudEventSubject(in, e.attributes)
		if rejected != nil {
			return rejected
		}
		d.supply(fieldUserID, id.Value)
	}
	if d.env[fieldTimestamp] == nil && e.time != "" {
		at, wrong := parseRFC3339([]byte(e.time))
		if wrong != "" {
			return &Reject{BadTimestamp, "time " + wrong}
		}
		d.env[fieldTimestamp] = d.opts.TimestampUnit.appendInstant(nil, at.Time())
	}
	d.supply(fieldEvent, e.name)
	d.supply(fieldMessageID, e.message())
	if d.env[fieldProperties] == nil && e.data != nil && e.data[0] == '{' {
		d.env[fieldProperties] = e.data
	}
	return nil
}

// supply sets a member to a text where the mapping gives none.
func (d *Decoder) supply(f field, text string) {
	if d.env[f] == nil {
		d.env[f], _ = jsontext.AppendQuote([]byte(nil), text)
	}
}

// Rewritten returns a record in segmentd's own shape, as JSON: what the mapping
// makes of it, or the record itself where there is none. It is of no use but to
// be looked at, and holds all that the record's expressions give. The memory is
// the decoder's until its next call.
func (d *Decoder) Rewritten(kind Kind, in Input) ([]byte, *Reject) {
	if d.mapped == nil {
		return d.body(in)
	}
	failed, rejected := d.rewrite(kind, in)
	if failed != "" {
		rejected = &Reject{BadMapping, failed}
	}
	if rejected != nil {
		return nil, rejected
	}
	text := append(d.mapped.text[:0], '{')
	for f, raw := range d.env {
		if raw == nil {
			continue
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		text, _ = jsontext.AppendQuote(text, field(f).String())
		text = append(append(text, ':'), raw...)
	}
	d.mapped.text = append(text, '}')
	return d.mapped.text, nil
}
