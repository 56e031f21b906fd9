package subject

import "slices"

// Record is everything kept about one subject: the value of the changelog and
// of the local image. It is owned by the goroutine of its partition; Step
// changes it in place.
//
// INVARIANT: Purposes is sorted by Key, Leaves by Key, Members by Segment; a
// leaf without evidence is absent. Held is zero, or its Until later than Next.
// Restrictions are sorted by At, at one instant the lift first, no two alike; all
// are later than Erased. Corrections are sorted by Time, then Key, no two of both
// alike, and later than Erased. A fence (IsFence) has neither Held nor Messages.
type Record struct {
	ID       ID
	Version  uint64  // changes published so far, also across erasure
	Clock    Instant // the subject's clock: newest instant applied; LongAgo at first
	Purposes []Purpose
	Messages []Message // remembered message ids, oldest application first
	Next     Instant   // earliest instant at which an answer can change by itself; Never
	Held     Held      // what is due at Next waits for old inputs that may follow; zero: it does not

	// Erased is the effective instant of the newest erasure, the fence: purposes
	// begin stopped at it (FreshBasis), and only a newer grant opens them again.
	// 0: there was none.
	Erased Instant
	// Restrictions are the subject's demands to restrict processing and the ends
	// of them (GDPR article 18).
	Restrictions []Restriction
	// Corrections are rectified traits (GDPR article 16) that take force once the
	// clock reaches their Time, as they were asked for: of no purpose yet.
	Corrections []Trait

	// Shadow is the subject as it would be had the present rule set been in force
	// from the start of the inputs, while that is being found out; else nil. It
	// has no shadow of its own, and what it decides is not published.
	Shadow *Record

	// Forgot reports whether something kept was deleted since the record was last
	// stored, because a basis ended or the subject was erased: what is stored of it
	// must go for good, too. Not stored.
	Forgot bool
}

// Held is a time in which inputs with old dates are arriving, by the broker's
// timestamps: from the first of them until shortly after the newest.
type Held struct{ Since, Until Instant }

// Restriction is a demand that processing be restricted from an instant on, or the end
// of that.
type Restriction struct {
	At     Instant // effective
	Lifted bool
}

// Before orders restrictions.
func (x Restriction) Before(y Restriction) bool {
	return x.At < y.At || x.At == y.At && x.Lifted && !y.Lifted
}

// IsFence reports whether nothing is kept of the subject but that it was erased. Its
// id is not stored.
func (r *Record) IsFence() bool { return r.Erased != 0 && len(r.Purposes) == 0 }

// FreshBasis is the basis of a purpose about which nothing is kept yet: undecided, or
// stopped by the erasure.
func (r *Record) FreshBasis() Basis {
	b := Basis{Until: Never}
	if r.Erased != 0 {
		b.Stop = Stop{At: r.Erased, Status: Forgotten}
	}
	return b
}

// Due is the instant that the partition's clock must pass for what is due at Next
// to be applied, if no input of the subject comes to it before; Never.
func (r *Record) Due() Instant {
	if r.Held == (Held{}) {
		return r.Next
	}
	return r.Held.Until
}

// Purpose is what is kept of a subject for one purpose. Nothing in it is
// readable for another.
type Purpose struct {
	Key     string
	Basis   Basis
	Traits  []Trait // sorted by Key
	Leaves  []Leaf
	Members []Membership

	// Armed are the instants at which segments' answers can change by
	// themselves. Derived; not stored; nil after decoding (see Indexed).
	Armed []Armed
	// Indexed reports whether Armed is up to date. Not stored.
	Indexed bool
}

// Basis is the state of a purpose's lawful basis for one subject.
//
// INVARIANT: Grants are sorted by At; every At is later than Stop.At if there
// was a stop.
type Basis struct {
	Known  bool    // the basis holds at the record's clock
	Since  Instant // start of the present unbroken period, if Known
	Until  Instant // instant from which it no longer holds by itself; Never, also where it does not hold
	Lapsed bool    // it ended by expiry (the outcome "expired"), if not Known
	Stop   Stop    // the newest stop
	Grants []Grant // that no stop has beaten; those ahead of the clock are pending
}

// Stop is the newest refusal, withdrawal, objection or erasure; Status NoDecision if there was none.
type Stop struct {
	At     Instant
	Status Status
}

// Grant is a consent that no stop has beaten.
type Grant struct {
	At      Instant // effective instant
	Expires Instant // from which it no longer counts; Never
}

// Trait is one top-level trait kept for a purpose. Null is a removal,
// remembered so that an older value cannot come back.
type Trait struct {
	Key   string
	Time  Instant
	Value Value
}

// Leaf is the kept evidence of one incremental quantity, named by the hash of
// its meaning (source, predicate, aggregate, purpose).
//
// INVARIANT: Times is ascending; equal times are in order of arrival; Values is
// nil or parallel to Times.
type Leaf struct {
	Key       uint32
	Truncated bool // evidence was dropped for max_subject_bytes
	Times     []Instant
	Values    []Value
}

// Clone returns a leaf that shares no memory with l but values, which never change.
func (l *Leaf) Clone() Leaf {
	c := *l
	c.Times, c.Values = slices.Clone(l.Times), slices.Clone(l.Values)
	return c
}

