package core

import (
	"slices"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Imported counts what became of a document that another instance handed over.
type Imported struct {
	Changed  bool // the record must be saved
	Traits   int  // taken
	Evidence int  // pieces taken
	Unread   int  // traits, and pieces of evidence, that no rule reads for the purpose
	Barred   int  // those that no lawful basis covers
	Refused  int  // pieces that cannot be evidence of their leaf
}

// Import takes in what another instance has handed over of a subject: first what it
// decided, then the data that the bases cover which these decisions make, together
// with what is known here. What is kept here and newer stays; what is here already is
// not taken twice, so that importing again changes nothing. The subject's clock moves
// on to the document's, but not past the instant of the request. Of the bases without
// consent only a contract's opens, as an event would open it. Reasons of entries are
// backfill: evidence from before was added.
func (e *Engine) Import(r *subject.Record, q *subject.Request) (done Imported) {
	in, at := q.Portable, min(q.Portable.UpTo, q.Effective())
	e.index(r)
	e.cause = nil
	clock := r.Clock
	done.Changed = e.advance(r, max(r.Clock, at), true)
	done.Changed = e.importWords(r, in, q.Effective()) || done.Changed
	if r.IsFence() {
		for i := range in.Purposes {
			done.Barred += len(in.Purposes[i].Traits) + piecesOf(&in.Purposes[i])
		}
		e.rearm(r)
		return done
	}
	was := e.restricted(r, r.Clock)
	for _, x := range in.Restrictions {
		done.Changed = addRestriction(r, x) || done.Changed
	}
	r.Clock = max(r.Clock, at)
	if !was && e.restricted(r, r.Clock) {
		e.suspend(r, r.Clock)
	}
	e.settleImported(r, in)
	for i := range in.Purposes {
		if pi, ok := e.set.PurposeIndex(in.Purposes[i].Key); ok {
			e.importPurpose(r, pi, &in.Purposes[i], &done)
			continue
		}
		done.Unread += len(in.Purposes[i].Traits) + piecesOf(&in.Purposes[i])
	}
	done.Changed = e.importCorrections(r, in.Corrections) || done.Changed || r.Clock != clock || done.Traits+done.Evidence > 0
	e.markArmed(r, r.Clock)
	e.decide(r, r.Clock)
	forgetUnknown(r)
	e.rearm(r)
	return done
}

func piecesOf(p *subject.PortablePurpose) (n int) {
	for i := range p.Evidence {
		n += len(p.Evidence[i].Times)
	}
	return n
}

// importWords takes in decisions, none as of later than the request, and stops whose
// decisions are not kept any more. Grants of which that is so count only where the
// rules there are those here: of others it is not known what they asked of them.
func (e *Engine) importWords(r *subject.Record, in *subject.Portable, reached subject.Instant) (changed bool) {
	for i := range in.Decisions {
		x := &in.Decisions[i]
		d := subject.Decision{Subject: r.ID, Purpose: x.Purpose, Status: x.Status, Explicit: x.Explicit, Time: x.Time, Arrival: min(x.Arrival, reached),
			Expires: x.Expires, NoticeVersion: x.NoticeVersion}
		for pi := range e.set.Purposes {
			if key := e.set.Purposes[pi].Key; d.Purpose == "" || d.Purpose == key {
				changed = e.take(r, pi, d) || changed
			}
		}
	}
	for i := range in.Purposes {
		from := &in.Purposes[i]
		if pi, ok := e.set.PurposeIndex(from.Key); ok {
			changed = e.importBasis(r, pi, from, in.RuleSet == e.set.Hash) || changed
		}
	}
	return changed
}

func (e *Engine) importBasis(r *subject.Record, purpose int, from *subject.PortablePurpose, grants bool) (changed bool) {
	switch stop := from.Basis.Stop; stop.Status {
	case subject.NoDecision:
	case subject.Forgotten:
		p := r.EnsurePurpose(from.Key)
		p.Indexed = true
		changed = consent.Erase(&p.Basis, stop.At)
	default:
		changed = e.take(r, purpose, subject.Decision{Status: stop.Status, Time: stop.At, Arrival: subject.Never})
	}
	for _, g := range from.Basis.Grants {
		if !grants {
			break
		}
		if p := r.Purpose(from.Key); p == nil || !slices.ContainsFunc(p.Basis.Grants, func(h subject.Grant) bool { return h.At == g.At }) {
			changed = e.take(r, purpose, subject.Decision{Status: subject.Given, Explicit: true, NoticeVersion: e.policies[purpose].OldestNotice,
				Time: g.At, Arrival: subject.Never, Expires: g.Expires}) || changed
		}
	}
	return changed
}

// settleImported brings bases to how they stand at the subject's clock.
func (e *Engine) settleImported(r *subject.Record, in *subject.Portable) {
	for i := range in.Purposes {
		from := &in.Purposes[i]
		pi, ok := e.set.PurposeIndex(from.Key)
		if ok && from.Basis.Known && e.set.Purposes[pi].Basis == rules.Contract && e.opens[pi] && e.closed(r, pi) {
			p := r.EnsurePurpose(from.Key)
			p.Indexed = true
			e.open(p, pi, r.Clock)
			e.markPurpose(pi, subject.ByBackfill)
		}
	}
	for i := range r.Purposes {
		p := &r.Purposes[i]
		was := p.Basis.Known
		if pi, ok := e.set.PurposeIndex(p.Key); ok {
			e.settle(p, pi, settling{r.Clock, endOf(p), subject.ByBackfill, subject.ByBackfill})
		}
		if was && !p.Basis.Known {
			e.exits = max(e.exits, p.Basis.Stop.At)
		}
	}
}

// endOf is the reason why a basis ends that holds no longer.
func endOf(p *subject.Purpose) subject.Reason {
	if p.Basis.Stop.Status == subject.NoDecision || len(p.Basis.Grants) > 0 {
		return subject.ByExpired
	}
	return subject.ReasonOfStop(p.Basis.Stop.Status)
}

// importPurpose takes traits and evidence, as far as the basis covers them and the
// rules read them.
func (e *Engine) importPurpose(r *subject.Record, purpose int, from *subject.PortablePurpose, done *Imported) {
	for i := range from.Traits {
		if t := &from.Traits[i]; e.isBirthdate(purpose, t.Key) {
			e.importBirthdate(r, purpose, t, done)
		}
	}
	p := r.Purpose(from.Key)
	if p == nil || !p.Basis.Known {
		done.Barred += len(from.Traits) + piecesOf(from)
		return
	}
	for i := range from.Traits {
		if t := &from.Traits[i]; !e.isBirthdate(purpose, t.Key) {
			e.importTrait(r, p, purpose, t, done)
		}
	}
	for i := range from.Evidence {
		e.importEvidence(r, p, purpose, &from.Evidence[i], done)
	}
}

// importBirthdate keeps a birthdate, which the basis alone covers, and settles what
// follows from it.
func (e *Engine) importBirthdate(r *subject.Record, purpose int, t *subject.Trait, done *Imported) {
	p := e.stateOf(r, purpose)
	if p == nil {
		p = &e.nobody
	}
	basis := e.basisAt(p, purpose, r.Clock)
	if !basis.Known || t.Time < basis.Since || t.Time > r.Clock+1 || p == &e.nobody && r.Erased != 0 {
		return
	}
	p = r.EnsurePurpose(e.set.Purposes[purpose].Key)
	p.Indexed = true
	if isNewer(p, t) && setTrait(p, t.Key, t.Value, t.Time) {
		done.Traits++
		e.settle(p, purpose, settling{r.Clock, subject.ByAge, subject.ByBackfill, subject.ByBackfill})
		e.markImported(purpose, t.Key)
	}
}

// isNewer reports whether a trait is newer than what is kept of it. A rectified one is
// a microsecond ahead of the clock.
func isNewer(p *subject.Purpose, t *subject.Trait) bool {
	i := slices.IndexFunc(p.Traits, func(kept subject.Trait) bool { return kept.Key == t.Key })
	return i < 0 || p.Traits[i].Time < t.Time
}

func (e *Engine) markImported(purpose int, trait string) {
	for _, s := range e.set.TraitSegments(purpose, trait) {
		e.marks.add(s, subject.ByBackfill)
	}
}

func (e *Engine) importTrait(r *subject.Record, p *subject.Purpose, purpose int, t *subject.Trait, done *Imported) {
	node := e.set.Purposes[purpose].Traits.Child(t.Key)
	switch {
	case node == nil:
		done.Unread++
	case t.Time < p.Basis.Since || t.Time > r.Clock+1:
		done.Barred++
	case isNewer(p, t):
		setTrait(p, t.Key, node.Prune(t.Value), t.Time)
		done.Traits++
		e.markImported(purpose, t.Key)
	}
}

func (e *Engine) importEvidence(r *subject.Record, p *subject.Purpose, purpose int, from *subject.PortableLeaf, done *Imported) {
	leaf := e.set.LeafByMeaning(purpose, from.Meaning)
	if leaf == nil || leaf.Remembers() {
		done.Unread += len(from.Times)
		return
	}
	covered := from.Leaf
	old, _ := slices.BinarySearch(covered.Times, p.Basis.Since)
	covered.Times = covered.Times[old:]
	if covered.Values != nil {
		covered.Values = covered.Values[old:]
	}
	added, refused := leaf.Merge(p, &covered, r.Clock)
	done.Barred, done.Refused, done.Evidence = done.Barred+old, done.Refused+refused, done.Evidence+added
	if added == 0 {
		return
	}
	e.bound(p, leaf)
	for _, s := range leaf.Segments {
		e.marks.add(s, subject.ByBackfill)
	}
}

// importCorrections keeps rectifications that are not in force yet.
func (e *Engine) importCorrections(r *subject.Record, corrections []subject.Trait) (changed bool) {
	for _, c := range corrections {
		if c.Time > r.Clock && (r.Erased == 0 || c.Time > r.Erased) {
			changed = addCorrections(r, []subject.TraitUpdate{{Key: c.Key, Value: c.Value}}, c.Time) || changed
		}
	}
	return changed
}
