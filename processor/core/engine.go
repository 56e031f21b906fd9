// Package core is the deterministic heart of segmentd: a subject's record and
// an input go in, the record's next state and the membership changes come out.
// It has no I/O, no wall clock, no randomness and iterates over no map; the
// same inputs in the same order give the same bytes. Replay and the live
// processor are this core under different shells.
//
// INVARIANT: after each input applied at an instant, every published answer of
// every known purpose equals the rule's answer as of that instant.
package core

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Config are the limits of the core.
type Config struct {
	DedupeWindow    time.Duration // how long a message id is remembered past its application; 0: 24 h
	MaxSubjectBytes int           // above it leaves drop their oldest evidence; 0: 256 KiB
}

// Counters are what the core counts beside outcomes and changes.
type Counters struct {
	DedupeEvicted   uint64 // message ids forgotten before their time because there were too many
	TruncatedLeaves uint64 // leaves that dropped evidence for MaxSubjectBytes
}

// Engine is Step: it applies inputs to records under one rule set. It holds
// scratch memory only and is not safe for concurrent use; make one per partition.
type Engine struct {
	set      *rules.Set
	cfg      Config
	policies []consent.Policy // by purpose
	timed    [][]int          // by purpose: segments that can flip without any evidence
	opens    []bool           // by purpose: an input alone makes its subject known
	opensAny bool
	outputs  []string // of the purposes, the default one first
	byDate   bool     // restrictions hold from their dates on, not from when they are read: of shadows

	// Changes collects what the steps since the last reset published, in order.
	// The caller takes it and truncates it.
	Changes  []subject.Change
	Counters Counters

	hold *hold // what is left alone for now; nil: nothing

	view    rules.View
	marks   marks
	touched []*rules.Leaf
	admits  []bool         // by purpose, of the present event
	cause   *subject.Event // the present event
	// rectifies says that traits are being set by a request.
	rectifies bool
	aged      []agedFlip      // of the present pass
	nobody    subject.Purpose // what is kept of one of whom nothing is
	forgot    bool            // something was deleted that must go for good: for rearm
	exits     subject.Instant // of the next pass' exits for a stop, if later than its instant
}

// New returns an engine for a rule set.
func New(set *rules.Set, cfg Config) *Engine {
	if cfg.DedupeWindow == 0 {
		cfg.DedupeWindow = 24 * time.Hour
	}
	if cfg.MaxSubjectBytes == 0 {
		cfg.MaxSubjectBytes = 256 << 10
	}
	e := &Engine{set: set, cfg: cfg, exits: subject.LongAgo, outputs: outputsOf(set), marks: newMarks(len(set.Segments)), admits: make([]bool, len(set.Purposes))}
	for i := range set.Purposes {
		p := &set.Purposes[i]
		policy := PolicyOf(p)
		e.policies = append(e.policies, policy)
		e.timed = append(e.timed, timedSegments(set, p))
		e.opens = append(e.opens, !policy.NeedsConsent && p.MinAge == 0)
		e.opensAny = e.opensAny || e.opens[i]
	}
	return e
}

// PolicyOf returns what a purpose demands of decisions.
func PolicyOf(p *rules.Purpose) consent.Policy {
	if !consent.Gated {
		return consent.Policy{}
	}
	return consent.Policy{
		NeedsConsent:     p.Basis.NeedsConsent(),
		NeedsExplicit:    p.Basis == rules.ExplicitConsent,
		EndedByObjection: p.Basis.EndedByObjection() || p.DirectMarketing,
		ExpiresAfter:     p.ConsentExpiresAfter,
		OldestNotice:     p.OldestNoticeVersion,
	}
}

func timedSegments(set *rules.Set, p *rules.Purpose) []int {
	v := rules.View{Purpose: &subject.Purpose{Key: p.Key}, At: 0}
	var timed []int
	for _, i := range p.Segments {
		if set.Segments[i].Next(&v) != subject.Never {
			timed = append(timed, i)
		}
	}
	return timed
}

