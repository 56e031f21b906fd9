package rules

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// TestBoundedLeavesStayBounded gives leaves far more events than a threshold needs.
func TestBoundedLeavesStayBounded(t *testing.T) {
	for text, most := range map[string]int{
		`events("E").count() >= 5`:                                       5,
		`events("E").within("30d").count() > 5`:                          6,
		`5 <= events("E").within("30d").count()`:                         5,
		`events("E").count() == 5`:                                       6,
		`events("E").count() != 5`:                                       6,
		`events("E").count() < 5`:                                        5,
		`events("E").count() <= 5`:                                       6,
		`events("E").count() == 0`:                                       1,
		`events("E").count() > 2.5`:                                      3,
		`events("E").exists()`:                                           1,
		`!events("E").exists()`:                                          1,
		`events("E").last().properties.x == 3`:                           1,
		`events("E").last().timestamp > ago("3d")`:                       1,
		`events("E").last() != null`:                                     1,
		`has(events("E").first())`:                                       1,
		`events("E").distinct(properties.x) >= 4`:                        4,
		`events("E").distinct(properties.x) == 4`:                        5,
		`events("E").distinct(properties.x) + 0 > 4`:                     50,
		`events("E").sum(properties.x) >= 100`:                           101,
		`events("E").sum(properties.x) > 100`:                            102,
		`events("E").max(timestamp) < timestamp("2024-01-02T00:00:00Z")`: 1,
		`events("E").max(properties.x) > 3`:                              50,
		`events("E").until(timestamp("2030-01-01")).count() >= 3`:        3,
	} {
		set := ruleSource{rules: []string{text}, mins: map[string]int64{"properties.x": 0}}.compile(t)
		p := &subject.Purpose{Key: "p"}
		v := &View{Purpose: p}
		random := rand.New(rand.NewPCG(1, 1))
		for i := range 3000 {
			at := second(i)
			set.apply(p, set.event("E", at-subject.Instant(random.IntN(1e9)), map[string]subject.Value{"properties.x": val(random.IntN(50))}), at, v)
			for _, l := range p.Leaves {
				if len(l.Times) > most || l.Values != nil && len(l.Values) != len(l.Times) {
					t.Fatalf("%s keeps %d times and %d values", text, len(l.Times), len(l.Values))
				}
			}
		}
		if len(p.Leaves) != 1 {
			t.Errorf("%s: %d leaves", text, len(p.Leaves))
		}
	}
}

func TestComparisonsThatNeedNoLeaf(t *testing.T) {
	for text, want := range map[string]bool{
		`events("E").count() >= 0`: true, `events("E").count() < 0`: false, `events("E").count() > -1`: true, `events("E").count() == -1`: false,
		`events("E").count() != -2`: true, `events("E").count() == 2.5`: false, `events("E").count() != 2.5`: true, `events("E").count() <= -0.5`: false,
		`events("E").count() > -0.5`: true, `events("E").sum(properties.x) >= 0`: true, `events("E").sum(properties.x) < -1`: false,
	} {
		set := ruleSource{rules: []string{text}, mins: map[string]int64{"properties.x": 0}}.compile(t)
		if got := set.Segments[0].Answer(&View{Purpose: &subject.Purpose{}}); got != want || len(set.Leaves) != 0 {
			t.Errorf("%s = %t with %d leaves", text, got, len(set.Leaves))
		}
	}
}

func TestWindowsAtTheirEdges(t *testing.T) {
	set := ruleSource{retention: 60 * time.Second, rules: []string{
		`events("E").within("30s").count() == 1`, `events("E").exists()`, `events("E").between("30s", "10s").exists()`,
	}}.compile(t)
	p := &subject.Purpose{Key: "p"}
	v := &View{Purpose: p, At: second(0)}
	set.apply(p, set.event("E", second(0), nil), second(0), v)
	within, retained, between := set.segment(t, "r000"), set.segment(t, "r001"), set.segment(t, "r002")
	if at := within.Next(v); at != second(30) {
		t.Errorf("within flips at %s", at)
	}
	if at := retained.Next(v); at != second(60) {
		t.Errorf("retention flips at %s", at)
	}
	if at := between.Next(v); at != second(10) || between.Answer(v) {
		t.Errorf("between flips at %s", at)
	}
	if v.At = second(10); !between.Answer(v) || between.Next(v) != second(30) {
		t.Error("between does not begin at its lag")
	}
	if v.At = second(30); within.Answer(v) || between.Answer(v) {
		t.Error("an event counts at its very end")
	}
	v.KeepAged = true
	if within.Answer(v) {
		t.Error("within is widened with the retention")
	}
	v.At = second(60)
	for i := range set.Leaves {
		set.Leaves[i].Prune(p, v.At)
	}
	if !retained.Answer(v) {
		t.Error("what leaves for retention alone is not kept for its instant")
	}
	if v.KeepAged = false; retained.Answer(v) {
		t.Error("an event counts beyond retention")
	}
	for i := range set.Leaves {
		set.Leaves[i].Prune(p, v.At+1)
	}
	if len(p.Leaves) != 0 {
		t.Errorf("%d leaves after retention", len(p.Leaves))
	}
}

