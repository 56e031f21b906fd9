package rules

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// The oracle of leaves: it keeps every event and recomputes each aggregate from
// the whole history, sharing nothing with leaves but the values.

type pastEvent struct {
	at subject.Instant
	x  subject.Value
}

// oracleWindow is a window in seconds; 0 means absent. Its text is the methods.
type oracleWindow struct {
	text         string
	span, lag    int
	since, until int
}

const oracleRetention = 60 // seconds

var oracleWindows = []oracleWindow{
	{text: ``},
	{text: `.within("20s")`, span: 20},
	{text: `.between("30s", "10s")`, span: 30, lag: 10},
	{text: `.between("40s", "5s").within("25s")`, span: 25, lag: 5},
	{text: `.since(timestamp("2024-01-01T00:00:30Z"))`, since: 30},
	{text: `.until(timestamp("2024-01-01T00:01:30Z"))`, until: 90},
	{text: `.within("15s").until(timestamp("2024-01-01T00:01:30Z")).since(timestamp("2024-01-01T00:00:10Z"))`, span: 15, since: 10, until: 90},
	{text: `.between("70s", "20s")`, span: 70, lag: 20},
	{text: `.within("60s")`, span: 60},
	{text: `.between("10s", "10s")`, span: 10, lag: 10},
}

// counts returns the events that count at t out of a history in order of time and arrival.
func (w oracleWindow) counts(history []pastEvent, t subject.Instant, aged bool) (xs []pastEvent) {
	for _, e := range history {
		age := t - e.at
		if w.span > 0 && age >= second(w.span)-origin || age < second(w.lag)-origin {
			continue
		}
		if age > second(oracleRetention)-origin || age == second(oracleRetention)-origin && (!aged || w.span > 0 && w.span <= oracleRetention) {
			continue
		}
		if w.since > 0 && e.at < second(w.since) || w.until > 0 && e.at > second(w.until) {
			continue
		}
		xs = append(xs, e)
	}
	return xs
}

// elements flattens one level of lists.
func elements(events []pastEvent) (xs []subject.Value) {
	for _, e := range events {
		if e.x.Kind() == subject.List {
			xs = append(xs, e.x.List()...)
		} else {
			xs = append(xs, e.x)
		}
	}
	return xs
}

func onlyNumbers(xs []subject.Value) (ns []subject.Value) {
	for _, x := range xs {
		if x.Kind() == subject.NumberKind {
			ns = append(ns, x)
		}
	}
	return ns
}

func oracleSum(xs []subject.Value) subject.Value {
	var sum subject.Number
	for _, x := range onlyNumbers(xs) {
		sum, _ = sum.Add(x.Number())
	}
	return subject.OfNumber(sum)
}

func oracleDistinct(xs []subject.Value) subject.Value {
	var seen []subject.Value
	for _, x := range xs {
		if !x.IsNull() && !slices.ContainsFunc(seen, x.Equal) {
			seen = append(seen, x)
		}
	}
	return subject.OfInt(int64(len(seen)))
}

func oracleExtreme(xs []subject.Value, sign int) (best subject.Value) {
	for _, x := range onlyNumbers(xs) {
		if c, ok := x.Compare(best); !ok || c*sign > 0 {
			best = x
		}
	}
	return best
}

func oracleEnd(events []pastEvent, last bool) (e pastEvent) {
	switch {
	case len(events) == 0:
	case last:
		e = events[len(events)-1]
	default:
		e = events[0]
	}
	return e
}

// oracleAggregate is an aggregate; its field is declared min: 0 where bounded.
type oracleAggregate struct {
	text    string
	compute func([]pastEvent) subject.Value
}

