package core_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// boundedRules are what half of a shop's segments look like, for each of ten
// names of events: all their leaves are bounded.
var boundedRules = []string{
	`%s.within("30d").count() >= 3`,
	`%s.within("1d").exists()`,
	`%s.within("14d").distinct(properties.sku) >= 3`,
	`%s.last().timestamp < ago("30d")`,
	`%s.where(properties.sku == "sku-1").within("7d").count() == 0`,
}

// largerRules keep more, and an active subject is in all their segments.
var largerRules = []string{
	`%s.within("30d").count() >= 5`,
	`%s.within("90d").sum(properties.total) >= 50`,
	`%s.within("30d").distinct(properties.sku) >= 3`,
	`%s.last().timestamp > ago("3d")`,
	`held(%s.within("5d").exists(), "7d")`,
}

// boundedSet has 50 segments.
func boundedSet(t testing.TB, forms []string) *rules.Set {
	t.Helper()
	var text strings.Builder
	text.WriteString("purposes:\n  - {key: p, description: Bench, lawful_basis: consent, retention: 400d}\ndata:\n  - {field: properties.total, min: 0}\nsegments:\n")
	for i := range 50 {
		fmt.Fprintf(&text, "  - {key: s%05d, purpose: p, when: '%s'}\n", i, fmt.Sprintf(forms[i/10], fmt.Sprintf(`events("Event %d")`, i%10)))
	}
	set, problems := rules.Load(fstest.MapFS{"r.yaml": {Data: []byte(text.String())}})
	if set == nil {
		t.Fatal(problems[0])
	}
	return set
}

// subjectBytes is what is kept, encoded, of a subject after so many events.
func subjectBytes(set *rules.Set, events int) int {
	engine := core.New(set, core.Config{})
	r := subject.NewRecord(subject.ID{Value: "customer-000001"})
	at := subject.Instant(1_700_000_000_000_000)
	engine.Decide(r, subject.Decision{Subject: r.ID, Purpose: "p", Status: subject.Given, Time: at, Arrival: at, Expires: subject.Never}, at)
	ev := benchEvent(set)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range events {
		at += subject.Instant(random.Int64N(20*60_000)) * 1000 // timestamps are milliseconds
		ev.Name, ev.Time, ev.Arrival, ev.Message = ev.names[random.IntN(len(ev.names))], at, at, uint64(i)+1
		ev.Fields[ev.sku] = ev.skus[random.IntN(len(ev.skus))]
		engine.Event(r, &ev.Event)
		engine.Changes = engine.Changes[:0]
	}
	r.Messages = nil // at most 64, for a day, whatever the rules
	return len(state.AppendRecord(nil, r))
}

// TestSubjectsStaySmall holds what is kept of a subject under 50 bounded
// segments to 1 kB, whatever the number of events. Where the subject is in all of
// them and they keep more it is held to be flat.
func TestSubjectsStaySmall(t *testing.T) {
	for _, c := range []struct {
		forms []string
		most  int
	}{{boundedRules, 1000}, {largerRules, 1500}} {
		set := boundedSet(t, c.forms)
		for _, events := range []int{10, 1_000, 100_000} {
			n := subjectBytes(set, events)
			t.Logf("%d events: %d bytes", events, n)
			if n > c.most {
				t.Errorf("%d bytes are kept after %d events", n, events)
			}
		}
	}
}