// Assume lets every subject count as having consented to the named purposes
// before its first event, until it decides otherwise. For replays only.
func (e *Engine) Assume(purposes []string) error {
	for _, key := range purposes {
		i, ok := e.set.PurposeIndex(key)
		if !ok {
			return fmt.Errorf("no purpose %q in the rules", key)
		}
		e.opens[i], e.opensAny = true, true
	}
	return nil
}

// Set returns the engine's rule set.
func (e *Engine) Set() *rules.Set { return e.set }

// marks is the set of segments to be decided in the present pass, with the
// reason each would bear.
type marks struct {
	words   []uint64
	reasons []subject.Reason
	lo, hi  int // words that may be non-zero: [lo, hi)
}

func newMarks(segments int) marks {
	n := (segments + 63) / 64
	return marks{words: make([]uint64, n), reasons: make([]subject.Reason, segments), lo: n}
}

// add marks a segment. The first reason stays, unless it is only the time, or a
// birthday.
func (m *marks) add(segment int, why subject.Reason) {
	w, bit := segment/64, uint64(1)<<(segment%64)
	if m.words[w]&bit != 0 {
		if m.reasons[segment] == subject.ByTime || m.reasons[segment] == subject.ByAge {
			m.reasons[segment] = why
		}
		return
	}
	m.words[w] |= bit
	m.reasons[segment] = why
	m.lo, m.hi = min(m.lo, w), max(m.hi, w+1)
}

// ofInput reports whether a reason is that of an event, or of traits.
func ofInput(why subject.Reason) bool { return why <= subject.ByTrait || why == subject.ByRectified }

// spread gives what depends on the segments marked for an input that
// reason too. Where a subject comes of age with an input, a segment may enter
// because another one, for the input, does not.
func (m *marks) spread(segments []rules.Segment) {
	for i := m.lo * 64; i < min(m.hi*64, len(segments)); i++ {
		if m.words[i/64]&(1<<(i%64)) == 0 || !ofInput(m.reasons[i]) {
			continue
		}
		for _, d := range segments[i].Dependents {
			m.add(d, m.reasons[i])
		}
	}
}

// next removes and returns the smallest marked segment, or -1. Marks added
// meanwhile are found if they are larger than all that were returned.
func (m *marks) next() int {
	for ; m.lo < m.hi; m.lo++ {
		if w := m.words[m.lo]; w != 0 {
			b := bits.TrailingZeros64(w)
			m.words[m.lo] = w &^ (1 << b)
			return m.lo*64 + b
		}
	}
	m.lo, m.hi = len(m.words), 0
	return -1
}

// clear removes all.
func (m *marks) clear() {
	for m.next() >= 0 {
	}
}

// stateOf returns the subject's state for a purpose of the set by its index, or nil.
func (e *Engine) stateOf(r *subject.Record, purpose int) *subject.Purpose {
	return r.Purpose(e.set.Purposes[purpose].Key)
}

// markPurpose marks every segment of a purpose.
func (e *Engine) markPurpose(purpose int, why subject.Reason) {
	for _, s := range e.set.Purposes[purpose].Segments {
		e.marks.add(s, why)
	}
}

// markArmed marks the segments of known purposes whose answers may change by
// themselves at an instant up to at.
func (e *Engine) markArmed(r *subject.Record, at subject.Instant) {
	if e.restricted(r, at) {
		return
	}
	for i := range r.Purposes {
		p := &r.Purposes[i]
		for _, a := range p.Armed {
			if a.At <= at {
				e.marks.add(int(a.Segment), subject.ByTime)
			}
		}
	}
}

// decided says what a pass over the marked segments brought.
type decided struct {
	flipped bool // a published answer changed
	moved   bool // that, or the answer of a condition that is remembered (held)
}

