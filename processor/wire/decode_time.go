package wire

import (
	"encoding/json"
	"time"

	"github.com/segmentd/segmentd/processor/wire/scan"
	"github.com/segmentd/segmentd/state/subject"
)

// TimestampUnit says how an input writes its timestamps.
type TimestampUnit uint8

// The units of timestamps.
const (
	RFC3339      TimestampUnit = iota // text
	Seconds                           // since the Unix epoch, as a number or as text; fractions are allowed
	Milliseconds                      // likewise
	Microseconds                      // likewise
)

var unitNames = []string{"rfc3339", "s", "ms", "us"}

// String is the unit as the configuration writes it.
func (u TimestampUnit) String() string { return unitNames[u] }

// ParseTimestampUnit reads the configuration's word for a unit.
func ParseTimestampUnit(s string) (TimestampUnit, error) {
	i, err := oneOf(s, unitNames)
	return TimestampUnit(i), err
}

var microsecondsOf = [...]int64{1, 1_000_000, 1_000, 1}

// maxTimestampBytes bounds the text of a timestamp.
const maxTimestampBytes = 64

// eventTime returns the instant of an event: its timestamp, else its original
// timestamp, else its arrival.
func (d *Decoder) eventTime(in Input, candidates ...field) (subject.Instant, *Reject) {
	for _, f := range candidates {
		if d.env[f] == nil {
			continue
		}
		at, wrong := d.instant(d.env[f])
		if wrong != "" {
			return 0, &Reject{BadTimestamp, f.String() + " " + wrong}
		}
		return at, d.checkFuture(in, at, f.String())
	}
	return arrivalOnly(in)
}

// NoTimestamp is the detail of the reject of an event without any date.
const NoTimestamp = "no timestamp"

func arrivalOnly(in Input) (subject.Instant, *Reject) {
	if !known(in.Timestamp) {
		return 0, &Reject{BadTimestamp, NoTimestamp}
	}
	return in.Timestamp, nil
}

// known reports whether a record has a timestamp of its own: Kafka writes -1 for none.
func known(t subject.Instant) bool { return t >= 0 && t != subject.Never }

// arrival is the record's timestamp, Never where it is unknown.
func arrival(in Input) subject.Instant {
	if known(in.Timestamp) {
		return in.Timestamp
	}
	return subject.Never
}

func (d *Decoder) checkFuture(in Input, at subject.Instant, name string) *Reject {
	if !known(in.Timestamp) || at <= in.Timestamp.Add(d.opts.MaxFutureSkew) {
		return nil
	}
	return &Reject{Future, name + " is more than " + d.opts.MaxFutureSkew.String() + " ahead of the record's arrival"}
}

// instant reads a timestamp; wrong says what is wrong with it.
func (d *Decoder) instant(raw []byte) (at subject.Instant, wrong string) {
	if d.opts.TimestampUnit != RFC3339 {
		return d.epoch(raw)
	}
	if raw[0] != '"' {
		return 0, "is " + scan.KindOf(raw) + d.unitHint(raw)
	}
	return parseRFC3339(d.unquote(raw))
}

// appendInstant appends an instant as JSON, as an input with that unit writes it.
func (u TimestampUnit) appendInstant(b []byte, t time.Time) []byte {
	if u == RFC3339 {
		return append(t.UTC().AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
	}
	// Exact: whole microseconds, and the unit's decimal point in their text.
	n, _ := subject.Decimal(t.UnixMicro(), epochExponent[u])
	return append(b, n.String()...)
}

// JSON is an instant as an input with that unit writes it.
func (u TimestampUnit) JSON(at subject.Instant) json.RawMessage {
	return u.appendInstant(nil, at.Time())
}

// epochExponent is the power of ten by which microseconds become the unit.
var epochExponent = [...]int32{Seconds: -6, Milliseconds: -3, Microseconds: 0}

func parseRFC3339(text []byte) (at subject.Instant, wrong string) {
	if len(text) > maxTimestampBytes {
		return 0, "is not RFC 3339"
	}
	var t time.Time
	if t.UnmarshalText(text) == nil {
		at = subject.FromTime(t)
	} else {
		var err error
		if at, err = subject.ParseInstant(string(text)); err != nil {
			return 0, "is not RFC 3339"
		}
	}
	return at, outside(at)
}

func outside(at subject.Instant) string {
	switch {
	case at < 0:
		return "is before 1970"
	case !at.Valid():
		return "is after 9999"
	}
	return ""
}

// Numbers of 1e11 seconds, milliseconds and microseconds since the epoch lie in
// the years 5138, 1973 and 1970: what is less is taken for seconds.
const (
	leastMilliseconds = 100_000_000_000
	leastMicroseconds = 100_000_000_000_000
)

// unitHint guesses the unit of a number where text is expected.
func (d *Decoder) unitHint(raw []byte) string {
	v := number(raw)
	if v.Kind() != subject.NumberKind {
		return ", not a string"
	}
	unit := Seconds
	switch n := v.Number(); {
	case n.Cmp(subject.Int(leastMicroseconds)) >= 0:
		unit = Microseconds
	case n.Cmp(subject.Int(leastMilliseconds)) >= 0:
		unit = Milliseconds
	}
	return "; set " + d.opts.UnitSetting + unit.String()
}

// epoch reads a count of the configured unit since the Unix epoch.
func (d *Decoder) epoch(raw []byte) (at subject.Instant, wrong string) {
	notNumber := "is not a number of " + d.opts.TimestampUnit.String()
	if raw[0] == '"' {
		raw = d.unquote(raw)
	}
	if len(raw) == 0 || len(raw) > maxTimestampBytes {
		return 0, notNumber
	}
	v := number(raw)
	if v.Kind() != subject.NumberKind {
		return 0, notNumber
	}
	if v.Number().Sign() < 0 {
		return 0, "is before 1970"
	}
	us, ok := v.Number().Mul(subject.Int(microsecondsOf[d.opts.TimestampUnit]))
	if !ok {
		return 0, "is after 9999"
	}
	whole, ok := us.Trunc().Int64()
	if !ok {
		return 0, "is after 9999"
	}
	return subject.Instant(whole), outside(subject.Instant(whole))
}