// Membership is one segment the subject is in.
type Membership struct {
	Segment uint32 // hash of the segment's key
	Since   Instant
}

// Armed is the next instant at which a segment's answer can change by itself.
type Armed struct {
	Segment int32 // index into the rule set's segments
	At      Instant
}

// Message is a remembered message id.
type Message struct {
	Hash uint64
	At   Instant // the subject's clock when it was applied
}

// NewRecord returns the record of a subject nothing is known about.
func NewRecord(id ID) *Record { return &Record{ID: id, Clock: LongAgo, Next: Never} }

// Clone returns a copy of the record that shares nothing with it that either
// may change.
func (r *Record) Clone() *Record {
	c := *r
	c.Messages, c.Purposes = slices.Clone(r.Messages), slices.Clone(r.Purposes)
	c.Restrictions, c.Corrections = slices.Clone(r.Restrictions), slices.Clone(r.Corrections)
	for i := range c.Purposes {
		p := &c.Purposes[i]
		p.Basis.Grants, p.Traits = slices.Clone(p.Basis.Grants), slices.Clone(p.Traits)
		p.Leaves, p.Members, p.Armed = slices.Clone(p.Leaves), slices.Clone(p.Members), slices.Clone(p.Armed)
		for j := range p.Leaves {
			p.Leaves[j] = p.Leaves[j].Clone()
		}
	}
	if r.Shadow != nil {
		c.Shadow = r.Shadow.Clone()
	}
	return &c
}

// Purpose returns the subject's state for a purpose, or nil.
func (r *Record) Purpose(key string) *Purpose {
	for i := range r.Purposes {
		if r.Purposes[i].Key == key {
			return &r.Purposes[i]
		}
	}
	return nil
}

// EnsurePurpose returns the subject's state for a purpose, added with a FreshBasis
// if it is absent. Pointers returned before are invalid after an addition.
func (r *Record) EnsurePurpose(key string) *Purpose {
	i := 0
	for ; i < len(r.Purposes) && r.Purposes[i].Key <= key; i++ {
		if r.Purposes[i].Key == key {
			return &r.Purposes[i]
		}
	}
	r.Purposes = slices.Insert(r.Purposes, i, Purpose{Key: key, Basis: r.FreshBasis()})
	return &r.Purposes[i]
}

// Leaf returns the evidence of a leaf, or nil where there is none.
func (p *Purpose) Leaf(key uint32) *Leaf {
	i, ok := p.findLeaf(key)
	if !ok {
		return nil
	}
	return &p.Leaves[i]
}

// EnsureLeaf returns the evidence of a leaf, added if it is absent. Pointers
// returned before are invalid after an addition.
func (p *Purpose) EnsureLeaf(key uint32) *Leaf {
	i, ok := p.findLeaf(key)
	if !ok {
		p.Leaves = slices.Insert(p.Leaves, i, Leaf{Key: key})
	}
	return &p.Leaves[i]
}

// DropLeaf forgets a leaf.
func (p *Purpose) DropLeaf(key uint32) {
	if i, ok := p.findLeaf(key); ok {
		p.Leaves = slices.Delete(p.Leaves, i, i+1)
	}
}

func (p *Purpose) findLeaf(key uint32) (int, bool) {
	lo, hi := 0, len(p.Leaves)
	for lo < hi {
		m := (lo + hi) / 2
		if p.Leaves[m].Key < key {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo, lo < len(p.Leaves) && p.Leaves[lo].Key == key
}

// Trait returns the value of a trait; null if there is none.
func (p *Purpose) Trait(key string) Value {
	for i := range p.Traits {
		if p.Traits[i].Key == key {
			return p.Traits[i].Value
		}
	}
	return Value{}
}

// Member returns since when the subject is in a segment.
func (p *Purpose) Member(segment uint32) (since Instant, ok bool) {
	i, ok := p.findMember(segment)
	if !ok {
		return 0, false
	}
	return p.Members[i].Since, true
}

// SetMember enters (in) or leaves a segment.
func (p *Purpose) SetMember(segment uint32, in bool, since Instant) {
	i, ok := p.findMember(segment)
	switch {
	case in && !ok:
		p.Members = slices.Insert(p.Members, i, Membership{Segment: segment, Since: since})
	case !in && ok:
		p.Members = slices.Delete(p.Members, i, i+1)
	}
}

func (p *Purpose) findMember(segment uint32) (int, bool) {
	lo, hi := 0, len(p.Members)
	for lo < hi {
		m := (lo + hi) / 2
		if p.Members[m].Segment < segment {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo, lo < len(p.Members) && p.Members[lo].Segment == segment
}

// Arm sets the instant at which a segment's answer can change by itself; Never disarms.
func (p *Purpose) Arm(segment int32, at Instant) {
	for i := range p.Armed {
		if p.Armed[i].Segment != segment {
			continue
		}
		if at == Never {
			p.Armed[i] = p.Armed[len(p.Armed)-1]
			p.Armed = p.Armed[:len(p.Armed)-1]
			return
		}
		p.Armed[i].At = at
		return
	}
	if at != Never {
		p.Armed = append(p.Armed, Armed{Segment: segment, At: at})
	}
}