func oracleAggregates(field string) []oracleAggregate {
	return []oracleAggregate{
		{`count()`, func(e []pastEvent) subject.Value { return subject.OfInt(int64(len(e))) }},
		{`sum(` + field + `)`, func(e []pastEvent) subject.Value { return oracleSum(elements(e)) }},
		{`avg(` + field + `)`, func(e []pastEvent) subject.Value {
			xs := onlyNumbers(elements(e))
			return divide(oracleSum(xs), subject.OfInt(int64(len(xs))))
		}},
		{`min(` + field + `)`, func(e []pastEvent) subject.Value { return oracleExtreme(elements(e), -1) }},
		{`max(` + field + `)`, func(e []pastEvent) subject.Value { return oracleExtreme(elements(e), 1) }},
		{`distinct(` + field + `)`, func(e []pastEvent) subject.Value { return oracleDistinct(elements(e)) }},
		{`last().` + field, func(e []pastEvent) subject.Value { return oracleEnd(e, true).x }},
		{`first().` + field, func(e []pastEvent) subject.Value { return oracleEnd(e, false).x }},
	}
}

type oracleRule struct {
	text   string
	window oracleWindow
	holds  func([]pastEvent) bool
}

func oracleRules(field string, constants []int) (rules []oracleRule) {
	for _, w := range oracleWindows {
		source := `events("E")` + w.text + "."
		for _, a := range oracleAggregates(field) {
			for op := equal; op <= greaterEqual; op++ {
				for _, c := range constants {
					compute := a.compute
					rules = append(rules,
						oracleRule{fmt.Sprintf("%s%s %s %d", source, a.text, op, c), w, func(e []pastEvent) bool { return op.values(compute(e), val(c)) }},
						// the arithmetic keeps the leaf from being specialised
						oracleRule{fmt.Sprintf("%d %s %s%s + 0", c, op, source, a.text), w, func(e []pastEvent) bool { return op.values(val(c), add(compute(e), val(0))) }})
				}
			}
		}
		rules = append(rules,
			oracleRule{source + "exists()", w, func(e []pastEvent) bool { return len(e) > 0 }},
			oracleRule{"!" + source + "exists()", w, func(e []pastEvent) bool { return len(e) == 0 }},
			oracleRule{source + "last() == null", w, func(e []pastEvent) bool { return len(e) == 0 }},
			oracleRule{source + "last().timestamp > ago(\"7s\")", w, nil},
			oracleRule{source + "first().timestamp <= ago(\"7s\")", w, nil})
	}
	return rules
}

// decide recomputes a rule at t; the rules of ago are told by their text.
func (r oracleRule) decide(history []pastEvent, t subject.Instant, aged bool) bool {
	e := r.window.counts(history, t, aged)
	switch {
	case r.holds != nil:
		return r.holds(e)
	case len(e) == 0:
		return false
	case strings.Contains(r.text, "> ago"):
		return oracleEnd(e, true).at > t-7_000_000
	}
	return oracleEnd(e, false).at <= t-7_000_000
}

func TestLeavesAgreeWithFullHistory(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for _, field := range []string{"properties.any", "properties.amount"} {
		rules := oracleRules(field, []int{-1, 0, 1, 4})
		source := ruleSource{retention: oracleRetention * time.Second, mins: map[string]int64{"properties.amount": 0}}
		for _, r := range rules {
			source.rules = append(source.rules, r.text)
		}
		set := source.compile(t)
		for range 3 {
			run := oracleRun{t: t, set: set, rules: rules, field: field, random: random, now: second(random.IntN(40))}
			run.state.Key = "p"
			run.view = View{Purpose: &run.state}
			run.steps(30)
			if t.Failed() {
				return
			}
		}
	}
}

// oracleRun is one random history.
type oracleRun struct {
	t       *testing.T
	set     *Set
	rules   []oracleRule
	field   string
	random  *rand.Rand
	now     subject.Instant
	history []pastEvent
	state   subject.Purpose
	view    View
}

