package replay

import (
	"context"

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
	lanes   map[*Input]*lane // of Step; made when first needed
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
	return &Stepper{cfg: cfg, records: records, machine: core.NewMachine(engine, records, subject.LongAgo), lanes: map[*Input]*lane{}}, nil
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
	return s.StepInput(nil, record, source, subject.Never)
}

// StepInput is Step for a record as an input has it (see Input.WholeRecords);
// nil: in segmentd's own shapes. arrival is the instant of an event without a
// date; Never: it must have one.
func (s *Stepper) StepInput(in *Input, record []byte, source subject.Position, arrival subject.Instant) (Step, error) {
	l := s.lanes[in]
	if l == nil {
		l = s.newLane(in)
		s.lanes[in] = l
	}
	l.decode(record, source, arrival)
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
	did.Outcome, err = s.apply(context.Background(), &l.item, l.at)
	return did, err
}

// Advance moves the clock on, never back, and fires every timer strictly before it.
func (s *Stepper) Advance(to subject.Instant) error { return s.advance(context.Background(), to) }

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

func (s *Stepper) newLane(in *Input) *lane {
	o := s.cfg.Decoder
	if in != nil {
		o = in.Decoder
	}
	o.Fields, o.Names = s.cfg.Rules.Fields, s.cfg.Rules.EventNames()
	for i := range s.cfg.Rules.Purposes {
		o.Purposes = append(o.Purposes, s.cfg.Rules.Purposes[i].Key)
	}
	return &lane{decoder: wire.NewDecoder(o), unit: o.TimestampUnit, input: in}
}

// timersAtOnce is how many timers fire between two looks at the context: of the
// dearest rules some milliseconds.
const timersAtOnce = 256

// advance is Advance until ctx ends; the error is then its own.
func (s *Stepper) advance(ctx context.Context, to subject.Instant) error {
	for {
		done, err := s.machine.Advance(to, timersAtOnce)
		if err != nil {
			return err
		}
		if err := s.publish(); err != nil || done {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// apply moves the clock to the item's instant and applies it.
func (s *Stepper) apply(ctx context.Context, item *wire.Item, at subject.Instant) (subject.Outcome, error) {
	if at != subject.Never {
		if err := s.advance(ctx, at); err != nil {
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
	switch item.Content {
	case wire.HasEvent:
		outcome, err := s.machine.Event(item.Event)
		s.summary.Events[outcome]++
		return outcome, err
	case wire.HasRequest:
		s.summary.Requests++
		_, err := s.machine.Request(item.Request)
		return subject.Admitted, err
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
func (s *Stepper) finish(ctx context.Context) error {
	if s.cfg.Until == subject.Never {
		return s.advance(ctx, s.machine.Clock())
	}
	return s.advance(ctx, s.cfg.Until)
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
