package oracle

import (
	"errors"
	"math/big"
	"regexp"
	"strconv"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

var (
	errDuration    = errors.New("not a duration")
	durationPart   = regexp.MustCompile(`^([0-9]+)([smhdw])`)
	dateOnly       = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	secondsOf      = map[string]int64{"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
	millisFrom     = number(100_000_000_000) // an epoch number this large counts milliseconds
	earliest, last = instantOf(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)), instantOf(time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC))
)

func instantOf(t time.Time) subject.Instant { return subject.Instant(t.UnixMicro()) }

// parseDuration reads a rule file's duration, in microseconds.
func parseDuration(s string) (span, error) {
	if s == "" {
		return 0, errDuration
	}
	var total int64
	for s != "" {
		m := durationPart.FindStringSubmatch(s)
		if m == nil {
			return 0, errDuration
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return 0, errDuration
		}
		total += n * secondsOf[m[2]] * 1_000_000
		s = s[len(m[0]):]
	}
	return span(total), nil
}

// optionalDuration is parseDuration but for "", which is 0.
func optionalDuration(s string) (span, error) {
	if s == "" {
		return 0, nil
	}
	return parseDuration(s)
}

// parseInstant reads RFC 3339, cutting off what is finer than a microsecond.
func parseInstant(s string) (subject.Instant, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, false
	}
	return instantOf(t), inYears(instantOf(t))
}

func inYears(t subject.Instant) bool { return t >= earliest && t <= last }

// toTimestamp is timestamp(v): RFC 3339, a date, or epoch seconds or milliseconds.
func toTimestamp(v any) any {
	switch x := v.(type) {
	case subject.Instant:
		return x
	case *big.Rat:
		return fromEpoch(x)
	case string:
		if dateOnly.MatchString(x) {
			x += "T00:00:00Z"
		}
		if t, ok := parseInstant(x); ok {
			return t
		}
	}
	return nil
}

func fromEpoch(r *big.Rat) any {
	unit := int64(1_000_000)
	if new(big.Rat).Abs(r).Cmp(millisFrom) >= 0 {
		unit = 1000
	}
	us := new(big.Rat).Mul(r, number(unit))
	floor := new(big.Int).Div(us.Num(), us.Denom())
	if !floor.IsInt64() || !inYears(subject.Instant(floor.Int64())) {
		return nil
	}
	return subject.Instant(floor.Int64())
}

func timeText(t subject.Instant) string {
	return time.UnixMicro(int64(t)).UTC().Format("2006-01-02T15:04:05.999999Z07:00")
}

// plus is t + d, never beyond the ends of time.
func plus(t subject.Instant, d span) subject.Instant {
	sum := t + subject.Instant(d)
	switch {
	case d < 0 && sum > t:
		return subject.LongAgo
	case d > 0 && sum < t:
		return subject.Never
	}
	return sum
}

func minus(t subject.Instant, d span) subject.Instant { return plus(t, -d) }
