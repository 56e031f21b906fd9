package core_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// benchSet is a rule set whose segments are spread over event names:
// an event concerns segments/benchNames of them.
func benchSet(b *testing.B, segments, names int) *rules.Set {
	b.Helper()
	var text strings.Builder
	text.WriteString("purposes:\n  - {key: p, description: Bench, lawful_basis: consent, retention: 400d}\ndata:\n  - {field: properties.total, min: 0}\nsegments:\n")
	for i := range segments {
		source := fmt.Sprintf(`events("Event %d")`, i%names)
		rule := []string{
			source + `.within("7d").exists()`,
			source + `.within("30d").count() >= 5`,
			source + `.within("90d").sum(properties.total) >= 500`,
			source + `.within("30d").distinct(properties.sku) >= 3`,
			source + `.last().timestamp > ago("3d")`,
			fmt.Sprintf(`%s.where(properties.sku == "sku-%d").within("14d").count() >= 2`, source, i),
			source + `.within("1d").count() == 0`,
			fmt.Sprintf(`%s.where(properties.total > %d).within("10d").count() >= 3`, source, 20+i%50),
		}[i/names%8]
		fmt.Fprintf(&text, "  - {key: s%05d, purpose: p, when: '%s'}\n", i, rule)
	}
	set, problems := rules.Load(fstest.MapFS{"r.yaml": {Data: []byte(text.String())}})
	if set == nil {
		b.Fatal(problems[0])
	}
	return set
}

// BenchmarkStep is one admitted event of a subject in memory: gate, duplicate
// check, leaves, decisions, timers. With 10 event names an event concerns a
// tenth of the segments; "same" keeps that number at 10 whatever the size of the set.
func BenchmarkStep(b *testing.B) {
	for _, c := range []struct{ segments, names int }{{100, 10}, {1000, 100}, {10000, 1000}, {100, 1}} {
		b.Run(fmt.Sprintf("segments=%d/concerned=%d", c.segments, c.segments/c.names), func(b *testing.B) {
			set := benchSet(b, c.segments, c.names)
			engine := core.New(set, core.Config{})
			r := subject.NewRecord(subject.ID{Value: "u1"})
			at := subject.Instant(1_700_000_000_000_000)
			engine.Decide(r, subject.Decision{Subject: r.ID, Purpose: "p", Status: subject.Given, Time: at, Arrival: at, Expires: subject.Never}, at)
			ev := benchEvent(set)
			step := func(i int) {
				at += 60_000_000 // a minute
				ev.Name, ev.Time, ev.Arrival, ev.Message = ev.names[i%len(ev.names)], at, at, uint64(i)+1
				ev.Fields[ev.sku] = ev.skus[i%len(ev.skus)]
				engine.Event(r, &ev.Event)
				engine.Changes = engine.Changes[:0]
			}
			for i := range 20_000 {
				step(i)
			}
			b.ReportAllocs()
			for i := 20_000; b.Loop(); i++ {
				step(i)
			}
		})
	}
}

type benchRecord struct {
	subject.Event
	sku   int
	names []string
	skus  []subject.Value
}

func benchEvent(set *rules.Set) *benchRecord {
	e := &benchRecord{Event: subject.Event{Subject: subject.ID{Value: "u1"}, MessageID: "m", Fields: make([]subject.Value, len(set.Fields.Slots))}}
	for i, s := range set.Fields.Slots {
		if s.Path == "properties.sku" {
			e.sku = i
		}
		e.Fields[i] = subject.OfInt(42)
	}
	for i := range 10 {
		e.names = append(e.names, fmt.Sprintf("Event %d", i%min(10, len(set.EventNames()))))
		e.skus = append(e.skus, subject.OfString(fmt.Sprintf("sku-%d", i%4)))
	}
	return e
}

// BenchmarkSequence is one admitted event of a subject with so many events in
// the window of a funnel, whose steps are joined by a property.
func BenchmarkSequence(b *testing.B) {
	for _, kept := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("kept=%d", kept), func(b *testing.B) {
			set, problems := rules.Load(fstest.MapFS{"r.yaml": {Data: []byte(fmt.Sprintf(`purposes:
  - {key: p, description: Bench, lawful_basis: consent, retention: 400d}
segments:
  - key: abandoned
    purpose: p
    when: |
      events("Event 0").within("%dm").not_followed_by(events("Event 1").where(properties.sku == previous.properties.sku), "30m").exists()
`, kept))}})
			if set == nil {
				b.Fatal(problems)
			}
			engine := core.New(set, core.Config{})
			r := subject.NewRecord(subject.ID{Value: "u1"})
			at := subject.Instant(1_700_000_000_000_000)
			engine.Decide(r, subject.Decision{Subject: r.ID, Purpose: "p", Status: subject.Given, Time: at, Arrival: at, Expires: subject.Never}, at)
			ev := benchEvent(set)
			step := func(i int) {
				at += 60_000_000 // a minute
				ev.Name, ev.Time, ev.Arrival, ev.Message = ev.names[i%2], at, at, uint64(i)+1
				ev.Fields[ev.sku] = ev.skus[i%len(ev.skus)]
				engine.Event(r, &ev.Event)
				engine.Changes = engine.Changes[:0]
			}
			for i := range 2 * kept {
				step(i)
			}
			b.ReportAllocs()
			for i := 2 * kept; b.Loop(); i++ {
				step(i)
			}
		})
	}
}
