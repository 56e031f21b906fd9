package processor

import (
	"context"
	"errors"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/state/subject"
)

// Explanations say why a subject is in segments or not; they hold its data.
type Explanations = core.Explanations

// NoSegmentError: the rules have no such segment.
type NoSegmentError struct{ detail string }

// Error names the segment, and the one most like it.
func (e *NoSegmentError) Error() string { return e.detail }

// Explain explains a subject's memberships as of its partition's clock: of one
// segment, or ("") of those of all purposes that something is kept for. Of a
// subject about whom nothing is kept it says so. It waits as Lookup does; what
// takes time is done in the caller's goroutine.
func (p *Processor) Explain(ctx context.Context, id subject.ID, segment string) (Explanations, error) {
	asking, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	var s standing
	var elsewhere error
	for _, partition := range p.partitionsOf(id) {
		loop, err := p.ownerOf(partition)
		if err != nil {
			elsewhere = err
			continue
		}
		found, err := loop.standing(asking, id)
		if err != nil {
			return Explanations{}, err
		}
		if s.explainer == nil || found.record != nil {
			s = found
		}
		if s.record != nil {
			break
		}
	}
	if s.record == nil {
		if elsewhere != nil {
			return Explanations{}, elsewhere
		}
		s.record = subject.NewRecord(id)
	}
	all, err := s.explain(segment)
	for i := range all.Explanations {
		e := &all.Explanations[i]
		if c, ok := p.Coverage(e.Segment); ok && c.From.Valid() {
			e.CoverageFrom = c.From.String()
		}
	}
	return all, err
}

// standing is a subject as it stood between two batches.
type standing struct {
	record    *subject.Record // a copy; nil: nothing is kept
	explainer *core.Explainer
	clock     subject.Instant
}

// standing asks the partition's goroutine.
func (p *partition) standing(ctx context.Context, id subject.ID) (s standing, err error) {
	asked := p.ask(ctx, func(p *partition) {
		s.explainer, s.clock = p.machine.Engine().Explainer(), p.machine.Clock()
		r, failed := p.image.Get(id)
		if err = storeError(failed); r != nil && failed == nil {
			s.record = r.Clone()
		}
	})
	return s, errors.Join(asked, err)
}

func (s *standing) explain(segment string) (Explanations, error) {
	if segment == "" {
		return s.explainer.ExplainAll(s.record, s.clock), nil
	}
	i, ok := s.explainer.Rules().SegmentByKey(segment)
	if !ok {
		return Explanations{}, &NoSegmentError{s.explainer.Rules().NoSegment(segment)}
	}
	one := s.explainer.Explain(s.record, i, s.clock)
	return Explanations{UserID: one.UserID, IDType: one.IDType, Explanations: []core.Explanation{one}}, nil
}
