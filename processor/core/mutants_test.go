package core_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/mutation"
)

// mutants are mistakes that are easily made in evaluation.
var mutants = []mutation.Bug{
	{"a window includes its far edge", "rules/window.go",
		"		if oldest = after(at, -w.span); !aged || !w.retained {\n			oldest = after(oldest, 1)\n		}", "		oldest = after(at, -w.span)"},
	{"an event leaves its window a microsecond late", "rules/window.go", "		end = after(t, w.span)\n", "		end = after(t, w.span+1)\n"},
	{"since_midnight forgets the day of T", "rules/zone.go", "m.zone.start(m.zone.day(t) + m.days + 1)", "m.zone.start(m.zone.day(t) + m.days)"},
	{"a day is 24 hours", "rules/zone.go", "	for z.start(day+1) <= t {\n		day++\n	}\n	return day", "	_ = day\n	return int64(t-z.start(0)) / 86400e6"},
	{"<= for < where t < T − d turns", "rules/compile_rule.go", "	if c.op == less || c.op == greaterEqual {", "	if c.op == lessEqual || c.op == greater {"},
	{"the suffix of a sum is pruned one too early", "rules/leaf.go", "if c := sum.Cmp(g.goal); c > 0 || c == 0 && !g.strict {\n			return i\n", "if c := sum.Cmp(g.goal); c > 0 || c == 0 && !g.strict {\n			return i + 1\n"},
	{"count == n keeps n", "rules/compile_leaf.go", "	if op == equal || op == notEqual {\n		return n + 1\n	}", ""},
	{"distinct keeps the oldest of each value", "rules/leaf.go", "		s.Times[i-1], s.Values[i-1] = e.at, v\n", "		s.Times[i-1], s.Values[i-1] = s.Times[i-1], v\n"},
	{"a late event is put at the end", "rules/leaf.go", "	i := firstFrom(s.Times, after(e.at, 1))\n", "	i := len(s.Times)\n"},
	{"an event follows itself", "rules/sequence.go", "			if q.followed(f, s, v, m.head(key)) == f.never {", "			if (m.held[i]&follower != 0 && by == nil || q.followed(f, s, v, m.head(key))) == f.never {"},
	{"a follower at its deadline is too late", "rules/sequence.go", "s.Times[j] <= deadline; j = m.links[j]", "s.Times[j] < deadline; j = m.links[j]"},
	{"not_followed_by does not wait", "rules/sequence.go", "	if f.never && v.At < deadline {\n		return true\n	}\n", ""},
	{"no timer where the time for a follower is over", "rules/sequence.go", "			if f.never {\n				next = min", "			if f.never && f.within < 0 {\n				next = min"},
	{"a follower is found by the property of the step before", "rules/sequence.go", "				key = by.later(v)", "				key = by.earlier(v)"},
	{"ties of most_frequent go to the oldest", "rules/leaf_read.go", "f.count(e.values[i]); n > most {", "f.count(e.values[i]); n >= most {"},
	{"a period includes its far edge", "rules/periods.go", "int64(v.At-e.times[i]) / p.width", "max(int64(v.At-e.times[i])-1, 0) / p.width"},
	{"an event that leaves a period full is overlooked", "rules/periods.go", "	if m.fills(event + m.least) {", "	if m.fills(-1) {"},
	{"held goes on over a break", "rules/mark.go", "	} else {\n		m.clear(v.Purpose)\n	}", "	}"},
	{"held begins anew with each event", "rules/mark.go", "	if holds == set {\n		return false", "	if holds == set && !holds {\n		return false"},
	{"dwell ends a microsecond late", "rules/set.go", "v.At < since.Add(s.MinDwell)", "v.At <= since.Add(s.MinDwell)"},
	{"a withdrawal in the period waits for the dwell", "rules/set.go", "!v.Immediate && v.At < since", "v.At < since"},
	{"cooldown is counted from the entry", "rules/set.go", "	case exit && !v.Immediate:\n", "	case !exit:\n"},
	{"a leaf is shared across purposes", "rules/compile_leaf.go", `what + " of " + src.text() + " for " + s.set.purposes[s.purpose()].Key`, `what + " of " + src.text()`},
	{"an armed timer is never moved back", "state/subject/record.go", "		p.Armed[i].At = at\n		return", "		p.Armed[i].At = max(at, p.Armed[i].At)\n		return"},
	{"a late event moves the clock back", "processor/core/event.go", "	late := ev.Time < r.Clock\n	r.Clock = max(r.Clock, ev.Time)", "	late := ev.Time < r.Clock\n	r.Clock = ev.Time"},
	{"timers at an input's own instant fire before it", "processor/core/timer.go", "	if c.by(flip, false) {", "	if c.by(flip, true) {"},
	{"dependents are not decided", "processor/core/engine.go", "		e.marks.add(d, onward)", "		_, _ = d, onward"},
	{"evidence of the former period stays", "processor/core/decide.go", "		n, _ := slices.BinarySearch(l.Times, since)", "		n := 0 * int(since)"},
	{"a grant ahead is in force at once", "processor/core/decide.go", "	case at > r.Clock && (at > reached || ", "	case at > r.Clock && ("},
	{"what an upload arms does not wait", "processor/core/engine.go", "	if r.Held.Until <= next {", "	if r.Held.Until <= next || true {"},
	{"an upload ends with its first event", "processor/core/await.go", "max(r.Held.Until, min(", "max(r.Held.Since.Add(settle), min(r.Held.Since, "},
	{"a subject that sends old events waits for ever", "processor/core/await.go", "min(arrival.Add(settle), r.Held.Since.Add(maxSettle))", "arrival.Add(settle)"},
	{"a grant with an old date does not wait", "processor/core/decide.go", " || isOld(dated, d.Arrival)", ""},
	{"children are of age on the eve of their birthday", "rules/age.go", "time.Date(year+p.MinAge, month, day,", "time.Date(year+p.MinAge, month, day-1,"},
	{"a duplicate is taken again", "processor/core/event.go", "			return r.Clock < m.At.Add(e.cfg.DedupeWindow)", "			return false"},
	{"an erasure forgets what is newer than it", "processor/consent/gate.go", "	b.Grants = slices.DeleteFunc(b.Grants, func(g subject.Grant) bool { return g.At <= stop.At })", "	b.Grants = nil"},
	{"an event opens what was erased", "processor/core/event.go", "		return r.Erased == 0\n", "		return true\n"},
	{"an erasure leaves the message ids", "processor/core/request.go", "func(m subject.Message) bool { return m.At <= at })", "func(m subject.Message) bool { return m.At < 0 })"},
	{"an old erasure moves the fence back", "processor/core/request.go", "	if r.Erased != 0 && at <= r.Erased {\n		return false, false", "	if r.Erased == at {\n		return false, false"},
	{"a purpose declared later is not fenced", "state/subject/record.go", "	if r.Erased != 0 {\n		b.Stop", "	if r.Erased < 0 {\n		b.Stop"},
	{"a shadow knows no restriction", "processor/core/shadow.go", "	s.Erased, s.Restrictions = r.Erased, slices.Clone(r.Restrictions)", "	s.Erased = r.Erased"},
	{"a restriction waits for its date", "processor/core/restrict.go", "		case !x.Lifted:\n			restricted = true\n", "		case !x.Lifted:\n			restricted = x.At <= clock\n"},
	{"a lift takes force when it is read", "processor/core/restrict.go", "		case x.At <= clock:\n			restricted = false", "		case x.Lifted:\n			restricted = false"},
	{"an event is restricted by its arrival only", "processor/core/restrict.go", "(restrictedAt(r, ev.Time) || e.restricted", "(e.restricted"},
	{"of one instant a lift wins", "state/subject/record.go", "x.Lifted && !y.Lifted", "!x.Lifted && y.Lifted"},
	{"what was held goes on after a restriction", "processor/core/restrict.go", "			return leaf != nil && leaf.Remembers()", "			return leaf != nil && !leaf.Remembers() && false"},
	{"timers fire while processing is restricted", "processor/core/engine.go", "	if e.restricted(r, at) {\n		e.marks.clear()", "	if e.restricted(r, at) && e.byDate {\n		e.marks.clear()"},
	{"a rectification loses against an identify of its instant", "processor/core/event.go", "	return setTrait(p, key, v, at+1)", "	return setTrait(p, key, v, at)"},
	{"a rectification beats what is newer", "processor/core/event.go", "	return setTrait(p, key, v, at+1)", "	return setTrait(p, key, v, subject.Never-1)"},
	{"a rectification ahead is taken at once", "processor/core/rectify.go", "	if at <= r.Clock || at <= reached && ", "	if at <= r.Clock || at != reached+1 && "},
	{"a rectification takes the verdict of an event", "processor/core/rectify.go", "e.admits, e.cause = admits, cause }()", "e.cause = cause; _ = admits }()"},
	{"a consent on an old notice counts", "processor/consent/gate.go", "d.NoticeVersion >= p.OldestNotice)", "d.NoticeVersion != p.OldestNotice || true)"},
	{"a prefix is a name", "rules/pattern.go", "		return strings.HasPrefix(name, p.text)", "		return name == p.text"},
}

// TestMutants holds that every planted bug has its place, and with -mutants that
// the suite of the language catches it.
func TestMutants(t *testing.T) {
	suite := mutation.Suite{Root: filepath.Join("..", ".."), Timeout: 8 * time.Minute, Hangs: true,
		Packages: func(string) []string { return []string{"./processor/replay", "./rules", "./processor/core"} }}
	suite.Run(t, mutants)
}
