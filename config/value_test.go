package config

import (
	"math"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10ms": 10 * time.Millisecond, "30d": 30 * day, "1d12h": 36 * time.Hour, "0s": 0, "1.5h": 90 * time.Minute,
		"0d": 0, "106751d": 106751 * day, "-1s": -time.Second, "2d0s": 2 * day,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "10", "1d-1h", "-1d", "1.5d", "d1h", "106752d", "106751d24h", "1dd", "99999999999d", "1 d"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Millisecond: "10ms", 5 * time.Minute: "5m", time.Hour: "1h", day: "1d", 36 * time.Hour: "1d12h",
		day + time.Second: "1d1s", 90 * time.Second: "1m30s", time.Hour + time.Second: "1h0m1s", -time.Second: "-1s", 10 * time.Minute: "10m",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v: %s; want %s", d, got, want)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1048576": 1 << 20, "256KiB": 256 << 10, "1MiB": 1 << 20, "2 GiB": 2 << 30, "1kB": 1000, "3MB": 3e6, "1GB": 1e9, "7B": 7,
	} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5MiB", "1mib", "1K", "9223372036854775807KiB"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestFormatBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 1: "1", 1 << 10: "1KiB", 1 << 20: "1MiB", 3 << 30: "3GiB", 1000: "1000", 1536: "1536"} {
		if got := FormatBytes(n); got != want {
			t.Errorf("%d: %s; want %s", n, got, want)
		}
	}
}

// FuzzValues reads what is written, and never panics.
func FuzzValues(f *testing.F) {
	for _, text := range []string{"10ms", "30d", "1d12h", "1MiB", "256KiB", "9d9", "", "d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil && d >= 0 {
			if again, err := ParseDuration(FormatDuration(d)); err != nil || again != d {
				t.Errorf("%q is %v, written %s, read %v, %v", text, d, FormatDuration(d), again, err)
			}
		}
		if n, err := ParseBytes(text); err == nil && n < math.MaxInt64 {
			if again, err := ParseBytes(FormatBytes(n)); err != nil || again != n {
				t.Errorf("%q is %v, written %s, read %v, %v", text, n, FormatBytes(n), again, err)
			}
		}
	})
}
