package oracle

import (
	"fmt"
	"maps"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// zone is a time zone and what is known of its days so far.
type zone struct {
	*time.Location
	starts map[int]subject.Instant
}

// Days are counted from 1970-01-01. widestOffset is more than any zone's clocks
// are or were away from UTC.
const (
	daySeconds   = 24 * 60 * 60
	hourSeconds  = 60 * 60
	widestOffset = 26 * hourSeconds
)

// zone returns the zone with an IANA name.
func (set *ruleSet) zone(name string) (*zone, error) {
	if z, ok := set.zones[name]; ok {
		return z, nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fmt.Errorf("zone %q: %w", name, errRule)
	}
	set.zones[name] = &zone{loc, map[int]subject.Instant{}}
	return set.zones[name], nil
}

// wall is what the clocks of the zone show at an instant.
func (z *zone) wall(at subject.Instant) time.Time { return time.UnixMicro(int64(at)).In(z.Location) }

// dayNumber counts the days to a date; that of a month that is too short is in the next.
func dayNumber(year int, month time.Month, day int) int {
	return int(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / daySeconds)
}

// dateOf is the date that the clocks of the zone show at an instant.
func (z *zone) dateOf(at subject.Instant) int { return dayNumber(z.wall(at).Date()) }

// start is when a day begins: the earliest instant whose local date is that day or a later one.
func (z *zone) start(day int) subject.Instant {
	if at, ok := z.starts[day]; ok {
		return at
	}
	z.starts[day] = z.findStart(day)
	return z.starts[day]
}

// findStart looks at one stretch of constant offset after the other.
func (z *zone) findStart(day int) subject.Instant {
	midnight := int64(day) * daySeconds
	for from := midnight - widestOffset; ; {
		local := time.Unix(from, 0).In(z.Location)
		_, offset := local.Zone()
		_, end := local.ZoneBounds()
		at := max(from, midnight-int64(offset))
		if end.IsZero() || end.Unix() <= from || at < end.Unix() { // the end may be wrong beyond a zone's table
			return instantOf(time.Unix(at, 0))
		}
		from = end.Unix()
	}
}

// day is the last day that has begun at an instant. That can be later than the
// date shown, where clocks were set back over midnight.
func (z *zone) day(at subject.Instant) int {
	day := z.dateOf(at) + 2
	for z.start(day) > at {
		day--
	}
	return day
}

// turn is the next instant at which the wall clock shows a multiple of so many
// seconds of its day, or is set.
func (z *zone) turn(at subject.Instant, seconds int64) subject.Instant {
	local := z.wall(at)
	_, offset := local.Zone()
	shown := local.Unix() + int64(offset)
	next := time.Unix(shown-modulo(shown, seconds)+seconds-int64(offset), 0)
	if _, end := local.ZoneBounds(); !end.IsZero() && end.Before(next) {
		next = end
	}
	return instantOf(next)
}

func modulo(a, b int64) int64 { return ((a % b) + b) % b }

// localHour is the hour on the wall clock at T.
func localHour(sc *scope, n *node) any {
	sc.wake(n.zone.turn(sc.at, hourSeconds))
	return number(int64(n.zone.wall(sc.at).Hour()))
}

// localWeekday is the day of the week on the wall clock at T, 0 on Sundays.
func localWeekday(sc *scope, n *node) any {
	sc.wake(n.zone.turn(sc.at, daySeconds))
	return number(int64(n.zone.wall(sc.at).Weekday()))
}

// anniversary reports whether T lies between the beginning of some days before
// a day and month, of any year, and the end of that day.
func anniversary(sc *scope, n *node) any {
	t, ok := toTimestamp(sc.eval(n.args[0])).(subject.Instant)
	if !ok {
		return false
	}
	month, day := n.zone.monthAndDay(t)
	ahead := int(n.value.(span) / subject.Day)
	found := false
	year := n.zone.wall(sc.at).Year()
	for y := year - 2; y <= year+2; y++ {
		number := anniversaryIn(y, month, day)
		from, until := n.zone.start(number-ahead), n.zone.start(number+1)
		sc.wake(from)
		sc.wake(until)
		found = found || from <= sc.at && sc.at < until
	}
	return found
}

// monthAndDay are those of an instant in the zone, but those as written of one
// that is a date, 00:00:00 UTC.
func (z *zone) monthAndDay(t subject.Instant) (time.Month, int) {
	local := z.wall(t)
	if modulo(int64(t), subject.Day) == 0 {
		local = local.UTC()
	}
	return local.Month(), local.Day()
}

// anniversaryIn is the day of a year with that month and day: for 29 February
// the 28th in common years.
func anniversaryIn(year int, month time.Month, day int) int {
	if month == time.February && day == 29 && dayNumber(year, month, 29) == dayNumber(year, time.March, 1) {
		day = 28
	}
	return dayNumber(year, month, day)
}

// zoned are the functions whose last argument is a zone.
var zoned = map[string]bool{"local_hour": true, "local_weekday": true, "anniversary": true,
	"getFullYear": true, "getMonth": true, "getDate": true, "getDayOfMonth": true, "getDayOfWeek": true, "getDayOfYear": true,
	"getHours": true, "getMinutes": true, "getSeconds": true, "getMilliseconds": true}

// getters are the parts of a timestamp, as CEL has them.
var getters = map[string]func(time.Time) int{
	"getFullYear":     time.Time.Year,
	"getMonth":        func(t time.Time) int { return int(t.Month()) - 1 },
	"getDate":         time.Time.Day,
	"getDayOfMonth":   func(t time.Time) int { return t.Day() - 1 },
	"getDayOfWeek":    func(t time.Time) int { return int(t.Weekday()) },
	"getDayOfYear":    func(t time.Time) int { return t.YearDay() - 1 },
	"getHours":        time.Time.Hour,
	"getMinutes":      time.Time.Minute,
	"getSeconds":      time.Time.Second,
	"getMilliseconds": func(t time.Time) int { return t.Nanosecond() / 1_000_000 },
}

// withGetters adds the getters to functions, as functions of a zone.
func withGetters(functions map[string]function) map[string]function {
	all := maps.Clone(functions)
	for name, part := range getters {
		all[name] = func(sc *scope, n *node) any {
			t, ok := sc.eval(n.args[0]).(subject.Instant)
			if !ok {
				return nil
			}
			return number(int64(part(n.zone.wall(t))))
		}
	}
	return all
}
