package core_test

import (
	"bytes"
	stdcmp "cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/core/oracle"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

var firstChange = flag.Uint64("first-change", 0, "first seed of TestChangedRulesEqualAFreshStart")

// changeConfig remembers ids for ever: how long one is remembered depends on a
// subject's clock, and so on what else the rules read.
var changeConfig = core.Config{DedupeWindow: 100 * 365 * 24 * time.Hour}

// A subject's state under rules A, brought to rules B in the middle of its
// inputs, is at their end what it would be had B been there from the start.
func TestChangedRulesEqualAFreshStart(t *testing.T) {
	kinds := map[rules.Treatment]int{}
	converted := 0
	for seed := *firstChange; seed < *firstChange+uint64(*seeds); seed++ {
		rng := rand.New(rand.NewPCG(seed, 5))
		c := oracle.Generate(rng)
		var a *alike
		if rng.IntN(2) == 0 {
			theme := newAlike(rng)
			if text := theme.rules(c.Text); loads(text) { // not where a window is longer than the retention
				a, c.Text = &theme, text
			}
		}
		from := mustLoad(t, c.Text)
		text, to := anotherSet(rng, c.Text, a)
		transition := rules.Compare(from, nil, to)
		for _, s := range transition.Segments {
			kinds[s]++
		}
		for i := range to.Leaves {
			if from.LeafByKey(to.Leaves[i].Key) == nil && !transition.MissingLeaf(i) {
				converted++
			}
		}
		w := newWorld(t, rng, c, transition)
		got, want := w.changed(), w.fresh()
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(subject.Value.Equal)); d != "" {
			t.Errorf("seed %d (-first-change %d -seeds 1), switched after %d of %d: (-fresh +changed)\n%s\nfrom:\n%s\nto:\n%s\ntreatments %v\ninputs:\n%s",
				seed, seed, w.at, len(w.lines), d, c.Text, text, transition.Segments, strings.Join(w.lines, "\n"))
			return
		}
	}
	t.Logf("segments by treatment %v, %d leaves converted", kinds, converted)
	if *seeds >= 100 && (converted < *seeds/10 || len(kinds) < 4) {
		t.Error("too little of what can happen has happened")
	}
}

func mustLoad(t *testing.T, text string) *rules.Set {
	t.Helper()
	set, problems := load(text)
	if set == nil {
		t.Fatalf("%v\n%s", problems, text)
	}
	return set
}

func loads(text string) bool {
	set, _ := load(text)
	return set != nil
}

func load(text string) (*rules.Set, []rules.Problem) {
	return rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
}

// anotherSet changes a rule file here and there until it is a right one again.
func anotherSet(rng *rand.Rand, text string, a *alike) (string, *rules.Set) {
	for {
		changed := mutate(rng, text)
		if a != nil {
			changed = a.rules(changed)
		}
		if set, _ := load(changed); set != nil {
			return changed, set
		}
	}
}

var (
	someWindow  = regexp.MustCompile(`"(6h|12h|1d|2d|5d|1w|10d)"`)
	someNumber  = regexp.MustCompile(`(==|!=|<|<=|>|>=) [0-9.]+`)
	someBasis   = regexp.MustCompile(`lawful_basis: \w+`)
	someLength  = regexp.MustCompile(`retention: \w+`)
	someTrait   = regexp.MustCompile(`traits\.m\.k`)
	remembers   = regexp.MustCompile(`held\(|stay_while|min_dwell|cooldown`)
	someMembers = regexp.MustCompile(`members: \[.*\]`)
)

