package oracle

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// inOrderOfTime is a case with its records in one input, in the order in which
// several would be merged.
func inOrderOfTime(t *testing.T, c Case) Case {
	set, err := parseRules(c.Rules)
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		record
		text string
	}
	var lines []line
	for text := range strings.Lines(strings.Join(c.Inputs, "")) {
		if r, used, err := set.readRecord(text); err == nil && used {
			lines = append(lines, line{r, text})
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int {
		switch {
		case a.earlier(b.record):
			return -1
		case b.earlier(a.record):
			return 1
		}
		return 0
	})
	c.Inputs = []string{""}
	for _, l := range lines {
		c.Inputs[0] += l.text
	}
	return c
}

// TestSplitInputs shows that records that come in order of time give the same
// changes in one input and dealt out to several, those of one instant together.
func TestSplitInputs(t *testing.T) {
	for seed, c := range generated {
		rng := rand.New(rand.NewPCG(seed, 2))
		c = inOrderOfTime(t, c)
		want, _ := runCase(t, c, Options{})
		parts := make([]string, 3)
		last, part := "", 0
		for line := range strings.Lines(c.Inputs[0]) {
			_, at, _ := strings.Cut(line, `"timestamp":"`)
			if at, _, _ = strings.Cut(at, `"`); at != last {
				last, part = at, rng.IntN(len(parts))
			}
			parts[part] += line
		}
		c.Inputs = parts
		got, _ := runCase(t, c, Options{})
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("seed %d: split inputs give other changes (-one +split):\n%s", seed, d)
		}
	}
}

// TestSubjectsAreIndependent shows that, in order of time, each subject's
// changes are the same without the others.
func TestSubjectsAreIndependent(t *testing.T) {
	for seed, c := range generated {
		c = inOrderOfTime(t, c)
		want, _ := runCase(t, c, Options{})
		for _, id := range []string{"u0", "u1", "visitor"} {
			alone := c
			alone.Inputs = []string{""}
			for line := range strings.Lines(c.Inputs[0]) {
				if strings.Contains(line, `"`+id+`"`) {
					alone.Inputs[0] += line
				}
			}
			got, _ := runCase(t, alone, Options{})
			if d := cmp.Diff(of(want, id), got); d != "" {
				t.Fatalf("seed %d: %s alone has other changes (-together +alone):\n%s", seed, id, d)
			}
		}
	}
}

func of(changes []Change, id string) []Change {
	own := []Change{}
	for _, c := range changes {
		if c.UserID == id {
			own = append(own, c)
		}
	}
	return own
}
