package consent_test

import (
	"testing"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/state/subject"
)

func decision(at subject.Instant, s subject.Status) subject.Decision {
	return subject.Decision{Status: s, Time: at, Arrival: subject.Never, Explicit: true, Expires: subject.Never}
}

// Whatever the order in which decisions are read, the standing is that of their
// effective instants; on a tie the stop wins.
func TestStandingFollowsEffectiveInstants(t *testing.T) {
	policy := consent.Policy{NeedsConsent: true}
	for _, c := range []struct {
		name      string
		decisions []subject.Decision
		known     bool
		since     subject.Instant
	}{
		{"nothing", nil, false, 0},
		{"given", []subject.Decision{decision(10, subject.Given)}, true, 10},
		{"ahead", []subject.Decision{decision(200, subject.Given)}, false, 0},
		{"withdrawn", []subject.Decision{decision(10, subject.Given), decision(20, subject.Withdrawn)}, false, 0},
		{"tie", []subject.Decision{decision(10, subject.Given), decision(10, subject.Refused)}, false, 0},
		{"tie, stop first", []subject.Decision{decision(10, subject.Refused), decision(10, subject.Given)}, false, 0},
		{"old stop, newer grant", []subject.Decision{decision(30, subject.Given), decision(20, subject.Objected)}, true, 30},
		{"late stop inside", []subject.Decision{decision(10, subject.Given), decision(30, subject.Given), decision(20, subject.Withdrawn)}, true, 30},
		{"stop ahead of the clock", []subject.Decision{decision(10, subject.Given), decision(500, subject.Withdrawn)}, false, 0},
	} {
		var b subject.Basis
		for _, d := range c.decisions {
			consent.Take(&b, policy, d)
		}
		if s := consent.At(&b, policy, 100); s.Known != c.known || s.Since != c.since {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}

func TestExplicitPurposesNeedExplicitGrants(t *testing.T) {
	var b subject.Basis
	plain := decision(10, subject.Given)
	plain.Explicit = false
	if consent.Take(&b, consent.Policy{NeedsConsent: true, NeedsExplicit: true}, plain) {
		t.Error("an ordinary grant was taken")
	}
}
