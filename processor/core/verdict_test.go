package core_test

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	"github.com/segmentd/segmentd/processor/core/oracle"
	"github.com/segmentd/segmentd/rules"
)

var verdict = regexp.MustCompile(`so the segment '(\w+)' (never|always) holds`)

// endings are the reasons of exits from a segment that always holds.
var endings = []string{"refused", "withdrawn", "objected", "expired", "age", "erased", "restricted"}

// TestVerdictsAreTrue holds check to its word on random rules and streams:
// nobody enters a segment of which it says that it never holds, and nobody leaves
// one that always does but for want of a lawful basis.
func TestVerdictsAreTrue(t *testing.T) {
	claims := 0
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		c := oracle.Generate(rand.New(rand.NewPCG(seed, 2)))
		verdicts := map[string]string{}
		_, problems := rules.Load(c.Rules)
		for _, p := range problems {
			if m := verdict.FindStringSubmatch(p.Message); m != nil {
				verdicts[m[1]] = m[2]
			}
		}
		if len(verdicts) == 0 {
			continue
		}
		claims += len(verdicts)
		all, err := engineChanges(c.Rules, c.Inputs, c.Until)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, changes := range all {
			for _, ch := range changes {
				v := verdicts[ch.Segment]
				if v == "never" && ch.Change == "entered" || v == "always" && ch.Change == "exited" && !slices.Contains(endings, ch.Reason) {
					t.Fatalf("seed %d: %s %s (%s), but it %s holds, in\n%s", seed, ch.Change, ch.Segment, ch.Reason, v, c.Text)
				}
			}
		}
	}
	t.Logf("%d verdicts", claims)
}
