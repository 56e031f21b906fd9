package kafka

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// candidate is a member that partitions can be given to.
type candidate struct {
	id string
	Introduction
}

// assign gives every partition to one member. Nobody has two more than another;
// of all such assignments it is one that moves the fewest partitions away from
// members that have them. Among those, the last to come to a member are the
// first to leave it, and a partition goes to where its freshest image is. Neither the order of candidates nor of partitions matters.
func assign(candidates []candidate, partitions []int32) map[string][]int32 {
	if len(candidates) == 0 {
		return nil
	}
	a := newAssignment(candidates, partitions)
	a.setQuotas()
	a.giveUp()
	a.place()
	return a.result()
}

type assignment struct {
	members    []candidate // in order of id
	partitions []int32     // ascending
	owner      []int       // of each partition, an index of members; -1: none
	claimed    []int32     // the generation of the owner's claim
	since      []int32     // when the owner's tenure began
	count      []int       // of partitions, by member
	quota      []int       // by member
	fresh      []image     // in the order in which they are used
}

// image is that a member holds a partition's state.
type image struct {
	partition, member int    // indexes
	behind            uint64 // transactions behind the freshest image
}

// nearlyFresh is how many transactions an image may be behind and be as good as
// the freshest: catching up takes no longer than opening it.
const nearlyFresh = 1000

func newAssignment(candidates []candidate, partitions []int32) *assignment {
	a := &assignment{members: slices.Clone(candidates), partitions: slices.Clone(partitions)}
	slices.SortFunc(a.members, func(x, y candidate) int { return strings.Compare(x.id, y.id) })
	slices.Sort(a.partitions)
	a.count, a.quota = make([]int, len(a.members)), make([]int, len(a.members))
	a.owner = make([]int, len(a.partitions))
	a.claimed, a.since = make([]int32, len(a.partitions)), make([]int32, len(a.partitions))
	for i := range a.owner {
		a.owner[i] = -1
	}
	a.readClaims()
	a.readImages()
	return a
}

// readClaims finds who has what: of several claims the newest is right, and of
// equally new ones the first member's.
func (a *assignment) readClaims() {
	for m := range a.members {
		for _, t := range a.members[m].Owned {
			p, known := slices.BinarySearch(a.partitions, t.Partition)
			if known && (a.owner[p] < 0 || a.members[m].Generation > a.claimed[p]) {
				a.owner[p], a.claimed[p], a.since[p] = m, a.members[m].Generation, t.Since
			}
		}
	}
	for _, m := range a.owner {
		if m >= 0 {
			a.count[m]++
		}
	}
}

// readImages lists images: those far behind last, then those of partitions
// first that came to their owner last, the fresher before the staler.
func (a *assignment) readImages() {
	newest := make([]uint64, len(a.partitions))
	for m := range a.members {
		for _, h := range a.members[m].Held {
			if p, known := slices.BinarySearch(a.partitions, h.Partition); known {
				newest[p] = max(newest[p], h.Transaction)
				a.fresh = append(a.fresh, image{p, m, h.Transaction})
			}
		}
	}
	for i := range a.fresh {
		a.fresh[i].behind = newest[a.fresh[i].partition] - a.fresh[i].behind
	}
	slices.SortFunc(a.fresh, func(x, y image) int {
		return cmp.Or(cmp.Compare(bits.Len64(x.behind/nearlyFresh), bits.Len64(y.behind/nearlyFresh)), cmp.Compare(a.since[y.partition], a.since[x.partition]),
			cmp.Compare(x.behind, y.behind), cmp.Compare(x.partition, y.partition), cmp.Compare(x.member, y.member))
	})
}

// setQuotas says how many partitions each member gets: all the same, and where
// that does not divide one more to those that have most.
func (a *assignment) setQuotas() {
	images := make([]int, len(a.members)) // of partitions that nobody has
	for _, i := range a.fresh {
		if a.owner[i.partition] < 0 {
			images[i.member]++
		}
	}
	order := make([]int, len(a.members))
	for m := range order {
		order[m] = m
		a.quota[m] = len(a.partitions) / len(a.members)
	}
	slices.SortStableFunc(order, func(x, y int) int {
		return cmp.Or(cmp.Compare(a.count[y], a.count[x]), cmp.Compare(images[y], images[x]))
	})
	for _, m := range order[:len(a.partitions)%len(a.members)] {
		a.quota[m]++
	}
}

// giveUp takes from members what they have beyond their quota: first what a
// member with room holds, then what came last, then the highest numbers.
func (a *assignment) giveUp() {
	room := make([]int, len(a.members))
	for m := range room {
		room[m] = a.quota[m] - a.count[m]
	}
	for _, i := range a.fresh {
		if m := a.owner[i.partition]; m >= 0 && a.count[m] > a.quota[m] && room[i.member] > 0 {
			room[i.member]--
			a.take(i.partition)
		}
	}
	latest := make([]int, len(a.partitions))
	for p := range latest {
		latest[p] = p
	}
	slices.SortFunc(latest, func(x, y int) int { return cmp.Or(cmp.Compare(a.since[y], a.since[x]), cmp.Compare(y, x)) })
	for _, p := range latest {
		if m := a.owner[p]; m >= 0 && a.count[m] > a.quota[m] {
			a.take(p)
		}
	}
}

func (a *assignment) take(p int) {
	a.count[a.owner[p]]--
	a.owner[p] = -1
}

func (a *assignment) give(p, m int) {
	a.count[m]++
	a.owner[p] = m
}

// place gives out what nobody has: where its image is, else to whom lacks most.
func (a *assignment) place() {
	for _, i := range a.fresh {
		if a.owner[i.partition] < 0 && a.count[i.member] < a.quota[i.member] {
			a.give(i.partition, i.member)
		}
	}
	for p := range a.partitions {
		if a.owner[p] >= 0 {
			continue
		}
		neediest := 0
		for m := range a.members {
			if a.quota[m]-a.count[m] > a.quota[neediest]-a.count[neediest] {
				neediest = m
			}
		}
		a.give(p, neediest)
	}
}

func (a *assignment) result() map[string][]int32 {
	all := make(map[string][]int32, len(a.members))
	for m := range a.members {
		all[a.members[m].id] = []int32{}
	}
	for p, m := range a.owner {
		id := a.members[m].id
		all[id] = append(all[id], a.partitions[p])
	}
	return all
}
