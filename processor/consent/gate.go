// Package consent is the gate: whether what a subject decided about a purpose
// lets an input be used for it. It is pure: the state of a lawful basis goes
// in, its next state comes out; no clock, no I/O. Unknown means no.
//
// Decisions are ordered by their effective instant, the earlier of timestamp
// and arrival; on a tie the stop wins. A stop (refusal, withdrawal, objection)
// is in force from the moment it is taken in and beats every grant that is not
// newer. An erasure is a stop of every purpose, whatever its basis. A grant is in force once the subject's clock has reached it. The
// present period is the unbroken chain of grants, each no later than the
// expiry of the one before it, that holds at the clock.
package consent

import (
	"cmp"
	"slices"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// Policy is what a purpose demands of decisions.
type Policy struct {
	NeedsConsent     bool          // the basis holds only by a grant (consent, explicit consent)
	NeedsExplicit    bool          // only explicit grants count (GDPR article 9(2)(a))
	EndedByObjection bool          // bases other than consent: an objection ends them (article 21)
	ExpiresAfter     time.Duration // a grant older than this no longer counts; 0: no such limit
	OldestNotice     string        // grants on an older notice (compared as text), or on none, do not count; "": all do
}

// maxGrants bounds the grants remembered of one purpose. Beyond it a grant
// inside the present period is forgotten, which moves the period's start
// further forward than needed should a late stop arrive: it fails closed.
const maxGrants = 32

// Take adds a decision to the basis and reports whether that changed what is
// remembered. Whether the basis holds is unchanged until Settle.
func Take(b *subject.Basis, p Policy, d subject.Decision) bool {
	switch {
	case d.Status.Stops():
		return takeStop(b, p, d)
	case d.Status == subject.Given && p.counts(d):
		return takeGrant(b, p, d)
	}
	return false
}

// counts reports whether a grant is of the grade, and on a notice, that the purpose asks for.
func (p Policy) counts(d subject.Decision) bool {
	return (d.Explicit || !p.NeedsExplicit) && (p.OldestNotice == "" || d.NoticeVersion >= p.OldestNotice)
}

// EndOf is the instant at which a grant ends by itself: its own, or the one that the
// purpose sets it, whichever is earlier. Never: it has none.
func (p Policy) EndOf(d subject.Decision) subject.Instant {
	if p.ExpiresAfter > 0 {
		return min(d.Expires, d.Effective().Add(p.ExpiresAfter))
	}
	return d.Expires
}

// Heeds reports whether a stop of that status ends the basis.
func (p Policy) Heeds(s subject.Status) bool {
	return p.NeedsConsent || s == subject.Objected && p.EndedByObjection
}

// Erase stops the basis of any purpose as of an erasure, and reports whether that
// changed what is remembered.
func Erase(b *subject.Basis, at subject.Instant) bool {
	return stop(b, subject.Stop{At: at, Status: subject.Forgotten})
}

func takeStop(b *subject.Basis, p Policy, d subject.Decision) bool {
	if !p.Heeds(d.Status) {
		return false
	}
	return stop(b, subject.Stop{At: d.Effective(), Status: d.Status})
}

func stop(b *subject.Basis, stop subject.Stop) bool {
	if b.Stop.Status != subject.NoDecision && (stop.At < b.Stop.At || stop.At == b.Stop.At && stop.Status <= b.Stop.Status) {
		return false
	}
	b.Stop = stop
	b.Grants = slices.DeleteFunc(b.Grants, func(g subject.Grant) bool { return g.At <= stop.At })
	return true
}

func takeGrant(b *subject.Basis, p Policy, d subject.Decision) bool {
	g := subject.Grant{At: d.Effective(), Expires: p.EndOf(d)}
	if b.Stop.Status != subject.NoDecision && g.At <= b.Stop.At {
		return false
	}
	// Of grants at one instant the one that expires first is the more
	// restrictive and counts: it comes last.
	i, found := slices.BinarySearchFunc(b.Grants, g, func(a, b subject.Grant) int {
		if a.At != b.At {
			return cmp.Compare(a.At, b.At)
		}
		return cmp.Compare(b.Expires, a.Expires)
	})
	if found {
		return false
	}
	b.Grants = slices.Insert(b.Grants, i, g)
	if len(b.Grants) > maxGrants {
		forgetGrant(b)
	}
	return true
}

// forgetGrant drops the oldest grant that no chain needs, else the oldest.
func forgetGrant(b *subject.Basis) {
	for i := 1; i+1 < len(b.Grants); i++ {
		if b.Grants[i+1].At <= b.Grants[i-1].Expires {
			b.Grants = slices.Delete(b.Grants, i, i+1)
			return
		}
	}
	b.Grants = slices.Delete(b.Grants, 0, 1)
}

// Standing is whether a basis holds at an instant.
type Standing struct {
	Known  bool
	Since  subject.Instant // start of the unbroken period, if Known
	Until  subject.Instant // instant from which it no longer holds by itself, if Known
	Lapsed bool            // the newest grant in force has expired, if not Known
}

// At returns how the basis stands at an instant, were no more decided.
func At(b *subject.Basis, p Policy, at subject.Instant) Standing {
	if !p.NeedsConsent {
		return openAt(b, at)
	}
	var s Standing
	for _, g := range b.Grants {
		if g.At > at {
			break
		}
		if !s.Known || g.At > s.Until {
			s.Since = g.At
		}
		s.Known, s.Until = true, g.Expires
	}
	if s.Known && s.Until <= at {
		return Standing{Lapsed: true}
	}
	return s
}

// openAt is At for the bases that need no consent: they hold from the
// subject's first input (Open) until an objection or an erasure, and again from a newer grant.
func openAt(b *subject.Basis, at subject.Instant) Standing {
	if b.Stop.Status == subject.NoDecision {
		return Standing{Known: b.Known, Since: subject.LongAgo, Until: subject.Never}
	}
	for _, g := range b.Grants {
		if g.At <= at {
			return Standing{Known: true, Since: g.At, Until: subject.Never}
		}
	}
	return Standing{}
}

// Open marks the basis of a purpose that needs no consent as holding from the
// subject's first input, unless it was stopped before.
func Open(b *subject.Basis, p Policy) {
	if !p.NeedsConsent && b.Stop.Status == subject.NoDecision {
		b.Known, b.Since, b.Until = true, subject.LongAgo, subject.Never
	}
}

// Settle brings the basis to how it stands at an instant (At).
func Settle(b *subject.Basis, p Policy, at subject.Instant) {
	s := At(b, p, at)
	b.Known, b.Since, b.Until, b.Lapsed = s.Known, s.Since, s.Until, s.Lapsed
	if !s.Known {
		b.Since, b.Until = 0, subject.Never
	}
}

// Pending returns the effective instant of the earliest grant later than the
// clock, or Never.
func Pending(b *subject.Basis, clock subject.Instant) subject.Instant {
	for _, g := range b.Grants {
		if g.At > clock {
			return g.At
		}
	}
	return subject.Never
}

// Judge is the gate for one event and one purpose: Admitted, or the reason why
// not. s is the basis' standing at the instant at which the event would be
// decided; denied reports that the event's own consent context excludes the purpose.
func Judge(b *subject.Basis, s Standing, event subject.Instant, denied bool) subject.Outcome {
	switch {
	case !s.Known && s.Lapsed:
		return subject.OutcomeExpired
	case !s.Known:
		return outcomeOfStop(b.Stop.Status)
	case event < s.Since:
		return subject.OutcomeBeforePeriod
	case denied:
		return subject.OutcomeRefused
	}
	return subject.Admitted
}

func outcomeOfStop(s subject.Status) subject.Outcome {
	switch s {
	case subject.Refused:
		return subject.OutcomeRefused
	case subject.Withdrawn:
		return subject.OutcomeWithdrawn
	case subject.Objected:
		return subject.OutcomeObjected
	case subject.Forgotten:
		return subject.OutcomeErased
	}
	return subject.OutcomeNoDecision
}
