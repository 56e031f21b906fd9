package rules

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/segmentd/segmentd/state/subject"
)

// TestPeriodsTurn compares the next change with a look at every microsecond: the
// count is the same before it, and it is one, or an event enters or leaves then.
func TestPeriodsTurn(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		p := periods{program: &program{key: 1}, width: 1 + random.Int64N(9), least: 1 + random.Int64N(3)}
		p.span, p.lag = unbounded, random.Int64N(2)*random.Int64N(10)
		if random.IntN(4) > 0 {
			p.span = p.lag + 1 + random.Int64N(40)
		}
		times := make([]subject.Instant, random.IntN(12))
		for i := range times {
			times[i] = subject.Instant(random.IntN(30))
		}
		slices.Sort(times)
		v := &View{Purpose: &subject.Purpose{Leaves: []subject.Leaf{{Key: 1, Times: times}}}}
		for v.At = 0; v.At < 80; {
			was, bound, next := p.count(v), p.next(v), p.turn(v)
			if next <= v.At {
				t.Fatalf("%+v of %v: at %d the next change is at %d", p, times, v.At, next)
			}
			for v.At++; v.At < min(next, 80); v.At++ {
				if n := p.count(v); !n.Equal(was) {
					t.Fatalf("%+v of %v: at %d there are %v, %v before", p, times, v.At, n, was)
				}
			}
			if next < bound && v.At == next && p.count(v).Equal(was) {
				t.Fatalf("%+v of %v: nothing changes at %d", p, times, next)
			}
		}
	}
}

// BenchmarkPeriods is what a day costs of which nothing happens, of a subject
// with 300 events: every change of the count is decided.
func BenchmarkPeriods(b *testing.B) {
	for _, width := range []string{"7d", "1d", "30m", "1m"} {
		b.Run(width, func(b *testing.B) {
			set := ruleSource{rules: []string{fmt.Sprintf(`events("E").within("30d").periods(%q, 2) >= 4`, width)}}.compile(b)
			p := &subject.Purpose{Key: "p"}
			v := &View{Purpose: p}
			random := rand.New(rand.NewPCG(1, 1))
			for range 300 {
				set.apply(p, set.event("E", second(random.IntN(29*86400)), nil), second(29*86400), v)
			}
			s, turns := &set.Segments[0], 0
			b.ReportAllocs()
			for b.Loop() {
				for v.At = second(29 * 86400); v.At < second(30*86400); v.At = s.Next(v) {
					s.Answer(v)
					turns++
				}
			}
			b.ReportMetric(float64(turns)/float64(b.N), "turns/op")
		})
	}
}
