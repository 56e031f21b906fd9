package core_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

var gateSeeds = flag.Uint64("gate-seeds", 5000, "random interleavings that TestGateAgreesWithModel runs")

// gateSubject is the engine's side of an interleaving.
type gateSubject struct {
	set     *rules.Set
	machine *core.Machine
	records *core.Memory
	id      subject.ID
}

func newGateSubject(set *rules.Set, engine *core.Engine) *gateSubject {
	records := core.NewMemory()
	return &gateSubject{set, core.NewMachine(engine, records, subject.LongAgo), records, subject.ID{Value: "u"}}
}

// gateRules has one purpose of each basis, and of each one rule that keeps the date
// of every event that it may use.
func gateRules(t testing.TB) *rules.Set {
	var b strings.Builder
	b.WriteString("purposes:\n")
	for p, basis := range gateBases {
		fmt.Fprintf(&b, "  - {key: p%d, description: P, lawful_basis: %s, retention: 400d", p, basis)
		if p == 0 {
			fmt.Fprintf(&b, ", consent_expires_after: %ds, notice_version: 2026-03, oldest_notice_version: %s", gateExpiry, gateNotice)
		}
		b.WriteString("}\n")
	}
	b.WriteString("segments:\n")
	for p := range gateBases {
		fmt.Fprintf(&b, "  - key: s%d\n    purpose: p%d\n    when: |\n      events(\"All\").sum(properties.n) + events(\"Own %d\").sum(properties.n) + (has(traits.c) ? traits.c : 0) >= 3\n", p, p, p)
	}
	set, problems := load(b.String())
	if set == nil {
		t.Fatal(problems)
	}
	return set
}

// take applies an input and says what became of an event.
func (g *gateSubject) take(in gateInput) (string, error) {
	at := gateInstant(in.at)
	switch in.kind {
	case "clock":
		_, err := g.machine.Advance(at, 0)
		return "", err
	case "event", "identify":
		ev := g.event(in)
		out, err := g.machine.Event(&ev)
		return out.String(), err
	case "decision":
		d := subject.Decision{Subject: g.id, Time: at, Arrival: subject.Never, Explicit: in.explicit, NoticeVersion: in.notice, Expires: subject.Never}
		for d.Status.String() != in.status {
			d.Status++
		}
		if in.purpose >= 0 {
			d.Purpose = fmt.Sprintf("p%d", in.purpose)
		}
		if in.expires != 0 {
			d.Expires = gateInstant(in.expires)
		}
		return "", g.machine.Decision(d)
	}
	q := subject.Request{Subject: g.id, Time: at, Arrival: subject.Never, Traits: []subject.TraitUpdate{{Key: "c", Value: subject.OfInt(in.value)}}}
	for q.Kind.String() != in.kind {
		q.Kind++
	}
	_, err := g.machine.Request(&q)
	return "", err
}

func (g *gateSubject) event(in gateInput) subject.Event {
	ev := subject.Event{Subject: g.id, Time: gateInstant(in.at), Arrival: subject.Never}
	switch {
	case in.kind == "identify":
		ev.Identify, ev.Traits = true, []subject.TraitUpdate{{Key: "c", Value: subject.OfInt(in.value)}}
		return ev
	case in.purpose < 0:
		ev.Name = "All"
	default:
		ev.Name = fmt.Sprintf("Own %d", in.purpose)
	}
	ev.Fields = make([]subject.Value, len(g.set.Fields.Slots))
	for i := range ev.Fields {
		ev.Fields[i] = subject.OfInt(1)
	}
	return ev
}

