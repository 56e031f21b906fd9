package subject

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestParseInstant(t *testing.T) {
	for text, want := range map[string]string{
		"2026-01-31T10:00:00Z":             "2026-01-31T10:00:00Z",
		"2026-01-31t10:00:00z":             "2026-01-31T10:00:00Z",
		"2026-01-31 10:00:00Z":             "2026-01-31T10:00:00Z",
		"2026-01-31T10:00:00+02:30":        "2026-01-31T07:30:00Z",
		"2026-01-31T10:00:00.5-08:00":      "2026-01-31T18:00:00.5Z",
		"2026-01-31T10:00:00.123456789Z":   "2026-01-31T10:00:00.123456Z",
		"1969-12-31T23:59:59.9999999Z":     "1969-12-31T23:59:59.999999Z",
		"0000-01-01T00:00:00Z":             "0000-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999Z":   "9999-12-31T23:59:59.999999Z",
		"2024-02-29T00:00:00Z":             "2024-02-29T00:00:00Z",
		"2026-01-31T10:00:00.000000-00:00": "2026-01-31T10:00:00Z",
	} {
		at, err := ParseInstant(text)
		if err != nil || at.String() != want {
			t.Errorf("%s reads as %v (%v), want %s", text, at, err, want)
		}
		if again, err := ParseInstant(at.String()); err != nil || again != at {
			t.Errorf("%v reads back as %v (%v)", at, again, err)
		}
	}
	for _, text := range []string{"", "now", "2026-01-31", "2026-01-31T10:00Z", "2026-01-31T10:00:00", "2026-02-30T10:00:00Z", "2026-01-31T25:00:00Z",
		"2026-01-31T1:00:00Z", "2026-01-31T10:00:00,5Z", "2026-01-31T10:00:00.Z", "10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "2026-01-31T10:00:00 Z",
		"0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2026-01-31T10:00:00.00000000000000000000000000000000000000000000000000000000000000000000000Z"} {
		if at, err := ParseInstant(text); !errors.Is(err, ErrTimestamp) {
			t.Errorf("%q reads as %v (%v), want %v", text, at, err, ErrTimestamp)
		}
	}
}

func TestParseDateOrInstant(t *testing.T) {
	for text, want := range map[string]string{
		"2026-01-31":                "2026-01-31T00:00:00Z",
		"0000-01-01":                "0000-01-01T00:00:00Z",
		"2026-01-31T10:00:00+02:00": "2026-01-31T08:00:00Z",
	} {
		if at, err := ParseDateOrInstant(text); err != nil || at.String() != want {
			t.Errorf("%s reads as %v (%v), want %s", text, at, err, want)
		}
	}
	for _, text := range []string{"", "2026-02-30", "2026-1-31", "2026-01-31Z", "10000-01-01", " 2026-01-31"} {
		if at, err := ParseDateOrInstant(text); !errors.Is(err, ErrTimestamp) {
			t.Errorf("%q reads as %v (%v), want %v", text, at, err, ErrTimestamp)
		}
	}
}

func TestInstantsSaturate(t *testing.T) {
	for _, c := range []struct {
		t    Instant
		d    time.Duration
		want Instant
	}{
		{5, time.Microsecond, 6},
		{5, -time.Hour, 5 - 3_600_000_000},
		{5, 999, 5}, // nanoseconds: below the resolution
		{Never, -time.Hour, Never},
		{LongAgo, time.Hour, LongAgo},
		{Never - 1, time.Hour, Never},
		{LongAgo + 1, -time.Hour, LongAgo},
		{0, math.MaxInt64, Instant(math.MaxInt64 / 1000)},
	} {
		if got := c.t.Add(c.d); got != c.want {
			t.Errorf("%d + %v = %d, want %d", int64(c.t), c.d, int64(got), int64(c.want))
		}
	}
}

func TestInstantsAsText(t *testing.T) {
	for at, want := range map[Instant]string{Never: "never", LongAgo: "long ago", 0: "1970-01-01T00:00:00Z", -1: "1969-12-31T23:59:59.999999Z", 1_500_000: "1970-01-01T00:00:01.5Z"} {
		if got := at.String(); got != want {
			t.Errorf("%d is written %s, want %s", int64(at), got, want)
		}
		if b, err := at.AppendText([]byte("x")); err != nil || string(b) != "x"+want {
			t.Errorf("%d is appended as %s (%v)", int64(at), b, err)
		}
	}
	if Never.Valid() || LongAgo.Valid() || !Instant(0).Valid() {
		t.Error("Valid is wrong at its ends")
	}
}

func TestTimesAreCutTowardsThePast(t *testing.T) {
	for nanos, want := range map[int64]Instant{1_999: 1, -1: -1, -1_000: -1, -1_001: -2} {
		if got := FromTime(time.Unix(0, nanos)); got != want {
			t.Errorf("%d ns becomes %d µs, want %d", nanos, int64(got), int64(want))
		}
	}
	at := Instant(1_767_225_600_123_456)
	if got := FromTime(at.Time()); got != at {
		t.Errorf("%v becomes %v", at, got)
	}
}

func FuzzParseInstant(f *testing.F) {
	for _, text := range []string{"2026-01-31T10:00:00Z", "2026-01-31 10:00:00.5+02:00", "0000-01-01t00:00:00z", "2026-01-31T10:00:00,5Z"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := ParseInstant(text)
		if err != nil {
			return
		}
		if again, err := ParseInstant(at.String()); err != nil || again != at || !at.Valid() {
			t.Fatalf("%q reads as %v, which reads as %v (%v)", text, at, again, err)
		}
	})
}
