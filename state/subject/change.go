package subject

// ChangeKind says what became of a membership.
type ChangeKind uint8

// The kinds of changes.
const (
	Entered ChangeKind = iota
	Exited
	Erased // of the whole subject, without a segment
)

// String is the kind as changes and metrics write it.
func (k ChangeKind) String() string { return [...]string{"entered", "exited", "erased"}[k] }

// Reason says why a membership changed.
type Reason uint8

// The reasons of a change.
const (
	ByEvent Reason = iota
	ByTrait
	ByTime
	ByGiven
	ByWithdrawn
	ByRefused
	ByObjected
	ByExpired
	ByErased
	ByRectified
	ByRestricted
	ByUnrestricted
	ByRetention
	ByAge
	ByList
	ByRuleChanged
	ByRuleRemoved
	ByBackfill
	// Reasons is their number.
	Reasons
)

var reasonNames = [Reasons]string{"event", "trait", "time", "given", "withdrawn", "refused", "objected", "expired", "erased",
	"rectified", "restricted", "unrestricted", "retention", "age", "list", "rule_changed", "rule_removed", "backfill"}

// String is the reason as changes and metrics write it.
func (r Reason) String() string { return reasonNames[r] }

// Immediate reports whether an exit for the reason waits for no dwell and begins
// no cooldown: the subject may not be known, or the segment is no more.
func (r Reason) Immediate() bool {
	switch r {
	case ByWithdrawn, ByRefused, ByObjected, ByExpired, ByErased, ByRestricted, ByAge, ByRuleRemoved:
		return true
	}
	return false
}

// ReasonOfStop returns the reason that a stop's exits bear.
func ReasonOfStop(s Status) Reason {
	switch s {
	case Refused:
		return ByRefused
	case Objected:
		return ByObjected
	case Forgotten:
		return ByErased
	}
	return ByWithdrawn
}

// Change is one membership change as it is published.
type Change struct {
	Subject ID
	Segment string
	Kind    ChangeKind
	Time    Instant // the instant from which it is so
	Reason  Reason
	Purpose string
	// Output is the output whose topics it is for, where Routed; else it is that of
	// its purpose. Erasures have no purpose, and a segment's former rules may have had another.
	Output   string
	Routed   bool
	Version  uint64 // rises by one with each change of the subject
	CausedBy string // messageId or topic:partition:offset of the causing event; ""
}

// Outcome is what became of an event at the gate and after it: the closed set
// of the events metric's label, of which each event has exactly one.
type Outcome uint8

// The outcomes of an event.
const (
	Admitted Outcome = iota
	OutcomeNoDecision
	OutcomeRefused
	OutcomeWithdrawn
	OutcomeExpired
	OutcomeObjected
	OutcomeRestricted
	OutcomeUnderage
	OutcomeBeforePeriod
	OutcomeErased
	OutcomeDuplicate
	OutcomeUnused
	OutcomeLateCorrected
	OutcomeLateNoEffect
	OutcomeRejected
	// Outcomes is their number.
	Outcomes
)

var outcomeNames = [Outcomes]string{"admitted", "no_decision", "refused", "withdrawn", "expired", "objected", "restricted", "underage",
	"before_period", "erased", "duplicate", "unused", "late_corrected", "late_no_effect", "rejected"}

// String is the outcome as metrics and summaries write it.
func (o Outcome) String() string { return outcomeNames[o] }