// text says what is kept, as the model's does.
func (g *gateSubject) text() string {
	r, _ := g.records.Get(g.id)
	if r == nil {
		return ""
	}
	var b strings.Builder
	for i := range g.set.Purposes {
		p := r.Purpose(g.set.Purposes[i].Key)
		if p == nil || !p.Basis.Known {
			if p != nil && len(p.Leaves)+len(p.Traits)+len(p.Members) > 0 {
				fmt.Fprintf(&b, "something is kept for %s, whose basis does not hold\n", p.Key)
			}
			continue
		}
		fmt.Fprintf(&b, "%s all %v own %v", p.Key, g.dates(p, "All"), g.dates(p, "Own"))
		for v := range int64(10) {
			if p.Trait("c").Equal(subject.OfInt(v)) {
				fmt.Fprintf(&b, " trait %d", v)
			}
		}
		if len(p.Members) > 0 && p.Basis.Until > r.Clock {
			b.WriteString(" member")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// dates are those of the evidence of the events of a name.
func (g *gateSubject) dates(p *subject.Purpose, name string) (dates []int64) {
	for i := range p.Leaves {
		if strings.Contains(g.set.LeafByKey(p.Leaves[i].Key).Text, name) {
			for _, t := range p.Leaves[i].Times {
				dates = append(dates, int64(t-gateInstant(0))/1_000_000)
			}
		}
	}
	return dates
}

// TestGateAgreesWithModel holds the engine to a model of the law on random
// interleavings of decisions, requests and events: of every event whether it is used
// for each purpose of each basis, or why not, and after every step what is kept, in
// both directions. A case that fails is told by its seed and its steps.
func TestGateAgreesWithModel(t *testing.T) {
	set := gateRules(t)
	var group errgroup.Group
	var steps atomic.Uint64
	workers := uint64(runtime.GOMAXPROCS(0))
	for w := range workers {
		group.Go(func() error {
			engine := core.New(set, core.Config{})
			for seed := w; seed < *gateSeeds; seed += workers {
				rng := rand.New(rand.NewPCG(seed, 11))
				inputs := randomGateInputs(rng, 6+rng.IntN(14))
				if err := gateAgrees(set, engine, inputs); err != nil {
					return fmt.Errorf("seed %d, shrunk: %w", seed, gateAgrees(set, engine, shrunkGate(set, engine, inputs)))
				}
				steps.Add(uint64(len(inputs)))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d interleavings, %d steps without difference", *gateSeeds, steps.Load())
}

// shrunkGate drops steps for as long as engine and model still disagree.
func shrunkGate(set *rules.Set, engine *core.Engine, inputs []gateInput) []gateInput {
	for i := 0; i < len(inputs); {
		fewer := slices.Delete(slices.Clone(inputs), i, i+1)
		if gateAgrees(set, engine, fewer) != nil {
			inputs, i = fewer, 0
			continue
		}
		i++
	}
	return inputs
}

func gateAgrees(set *rules.Set, engine *core.Engine, inputs []gateInput) error {
	g, m := newGateSubject(set, engine), &gateModel{clock: -gateNever, partition: -gateNever}
	for i, in := range inputs {
		got, err := g.take(in)
		if err != nil {
			return err
		}
		engine.Changes = engine.Changes[:0]
		want := m.take(in)
		if got == "late_corrected" || got == "late_no_effect" {
			got = "admitted"
		}
		if kept, may := g.text(), m.text(); got != want || kept != may {
			var b strings.Builder
			for _, in := range inputs[:i+1] {
				fmt.Fprintf(&b, "  %+v\n", in)
			}
			return fmt.Errorf("after\n%sthe engine: %q, and keeps\n%sthe model: %q, and keeps\n%s", b.String(), got, kept, want, may)
		}
	}
	return nil
}

// TestGateNeedsNoOrder holds that what is kept depends on which decisions and requests
// there are, not on the order in which they are read: the topics have none among them.
func TestGateNeedsNoOrder(t *testing.T) {
	set := gateRules(t)
	engine := core.New(set, core.Config{})
	for seed := range *gateSeeds {
		rng := rand.New(rand.NewPCG(seed, 12))
		said := slices.DeleteFunc(randomGateInputs(rng, 24), func(in gateInput) bool {
			return in.kind == "event" || in.kind == "identify" || in.kind == "clock" || in.kind == "rectify"
		})
		end := int64(0)
		for _, in := range said {
			end = max(end, in.at)
		}
		after := []gateInput{{kind: "clock", at: end + 1}, {kind: "event", at: end + 1, purpose: -1}, {kind: "event", at: end - 10, purpose: -1}, {kind: "identify", at: end + 2, purpose: -1, value: 2},
			{kind: "unrestrict", at: end + 3}, {kind: "clock", at: end + 3}, {kind: "event", at: end + 3, purpose: -1}}
		want := afterAll(t, set, engine, append(slices.Clone(said), after...))
		for range 3 {
			rng.Shuffle(len(said), func(i, j int) { said[i], said[j] = said[j], said[i] })
			inputs := append(slices.Clone(said), after...)
			inputs = slices.Insert(inputs, rng.IntN(len(said)+1), gateInput{kind: "clock", at: rng.Int64N(end + 1)})
			if d := cmp.Diff(want, afterAll(t, set, engine, inputs), cmpopts.EquateEmpty(), cmp.Comparer(subject.Value.Equal)); d != "" {
				t.Fatalf("seed %d: another order of\n%+v\nkeeps something else:\n%s", seed, inputs, d)
			}
		}
	}
}

// afterAll is the record after some inputs, but for what was published meanwhile.
func afterAll(t *testing.T, set *rules.Set, engine *core.Engine, inputs []gateInput) *subject.Record {
	g := newGateSubject(set, engine)
	for _, in := range inputs {
		if _, err := g.take(in); err != nil {
			t.Fatal(err)
		}
	}
	engine.Changes = engine.Changes[:0]
	r, err := g.records.Get(g.id)
	if err != nil || r == nil {
		return &subject.Record{}
	}
	r.Version, r.Forgot = 0, false
	r.Purposes = slices.DeleteFunc(r.Purposes, func(p subject.Purpose) bool { // a consent of the wrong grade was read
		return !p.Basis.Known && !p.Basis.Lapsed && p.Basis.Stop.Status == subject.NoDecision && len(p.Basis.Grants) == 0
	})
	if !slices.ContainsFunc(r.Purposes, func(p subject.Purpose) bool { return p.Basis.Known }) {
		r.Clock = 0 // of one of whom nothing is known it says only what was known once
	}
	for i := range r.Purposes {
		p := &r.Purposes[i]
		p.Armed, p.Indexed = nil, false
		for j := range p.Members {
			p.Members[j].Since = 0
		}
	}
	return r
}
