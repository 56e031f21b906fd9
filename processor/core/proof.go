package core

import (
	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// ConsentOf finds the newest consent to a purpose among proofs, if nothing has
// stopped it: the version of the notice that it was given to, and the instant from
// which it no longer counts by itself (Never).
func ConsentOf(p *rules.Purpose, proofs []subject.Proof) (notice string, until subject.Instant, ok bool) {
	if !p.Basis.NeedsConsent() {
		return "", 0, false
	}
	var b subject.Basis
	policy, notices := PolicyOf(p), map[subject.Instant]string{}
	for i := range proofs {
		x := &proofs[i]
		if x.Purpose != "" && x.Purpose != p.Key {
			continue
		}
		d := decisionOf(p, x)
		consent.Take(&b, policy, d)
		if x.Status == subject.Given {
			notices[d.Effective()] = x.NoticeVersion
		}
	}
	if len(b.Grants) == 0 {
		return "", 0, false
	}
	newest := b.Grants[len(b.Grants)-1]
	return notices[newest.At], newest.Expires, true
}

// EndOf is the instant at which the consent that a proof is of ends by itself, for a
// purpose; subject.Never where it does not.
func EndOf(p *rules.Purpose, x *subject.Proof) subject.Instant {
	return PolicyOf(p).EndOf(decisionOf(p, x))
}

func decisionOf(p *rules.Purpose, x *subject.Proof) subject.Decision {
	return subject.Decision{Purpose: p.Key, Status: x.Status, Explicit: x.Explicit, Time: x.Time, Arrival: x.Arrival, Expires: x.Expires, NoticeVersion: x.NoticeVersion}
}
