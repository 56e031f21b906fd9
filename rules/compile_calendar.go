package rules

import (
	"fmt"
	"time"

	"cel.dev/cel-go/common/ast"

	"github.com/segmentd/segmentd/state/subject"
)

// getters read parts of the wall clock, as CEL's getters of timestamps do:
// months, days of the month (getDayOfMonth), weekdays and days of the year
// count from 0, Sunday is 0.
var getters = map[string]func(time.Time) int{
	"getFullYear": time.Time.Year, "getMonth": func(t time.Time) int { return int(t.Month()) - 1 }, "getDate": time.Time.Day,
	"getDayOfMonth": func(t time.Time) int { return t.Day() - 1 }, "getDayOfWeek": func(t time.Time) int { return int(t.Weekday()) },
	"getDayOfYear": func(t time.Time) int { return t.YearDay() - 1 }, "getHours": time.Time.Hour, "getMinutes": time.Time.Minute,
	"getSeconds": time.Time.Second, "getMilliseconds": func(t time.Time) int { return t.Nanosecond() / 1e6 },
}

// getter compiles t.getHours("Europe/Berlin") and its like.
func (s *scope) getter(e ast.Expr) node {
	c := e.AsCall()
	x, z := s.compile(c.Target()), utc
	if len(c.Args()) > 0 {
		var ok bool
		if z, ok = s.zone(c.Args()[0]); !ok {
			return literal(null)
		}
	}
	get := getters[c.FunctionName()]
	text := fmt.Sprintf("%s.%s(%q)", x.text, c.FunctionName(), z.name)
	return valued(text, func(v *View) subject.Value {
		t := x.value(v)
		if t.Kind() != subject.Time {
			return null
		}
		return subject.OfInt(int64(get(z.local(t.Instant()))))
	}).folded(x)
}

// wallClock is local_hour or local_weekday at T.
type wallClock struct {
	zone zone
	get  func(time.Time) int
	next func(zone, subject.Instant) subject.Instant
}

// wallClockOf compiles local_hour(zone) and local_weekday(zone).
func (s *scope) wallClockOf(e ast.Expr) (w wallClock, text string, ok bool) {
	c := e.AsCall()
	if s.inEvent {
		s.fail(e, c.FunctionName()+"() is not known inside where(...) and aggregates")
		return w, "", false
	}
	if w.zone, ok = s.zone(c.Args()[0]); !ok {
		return w, "", false
	}
	w.get, w.next = time.Time.Hour, zone.nextHour
	if c.FunctionName() == "local_weekday" {
		w.get, w.next = getters["getDayOfWeek"], zone.nextWeekday
	}
	return w, fmt.Sprintf("%s(%q)", c.FunctionName(), w.zone.name), true
}

func (s *scope) wallClock(e ast.Expr) node {
	w, text, ok := s.wallClockOf(e)
	if !ok {
		return literal(null)
	}
	s.rule.turn(text, func(v *View) subject.Instant { return w.next(w.zone, v.At) })
	return valued(text, w.value)
}

func (w wallClock) value(v *View) subject.Value {
	return subject.OfInt(int64(w.get(w.zone.local(v.At))))
}

// wallClockTest is a condition on a wall clock alone: its answer changes far
// less often than the hour does.
type wallClockTest struct {
	wallClock
	test func(subject.Value) bool
}

func (s *scope) isWallClock(e ast.Expr) bool {
	e, _ = s.resolve(e)
	return e.Kind() == ast.CallKind && (e.AsCall().FunctionName() == "local_hour" || e.AsCall().FunctionName() == "local_weekday")
}

// wallClockComparison compiles local_hour(z) >= 9 and its like.
func (s *scope) wallClockComparison(a ast.Expr, op comparison, b node) node {
	if !b.constant {
		return compare(s.compile(a), op, b)
	}
	n := b.constantValue()
	return s.wallClockCondition(a, op.String()+" "+b.text, func(v subject.Value) bool { return op.values(v, n) })
}

// wallClockCondition compiles a condition on a wall clock; rest is its text
// behind it.
func (s *scope) wallClockCondition(e ast.Expr, rest string, test func(subject.Value) bool) node {
	e, s = s.resolve(e)
	w, text, ok := s.wallClockOf(e)
	if !ok {
		return literal(null)
	}
	s.rule.outliner.value(e, w.value)
	t := wallClockTest{w, test}
	text = "(" + text + " " + rest + ")"
	s.rule.turn(text, t.turn)
	return judged(text, t.holdsAt)
}