// mutate changes some segments of a rule file and takes some out, and changes
// purposes, fields and lists.
func mutate(rng *rand.Rand, text string) string {
	head, tail, _ := strings.Cut(text, "segments:\n")
	replace := func(where *string, what *regexp.Regexp, with ...string) {
		*where = what.ReplaceAllStringFunc(*where, func(old string) string {
			if rng.IntN(3) > 0 {
				return old
			}
			return with[rng.IntN(len(with))]
		})
	}
	if rng.IntN(100) < 15 {
		replace(&head, someBasis, "lawful_basis: consent", "lawful_basis: explicit_consent", "lawful_basis: legitimate_interests")
	}
	if rng.IntN(100) < 30 {
		replace(&head, someLength, "retention: 10d", "retention: 15d", "retention: 30d", "retention: 400d")
	}
	if rng.IntN(100) < 90 && !remembers.MatchString(tail) { // what was remembered under the former list stays
		head = someMembers.ReplaceAllString(head, []string{"members: [u0]", "members: [u1, u7]"}[rng.IntN(2)])
	}
	if rng.IntN(100) < 10 {
		head = strings.Replace(head, "    min: 0\n", "    min: 1\n", 1)
	}
	var b strings.Builder
	b.WriteString(head + "segments:\n")
	for i, s := range strings.Split(tail, "  - key: ")[1:] {
		s = "  - key: " + s
		switch dice := rng.IntN(100); {
		case dice < 40:
		case dice < 50:
			continue
		case dice < 80:
			replace(&s, someWindow, `"12h"`, `"1d"`, `"2d"`, `"5d"`, `"1w"`)
			replace(&s, someNumber, "== 1", "< 2", ">= 1", ">= 2", ">= 3", "> 2.5")
			replace(&s, someTrait, "traits.m.j")
		default:
			s = someRule.ReplaceAllLiteralString(s, "when: |\n      "+otherRule(rng)+"\n")
		}
		if rng.IntN(100) < 10 {
			s = regexp.MustCompile(`key: \w+`).ReplaceAllString(s, fmt.Sprintf("key: renamed%d", i))
		}
		b.WriteString(s)
	}
	return b.String()
}

var someRule = regexp.MustCompile(`when: \|\n      .*\n`)

// alike gives segments rules over one source, so that leaves differ by their
// windows and by how much they keep.
type alike struct {
	rng                *rand.Rand
	predicate, measure string
}

func newAlike(rng *rand.Rand) alike {
	a := alike{rng: rng}
	a.predicate = a.pick("", "", `.where(properties.n > 0)`)
	a.measure = a.pick(".count() >= %s", ".count() == %s", ".distinct(properties.n) >= %s", ".distinct(properties.n) %% 2 == %s",
		".sum(properties.n) >= %s", ".sum(properties.n) > %s", ".min(properties.n) < %s", ".max(properties.n) >= %s",
		".last().properties.n == %s", ".avg(properties.n) > %s")
	return a
}

func (a alike) pick(all ...string) string { return all[a.rng.IntN(len(all))] }

func (a alike) rules(text string) string {
	return someRule.ReplaceAllStringFunc(text, func(rule string) string {
		if a.rng.IntN(4) == 0 {
			return rule
		}
		return "when: |\n      " + a.rule() + "\n"
	})
}

func (a alike) rule() string {
	window := a.pick("", `.within("5d")`, `.within("2d")`, `.between("5d", "1d")`, `.between("5d", "2d")`, `.between("1w", "1d")`, `.between("1w", "12h")`,
		`.since(timestamp("2026-01-04"))`, `.until(timestamp("2026-01-12"))`, `.until(timestamp("2026-01-06"))`)
	return `events("A")` + a.predicate + window + fmt.Sprintf(a.measure, a.pick("1", "2", "3")) + a.pick("", "", ` && !list("vips")`, ` && traits.plan == "a"`)
}

// otherRule is the rule of some segment of another case.
func otherRule(rng *rand.Rand) string {
	for {
		other := oracle.Generate(rand.New(rand.NewPCG(rng.Uint64(), 1)))
		all := regexp.MustCompile(`when: \|\n      (.*)\n`).FindAllStringSubmatch(other.Text, -1)
		if rule := all[rng.IntN(len(all))][1]; !strings.Contains(rule, "segment(") {
			return rule
		}
	}
}

var stampOf = regexp.MustCompile(`"timestamp":"([^"]*)"`)

