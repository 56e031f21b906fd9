package rules

import (
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

func mustZone(t testing.TB, name string) zone {
	t.Helper()
	z, err := loadZone(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return z
}

func instant(t testing.TB, text string) subject.Instant {
	t.Helper()
	at, err := subject.ParseInstant(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return at
}

// TestDaysBegin has days that begin where a clock shows midnight, and days that do not.
func TestDaysBegin(t *testing.T) {
	for _, c := range []struct{ zone, date, begins string }{
		{"UTC", "2026-03-29", "2026-03-29T00:00:00Z"},
		{"Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z"},
		{"Europe/Berlin", "2026-03-30", "2026-03-29T22:00:00Z"},
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"}, // 00:00 does not exist: it begins at 01:00
		{"America/Havana", "2026-11-01", "2026-11-01T04:00:00Z"},    // 00:00 comes twice: the first one
		{"America/St_Johns", "2006-10-29", "2006-10-29T02:30:00Z"},  // set back at 00:01 to 23:01
		{"Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"},      // a date that was left out has no length
		{"Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"},
		{"Pacific/Kiritimati", "2026-01-01", "2025-12-31T10:00:00Z"},
	} {
		date, err := time.Parse(time.DateOnly, c.date)
		if err != nil {
			t.Fatal(err)
		}
		if got := mustZone(t, c.zone).start(date.Unix() / 86400); got != instant(t, c.begins) {
			t.Errorf("%s in %s begins at %s, want %s", c.date, c.zone, got, c.begins)
		}
	}
}

// TestDaysAreContiguous walks through years of zones with odd changes.
func TestDaysAreContiguous(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/Havana", "America/St_Johns", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu", "Africa/Monrovia"} {
		z := mustZone(t, name)
		for day := dayNumber(1985, 1, 1); day < dayNumber(2013, 1, 1); day++ {
			begins, ends := z.start(day), z.start(day+1)
			if ends < begins {
				t.Fatalf("%s: day %d ends before it begins", name, day)
			}
			if begins == ends {
				continue
			}
			if z.day(begins) != day || z.day(ends-1) != day {
				t.Fatalf("%s: day %d from %s to %s is found as %d and %d", name, day, begins, ends, z.day(begins), z.day(ends-1))
			}
		}
	}
}

func TestZonesThatAreNone(t *testing.T) {
	for _, name := range []string{"", "Local", "Europe/Berlinn", "../etc/passwd", "+02:00"} {
		if _, err := loadZone(name); err == nil {
			t.Errorf("%q is taken for a zone", name)
		}
	}
}

func TestNextHour(t *testing.T) {
	for _, c := range []struct{ zone, at, next string }{
		{"Europe/Berlin", "2026-03-29T00:59:59.999999Z", "2026-03-29T01:00:00Z"},
		{"Asia/Kathmandu", "2026-03-29T00:00:00Z", "2026-03-29T00:15:00Z"},
		{"Australia/Lord_Howe", "2026-04-04T14:30:00Z", "2026-04-04T15:00:00Z"},
	} {
		if got := mustZone(t, c.zone).nextHour(instant(t, c.at)); got != instant(t, c.next) {
			t.Errorf("after %s in %s: %s, want %s", c.at, c.zone, got, c.next)
		}
	}
}

// TestZonesBeyondTheirTables looks at the ends of leap years that a zone's rule
// alone tells of: every instant has a next hour and day, and days their begin.
func TestZonesBeyondTheirTables(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Pacific/Chatham", "UTC"} {
		z := mustZone(t, name)
		for year := 2028; year < 2060; year += 4 {
			for day := dayNumber(year, time.December, 29); day < dayNumber(year+1, time.January, 3); day++ {
				begins := z.start(day)
				if z.start(day+1) != begins.Add(24*time.Hour) || z.day(begins) != day || z.day(begins-1) != day-1 {
					t.Errorf("%s: day %d begins at %s", name, day, begins)
				}
				for at := begins; at < z.start(day+1); at = at.Add(30 * time.Minute) {
					if z.nextHour(at) <= at || z.nextWeekday(at) <= at {
						t.Fatalf("%s: nothing comes after %s", name, at)
					}
				}
			}
		}
		if s := z.spread(); s < 0 || s > 26*3600e6 {
			t.Errorf("%s has a spread of %d", name, s)
		}
	}
}
