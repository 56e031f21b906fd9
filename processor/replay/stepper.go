package replay

import (
	"bytes"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// Stepper is a replay in the hands of its caller, who gives it record by record
// and moves the clock in between. It is not safe for concurrent use.
type Stepper struct {
	cfg     Config
	records *core.Memory
	machine *core.Machine
	decoder *wire.Decoder // of Step; made when first needed
	summary Summary
}

// NewStepper returns a replay of nothing yet, its clock at LongAgo. The error
// tells of a purpose of AssumeConsent that the rules do not declare.
func NewStepper(cfg Config) (*Stepper, error) {
	engine := core.New(cfg.Rules, cfg.Core)
	if err := engine.Assume(cfg.AssumeConsent); err != nil {
		return nil, err
	}
	records := core.NewMemory()
	return &Stepper{cfg: cfg, records: records, machine: core.NewMachine(engine, records, subject.LongAgo)}, nil
}

// Step is what became of one record.
type Step struct {
	Problem string          // why it was not taken, or counts as a refusal; "": nothing is wrong
	Event   bool            // it was an event, and Outcome what became of it
	Outcome subject.Outcome // of an event
}

// Step decodes one JSON record and applies it at its own timestamp, having
// moved the clock there. source is where it stands, for causedBy.
func (s *Stepper) Step(record []byte, source subject.Position) (Step, error) {
	if s.decoder == nil {
		s.decoder = wire.NewDecoder(s.decoderOptions())
	}
	l := lane{decoder: s.decoder}
	l.decode(record, source)
	s.summary.Lines++
	if l.what != "" {
		s.summary.Skipped++
		return Step{Problem: l.what}, nil
	}
	did := Step{Event: l.item.Content == wire.HasEvent}
	if l.item.Misunderstood != "" {
		s.summary.Refusals++
		did.Problem = "not understood, so it counts as refused: " + l.item.Misunderstood
	}
	var err error
	did.Outcome, err = s.apply(&l.item, l.at)
	return did, err
}

// Advance moves the clock on, never back, and fires every timer strictly before it.
func (s *Stepper) Advance(to subject.Instant) error {
	if _, err := s.machine.Advance(to, 0); err != nil {
		return err
	}
	return s.publish()
}

// Clock returns the newest instant that the replay has reached.
func (s *Stepper) Clock() subject.Instant { return s.machine.Clock() }

// Records returns the subjects as they stand; they change with the next step.
func (s *Stepper) Records() *core.Memory { return s.records }

// Members lists all memberships as they stand, sorted as Members sorts them.
func (s *Stepper) Members() []Member { return Members(s.cfg.Rules, s.records) }

// Summary says what the replay did so far.
func (s *Stepper) Summary() Summary {
	s.summary.Clock = s.machine.Clock()
	return s.summary
}

func (s *Stepper) decoderOptions() wire.DecoderOptions {
	o := s.cfg.Decoder
	o.Fields, o.Names = s.cfg.Rules.Fields, s.cfg.Rules.EventNames()
	for i := range s.cfg.Rules.Purposes {
		o.Purposes = append(o.Purposes, s.cfg.Rules.Purposes[i].Key)
	}
	return o
}

// apply moves the clock to the item's instant and applies it.
func (s *Stepper) apply(item *wire.Item, at subject.Instant) (subject.Outcome, error) {
	if at != subject.Never {
		if _, err := s.machine.Advance(at, 0); err != nil {
			return subject.OutcomeRejected, err
		}
	}
	outcome, err := s.take(item)
	if err != nil {
		return outcome, err
	}
	return outcome, s.publish()
}

func (s *Stepper) take(item *wire.Item) (subject.Outcome, error) {
	if item.Content == wire.HasEvent {
		outcome, err := s.machine.Event(item.Event)
		s.summary.Events[outcome]++
		return outcome, err
	}
	for _, d := range item.Decisions {
		s.summary.Decisions++
		if err := s.machine.Decision(d); err != nil {
			return subject.OutcomeRejected, err
		}
	}
	return subject.Admitted, nil
}

// finish moves the clock on to the end.
func (s *Stepper) finish() error {
	if s.cfg.Until == subject.Never {
		return s.Advance(s.machine.Clock())
	}
	return s.Advance(s.cfg.Until)
}

// publish hands the changes on.
func (s *Stepper) publish() error {
	engine := s.machine.Engine()
	for i := range engine.Changes {
		s.summary.Changes++
		if s.cfg.Change == nil {
			continue
		}
		if err := s.cfg.Change(&engine.Changes[i]); err != nil {
			return err
		}
	}
	engine.Changes = engine.Changes[:0]
	return nil
}

// lane is a record as one rule set's decoder reads it, valid until the next.
type lane struct {
	decoder *wire.Decoder
	what    string // why it must be skipped; "": it is good
	item    wire.Item
	at      subject.Instant // when the item is applied; Never: no date
}

func (l *lane) decode(text []byte, source subject.Position) {
	in := wire.Input{Value: text, Timestamp: subject.Never, Source: source}
	item, reject := l.decoder.Decode(wire.Mixed, in)
	if reject != nil {
		l.what = reject.String()
		return
	}
	l.what, l.item, l.at = "", item, subject.Never
	switch item.Content {
	case wire.HasRequest:
		l.what = "requests of data subjects are not available in this version"
	case wire.HasEvent:
		l.at = item.Event.Time
	case wire.HasDecisions:
		for _, d := range item.Decisions {
			l.at = min(l.at, d.Effective())
		}
	}
}

// saysItIsNoEvent reports whether a line that cannot be used names another kind.
func saysItIsNoEvent(text []byte) bool {
	return bytes.Contains(text, []byte(`"decision"`)) || bytes.Contains(text, []byte(`"request"`))
}
