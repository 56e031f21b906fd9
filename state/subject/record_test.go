package subject

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestPurposesStaySorted(t *testing.T) {
	r := NewRecord(ID{Value: "u1"})
	if r.Clock != LongAgo || r.Next != Never || r.Purpose("a") != nil {
		t.Errorf("a new record: %+v", r)
	}
	for _, key := range []string{"m", "a", "z", "m", "b"} {
		p := r.EnsurePurpose(key)
		if p.Key != key || r.Purpose(key) != p || p.Basis.Until != Never {
			t.Errorf("purpose %s: %+v", key, p)
		}
	}
	if len(r.Purposes) != 4 || !slices.IsSortedFunc(r.Purposes, func(a, b Purpose) int { return strings.Compare(a.Key, b.Key) }) {
		t.Errorf("purposes %+v", r.Purposes)
	}
}

func TestLeavesAndMembersFollowAModel(t *testing.T) {
	rng := newRand(t)
	var p Purpose
	leaves, members := map[uint32]bool{}, map[uint32]Instant{}
	for range 5_000 {
		key := uint32(rng.IntN(50))
		switch rng.IntN(4) {
		case 0:
			if l := p.EnsureLeaf(key); l.Key != key {
				t.Fatalf("leaf %d has key %d", key, l.Key)
			}
			leaves[key] = true
		case 1:
			p.DropLeaf(key)
			delete(leaves, key)
		case 2:
			since := Instant(rng.IntN(1000))
			p.SetMember(key, true, since)
			if _, in := members[key]; !in {
				members[key] = since
			}
		default:
			p.SetMember(key, false, 0)
			delete(members, key)
		}
		if (p.Leaf(key) != nil) != leaves[key] {
			t.Fatalf("leaf %d is there: %v", key, !leaves[key])
		}
		since, in := p.Member(key)
		if want, wanted := members[key]; in != wanted || since != want {
			t.Fatalf("member of %d since %v (%v), want %v (%v)", key, since, in, want, wanted)
		}
	}
	var keys []uint32
	for i := range p.Leaves {
		keys = append(keys, p.Leaves[i].Key)
	}
	if !slices.Equal(keys, slices.Sorted(maps.Keys(leaves))) {
		t.Errorf("leaves %v", keys)
	}
	keys = nil
	for i := range p.Members {
		keys = append(keys, p.Members[i].Segment)
	}
	if !slices.Equal(keys, slices.Sorted(maps.Keys(members))) {
		t.Errorf("members %v", keys)
	}
}

func TestArmedInstantsFollowAModel(t *testing.T) {
	rng := newRand(t)
	var p Purpose
	want := map[int32]Instant{}
	for range 3_000 {
		segment, at := int32(rng.IntN(20)), Instant(rng.IntN(100))
		if rng.IntN(3) == 0 {
			at = Never
		}
		p.Arm(segment, at)
		if want[segment] = at; at == Never {
			delete(want, segment)
		}
		got := map[int32]Instant{}
		for _, a := range p.Armed {
			got[a.Segment] = a.At
		}
		if !maps.Equal(got, want) || len(p.Armed) != len(want) {
			t.Fatalf("armed %v, want %v", p.Armed, want)
		}
	}
}

func TestTraits(t *testing.T) {
	p := Purpose{Traits: []Trait{{Key: "age", Value: OfInt(4)}, {Key: "plan"}}}
	if !p.Trait("age").Equal(OfInt(4)) || !p.Trait("plan").IsNull() || !p.Trait("none").IsNull() {
		t.Error("Trait is wrong")
	}
}

func TestIDs(t *testing.T) {
	for id, valid := range map[string]bool{"u1": true, "zoë": true, "": false, "a\nb": false, "a\x7f": false, "a\u0085": false, "zo\xeb": false,
		strings.Repeat("x", MaxIDBytes): true, strings.Repeat("x", MaxIDBytes+1): false} {
		if ValidID(id) != valid {
			t.Errorf("%.20q is valid: %v", id, !valid)
		}
	}
	user, visitor := ID{UserID, "1"}, ID{AnonymousID, "1"}
	if user.MemberKeyPrefix() != "u|1|" || visitor.MemberKeyPrefix() != "a|1|" || user.IsZero() || !(ID{}).IsZero() {
		t.Error("ids are told apart wrongly")
	}
	if UserID.String() != "userId" || AnonymousID.String() != "anonymousId" {
		t.Error("id types are named wrongly")
	}
}

// TestClones changes every slice of a copy.
func TestClones(t *testing.T) {
	whole := func() *Record {
		p := Purpose{Key: "p", Basis: Basis{Grants: []Grant{{At: 1}}}, Traits: []Trait{{Key: "t", Time: 1}},
			Leaves: []Leaf{{Key: 1, Times: []Instant{1}, Values: []Value{OfInt(1)}}}, Members: []Membership{{Segment: 1}}, Armed: []Armed{{At: 1}}}
		return &Record{ID: ID{Value: "u"}, Purposes: []Purpose{p}, Messages: []Message{{Hash: 1}}}
	}
	r := whole()
	r.Shadow = whole()
	c := r.Clone()
	if !reflect.DeepEqual(r, c) {
		t.Errorf("%+v is copied as %+v", r, c)
	}
	for _, c := range []*Record{c, c.Shadow} {
		p := &c.Purposes[0]
		c.Messages[0].Hash, p.Basis.Grants[0].At, p.Traits[0].Time, p.Members[0].Segment, p.Armed[0].At = 2, 2, 2, 2, 2
		p.Leaves[0].Times[0], p.Leaves[0].Values[0] = 2, OfInt(2)
		p.Leaves[0].Key, p.Key = 2, "q"
	}
	want := whole()
	want.Shadow = whole()
	if !reflect.DeepEqual(r, want) {
		t.Errorf("a change of the copy makes %+v", r)
	}
}

func TestCauses(t *testing.T) {
	ev := Event{Source: Position{"events", 3, 17}}
	if got := ev.Cause(); got != "events:3:17" {
		t.Errorf("cause %s", got)
	}
	ev.MessageID = "m1"
	if got := ev.Cause(); got != "m1" {
		t.Errorf("cause %s", got)
	}
}

func TestDecisions(t *testing.T) {
	if at := (Decision{Time: 5, Arrival: 3}).Effective(); at != 3 {
		t.Errorf("effective at %v", at)
	}
	reasons := map[Status]Reason{Refused: ByRefused, Withdrawn: ByWithdrawn, Objected: ByObjected}
	for s := NoDecision; s <= Objected; s++ {
		reason, stops := reasons[s]
		if s.Stops() != stops || stops && (ReasonOfStop(s) != reason || reason.String() != s.String()) || s.String() == "" {
			t.Errorf("status %v: stops %v, reason %v", s, s.Stops(), ReasonOfStop(s))
		}
	}
}

func TestClosedSetsAreNamed(t *testing.T) {
	seen := map[string]bool{}
	for r := range Reasons {
		seen[r.String()] = true
	}
	for o := range Outcomes {
		seen["outcome "+o.String()] = true
	}
	for k := Entered; k <= Erased; k++ {
		seen["kind "+k.String()] = true
	}
	if len(seen) != int(Reasons)+int(Outcomes)+3 || seen[""] {
		t.Errorf("%d names, want as many as there are members: %v", len(seen), seen)
	}
}
