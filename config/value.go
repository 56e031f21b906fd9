package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

var durationType = reflect.TypeFor[time.Duration]()

// setText parses text as the field asks and stores it in v, which is unchanged
// where it returns an error. The error repeats the text, but never a secret.
func setText(v reflect.Value, f field, text string) error {
	switch {
	case v.Type() == durationType:
		return setParsed(v, text, ParseDuration)
	case f.tag.Get("unit") == "bytes":
		return setParsed(v, text, ParseBytes)
	}
	switch v.Kind() {
	case reflect.Bool:
		return setBool(v, text)
	case reflect.Int:
		return setParsed(v, text, parseInt)
	case reflect.Slice:
		v.Set(reflect.ValueOf(splitList(text)))
		return nil
	default:
		v.SetString(text)
		return nil
	}
}

func setParsed[T ~int64](v reflect.Value, text string, parse func(string) (T, error)) error {
	n, err := parse(text)
	if err != nil {
		return err
	}
	v.SetInt(int64(n))
	return nil
}

func setBool(v reflect.Value, text string) error {
	b, err := strconv.ParseBool(text)
	if err != nil {
		return fmt.Errorf("%q is not true or false", text)
	}
	v.SetBool(b)
	return nil
}

func parseInt(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", text)
	}
	return n, nil
}

// splitList splits at commas; white space around the items does not count.
func splitList(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

const day = 24 * time.Hour

// ParseDuration reads a duration as time.ParseDuration does, with days (d, 24
// hours each) in front: 10ms, 30d, 1d12h.
func ParseDuration(text string) (time.Duration, error) {
	days, rest, hasDays := strings.Cut(text, "d")
	if !hasDays {
		days, rest = "", text
	}
	n, err := parseDays(days)
	if err != nil || (hasDays && days == "") {
		return 0, notDuration(text)
	}
	if hasDays && rest == "" {
		return n, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || (hasDays && d < 0) || d > math.MaxInt64-n {
		return 0, notDuration(text)
	}
	return n + d, nil
}

func parseDays(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, err
	}
	if n > uint64(math.MaxInt64/day) {
		return 0, errors.New("too long")
	}
	return time.Duration(n) * day, nil
}

func notDuration(text string) error {
	return fmt.Errorf("%q is not a duration such as 10ms, 5m, 24h or 30d", text)
}

// FormatDuration writes a duration as ParseDuration reads it, as short as it goes.
func FormatDuration(d time.Duration) string {
	var b strings.Builder
	if d >= day {
		fmt.Fprintf(&b, "%dd", d/day)
		d %= day
		if d == 0 {
			return b.String()
		}
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	b.WriteString(text)
	return b.String()
}

// byteUnits are in rising order; the longer names come before B, which ends them all.
var byteUnits = []struct {
	name string
	size int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
}

// ParseBytes reads a whole number of bytes with or without a unit: 1048576,
// 256KiB, 1MiB, 1GiB, and kB, MB, GB in thousands.
func ParseBytes(text string) (int64, error) {
	digits, size := text, int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			digits, size = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/size {
		return 0, fmt.Errorf("%q is not a size such as 1048576, 256KiB or 1MiB", text)
	}
	return n * size, nil
}

// FormatBytes writes a size in the largest binary unit in which it is whole.
func FormatBytes(n int64) string {
	for i := 2; i >= 0; i-- {
		if u := byteUnits[i]; n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// formatValue writes a number, duration, size or word as the file would have it.
func formatValue(v reflect.Value, f field) string {
	switch {
	case v.Type() == durationType:
		return FormatDuration(time.Duration(v.Int()))
	case f.tag.Get("unit") == "bytes":
		return FormatBytes(v.Int())
	case v.Type() == secretType && v.String() != "":
		return masked
	}
	return fmt.Sprint(v.Interface())
}
