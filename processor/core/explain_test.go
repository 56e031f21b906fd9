package core_test

import (
	"context"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/core/oracle"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/rules/schematest"
	"github.com/segmentd/segmentd/state/subject"
)

var explained = flag.Int("explained", 300, "random cases that TestExplanationsAreTrue runs")

// TestExplanationsAreTrue explains random memberships in the midst of random
// streams: an explanation says what was published, its conditions and evidence
// agree with that and with each other, the next change is what moving the clock
// on brings, and the record is left as it was. -first-seed chooses the cases.
func TestExplanationsAreTrue(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+uint64(*explained); seed++ {
		rng := rand.New(rand.NewPCG(seed, 1))
		c := oracle.Generate(rng)
		set, problems := rules.Load(c.Rules)
		if set == nil {
			t.Fatal(problems)
		}
		for range 8 {
			x := explainCase{T: t, set: set, inputs: c.Inputs, seed: seed}
			x.cut(rng)
			x.check(rng)
		}
		if t.Failed() {
			t.Fatalf("seed %d\n%s", seed, c.Text)
		}
	}
}

// explainCase is one explanation in the midst of a stream.
type explainCase struct {
	*testing.T
	set    *rules.Set
	inputs []string
	seed   uint64
}

// cut leaves out the end of a single input.
func (x *explainCase) cut(rng *rand.Rand) {
	if len(x.inputs) == 1 {
		lines := strings.SplitAfter(x.inputs[0], "\n")
		x.inputs = []string{strings.Join(lines[:1+rng.IntN(len(lines)-1)], "")}
	}
}

// replay returns the subjects at an instant, the clock there and all changes.
func (x *explainCase) replay(until subject.Instant) (*core.Memory, subject.Instant, []subject.Change) {
	var sources []replay.Source
	for _, text := range x.inputs {
		sources = append(sources, replay.Source{Name: "in", Reader: strings.NewReader(text)})
	}
	var changes []subject.Change
	records, summary, err := replay.Run(context.Background(), replay.Config{Rules: x.set, Until: until,
		Change: func(c *subject.Change) error { changes = append(changes, *c); return nil }}, sources)
	if err != nil {
		x.Fatal(err)
	}
	return records, summary.Clock, changes
}

func (x *explainCase) check(rng *rand.Rand) {
	records, clock, changes := x.replay(subject.Never)
	var all []*subject.Record
	_ = records.Each(func(r *subject.Record) error { all = append(all, r); return nil })
	if len(all) == 0 {
		return
	}
	r, segment := all[rng.IntN(len(all))], rng.IntN(len(x.set.Segments))
	before := r.Clone()
	e := core.New(x.set, core.Config{}).Explain(r, segment, clock)
	if !reflect.DeepEqual(before, r) {
		x.Errorf("the record was changed")
	}
	if member := lastChange(changes, r.ID, e.Segment) == subject.Entered; member != e.Member {
		x.Errorf("%s: member %t, published %t", e.Segment, e.Member, member)
	}
	x.membership(&e)
	x.part(&e, e.When)
	x.part(&e, e.StayWhile)
	for _, l := range e.Leaves {
		if l.Counting != len(l.Pieces)+l.More {
			x.Errorf("%s: %d count, %d and %d more are shown", l.Leaf, l.Counting, len(l.Pieces), l.More)
		}
	}
	x.next(&e, r.ID, clock, len(changes))
	x.format(&e)
}

// lastChange is what became of a membership last; Exited where nothing did.
func lastChange(changes []subject.Change, id subject.ID, segment string) subject.ChangeKind {
	for i := len(changes) - 1; i >= 0; i-- {
		if changes[i].Subject == id && changes[i].Segment == segment {
			return changes[i].Kind
		}
	}
	return subject.Exited
}

// membership checks that the conditions give the membership.
func (x *explainCase) membership(e *core.Explanation) {
	if (e.Basis.Holds && e.RestrictedSince == "") != (e.When != nil) || e.Basis.Holds == (e.Basis.Reason != "") {
		x.Errorf("basis %+v, when %v", e.Basis, e.When)
	}
	if e.When == nil {
		if e.Member {
			x.Errorf("a member of whom nothing may be known")
		}
		return
	}
	member := holds(e.When) && e.CooldownUntil == ""
	if e.Member {
		member = holds(e.When) || holds(e.StayWhile) || e.DwellUntil != ""
	}
	if member != e.Member {
		x.Errorf("%s: member %t, but when %t, stay_while %t, dwell until %q, cooldown until %q", e.Segment, e.Member,
			holds(e.When), holds(e.StayWhile), e.DwellUntil, e.CooldownUntil)
	}
}

func holds(p *rules.Part) bool { return p != nil && p.Holds != nil && *p.Holds }

// part checks that an expression agrees with its parts and its evidence.
func (x *explainCase) part(e *core.Explanation, p *rules.Part) {
	if p == nil {
		return
	}
	holding := 0
	for i := range p.Parts {
		x.part(e, &p.Parts[i])
		if holds(&p.Parts[i]) {
			holding++
		}
	}
	want := holds(p)
	switch {
	case p.Kind == "and":
		want = holding == len(p.Parts)
	case p.Kind == "or":
		want = holding > 0
	case p.Kind == "not":
		want = holding == 0
	case p.Kind == "let" && p.Holds != nil:
		want = holding == 1
	}
	if want != holds(p) {
		x.Errorf("%s %q is %t, %d of %d parts hold", p.Kind, p.Text, holds(p), holding, len(p.Parts))
	}
	for _, r := range p.Reads {
		var n int
		if r.Measure == "count" && (json.Unmarshal(r.Value, &n) != nil || n != e.Leaves[r.Leaf].Counting) {
			x.Errorf("%s: the count is %s, %d pieces count", p.Text, r.Value, e.Leaves[r.Leaf].Counting)
		}
	}
}

// farAhead is later than most that random cases let happen by itself.
const farAhead = 500 * subject.Day

// next checks the next change by moving the clock on.
func (x *explainCase) next(e *core.Explanation, id subject.ID, clock subject.Instant, seen int) {
	until := clock + farAhead
	if e.NextChange != nil {
		at, err := subject.ParseInstant(e.NextChange.At)
		if err != nil || at < clock {
			x.Errorf("the next change is at %s, the clock at %s: %v", e.NextChange.At, clock, err)
			return
		}
		until = at + 1
	}
	_, _, changes := x.replay(until)
	for _, c := range changes[seen:] {
		if c.Subject != id || c.Segment != e.Segment {
			continue
		}
		if got := (core.NextChange{At: c.Time.String(), Change: c.Kind.String(), Reason: c.Reason.String()}); e.NextChange == nil || *e.NextChange != got {
			x.Errorf("%s: the next change is %+v, found %+v", e.Segment, got, e.NextChange)
		}
		return
	}
	if e.NextChange != nil {
		x.Errorf("%s: nothing changes, found %+v", e.Segment, e.NextChange)
	}
}

// format checks the JSON and the text.
func (x *explainCase) format(e *core.Explanation) {
	b, err := json.Marshal(e)
	if err != nil {
		x.Fatal(err)
	}
	schema, _ := wire.Schema("explanation")
	if err := schematest.Compile(x, schema).Validate(schematest.JSON(x, b)); err != nil {
		x.Errorf("%s: %v", b, err)
	}
	var again core.Explanation
	if err := json.Unmarshal(b, &again); err != nil || again.Text() != e.Text() {
		x.Errorf("the text changes by the way of JSON (%v):\n%s\n%s", err, e.Text(), again.Text())
	}
}