func (t wallClockTest) holdsAt(v *View) bool { return t.holds(v.At) }

func (t wallClockTest) holds(at subject.Instant) bool {
	return t.test(subject.OfInt(int64(t.get(t.zone.local(at)))))
}

// turnSteps is more than a week of hours: every value comes by in fewer steps.
const turnSteps = 200

// turn is the instant at which the answer is another. Never where each value of
// the clock gives the same.
func (t wallClockTest) turn(v *View) subject.Instant {
	now, at := t.holds(v.At), v.At
	for range turnSteps {
		if at = t.next(t.zone, at); t.holds(at) != now {
			return at
		}
	}
	return subject.Never
}

// maxLead bounds how many days before it an anniversary may begin.
const maxLead = 364

// anniversary is the condition anniversary(t, lead, zone).
type anniversary struct {
	of   valueFn
	lead int64 // days
	zone zone
}

func (s *scope) anniversary(e ast.Expr) node {
	args := e.AsCall().Args()
	if s.inEvent || len(s.vars) > 0 {
		return s.fail(e, "anniversary() is not known inside where(...), aggregates and list macros")
	}
	of := s.compile(args[0])
	lead, ok := s.duration(args[1])
	z, ok2 := s.zone(args[2])
	if !ok || !ok2 {
		return literal(null)
	}
	a := anniversary{of.value, lead / microsPer['d'], z}
	text := fmt.Sprintf("anniversary(%s, %q, %q)", of.text, durationText(lead), z.name)
	s.rule.turn(text, a.turn)
	return judged(text, a.holds)
}

// span is the time of one year's anniversary: [from, to).
type span struct{ from, to subject.Instant }

// spans returns those that may concern an instant, ascending; ok is false where
// there is no timestamp.
func (a anniversary) spans(v *View) (list [4]span, ok bool) {
	t := a.of(v)
	if t.Kind() != subject.Time {
		t = toTimestamp(t)
	}
	if t.Kind() != subject.Time {
		return list, false
	}
	wall := a.zone.local(t.Instant())
	if int64(t.Instant())%subject.Day == 0 { // a date, which is the same everywhere
		wall = utc.local(t.Instant())
	}
	_, month, day := wall.Date()
	year := a.zone.local(v.At).Year()
	for i := range list {
		on := anniversaryIn(year-1+i, month, day)
		list[i] = span{a.zone.start(on - a.lead), a.zone.start(on + 1)}
	}
	return list, true
}

// anniversaryIn is the day of a year; 29 February is the 28th in common years.
func anniversaryIn(year int, month time.Month, day int) int64 {
	if month == time.February && day == 29 && dayNumber(year, time.February, 29) == dayNumber(year, time.March, 1) {
		day = 28
	}
	return dayNumber(year, month, day)
}

func (a anniversary) holds(v *View) bool {
	list, ok := a.spans(v)
	for _, s := range list {
		if ok && s.from <= v.At && v.At < s.to {
			return true
		}
	}
	return false
}

func (a anniversary) turn(v *View) subject.Instant {
	next := subject.Never
	list, ok := a.spans(v)
	for _, s := range list {
		if ok && s.from > v.At {
			next = min(next, s.from)
		}
		if ok && s.to > v.At {
			next = min(next, s.to)
		}
	}
	return next
}

// held compiles held(cond, "7d").
func (s *scope) held(e ast.Expr) node {
	args := e.AsCall().Args()
	if s.inEvent || len(s.vars) > 0 {
		return s.fail(e, "held() is not known inside where(...), aggregates and list macros")
	}
	cond := s.compile(args[0])
	length, ok := s.duration(args[1])
	if !ok {
		return literal(null)
	}
	g := s.markLeaf("since when held of " + cond.text)
	if g == nil {
		return literal(null)
	}
	h := held{mark{g.key, cond.truth}, length}
	s.rule.mark(h.mark)
	s.rule.outliner.reads().held = &h
	text := fmt.Sprintf("held(%s, %q)", cond.text, durationText(length))
	s.rule.turn(text, h.turn)
	return judged(text, h.holds)
}

// mark notes a condition whose answers the rule remembers; those within others
// come first.
func (r *ruleDraft) mark(m mark) {
	for _, o := range r.marks {
		if o.key == m.key {
			return
		}
	}
	r.marks = append(r.marks, m)
}
