package rules

import (
	"errors"
	"math"
	"time"
)

var (
	errDuration = errors.New("not a duration: write a whole number and one of s, m, h, d, w, as in 30d")
	errTooLong  = errors.New("too long a duration: 106751d, 292 years, is the most")
)

// microsPer are the units of durations, in microseconds. A day is 24 h.
var microsPer = map[byte]int64{'s': 1e6, 'm': 60e6, 'h': 3600e6, 'd': 86400e6, 'w': 7 * 86400e6}

// maxDurationMicros is what a time.Duration can hold (292 years).
const maxDurationMicros = math.MaxInt64 / 1000

// parseDuration reads a duration of the rule language, one or more of `90s 15m
// 6h 30d 2w` written together (`1d12h`), and returns microseconds.
func parseDuration(s string) (micros int64, err error) {
	if s == "" {
		return 0, errDuration
	}
	for s != "" {
		n, digits := int64(0), 0
		for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' {
			if n = n*10 + int64(s[digits]-'0'); n > maxDurationMicros {
				return 0, errTooLong
			}
			digits++
		}
		if digits == 0 || digits == len(s) {
			return 0, errDuration
		}
		unit, ok := microsPer[s[digits]]
		if !ok {
			return 0, errDuration
		}
		if n > (maxDurationMicros-micros)/unit {
			return 0, errTooLong
		}
		micros += n * unit
		s = s[digits+1:]
	}
	return micros, nil
}

// DurationText writes a duration of whole seconds as rules do, in the largest
// unit that leaves no rest: 90m, 7d.
func DurationText(d time.Duration) string { return durationText(d.Microseconds()) }
