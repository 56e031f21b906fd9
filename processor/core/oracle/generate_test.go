package oracle

import (
	"flag"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	seeds     = flag.Int("seeds", 150, "random cases that each test of generated cases runs")
	firstSeed = flag.Uint64("first-seed", 0, "of these tests")
)

// generated yields the generated cases and their seeds.
func generated(yield func(seed uint64, c Case) bool) {
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		if !yield(seed, Generate(rand.New(rand.NewPCG(seed, 1)))) {
			return
		}
	}
}

func runCase(t *testing.T, c Case, opts Options) ([]Change, []Member) {
	t.Helper()
	opts.Until = c.Until
	changes, members, err := Run(c.Rules, readers(c.Inputs), opts)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, c.Text, strings.Join(c.Inputs, "\n--\n"))
	}
	return changes, members
}

func readers(inputs []string) (all []io.Reader) {
	for _, text := range inputs {
		all = append(all, strings.NewReader(text))
	}
	return all
}

// TestGenerated runs generated cases and checks what holds of every output:
// looking at more instants changes nothing, entered and exited alternate, the
// versions have no gap, and the memberships are what the changes add up to.
func TestGenerated(t *testing.T) {
	reasons := map[string]int{}
	for seed, c := range generated {
		changes, members := runCase(t, c, Options{})
		again, _ := runCase(t, c, Options{Exhaustive: true})
		if d := cmp.Diff(changes, again, cmpopts.IgnoreFields(Change{}, "Due")); d != "" {
			t.Fatalf("seed %d: an exhaustive run differs (-plain +exhaustive):\n%s\n%s", seed, d, c.Text)
		}
		if d := cmp.Diff(members, addUp(t, changes)); d != "" {
			t.Fatalf("seed %d: members are not the sum of changes:\n%s", seed, d)
		}
		for _, ch := range changes {
			reasons[ch.Change+" "+ch.Reason]++
		}
	}
	t.Log(reasons)
	for _, want := range []string{"entered event", "entered trait", "entered time", "entered given", "entered age", "exited age", "exited event", "exited trait", "exited time",
		"exited retention", "exited expired", "exited withdrawn", "exited refused", "exited objected",
		"exited erased", "erased erased", "exited restricted", "entered unrestricted", "entered rectified", "exited rectified"} {
		if reasons[want] == 0 {
			t.Errorf("no generated case has %q", want)
		}
	}
}

// addUp applies changes, checking their versions and alternation.
func addUp(t *testing.T, changes []Change) []Member {
	t.Helper()
	versions := map[string]uint64{}
	in := map[Member]Member{}
	for _, c := range changes {
		user, key := c.IDType+c.UserID, Member{UserID: c.UserID, IDType: c.IDType, Segment: c.Segment}
		if versions[user]++; versions[user] != c.Version {
			t.Errorf("version %d, want %d", c.Version, versions[user])
		}
		if c.Change == "erased" {
			continue
		}
		if _, was := in[key]; was == (c.Change == "entered") {
			t.Errorf("%s %s twice", c.Change, c.Segment)
		}
		delete(in, key)
		if c.Change == "entered" {
			m := key
			m.Since = c.Time
			in[key] = m
		}
	}
	members := slices.Collect(maps.Values(in))
	sortMembers(members)
	return members
}

// TestGeneratedRules shows that the rules of generated cases use every construct.
func TestGeneratedRules(t *testing.T) {
	var all strings.Builder
	for _, c := range generated {
		all.WriteString(c.Text)
	}
	wanted := []string{"stay_while: ", "min_dwell: ", "cooldown: ", "min_age: ", "list(", "segment(", "ago(", "ahead(", "previous", `"*"`, `*"`, "? 3 : 1", " / "}
	for name := range sourceMethods {
		wanted = append(wanted, "."+name+"(")
	}
	for name := range aggregates {
		wanted = append(wanted, "."+name+"(")
	}
	for name := range zoned {
		wanted = append(wanted, name+"(")
	}
	for _, basis := range basisNames {
		wanted = append(wanted, "lawful_basis: "+basis+"\n")
	}
	for _, w := range append(wanted, "held(held(", "!(held(") {
		if !strings.Contains(all.String(), w) {
			t.Errorf("no generated case has %q", w)
		}
	}
}

// TestGenerateIsDeterministic shows that a seed names a case.
func TestGenerateIsDeterministic(t *testing.T) {
	for seed := range uint64(20) {
		a, b := Generate(rand.New(rand.NewPCG(seed, 1))), Generate(rand.New(rand.NewPCG(seed, 1)))
		if d := cmp.Diff(a, b); d != "" {
			t.Fatalf("seed %d: %s", seed, d)
		}
	}
}
