package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// Input says how the records of an input topic are read.
type Input struct {
	Kind wire.Kind // never wire.Mixed
	// Decoder holds the input's format, units and mapping; Fields, Names and
	// Purposes are filled from the rules.
	Decoder wire.DecoderOptions
}

// WholeRecords reports whether a line stands for a record with its key and
// headers, because the input's mapping reads them: it is then an object with
// "value" and, where the record has them, "key" (text) and "headers" (texts by
// name). Else a line is the value alone.
func (in *Input) WholeRecords() bool { return in.Decoder.Map != nil && in.Decoder.Map.ReadsRecord() }

// Record makes the record of a line; it has no arrival. The error says what is
// wrong with the line, and nothing of what it holds.
func (in *Input) Record(line []byte) (wire.Input, error) {
	if !in.WholeRecords() {
		return wire.Input{Value: line, Timestamp: subject.Never}, nil
	}
	var whole struct {
		Key     *string           `json:"key"`
		Value   json.RawMessage   `json:"value"`
		Headers map[string]string `json:"headers"`
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if d.Decode(&whole) != nil || whole.Value == nil {
		return wire.Input{}, errNotWhole
	}
	r := wire.Input{Value: whole.Value, Timestamp: subject.Never}
	if whole.Key != nil {
		r.Key = []byte(*whole.Key)
	}
	for name, text := range whole.Headers {
		r.Headers = append(r.Headers, stream.Header{Key: name, Value: []byte(text)})
	}
	return r, nil
}

var errNotWhole = errors.New(`the map of its input reads key or headers, so it must be {"key": "…", "headers": {"…": "…"}, "value": …}`)

// lane is a record as one rule set's decoder reads it, valid until the next.
type lane struct {
	decoder *wire.Decoder
	unit    wire.TimestampUnit
	input   *Input // nil: records of all kinds in segmentd's own shapes
	what    string // why it must be skipped; "": it is good
	item    wire.Item
	at      subject.Instant // when the item is applied; Never: no date
}

// decode reads a line. arrival is the instant of a record that has no date;
// Never: it must have one, if it is an event.
func (l *lane) decode(line []byte, source subject.Position, arrival subject.Instant) {
	in, kind := wire.Input{Value: line, Timestamp: subject.Never}, wire.Mixed
	if l.input != nil {
		var err error
		if in, err = l.input.Record(line); err != nil {
			l.what = err.Error()
			return
		}
		kind = l.input.Kind
	}
	in.Source = source
	item, reject := l.decoder.Decode(kind, in)
	if reject != nil && reject.Detail == wire.NoTimestamp && arrival != subject.Never {
		in.Timestamp = arrival
		item, reject = l.decoder.Decode(kind, in)
	}
	if reject != nil {
		l.what = reject.String() + l.undated(reject.Detail)
		return
	}
	item.Misunderstood += l.undated(item.Misunderstood)
	l.what, l.item, l.at = "", item, subject.Never
	switch item.Content {
	case wire.HasRequest:
		l.at = item.Request.Effective()
	case wire.HasEvent:
		l.at = item.Event.Time
	case wire.HasDecisions:
		for _, d := range item.Decisions {
			l.at = min(l.at, d.Effective())
		}
	}
}

// undated says why a record has no date, where that is what is wrong with it and
// its input has a map.
func (l *lane) undated(detail string) string {
	switch {
	case detail != wire.NoTimestamp || l.input == nil || l.input.Decoder.Map == nil:
		return ""
	case slices.Contains(l.input.Decoder.Map.Keys(), "timestamp"):
		return ": map.timestamp gives null"
	}
	return ": the map of its input has none, and a line of a file has no time of arrival"
}

// wrongUnit says that a date is so early that its unit must be another, "" if it
// is not: numbers of seconds that are taken for milliseconds lie in January 1970.
func (l *lane) wrongUnit() string {
	if l.what != "" || l.unit == wire.RFC3339 || l.at >= firstCredible {
		return ""
	}
	setting := "timestamp_unit"
	if l.input == nil {
		setting = "--timestamp-unit"
	}
	return "is of " + l.at.String() + ", and maybe more of this file: is " + setting + " " + l.unit.String() + " right?"
}

// firstCredible is 2000-01-01: no events of streams are older.
const firstCredible = subject.Instant(946_684_800_000_000)

// saysItIsNoEvent reports whether a line that cannot be used is of another kind,
// by its input or, without one, by what it names.
func (l *lane) saysItIsNoEvent(text []byte) bool {
	if l.input != nil {
		return l.input.Kind != wire.Events
	}
	return bytes.Contains(text, []byte(`"decision"`)) || bytes.Contains(text, []byte(`"request"`))
}
