package rules

import (
	"errors"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

var errZone = errors.New(`not a time zone: write a name of the IANA database, as in "Europe/Berlin" or "UTC"`)

// zone is a time zone of the IANA database, with days that never go back: day d
// begins at the earliest instant whose local date is d or later, and lasts until
// the next day begins. Where clocks are set back over midnight that instant is
// the first of the two midnights; a day without a midnight begins with its first
// instant; a date that the zone left out has no length.
type zone struct {
	name string
	loc  *time.Location
}

// loadZone finds a zone by name. It refuses those that mean the machine's own.
func loadZone(name string) (zone, error) {
	if name == "" || name == "Local" {
		return zone{}, errZone
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return zone{}, errZone
	}
	return zone{name, loc}, nil
}

// utc is the zone of timestamps that name none.
var utc = zone{"UTC", time.UTC}

// local returns the wall clock at an instant.
func (z zone) local(t subject.Instant) time.Time { return t.Time().In(z.loc) }

// dayNumber counts days since 1970-01-01 in the proleptic Gregorian calendar.
func dayNumber(year int, month time.Month, day int) int64 {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / 86400
}

// dateOf is the local date at an instant, as a day number.
func (z zone) dateOf(t subject.Instant) int64 {
	y, m, d := z.local(t).Date()
	return dayNumber(y, m, d)
}

// maxOffset is more than any zone is ahead of or behind UTC.
const maxOffset = 36 * time.Hour

// offsetEnd is an instant later than at until which the offset from UTC is what
// it is at at; zero if that is for ever. Where a zone's table ends and its rule
// goes on, ZoneBounds has the last day of a leap year end before it begins.
func offsetEnd(at time.Time) time.Time {
	_, end := at.ZoneBounds()
	if !end.IsZero() && !end.After(at) {
		end = at.Add(24 * time.Hour)
	}
	return end
}

// start is the instant at which a day begins.
func (z zone) start(day int64) subject.Instant {
	wall := time.Unix(day*86400, 0)
	if z.loc == time.UTC {
		return subject.FromTime(wall)
	}
	at := wall.Add(-maxOffset).In(z.loc)
	for {
		end := offsetEnd(at)
		_, offset := at.Zone()
		begins := wall.Add(-time.Duration(offset) * time.Second)
		if begins.Before(at) {
			begins = at
		}
		if end.IsZero() || begins.Before(end) {
			return subject.FromTime(begins)
		}
		at = end.In(z.loc)
	}
}

// day is the day an instant lies in: the last one that begins no later.
func (z zone) day(t subject.Instant) int64 {
	day := z.dateOf(t)
	for z.start(day+1) <= t {
		day++
	}
	return day
}

// nextHour is the earliest instant later than t at which the local hour is
// another, or may be.
func (z zone) nextHour(t subject.Instant) subject.Instant {
	at := z.local(t)
	next := at.Add(time.Hour - time.Duration(at.Minute())*time.Minute - time.Duration(at.Second())*time.Second - time.Duration(at.Nanosecond()))
	if end := offsetEnd(at); !end.IsZero() && end.Before(next) {
		next = end
	}
	return subject.FromTime(next)
}

// nextWeekday is the earliest instant later than t at which the local date is
// another, or may be.
func (z zone) nextWeekday(t subject.Instant) subject.Instant {
	at := z.local(t)
	y, m, d := at.Date()
	_, offset := at.Zone()
	next := time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC).Add(-time.Duration(offset) * time.Second)
	if end := offsetEnd(at); !end.IsZero() && end.Before(next) {
		next = end
	}
	return subject.FromTime(next)
}

// spread is the difference between the greatest and the least offset from UTC
// that a zone has had since 1970, and has until 2050: by no more are days,
// together, longer or shorter than 24 h each.
func (z zone) spread() int64 {
	at := subject.Instant(0).Time().In(z.loc)
	_, least := at.Zone()
	greatest := least
	for end := offsetEnd(at); !end.IsZero() && end.Year() < 2050; end = offsetEnd(end) {
		_, offset := end.Zone()
		least, greatest = min(least, offset), max(greatest, offset)
	}
	return int64(greatest-least) * 1e6
}

// midnight is the lower bound of since_midnight: the begin of the day days
// before T's.
type midnight struct {
	days int64
	zone zone
}

// oldest is the earliest time that counts at an instant.
func (m midnight) oldest(at subject.Instant) subject.Instant {
	return m.zone.start(m.zone.day(at) - m.days)
}

// leaves is the first instant at which an event at t no longer counts.
func (m midnight) leaves(t subject.Instant) subject.Instant {
	return m.zone.start(m.zone.day(t) + m.days + 1)
}
