// Package subject holds segmentd's domain words as plain types: the data
// subject and its typed id, what arrives about it (events, decisions), what is
// kept about it (the record), and what is published (changes). It imports only
// the standard library, does no I/O and reads no clock.
package subject

import (
	"errors"
	"math"
	"strings"
	"time"
)

// Instant is a point in time: microseconds since the Unix epoch, UTC. It is the
// only time base of the deterministic core; finer fractions are cut off
// (towards the past) where input is parsed.
type Instant int64

const (
	// Never is later than every instant that can occur: "no timer".
	Never Instant = math.MaxInt64
	// LongAgo is earlier than every instant that can occur: the start of the
	// period of a lawful basis that did not begin with a decision.
	LongAgo Instant = math.MinInt64
)

// Day is 24 hours in microseconds.
const Day = 24 * 60 * 60 * 1_000_000

// The range of instants RFC 3339 can write: years 0 to 9999.
const (
	minInstant Instant = -62167219200_000_000
	maxInstant Instant = 253402300799_999_999
)

// ErrTimestamp means that a text or number is no timestamp segmentd accepts.
var ErrTimestamp = errors.New("not an RFC 3339 timestamp of the years 0 to 9999")

// FromTime converts, cutting off what is finer than a microsecond.
func FromTime(t time.Time) Instant { return Instant(t.UnixMicro()) }

// Time converts to a time.Time in UTC.
func (t Instant) Time() time.Time { return time.UnixMicro(int64(t)).UTC() }

// Add returns t + d (d in microseconds resolution), saturating at Never and
// LongAgo; Never and LongAgo stay what they are.
func (t Instant) Add(d time.Duration) Instant {
	if t == Never || t == LongAgo {
		return t
	}
	us := int64(d / time.Microsecond)
	s := int64(t) + us
	switch {
	case us > 0 && s < int64(t):
		return Never
	case us < 0 && s > int64(t):
		return LongAgo
	}
	return Instant(s)
}

// String writes RFC 3339 in UTC with as many fractional digits as are needed.
func (t Instant) String() string {
	switch t {
	case Never:
		return "never"
	case LongAgo:
		return "long ago"
	}
	return t.Time().Format("2006-01-02T15:04:05.999999Z")
}

// AppendText appends String's form to b.
func (t Instant) AppendText(b []byte) ([]byte, error) {
	if t == Never || t == LongAgo {
		return append(b, t.String()...), nil
	}
	return t.Time().AppendFormat(b, "2006-01-02T15:04:05.999999Z"), nil
}

// Valid reports whether t lies in the years 0 to 9999.
func (t Instant) Valid() bool { return t >= minInstant && t <= maxInstant }

// ParseInstant reads RFC 3339 (a space for the T and a lower-case t or z are
// accepted, as RFC 3339 section 5.6 allows).
func ParseInstant(s string) (Instant, error) {
	if len(s) > 64 || !shaped(s) {
		return 0, ErrTimestamp
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		u := strings.ToUpper(s)
		if u[10] == ' ' {
			u = u[:10] + "T" + u[11:]
		}
		if t, err = time.Parse(time.RFC3339Nano, u); err != nil {
			return 0, ErrTimestamp
		}
	}
	at := FromTime(t)
	if !at.Valid() {
		return 0, ErrTimestamp
	}
	return at, nil
}

// ParseDateOrInstant reads what ParseInstant does, or a date, which stands for
// its midnight in UTC.
func ParseDateOrInstant(s string) (Instant, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return FromTime(t), nil
	}
	return ParseInstant(s)
}

// shaped reports whether s has room for a date and a time, and none of what
// package time lets pass: an hour of one digit, a comma before the fraction.
func shaped(s string) bool {
	return len(s) > 19 && s[13] == ':' && s[16] == ':' && s[19] != ','
}