func TestInsertReportsWhetherItMatters(t *testing.T) {
	set := ruleSource{rules: []string{`events("E").where(properties.x > 1).within("30s").count() >= 2`}}.compile(t)
	p := &subject.Purpose{Key: "p"}
	v := &View{Purpose: p}
	insert := func(at, x int) bool {
		return set.apply(p, set.event("E", second(at), map[string]subject.Value{"properties.x": val(x)}), second(100), v)
	}
	for _, c := range []struct {
		at, x int
		want  bool
	}{{100, 1, false}, {70, 2, false}, {71, 2, true}, {90, 2, true}, {71, 2, false}, {80, 2, true}, {80, 2, false}, {90, 2, true}} {
		if got := insert(c.at, c.x); got != c.want {
			t.Errorf("insert at %ds x %d: %t", c.at, c.x, got)
		}
	}
}

func TestLaterArrivalIsLast(t *testing.T) {
	set := ruleSource{rules: []string{`events("E").last().properties.x == 2`, `events("E").first().properties.x == 1`}}.compile(t)
	p := &subject.Purpose{Key: "p"}
	v := &View{Purpose: p, At: second(9)}
	for _, x := range []int{1, 3, 2} {
		set.apply(p, set.event("E", second(5), map[string]subject.Value{"properties.x": val(x)}), second(9), v)
	}
	if !set.segment(t, "r000").Answer(v) || !set.segment(t, "r001").Answer(v) {
		t.Error("equal times are not in order of arrival")
	}
}

// TestEvidenceOutlivesTheEvent overwrites the decoder's memory.
func TestEvidenceOutlivesTheEvent(t *testing.T) {
	set := ruleSource{rules: []string{`events("E").last().properties.x.startsWith("keep")`}}.compile(t)
	p := &subject.Purpose{Key: "p"}
	v := &View{Purpose: p, At: second(1)}
	ev := set.event("E", second(1), map[string]subject.Value{"properties.x": val([]any{"a"})})
	list := ev.Fields[0].List()
	set.apply(p, ev, second(1), v)
	list[0] = val("b")
	if got := p.Leaves[0].Values[0].List()[0].Str(); got != "a" {
		t.Errorf("kept %q", got)
	}
}

func TestClockTestsFlipExactly(t *testing.T) {
	for _, c := range []struct {
		rule string
		at   subject.Instant
	}{
		{`timestamp(traits.t) < ago("30s")`, second(30) + 1}, {`timestamp(traits.t) <= ago("30s")`, second(30)},
		{`timestamp(traits.t) > ago("30s")`, second(30)}, {`timestamp(traits.t) >= ago("30s")`, second(30) + 1},
		{`ago("30s") > timestamp(traits.t)`, second(30) + 1}, {`ago("30s") <= timestamp(traits.t)`, second(30) + 1},
		{`timestamp(traits.t) < ahead("30s")`, second(-30) + 1}, {`timestamp(traits.t) >= ahead("30s")`, second(-30) + 1},
	} {
		set := ruleSource{rules: []string{c.rule}}.compile(t)
		v := &View{Purpose: &subject.Purpose{Traits: []subject.Trait{{Key: "t", Value: val("2024-01-01T00:00:00Z")}}}, At: second(-100)}
		s := &set.Segments[0]
		before := s.Answer(v)
		if got := s.Next(v); got != c.at {
			t.Errorf("%s flips at %s", c.rule, got)
		}
		if v.At = c.at - 1; s.Answer(v) != before {
			t.Errorf("%s flips too early", c.rule)
		}
		if v.At = c.at; s.Answer(v) == before || s.Next(v) != subject.Never {
			t.Errorf("%s does not flip", c.rule)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]int64{"90s": 90e6, "15m": 900e6, "6h": 21600e6, "30d": 30 * 86400e6, "2w": 14 * 86400e6, "1d12h": 36 * 3600e6} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s: %d %v", text, got, err)
		}
	}
	for _, text := range []string{"", "3", "d", "3 days", "-3d", "1.5h", "3D"} {
		if _, err := parseDuration(text); !errors.Is(err, errDuration) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"99999999999999999999d", "106752d", "1d106751d"} {
		if _, err := parseDuration(text); !errors.Is(err, errTooLong) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := parseDuration("106751d"); err != nil {
		t.Errorf("the longest that messages name: %v", err)
	}
}
