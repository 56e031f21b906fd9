package rules

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/segmentd/segmentd/state/subject"
)

// benchRules are n rules of the shapes that are used most, over five event names.
func benchRules(n int) ruleSource {
	source := ruleSource{mins: map[string]int64{"properties.total": 0}}
	for i := range n {
		name := fmt.Sprintf("Event %d", i%5)
		switch i % 6 {
		case 0:
			source.rules = append(source.rules, fmt.Sprintf(`events(%q).within("%dd").count() >= %d`, name, 7+i, 3+i%5))
		case 1:
			source.rules = append(source.rules, fmt.Sprintf(`events(%q).where(properties.sku == "sku-%d").exists() && traits.country == "DE"`, name, i))
		case 2:
			source.rules = append(source.rules, fmt.Sprintf(`events(%q).within("%dd").sum(properties.total) >= 50`, name, 30+i))
		case 3:
			source.rules = append(source.rules, fmt.Sprintf(`events(%q).where(properties.total > %d && properties.sku.startsWith("sku")).within("30d").count() == 2`, name, i))
		case 4:
			source.rules = append(source.rules, fmt.Sprintf(`events(%q).last().timestamp > ago("%dd")`, name, 5+i))
		case 5:
			source.rules = append(source.rules, fmt.Sprintf(`events(%q).within("10d").distinct(properties.sku) >= %d ? true : segment("r000")`, name, 2+i%3))
		}
	}
	return source
}

// BenchmarkStep is what one event costs of the rules: the leaves it touches are
// inserted into, their segments decided and their next instants computed.
func BenchmarkStep(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("segments=%d", n), func(b *testing.B) {
			set := benchRules(n).compile(b)
			events := benchEvents(set)
			p := &subject.Purpose{Key: "p", Traits: []subject.Trait{{Key: "country", Value: val("DE")}}}
			v := &View{Purpose: p}
			var buf []*Leaf
			step := func(i int) {
				ev := events[i%len(events)]
				ev.Time, v.At = second(i), second(i)
				buf = set.Touched(ev, buf[:0])
				for _, l := range buf {
					if _, changed := l.Insert(p, ev, v.At, v); !changed {
						continue
					}
					for _, s := range l.Segments {
						set.Segments[s].Answer(v)
						set.Segments[s].Next(v)
					}
				}
			}
			for i := range 5000 {
				step(i)
			}
			touched := len(buf)
			b.ReportAllocs()
			for i := 5000; b.Loop(); i++ {
				step(i)
			}
			b.ReportMetric(float64(touched), "leaves/op")
		})
	}
}

func benchEvents(set *Set) (events []*subject.Event) {
	for i := range 50 {
		events = append(events, set.event(fmt.Sprintf("Event %d", i%5), 0, map[string]subject.Value{
			"properties.sku": val(fmt.Sprintf("sku-%d", i%7)), "properties.total": val(i % 40), "properties.currency": val("EUR"),
		}))
	}
	return events
}

// BenchmarkTouched shows that rules which compare one property with different
// constants cost an event nothing.
func BenchmarkTouched(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("segments=%d", n), func(b *testing.B) {
			var source ruleSource
			for i := range n {
				source.rules = append(source.rules, fmt.Sprintf(`events("View").where(properties.sku == "sku-%d").count() >= 3`, i))
			}
			set := source.compile(b)
			ev := set.event("View", second(1), map[string]subject.Value{"properties.sku": val("sku-42")})
			var buf []*Leaf
			b.ReportAllocs()
			for b.Loop() {
				buf = set.Touched(ev, buf[:0])
			}
			if len(buf) != 1 {
				b.Fatalf("%d leaves touched", len(buf))
			}
		})
	}
}

// BenchmarkLoad reads, checks and compiles a rule set.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("segments=%d", n), func(b *testing.B) {
			var text strings.Builder
			text.WriteString("purposes:\n  - {key: p, description: Bench, lawful_basis: consent, retention: 400d}\nsegments:\n")
			for i := range n {
				source := fmt.Sprintf(`events("Event %d")`, i%1000)
				rule := []string{source + `.within("30d").count() >= 5`, source + `.last().timestamp > ago("3d")`,
					fmt.Sprintf(`%s.where(properties.sku == "sku-%d").within("14d").count() >= 2`, source, i),
					source + `.within("7d").followed_by(events("Order").where(properties.sku == previous.properties.sku), "1d").exists()`,
					`held(` + source + `.within("1d").count() == 0, "7d")`}[i%5]
				fmt.Fprintf(&text, "  - {key: s%05d, purpose: p, when: '%s'}\n", i, rule)
			}
			files := fstest.MapFS{"r.yaml": {Data: []byte(text.String())}}
			for b.Loop() {
				if set, problems := Load(files); set == nil {
					b.Fatal(problems[0])
				}
			}
		})
	}
}
