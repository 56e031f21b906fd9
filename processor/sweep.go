package processor

import (
	"context"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// sweep lets step see every record in order of key and keeps those it changes, in
// transactions of bounded size, each with how far it has got. Each has passed a
// barrier, so that nothing is decided against the word of a subject that was
// acknowledged before. Live events and timers rest meanwhile; look-ups do not.
func (p *partition) sweep(ctx, work context.Context, step func(*subject.Record) (changed bool)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.answerWaiting()
		if err := p.passBarrier(work); err != nil {
			return err
		}
		// What the barrier brought is found by its key once it is committed.
		if err := p.commit(work); err != nil {
			return err
		}
		done, err := p.sweepPiece(work, step)
		if err != nil {
			return err
		}
		if err := p.commit(work); err != nil {
			return err
		}
		p.observe()
		if done {
			return nil
		}
	}
}

// sweepPiece looks at the next records. done: there were no more.
func (p *partition) sweepPiece(ctx context.Context, step func(*subject.Record) bool) (done bool, err error) {
	c := p.change
	keys, err := p.image.Keys(c.key, p.cfg.sweepRecords)
	if err != nil {
		return false, storeError(err)
	}
	for i := range keys {
		r, err := p.image.Record(keys[i])
		if err != nil {
			return false, storeError(err)
		}
		if r != nil && !r.IsFence() && step(r) { // nothing of one that was erased depends on rules
			if err := p.image.Put(r); err != nil {
				return false, storeError(err)
			}
		}
		c.key = &keys[i]
		if p.full() {
			if err := p.commit(ctx); err != nil {
				return false, err
			}
		}
	}
	return len(keys) < p.cfg.sweepRecords, nil
}

// rereadDecisions reads the decisions topics again, from their start to where
// live reading was when the change began, for the purposes that ask otherwise of
// them now. Nothing is published.
func (p *partition) rereadDecisions(ctx, work context.Context) error {
	c := p.change
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.answerWaiting()
		if err := p.passBarrier(work); err != nil {
			return err
		}
		left, err := p.rereadPiece(work)
		if err != nil {
			return err
		}
		for _, in := range c.decisions {
			s := c.reread[in.Topic]
			s.next = in.position
			c.reread[in.Topic] = s
		}
		if err := p.commit(work); err != nil || !left {
			return err
		}
	}
}

// rereadPiece reads some decisions. left: there are more.
func (p *partition) rereadPiece(ctx context.Context) (left bool, err error) {
	c := p.change
	defer p.judging.end()
	fetched, err := p.fetch(ctx, c.decisions, &p.fetching.again, stream.FetchOptions{MaxBytes: 1 << 20})
	if err != nil {
		return false, err
	}
	for i := range fetched {
		in, end := c.decisions[i], c.reread[c.decisions[i].Topic].end
		for j := range fetched[i].Records {
			if r := &fetched[i].Records[j]; r.Offset < end {
				p.judging.begin(in, r.Offset)
				if err := p.reread(in, r); err != nil {
					return false, err
				}
			}
		}
		in.position = max(in.position, fetched[i].Next)
		left = left || in.position < end
	}
	return left, nil
}

// reread takes one decision again. What is wrong with it was said when it was
// first read; one that is on the wrong partition was passed on then, unless
// its purpose was not known or it had been passed on before.
func (p *partition) reread(in *input, r *stream.Record) error {
	c := p.change
	item, reject := in.decoder.Decode(in.Kind, p.wireInput(in, r))
	if reject != nil {
		return nil
	}
	if to, ok := p.belongsElsewhere(in, r, item.Subject); ok {
		if c.transition.From != nil && p.newTo(item) && !wasPassedOn(r) {
			p.passOn(in, r, to)
		}
		return nil
	}
	for _, d := range item.Decisions {
		err := p.withRecord(d.Subject, func(rec *subject.Record) bool { return c.migration.Reread(rec, p.machine.Dated(d)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// newTo reports whether a decision is on a purpose that the former rules had not.
func (p *partition) newTo(item wire.Item) bool {
	for _, d := range item.Decisions {
		if _, had := p.change.transition.From.PurposeIndex(d.Purpose); d.Purpose != "" && !had {
			return true
		}
	}
	return false
}

// withRecord lets step change a subject's record, new if nothing is kept.
func (p *partition) withRecord(id subject.ID, step func(*subject.Record) (changed bool)) error {
	r, err := p.image.Get(id)
	if err != nil {
		return storeError(err)
	}
	if r == nil {
		r = subject.NewRecord(id)
	}
	if !step(r) {
		return nil
	}
	return storeError(p.image.Put(r))
}

// takeDecision applies a live decision, by where the change of rules stands with
// its subject.
func (p *partition) takeDecision(d subject.Decision) error {
	c := p.change
	if c == nil {
		return storeError(p.machine.Decision(d))
	}
	d = p.machine.Dated(d)
	passed := c.passed(p.image.KeyOf(d.Subject))
	switch {
	case c.phase < sweeping, c.phase == sweeping && !passed:
		return p.withRecord(d.Subject, func(r *subject.Record) bool { return c.migration.Note(r, d) })
	case c.phase == takingOver && passed:
		c.migration.Release()
		defer c.migration.Hold()
	}
	if err := p.machine.Decision(d); err != nil {
		return storeError(err)
	}
	return p.withRecord(d.Subject, func(r *subject.Record) bool { return c.migration.Shadow(r, d, c.clock) })
}

// answerWaiting answers the look-ups that wait.
func (p *partition) answerWaiting() {
	for {
		select {
		case q := <-p.queries:
			q.answer(p)
		default:
			return
		}
	}
}
