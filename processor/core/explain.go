package core

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Explain explains a segment (an index into the rule set's) to the subject of a
// record as of an instant, which is raised to the record's clock and to the stop
// that is in force for the segment's purpose. The record is not changed; one of
// whom nothing is kept is a new record.
func (e *Engine) Explain(r *subject.Record, segment int, at subject.Instant) Explanation {
	return e.Explainer().Explain(r, segment, at)
}

// Explainer returns an explainer under the engine's rules and assumptions. It
// shares nothing with the engine that changes.
func (e *Engine) Explainer() *Explainer {
	return &Explainer{set: e.set, cfg: e.cfg, hold: e.hold, opens: slices.Clone(e.opens), opensAny: e.opensAny, firings: maxFiringsOfAll}
}

// Explainer explains memberships. Used by one goroutine.
type Explainer struct {
	set      *rules.Set
	cfg      Config
	hold     *hold
	opens    []bool
	opensAny bool
	engine   *Engine // of its own
	firings  int     // that may still be tried
}

// Rules returns the rule set that is explained.
func (x *Explainer) Rules() *rules.Set { return x.set }

// ExplainAll explains the segments of all purposes that something is kept for.
func (x *Explainer) ExplainAll(r *subject.Record, at subject.Instant) Explanations {
	all := Explanations{UserID: r.ID.Value, IDType: r.ID.Type.String(), Explanations: []Explanation{}}
	for i := range x.set.Segments {
		if r.Purpose(x.set.Purposes[x.set.Segments[i].Purpose].Key) != nil {
			all.Explanations = append(all.Explanations, x.Explain(r, i, at))
		}
	}
	return all
}

// Explain is Engine.Explain.
func (x *Explainer) Explain(r *subject.Record, segment int, at subject.Instant) Explanation {
	if x.engine == nil {
		x.engine = New(x.set, x.cfg)
		x.engine.opens, x.engine.opensAny, x.engine.hold = x.opens, x.opensAny, x.hold
	}
	r = r.Clone()
	x.engine.index(r)
	s := &x.set.Segments[segment]
	p := &x.set.Purposes[s.Purpose]
	state := x.engine.stateOf(r, s.Purpose)
	since, until := x.engine.restriction(r, x.engine.settledAt(r, at))
	at = max(x.engine.settledAt(r, at), stoppedAt(state))
	if since != subject.Never {
		at = max(at, since)
	}
	ex := Explanation{UserID: r.ID.Value, IDType: r.ID.Type.String(), Segment: s.Key, Name: s.Name, Purpose: p.Key,
		LawfulBasis: p.Basis.String(), At: instantText(at), RuleSet: x.set.Hash, Rule: ruleOf(s), Leaves: []rules.Evidence{}, Filling: x.hold.segment(segment)}
	ex.Basis = x.engine.standing(r, s.Purpose, at)
	ex.RestrictedSince, ex.RestrictedUntil = instantText(since), instantText(until)
	if state != nil {
		x.membership(&ex, r.ID, state, segment, at)
	}
	ex.Why = ex.why()
	x.nextChange(&ex, r, segment, at)
	return ex
}

// membership tells whether the subject is a member, and explains the rule of
// one who is known.
func (x *Explainer) membership(ex *Explanation, id subject.ID, p *subject.Purpose, segment int, at subject.Instant) {
	since, in := p.Member(x.set.Segments[segment].ID)
	if ex.Member = in; in {
		ex.Since = instantText(since)
	}
	if !p.Basis.Known || ex.Filling || ex.RestrictedSince != "" {
		return
	}
	e := x.set.Explain(segment, &rules.View{Subject: id, Purpose: p, At: at})
	ex.When, ex.StayWhile = &e.When, e.StayWhile
	ex.DwellUntil, ex.CooldownUntil = instantText(e.DwellUntil), instantText(e.CoolUntil)
	if e.Leaves != nil {
		ex.Leaves = e.Leaves
	}
}

func ruleOf(s *rules.Segment) Rule {
	r := Rule{When: strings.TrimSpace(s.When), StayWhile: strings.TrimSpace(s.StayWhile)}
	if s.MinDwell > 0 {
		r.MinDwell = durationText(s.MinDwell)
	}
	if s.Cooldown > 0 {
		r.Cooldown = durationText(s.Cooldown)
	}
	return r
}

// settledAt is the instant as of which everything has been decided: the one
// given, but no later than just before what is due at it.
func (e *Engine) settledAt(r *subject.Record, at subject.Instant) subject.Instant {
	at = max(at, r.Clock)
	if at == subject.LongAgo || at == subject.Never {
		return at
	}
	if due, ok := e.due(r, reach{to: at + 1}); ok && due <= at {
		return max(r.Clock, due-1)
	}
	return at
}

// stoppedAt is when the stop in force was decided, LongAgo where there is none. A
// stop counts once it is read, before any clock has reached it.
func stoppedAt(p *subject.Purpose) subject.Instant {
	if p == nil || p.Basis.Known || p.Basis.Stop.Status == subject.NoDecision {
		return subject.LongAgo
	}
	return p.Basis.Stop.At
}

// standing is how a purpose's basis stands at an instant.
func (e *Engine) standing(r *subject.Record, purpose int, at subject.Instant) Standing {
	p := e.stateOf(r, purpose)
	if p == nil {
		p = &subject.Purpose{Key: e.set.Purposes[purpose].Key, Basis: r.FreshBasis()}
	}
	if b := &p.Basis; b.Known {
		return Standing{Holds: true, Since: instantText(b.Since), Until: instantText(b.Until)}
	}
	s := Standing{KnownFrom: instantText(min(consent.Pending(&p.Basis, at), e.birthday(p, at)))}
	var decided subject.Instant
	s.Reason, decided = e.unknown(p, purpose, at)
	s.DecidedAt = instantText(decided)
	return s
}

// unknown says why a basis does not hold, and since when it was so decided.
func (e *Engine) unknown(p *subject.Purpose, purpose int, at subject.Instant) (reason string, decided subject.Instant) {
	b := &p.Basis
	if e.set.Purposes[purpose].MinAge > 0 && e.basisAt(p, purpose, at).Known && len(b.Grants) > 0 {
		if e.set.Purposes[purpose].ComesOfAge(p) == subject.Never {
			return "no_birthdate", subject.Never
		}
		return "underage", subject.Never
	}
	switch s := consent.At(b, e.policies[purpose], at); {
	case s.Lapsed:
		return "expired", lastExpiry(b, at)
	case b.Stop.Status != subject.NoDecision:
		return b.Stop.Status.String(), b.Stop.At
	case !e.policies[purpose].NeedsConsent:
		return e.unopened(p, purpose)
	}
	return "no_decision", subject.Never
}

// unopened is why a basis that needs no consent does not hold without a stop.
func (e *Engine) unopened(p *subject.Purpose, purpose int) (reason string, decided subject.Instant) {
	switch rule := &e.set.Purposes[purpose]; {
	case rule.MinAge == 0:
		return "no_input", subject.Never
	case rule.ComesOfAge(p) == subject.Never:
		return "no_birthdate", subject.Never
	}
	return "underage", subject.Never
}

// lastExpiry is when the newest grant in force expired.
func lastExpiry(b *subject.Basis, at subject.Instant) subject.Instant {
	expired := subject.Never
	for _, g := range b.Grants {
		if g.At <= at {
			expired = g.Expires
		}
	}
	return expired
}

// instantText writes an instant, "" where there is none.
func instantText(t subject.Instant) string {
	if !t.Valid() {
		return ""
	}
	return t.String()
}

// durationText writes a duration as rule files do.
func durationText(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.name
		}
	}
	return d.String()
}
