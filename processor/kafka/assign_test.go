package kafka

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
)

func partitionsTo(n int32) (all []int32) {
	for p := range n {
		all = append(all, p)
	}
	return all
}

// group is members that come and go, and remember what they had.
type group struct {
	t          *testing.T
	rng        *rand.Rand
	partitions []int32
	generation int32
	members    map[string]*candidate
	left       map[string]*candidate // with what they have on disk
	next       int
}

func (g *group) join() {
	g.next++
	id := fmt.Sprintf("m%02d-%d", g.rng.IntN(100), g.next)
	g.members[id] = &candidate{id: id}
}

// comeBack joins a member that left, under a new id and with its images.
func (g *group) comeBack() {
	for id, m := range g.left {
		delete(g.left, id)
		g.next++
		back := &candidate{id: fmt.Sprintf("%s-%d", id, g.next), Introduction: Introduction{Held: m.Held}}
		g.members[back.id] = back
		return
	}
}

func (g *group) leave() {
	ids := slices.Sorted(maps.Keys(g.members))
	if len(ids) < 2 {
		return
	}
	id := ids[g.rng.IntN(len(ids))]
	g.left[id] = g.members[id]
	delete(g.members, id)
}

// rebalance assigns, holds the result to what it must be, and lets members
// remember it; now and then one misses the generation and keeps a stale claim.
func (g *group) rebalance() {
	var all []candidate
	for _, m := range g.members {
		all = append(all, *m)
	}
	got := assign(all, g.partitions)
	for range 3 {
		g.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		mixed := slices.Clone(g.partitions)
		g.rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		if again := assign(all, mixed); !maps.EqualFunc(got, again, slices.Equal[[]int32]) {
			g.t.Fatalf("another order gives %v, not %v", again, got)
		}
	}
	g.check(got)
	g.generation++
	for id, owned := range got {
		m := g.members[id]
		if g.rng.IntN(8) == 0 {
			continue // evicted, and it does not know yet
		}
		m.Owned, m.Generation = tenures(m.Owned, Generation{ID: g.generation, Partitions: owned}), g.generation
		for _, p := range owned {
			m.Held = slices.DeleteFunc(m.Held, func(h Held) bool { return h.Partition == p })
			m.Held = append(m.Held, Held{p, uint64(g.generation)})
		}
	}
}

func (g *group) check(got map[string][]int32) {
	seen := map[int32]int{}
	least, most := len(g.partitions), 0
	for _, owned := range got {
		least, most = min(least, len(owned)), max(most, len(owned))
		for _, p := range owned {
			seen[p]++
		}
	}
	if len(got) != len(g.members) || len(seen) != len(g.partitions) || most-least > 1 {
		g.t.Fatalf("not balanced: %v", got)
	}
	for p, n := range seen {
		if n != 1 {
			g.t.Fatalf("partition %d has %d owners", p, n)
		}
	}
	if stay, can := g.stay(got), g.canStay(); stay != can {
		g.t.Fatalf("%d partitions stay and %d can: %v", stay, can, got)
	}
}

// owners are the right claims.
func (g *group) owners() map[int32]string {
	owners := map[int32]string{}
	for _, id := range slices.Sorted(maps.Keys(g.members)) {
		m := g.members[id]
		for _, held := range m.Owned {
			p := held.Partition
			if o := owners[p]; o == "" || m.Generation > g.members[o].Generation {
				owners[p] = id
			}
		}
	}
	return owners
}

func (g *group) stay(got map[string][]int32) (n int) {
	for p, id := range g.owners() {
		if slices.Contains(got[id], p) {
			n++
		}
	}
	return n
}

// canStay is how many partitions can stay in the best of balanced assignments:
// as many as a quota for all lets, and one more of each member that has more,
// for as many members as get one more.
func (g *group) canStay() (n int) {
	counts := map[string]int{}
	for _, id := range g.owners() {
		counts[id]++
	}
	quota, more := len(g.partitions)/len(g.members), len(g.partitions)%len(g.members)
	for _, c := range counts {
		n += min(c, quota)
		if c > quota && more > 0 {
			n, more = n+1, more-1
		}
	}
	return n
}

// Members come, go, come back and miss generations: each time the assignment is
// balanced, all members would compute the same, and no partition moves that could stay.
func TestAssignRandomly(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		g := &group{t: t, rng: rng, partitions: partitionsTo(1 + rng.Int32N(40)), members: map[string]*candidate{}, left: map[string]*candidate{}}
		g.join()
		for range 30 {
			g.rebalance()
			switch rng.IntN(4) {
			case 0, 1:
				g.join()
			case 2:
				g.leave()
			case 3:
				g.comeBack()
			}
		}
	}
}