// decide answers every marked segment as of at, in one pass in decision order,
// publishes the flips and re-arms what was decided. Segments of a purpose whose
// basis holds no longer are left. Of a subject that is restricted nothing is decided,
// and it is in no segment.
func (e *Engine) decide(r *subject.Record, at subject.Instant) (d decided) {
	if e.restricted(r, at) {
		e.marks.clear()
		e.exits = subject.LongAgo
		return d
	}
	e.view.Subject, e.view.At = r.ID, at
	e.view.Begin()
	for i := e.marks.next(); i >= 0; i = e.marks.next() {
		s := &e.set.Segments[i]
		p := e.stateOf(r, s.Purpose)
		if p == nil {
			continue
		}
		if !p.Basis.Known {
			why := e.marks.reasons[i]
			if ofInput(why) { // an event ends no basis, but may tell another age
				why = subject.ByAge
			}
			d.flipped = e.exit(r, p, s, why) || d.flipped
			continue
		}
		if p.Basis.Until <= at || e.hold.segment(i) {
			continue // its purpose ends at this very instant, unless it is renewed; or it is being filled
		}
		e.view.Purpose, e.view.Immediate = p, e.marks.reasons[i].Immediate()
		d.moved = s.Remember(&e.view) || d.moved
		in := e.hold.answer(s, i, &e.view)
		if _, was := p.Member(s.ID); in != was {
			d.flipped = true
			e.flip(r, p, i, in, e.reason(s, i, in))
		}
		p.Arm(int32(i), s.Next(&e.view))
	}
	e.view.Purpose, e.view.Immediate = nil, false
	e.exits, e.aged = subject.LongAgo, e.aged[:0]
	d.moved = d.moved || d.flipped
	return d
}

// exit leaves a segment because its purpose's basis holds no longer.
func (e *Engine) exit(r *subject.Record, p *subject.Purpose, s *rules.Segment, why subject.Reason) bool {
	if _, in := p.Member(s.ID); !in {
		return false
	}
	p.SetMember(s.ID, false, 0)
	c := subject.Change{Segment: s.Key, Kind: subject.Exited, Time: max(e.view.At, e.exits), Reason: why, Purpose: p.Key}
	if why == subject.ByAge && e.cause != nil { // a birthdate corrected
		c.CausedBy = e.cause.Cause()
	}
	e.publish(r, c)
	return true
}

// reason refines "time": a flip that would not be, had the retention not ended
// at this very instant, is due to retention alone.
func (e *Engine) reason(s *rules.Segment, i int, in bool) subject.Reason {
	why := e.marks.reasons[i]
	if why != subject.ByTime {
		return why
	}
	e.unage(true)
	kept := s.Answer(&e.view)
	e.unage(false)
	if kept != in {
		return subject.ByRetention
	}
	return why
}

// agedFlip is a flip of the present pass that is due to retention alone.
type agedFlip struct {
	p       *subject.Purpose
	segment uint32
	in      bool
	since   subject.Instant // before it
}

// unage turns the view to what would be, had retention not ended at this
// instant, for the segments that flipped in this pass too; and back.
func (e *Engine) unage(on bool) {
	e.view.KeepAged = on
	for _, f := range e.aged {
		if on {
			f.p.SetMember(f.segment, !f.in, f.since)
		} else {
			f.p.SetMember(f.segment, f.in, e.view.At)
		}
	}
}

// flip publishes one change and marks the segments that depend on it, which
// flip for the same reason. An entry for retention alone is one by time.
func (e *Engine) flip(r *subject.Record, p *subject.Purpose, segment int, in bool, why subject.Reason) {
	s := &e.set.Segments[segment]
	since, _ := p.Member(s.ID)
	p.SetMember(s.ID, in, e.view.At)
	s.Left(&e.view, !in)
	onward := why
	if why == subject.ByRetention {
		onward = subject.ByTime
		e.aged = append(e.aged, agedFlip{p, s.ID, in, since})
	}
	for _, d := range s.Dependents {
		e.marks.add(d, onward)
	}
	c := subject.Change{Segment: s.Key, Kind: subject.Exited, Time: e.view.At, Reason: why, Purpose: p.Key}
	if in {
		c.Kind = subject.Entered
		if why == subject.ByRetention {
			c.Reason = subject.ByTime
		}
	}
	if e.cause != nil && why <= subject.ByTrait {
		c.CausedBy = e.cause.Cause()
	}
	e.publish(r, c)
}