func timeOf(t *testing.T, line string) subject.Instant {
	t.Helper()
	at, err := subject.ParseInstant(stampOf.FindStringSubmatch(line)[1])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// arrivals is one stream of all inputs, without the grants that the clock has
// passed when they come: whoever reads decisions ahead of events sees them in
// time, and lets events in that were denied.
func arrivals(t *testing.T, inputs []string, inTime bool) (lines []string) {
	t.Helper()
	for _, in := range inputs {
		for line := range strings.Lines(in) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if inTime || len(inputs) > 1 {
		slices.SortStableFunc(lines, func(a, b string) int { return stdcmp.Compare(timeOf(t, a), timeOf(t, b)) })
	}
	clock := subject.LongAgo
	return slices.DeleteFunc(lines, func(line string) bool {
		at := timeOf(t, line)
		if !strings.Contains(line, `"type":"decision"`) {
			clock = max(clock, at)
		}
		return (strings.Contains(line, `"status":"given"`) || strings.Contains(line, `"type":"request"`)) && at <= clock
	})
}

// world is one partition as the live processor treats it.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	lines  []string
	change *rules.Transition
	until  subject.Instant
	at     int             // lines that were read under the former rules
	loaded subject.Instant // when all inputs arrived; Never: as they happened

	records *core.Memory
	machine *core.Machine
}

// newWorld switches somewhere. Half of the inputs end soon after it, as what
// is wrong with a record is gone with the windows. A third were loaded at once, so
// that all that they make due waits.
func newWorld(t *testing.T, rng *rand.Rand, c oracle.Case, change *rules.Transition) *world {
	w := &world{t: t, rng: rng, change: change, until: c.Until, loaded: subject.Never}
	w.lines = arrivals(t, c.Inputs, w.remembersAnswers())
	w.at = rng.IntN(len(w.lines) + 1)
	if rng.IntN(2) == 0 {
		w.lines = w.lines[:min(len(w.lines), w.at+rng.IntN(6))]
		w.until = subject.LongAgo
	}
	if rng.IntN(3) == 0 {
		w.loaded = max(w.until, 0)
		for _, line := range w.lines {
			w.loaded = max(w.loaded, timeOf(t, line)+1e6)
		}
		w.until = w.loaded.Add(time.Hour)
	}
	return w
}

// decoder reads the lines for a rule set.
func (w *world) decoder(set *rules.Set) decoder {
	d := newDecoder(set, w.lines)
	d.arrival = w.loaded
	return d
}

// remembersAnswers reports whether a segment remembers answers. What a late event
// does to these depends on the subject's clock, and so on what else the rules
// read and when decisions were read: such inputs are put in order of time.
func (w *world) remembersAnswers() bool {
	return slices.ContainsFunc(w.change.To.Segments, func(s rules.Segment) bool { return s.Stateful() })
}

// decoder reads lines for a rule set.
type decoder struct {
	*wire.Decoder
	lines   []string
	arrival subject.Instant // of all of them
}

func newDecoder(set *rules.Set, lines []string) decoder {
	o := wire.DecoderOptions{Fields: set.Fields, Names: set.EventNames()}
	for i := range set.Purposes {
		o.Purposes = append(o.Purposes, set.Purposes[i].Key)
	}
	return decoder{Decoder: wire.NewDecoder(o), lines: lines, arrival: subject.Never}
}

func (d decoder) read(i int) wire.Item {
	item, reject := d.Decode(wire.Mixed, wire.Input{Value: []byte(d.lines[i]), Timestamp: d.arrival,
		Source: subject.Position{Topic: "in", Offset: int64(i)}})
	if reject != nil {
		return wire.Item{} // a decision on a purpose that is not declared
	}
	return item
}

// endState is what a subject's state comes to at the end.
type endState struct {
	Members []string
	Leaves  map[string]subject.Leaf
	Traits  map[string]subject.Trait
}

func (w *world) end() map[string]endState {
	set := w.change.To
	all := map[string]endState{}
	w.must(w.records.Each(func(r *subject.Record) error {
		s := endState{Leaves: map[string]subject.Leaf{}, Traits: map[string]subject.Trait{}}
		if r.Shadow != nil {
			w.t.Error("a shadow is left")
		}
		for i := range r.Purposes {
			p := &r.Purposes[i]
			for _, m := range p.Members {
				at, ok := set.SegmentByID(m.Segment)
				if !ok {
					w.t.Error("a member of nothing")
					continue
				}
				if seg := &set.Segments[at]; !seg.Sticky() || set.Purposes[seg.Purpose].Basis.NeedsConsent() { // as below
					s.Members = append(s.Members, seg.Key)
				}
			}
			for j := range set.Leaves {
				set.Leaves[j].Prune(p, max(w.until, w.machine.Clock()))
			}
			pi, _ := set.PurposeIndex(p.Key)
			for _, l := range p.Leaves {
				if set.LeafByKey(l.Key).Remembers() && !set.Purposes[pi].Basis.NeedsConsent() {
					continue // runs from when the basis opened: a grant of another purpose, beaten since, may have been first
				}
				s.Leaves[set.LeafByKey(l.Key).Text] = l
			}
			for _, tr := range p.Traits {
				s.Traits[p.Key+"."+tr.Key] = tr
			}
		}
		slices.Sort(s.Members)
		if len(s.Members)+len(s.Leaves)+len(s.Traits) > 0 {
			all[r.ID.Type.String()+r.ID.Value] = s
		}
		return nil
	}))
	return all
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) begin(set *rules.Set) {
	w.records = core.NewMemory()
	w.machine = core.NewMachine(core.New(set, changeConfig), w.records, subject.LongAgo)
}

// fresh runs everything under the new rules.
func (w *world) fresh() map[string]endState {
	w.begin(w.change.To)
	d := w.decoder(w.change.To)
	for i := range w.lines {
		w.step(d.read(i), nil, nil)
	}
	w.finish()
	return w.end()
}

// finish moves the clock on, at least past the instant it is at: rules that are
// decided anew are so as of the clock, timers fire strictly before it.
func (w *world) finish() {
	_, err := w.machine.Advance(max(w.until, w.machine.Clock()+1), 0)
	w.must(err)
}

// step applies an input to the records; decision replaces what decisions do.
func (w *world) step(item wire.Item, decision func(subject.Decision), request func(*subject.Request)) {
	if item.Content == wire.HasEvent {
		_, err := w.machine.Advance(item.Event.Time, 0)
		w.must(err)
		_, err = w.machine.Event(item.Event)
		w.must(err)
	}
	for _, d := range item.Decisions {
		if w.must(w.machine.Decision(d)); decision != nil {
			decision(d)
		}
	}
	if item.Content == wire.HasRequest {
		_, err := w.machine.Request(item.Request)
		if w.must(err); request != nil {
			request(item.Request)
		}
	}
}

// changed runs a part under the former rules, brings the records to the new
// ones, and runs the rest, filling what is missing meanwhile.
func (w *world) changed() map[string]endState {
	w.begin(w.change.From)
	d := w.decoder(w.change.From)
	for i := range w.at {
		w.step(d.read(i), nil, nil)
	}
	f := &filling{world: w, migration: core.NewMigration(w.change, changeConfig), clock: subject.LongAgo}
	f.live, f.again = w.decoder(w.change.To), w.decoder(w.change.To)
	f.reread()
	f.migrate()
	w.machine = core.NewMachine(f.migration.Engine(), w.records, w.machine.Clock())
	if w.change.Fills() {
		f.run()
	}
	for i := w.at + f.done; i < len(w.lines); i++ {
		w.step(f.live.read(i), nil, nil)
	}
	w.finish()
	return w.end()
}

// filling is a migration under way.
type filling struct {
	*world
	migration   *core.Migration
	live, again decoder
	clock       subject.Instant
	done        int // lines read live since the switch
}

func (f *filling) get(id subject.ID) *subject.Record {
	r, err := f.records.Get(id)
	f.must(err)
	if r == nil {
		r = subject.NewRecord(id)
	}
	return r
}

func (f *filling) reread() {
	for i := range f.at {
		for _, d := range f.again.read(i).Decisions {
			if r := f.get(d.Subject); f.migration.Reread(r, d) {
				f.must(f.records.Put(r))
			}
		}
	}
}

func (f *filling) migrate() {
	f.must(f.records.Each(func(r *subject.Record) error {
		f.restart(r)
		before := state.AppendRecord(nil, r)
		if !f.migration.Migrate(r, f.machine.Clock()) && !bytes.Equal(before, state.AppendRecord(nil, r)) {
			f.t.Error("a record was migrated, and is not to be saved")
		}
		return f.records.Put(r)
	}))
}

// restart lets a record be as after it was read from the store, sometimes.
func (f *filling) restart(r *subject.Record) {
	if f.rng.IntN(2) > 0 {
		return
	}
	f.must(readAgain(r))
}

// run reads live lines and, from the start, all lines again, until both are at
// one place; then the records take over.
func (f *filling) run() {
	again := 0
	for again < f.at+f.done {
		if f.at+f.done < len(f.lines) && f.rng.IntN(4) == 0 {
			f.step(f.live.read(f.at+f.done), f.decided, f.requested)
			f.done++
			continue
		}
		f.fill(f.again.read(again))
		again++
	}
	f.must(f.records.Each(func(r *subject.Record) error {
		f.restart(r)
		before := state.AppendRecord(nil, r)
		if !f.migration.TakeOver(r, f.machine.Clock()) && !bytes.Equal(before, state.AppendRecord(nil, r)) {
			f.t.Error("a record took over, and is not to be saved")
		}
		return f.records.Put(r)
	}))
	f.migration.Release()
}

func (f *filling) decided(d subject.Decision) {
	r := f.get(d.Subject)
	f.restart(r)
	f.migration.Shadow(r, d, f.clock)
	f.must(f.records.Put(r))
}

func (f *filling) requested(q *subject.Request) {
	r := f.get(q.Subject)
	f.restart(r)
	f.migration.ShadowRequest(r, q, f.clock)
	f.must(f.records.Put(r))
}

func (f *filling) fill(item wire.Item) {
	if q := item.Request; item.Content == wire.HasRequest {
		if r := f.get(q.Subject); f.migration.FillRequest(r, q, f.clock) {
			f.must(f.records.Put(r))
		}
	}
	if item.Content != wire.HasEvent {
		return
	}
	f.clock = max(f.clock, item.Event.Time)
	r := f.get(item.Event.Subject)
	f.restart(r)
	if f.migration.Fill(r, item.Event, f.clock) {
		f.must(f.records.Put(r))
	}
}

// What is filled leaves out the events of a time for which the subject has had
// processing restricted: they were not used then, and are not now.
func TestFillLeavesOutRestrictedTime(t *testing.T) {
	const text = "purposes:\n  - {key: m, description: Mail, lawful_basis: consent, retention: 400d}\nsegments:\n  - {key: s, purpose: m, when: 'events(\"%s\").count() == 2'}\n"
	change := rules.Compare(mustLoad(t, fmt.Sprintf(text, "A")), nil, mustLoad(t, fmt.Sprintf(text, "B")))
	line := func(kind, rest, at string) string {
		return fmt.Sprintf(`{"type":%q,"userId":"u",%s,"timestamp":"2026-01-0%sZ"}`, kind, rest, at)
	}
	event := func(at string) string { return line("track", `"event":"B"`, at) }
	w := &world{t: t, rng: rand.New(rand.NewPCG(1, 1)), change: change, until: subject.LongAgo, loaded: subject.Never, lines: []string{
		line("decision", `"purpose":"m","status":"given"`, "1T10:00:00"), event("2T10:00:00"),
		line("request", `"request":"restrict","requestId":"q1"`, "3T10:00:00"), event("4T10:00:00"),
		line("request", `"request":"unrestrict","requestId":"q2"`, "5T10:00:00"), event("6T10:00:00"),
	}}
	w.at = len(w.lines)
	got, want := w.changed(), w.fresh()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(subject.Value.Equal)); d != "" || !slices.Equal(got["userIdu"].Members, []string{"s"}) {
		t.Errorf("%v (-fresh +changed)\n%s", got, d)
	}
}