// One after the other, three members are restarted under new ids: what each had
// is with it again, and nothing of the others has moved but what was lent to them.
func TestAssignRollingRestart(t *testing.T) {
	partitions := partitionsTo(12)
	members := map[string]*candidate{"a": {id: "a"}, "b": {id: "b"}, "c": {id: "c"}}
	generation := int32(0)
	rebalance := func() map[string][]int32 {
		var all []candidate
		for _, m := range members {
			all = append(all, *m)
		}
		got := assign(all, partitions)
		generation++
		for id, owned := range got {
			m := members[id]
			m.Owned, m.Generation = tenures(m.Owned, Generation{ID: generation, Partitions: owned}), generation
			for _, p := range owned {
				m.Held = slices.DeleteFunc(m.Held, func(h Held) bool { return h.Partition == p })
				m.Held = append(m.Held, Held{p, uint64(generation)})
			}
		}
		return got
	}
	first := rebalance()
	for _, id := range []string{"a", "b", "c"} {
		m := members[id]
		delete(members, id)
		for other, owned := range rebalance() {
			for _, p := range first[other] {
				if !slices.Contains(owned, p) {
					t.Errorf("while %s is away, %d moves from %s", id, p, other)
				}
			}
		}
		members[id] = &candidate{id: id, Introduction: Introduction{Held: m.Held}}
		if back := rebalance(); !maps.EqualFunc(first, back, slices.Equal[[]int32]) {
			t.Errorf("after the restart of %s: %v, before %v", id, back, first)
		}
	}
}

// A member that was away claims what others have since had: the newer claim is right.
func TestAssignIgnoresStaleClaims(t *testing.T) {
	got := assign([]candidate{
		{"a", Introduction{Owned: []Tenure{{0, 1}, {1, 1}, {2, 1}, {3, 1}}, Generation: 4}},
		{"b", Introduction{Owned: []Tenure{{0, 7}, {1, 7}}, Generation: 7}},
		{"c", Introduction{Owned: []Tenure{{2, 7}, {3, 7}}, Generation: 7}},
	}, partitionsTo(4))
	for id, want := range map[string]int{"a": 1, "b": 2, "c": 1} {
		if len(got[id]) != want {
			t.Errorf("%v", got)
		}
	}
	if !slices.Equal(got["b"], []int32{0, 1}) {
		t.Errorf("%v", got)
	}
}

// An introduction is read as it was written, and is short: a coordinator keeps
// those of all members in one record of at most 1 MB.
func TestIntroduction(t *testing.T) {
	in := Introduction{Instance: "host/1", Address: "http://host:8080", Generation: 1 << 30}
	for p := range int32(1000) {
		in.Owned, in.Held = append(in.Owned, Tenure{p, 1 << 30}), append(in.Held, Held{p, 1 << 40})
	}
	b, err := in.encode()
	if err != nil || len(b) > 50_000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if d := cmp.Diff(in, introduced(b)); d != "" {
		t.Error(d)
	}
}

// Of two images the fresher one counts, and what is not an introduction claims nothing.
func TestStickyReadsIntroductions(t *testing.T) {
	s := &sticky{cfg: GroupConfig{Topic: "t"}}
	member := func(id, data string) kafkago.GroupMember {
		return kafkago.GroupMember{ID: id, Topics: []string{"t"}, UserData: []byte(data)}
	}
	members := []kafkago.GroupMember{
		member("a", `{"held":[[1,5]]}`),
		member("b", `{"held":[[0,9],[1,9]]}`),
		member("c", `garbage`),
		{ID: "other", Topics: []string{"u"}},
	}
	var partitions []kafkago.Partition
	for p := range 3 {
		partitions = append(partitions, kafkago.Partition{Topic: "t", ID: p}, kafkago.Partition{Topic: "u", ID: p})
	}
	got := s.AssignGroups(members, partitions)
	if len(got) != 3 || !slices.Equal(got["a"]["t"], []int{1}) || !slices.Equal(got["b"]["t"], []int{0}) || !slices.Equal(got["c"]["t"], []int{2}) {
		t.Errorf("%v", got)
	}
}

// The leader gives nothing to members with other inputs than its own, and shares
// with those of which it is not known.
func TestLeaderGivesNothingToUnlikeMembers(t *testing.T) {
	s := &sticky{cfg: GroupConfig{Topic: "t", Inputs: "a"}}
	var members []kafkago.GroupMember
	for id, inputs := range map[string]string{"like": "a", "unlike": "b", "older": ""} {
		data, err := Introduction{Inputs: inputs}.encode()
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, kafkago.GroupMember{ID: id, Topics: []string{"t"}, UserData: data})
	}
	given := s.AssignGroups(members, []kafkago.Partition{{Topic: "t", ID: 0}, {Topic: "t", ID: 1}})
	if len(given["like"]["t"]) != 1 || len(given["unlike"]["t"]) != 0 || len(given["older"]["t"]) != 1 {
		t.Errorf("the members are given %v", given)
	}
}