func (e *Engine) publish(r *subject.Record, c subject.Change) {
	r.Version++
	c.Subject, c.Version = r.ID, r.Version
	e.Changes = append(e.Changes, c)
}

// markMembers marks the segments of a purpose that the subject is in.
func (e *Engine) markMembers(p *subject.Purpose, why subject.Reason) {
	for _, m := range p.Members {
		if i, ok := e.set.SegmentByID(m.Segment); ok {
			e.marks.add(i, why)
		}
	}
}

// rearm recomputes the record's next instant, and lets go of it where it is due
// after the inputs that it would wait for.
func (e *Engine) rearm(r *subject.Record) {
	shut(r)
	r.Forgot, e.forgot = r.Forgot || e.forgot, false
	next, restricted := subject.Never, e.restricted(r, r.Clock)
	for i := range r.Purposes {
		p := &r.Purposes[i]
		next = min(next, p.Basis.Until)
		if p.Basis.Known && !restricted {
			for _, a := range p.Armed {
				next = min(next, a.At)
			}
		}
		// A grant takes force when the clock reaches it, a timer once the clock
		// is past it: one microsecond makes the two comparable.
		next = min(next, e.birthday(p, r.Clock))
		if g := consent.Pending(&p.Basis, r.Clock); g != subject.Never {
			next = min(next, g-1)
		}
	}
	if t := min(e.turn(r), nextCorrection(r)); t != subject.Never {
		next = min(next, t-1)
	}
	r.Next = next
	if r.Held.Until <= next {
		r.Held = subject.Held{}
	}
}

// index computes the armed instants of a record that has just been decoded.
// Nothing changes before r.Next, so what has come to nothing before it is not
// looked at again.
func (e *Engine) index(r *subject.Record) {
	restricted := e.restricted(r, r.Clock)
	for i := range r.Purposes {
		p := &r.Purposes[i]
		if p.Indexed {
			continue
		}
		p.Indexed = true
		pi, ok := e.set.PurposeIndex(p.Key)
		if !ok || !p.Basis.Known || restricted {
			continue
		}
		e.armAll(r, p, pi)
	}
}

func (e *Engine) armAll(r *subject.Record, p *subject.Purpose, purpose int) {
	for _, i := range e.timed[purpose] {
		e.marks.add(i, subject.ByTime)
	}
	for j := range p.Leaves {
		if l := e.set.LeafByKey(p.Leaves[j].Key); l != nil {
			for _, i := range l.Segments {
				e.marks.add(i, subject.ByTime)
			}
		}
	}
	for _, m := range p.Members { // of which a dwell may be running
		if i, ok := e.set.SegmentByID(m.Segment); ok && e.set.Segments[i].MinDwell > 0 {
			e.marks.add(i, subject.ByTime)
		}
	}
	for j := range p.Traits {
		for _, i := range e.set.TraitSegments(purpose, p.Traits[j].Key) {
			e.marks.add(i, subject.ByTime)
		}
	}
	e.view.Subject, e.view.At, e.view.Purpose = r.ID, r.Clock, p
	if r.Next != subject.Never {
		e.view.At = max(r.Clock, r.Next-1)
	}
	for i := e.marks.next(); i >= 0; i = e.marks.next() {
		if !e.hold.segment(i) {
			p.Arm(int32(i), e.set.Segments[i].Next(&e.view))
		}
	}
	e.view.Purpose = nil
}