func (r *oracleRun) steps(n int) {
	for range n {
		switch r.random.IntN(8) {
		case 0:
			r.now = r.now + subject.Instant(r.random.IntN(15_000_001))
		case 1, 2:
			r.now = r.now + second(r.random.IntN(6)) - origin
		case 3, 4:
			r.toNext()
		}
		r.input()
		if r.random.IntN(4) == 0 {
			for i := range r.set.Leaves {
				r.set.Leaves[i].Prune(&r.state, r.now)
			}
		}
		r.check()
		if r.t.Failed() {
			return
		}
	}
}

// toNext moves on to where some rule may change, as timers do.
func (r *oracleRun) toNext() {
	r.view.At = r.now
	if next := r.set.Segments[r.random.IntN(len(r.set.Segments))].Next(&r.view); next != subject.Never {
		r.now = next
		r.check()
	}
}

// input applies an event: mostly at the present instant, often late, in whole
// seconds so that many coincide.
func (r *oracleRun) input() {
	at := r.now
	if r.random.IntN(2) == 0 {
		at = second(int(r.now-origin)/1_000_000 - r.random.IntN(45))
	}
	e := pastEvent{at: at, x: r.value()}
	before := r.answers()
	changed := r.set.apply(&r.state, r.set.event("E", at, map[string]subject.Value{r.field: e.x}), r.now, &r.view)
	i, _ := slices.BinarySearchFunc(r.history, at+1, func(e pastEvent, t subject.Instant) int { return int(e.at - t) })
	r.history = slices.Insert(r.history, i, e)
	if !changed && !slices.Equal(before, r.answers()) {
		r.t.Errorf("an answer changed though no leaf did")
	}
}

func (r *oracleRun) value() subject.Value {
	switch n := r.random.IntN(12); {
	case n == 0:
		return subject.Value{}
	case n == 1 && r.field == "properties.any":
		return val("text" + string(rune('a'+r.random.IntN(3))))
	case n == 2 && r.field == "properties.any":
		return val(-r.random.IntN(4))
	case n == 3:
		return val([]any{r.random.IntN(3), "x", r.random.IntN(3)})
	}
	return val(r.random.IntN(4))
}

func (r *oracleRun) answers() (all []bool) {
	r.view.At = r.now
	for i := range r.set.Segments {
		all = append(all, r.set.Segments[i].Answer(&r.view))
	}
	return all
}

// check compares every answer, and the answers until the next instant at which
// one may change, with the oracle's.
func (r *oracleRun) check() {
	for i := range r.set.Segments {
		segment := &r.set.Segments[i]
		var n int
		fmt.Sscanf(segment.Key, "r%d", &n)
		rule := r.rules[n]
		r.view.At = r.now
		want := rule.decide(r.history, r.now, false)
		if got := segment.Answer(&r.view); got != want {
			r.t.Errorf("%s at %s: %t, history %v", rule.text, r.now, got, r.history)
			return
		}
		r.view.KeepAged = true
		if got, want := segment.Answer(&r.view), rule.decide(r.history, r.now, true); got != want {
			r.t.Errorf("%s aged at %s: %t, history %v", rule.text, r.now, got, r.history)
			return
		}
		r.view.KeepAged = false
		if at, ok := r.steady(rule, segment, want); !ok {
			r.t.Errorf("%s: at %s %t until %s, but not at %s, history %v", rule.text, r.now, want, segment.Next(&r.view), at, r.history)
			return
		}
	}
}

// steady checks instants at which evidence turns before the segment's next one.
func (r *oracleRun) steady(rule oracleRule, segment *Segment, want bool) (subject.Instant, bool) {
	next := segment.Next(&r.view)
	if next <= r.now {
		return next, false
	}
	if next != subject.Never && rule.decide(r.history, next-1, false) != want {
		return next - 1, false
	}
	ages := []int{5, 7, 10, 15, 20, 25, 30, 40, 60}
	for range 6 {
		e := r.history[r.random.IntN(len(r.history))]
		at := e.at + second(ages[r.random.IntN(len(ages))]) - origin + subject.Instant(r.random.IntN(2))
		if at > r.now && at < next && rule.decide(r.history, at, false) != want {
			return at, false
		}
	}
	return 0, true
}
