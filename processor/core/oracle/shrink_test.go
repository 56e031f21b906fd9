package oracle

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestShrink shrinks cases for as long as a segment is entered by a condition
// held, and expects little more than that condition to remain.
func TestShrink(t *testing.T) {
	heldByTime := func(c Case) bool {
		changes, _, err := Run(c.Rules, readers(c.Inputs), Options{Until: c.Until})
		if err != nil {
			return false
		}
		for _, ch := range changes {
			_, rule, _ := strings.Cut(c.Text, "- key: "+ch.Segment+"\n")
			rule, _, _ = strings.Cut(rule, "- key: ")
			if ch.Change == "entered" && ch.Reason == "time" && strings.Contains(rule, "held(") {
				return true
			}
		}
		return false
	}
	shrunk := 0
	for seed := uint64(0); shrunk < 5; seed++ {
		c := Generate(rand.New(rand.NewPCG(seed, 1)))
		if !heldByTime(c) {
			continue
		}
		shrunk++
		small := Shrink(c, heldByTime)
		if !heldByTime(small) {
			t.Errorf("seed %d: the shrunk case does not fail", seed)
		}
		if n := strings.Count(strings.Join(small.Inputs, ""), "\n"); n > 4 || strings.Count(small.Text, "when:") > 2 {
			t.Errorf("seed %d: %d records are left\n%s\n%s", seed, n, small.Text, strings.Join(small.Inputs, "--\n"))
		}
	}
}
