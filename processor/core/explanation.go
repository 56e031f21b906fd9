package core

import "github.com/segmentd/segmentd/rules"

// Explanation says of one subject and one segment how the rule stands, why the
// subject is in it or not, and when that changes by itself. It holds the
// subject's data. Its JSON has a schema (segmentd schema explanation); instants
// are RFC 3339 in UTC, and absent where there is none.
type Explanation struct {
	UserID  string `json:"userId"`
	IDType  string `json:"idType"`
	Segment string `json:"segment"`
	Name    string `json:"name,omitempty"`
	Purpose string `json:"purpose"`
	// LawfulBasis is the purpose's, and Basis how it stands for the subject.
	LawfulBasis string   `json:"lawfulBasis"`
	Basis       Standing `json:"basis"`
	// RestrictedSince is when the subject restricted processing, absent where it did
	// not, and RestrictedUntil when that ends, if it is known: nothing is decided meanwhile.
	RestrictedSince string `json:"restrictedSince,omitempty"`
	RestrictedUntil string `json:"restrictedUntil,omitempty"`
	// At is the instant that is explained. It lies just before the one asked for
	// where something is due then and not decided yet.
	At     string `json:"at,omitempty"`
	Member bool   `json:"member"`
	Since  string `json:"since,omitempty"` // of a member
	Why    string `json:"why"`             // one sentence
	Rule   Rule   `json:"rule"`
	// Filling says that the rule is new here, and what it reads is being filled
	// from the events' topics; CoverageFrom since when that is complete where it
	// is not all there.
	Filling      bool   `json:"filling,omitempty"`
	CoverageFrom string `json:"coverageFrom,omitempty"`
	// When and StayWhile are how the conditions stand; nil where the basis does
	// not hold, and while processing is restricted or the rule is filled, because
	// then they cannot be asked.
	When          *rules.Part `json:"when"`
	StayWhile     *rules.Part `json:"stayWhile,omitempty"`
	DwellUntil    string      `json:"dwellUntil,omitempty"`    // min_dwell keeps the member in until then
	CooldownUntil string      `json:"cooldownUntil,omitempty"` // cooldown keeps the subject out until then
	// NextChange is what happens if nothing else does; nil: nothing. Where it
	// could not be found NextChangeNote says why.
	NextChange     *NextChange      `json:"nextChange"`
	NextChangeNote string           `json:"nextChangeNote,omitempty"`
	Leaves         []rules.Evidence `json:"leaves"` // what the conditions read of events
	RuleSet        string           `json:"ruleSet"`
}

// Standing is how a purpose's lawful basis stands for a subject.
type Standing struct {
	Holds bool   `json:"holds"`
	Since string `json:"since,omitempty"` // absent: since the first input
	Until string `json:"until,omitempty"` // when it ends by itself
	// Reason is why it does not hold: no_decision, no_input, refused, withdrawn,
	// objected, erased, expired, no_birthdate, underage.
	Reason    string `json:"reason,omitempty"`
	DecidedAt string `json:"decidedAt,omitempty"` // of the stop, the erasure or the expiry
	// KnownFrom is when it begins to hold by itself: a consent ahead, a birthday.
	KnownFrom string `json:"knownFrom,omitempty"`
}

// Rule is a segment's rule as it is written.
type Rule struct {
	When      string `json:"when"`
	StayWhile string `json:"stayWhile,omitempty"`
	MinDwell  string `json:"minDwell,omitempty"`
	Cooldown  string `json:"cooldown,omitempty"`
}

// NextChange is a change of the membership that time alone brings.
type NextChange struct {
	At     string `json:"at"`
	Change string `json:"change"` // entered or exited
	Reason string `json:"reason"`
}

// Explanations are those of one subject, in decision order.
type Explanations struct {
	UserID       string        `json:"userId"`
	IDType       string        `json:"idType"`
	Explanations []Explanation `json:"explanations"`
}
