package processor

import (
	"maps"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Coverage says that what a segment's rule reads is not, or was not, all there:
// a change of rules fills it, or the events' topics no longer held everything
// when it did.
type Coverage struct {
	From    subject.Instant // since when it is complete: while it is filled, since the change
	Filling bool            // it publishes no entries yet
	Done    int64           // records read again, while it is filled
	Of      int64
}

// Coverages tells, by segment, where what its rule reads is not all there, over
// the partitions of this instance.
func (p *Processor) Coverages() map[string]Coverage {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := map[string]Coverage{}
	for _, loop := range p.running {
		covers := loop.covers.Load()
		if covers == nil {
			continue
		}
		for segment := range *covers {
			if c, ok := p.coverage(segment); ok {
				all[segment] = *c
			}
		}
	}
	return all
}

// Coverage tells how far what a segment's rule reads is there, over the
// partitions of this instance; ok is false where nothing is missing.
func (p *Processor) Coverage(segment string) (c Coverage, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	found, ok := p.coverage(segment)
	if !ok {
		return Coverage{}, false
	}
	return *found, true
}

// coverage is Coverage with mu held.
func (p *Processor) coverage(segment string) (sum *Coverage, ok bool) {
	for _, loop := range p.running {
		all := loop.covers.Load()
		if all == nil {
			continue
		}
		c, has := (*all)[segment]
		if !has {
			continue
		}
		if sum == nil {
			sum = &Coverage{From: c.From}
		}
		sum.From, sum.Filling = max(sum.From, c.From), sum.Filling || c.Filling
		sum.Done, sum.Of = sum.Done+c.Done, sum.Of+c.Of
	}
	return sum, sum != nil
}

// cursors is what the checkpoint keeps beside the inputs' positions.
func (p *partition) cursors() map[string]string {
	t := told{p.coverage, p.accepted}
	if p.change == nil {
		return cursors(nil, t)
	}
	return cursors(&p.change.progress, t)
}

// cover notes, at the end of a change, since when filled segments are complete.
func (p *partition) cover(c *change) {
	if c.covered == subject.LongAgo {
		return
	}
	for i := range c.transition.To.Segments {
		if c.transition.Segments[i] == rules.Filled {
			p.coverage[c.transition.To.Segments[i].Key] = c.covered
		}
	}
}

// uncover forgets the coverage of segments that are gone or filled anew.
func (p *partition) uncover(t *rules.Transition) {
	maps.DeleteFunc(p.coverage, func(segment string, _ subject.Instant) bool {
		i, stays := t.To.SegmentByKey(segment)
		return !stays || t.Segments[i] == rules.Filled
	})
}

// showCoverage lets look-ups see what is not complete, and forgets what the
// purposes' retention has left behind.
func (p *partition) showCoverage() {
	set, clock := p.rules(), p.machine.Clock()
	maps.DeleteFunc(p.coverage, func(segment string, from subject.Instant) bool {
		i, ok := set.SegmentByKey(segment)
		if !ok {
			return true
		}
		kept := set.Purposes[set.Segments[i].Purpose].Retention
		return kept > 0 && clock.Valid() && from.Add(kept) < clock
	})
	if p.change == nil && len(p.coverage) == 0 {
		p.covers.Store(nil)
		return
	}
	all := make(map[string]Coverage, len(p.coverage))
	for segment, from := range p.coverage {
		all[segment] = Coverage{From: from}
	}
	if c := p.change; c != nil {
		done, of := p.filled()
		for i := range set.Segments {
			if c.transition.Segments[i] == rules.Filled {
				all[set.Segments[i].Key] = Coverage{From: c.at, Filling: true, Done: done, Of: of}
			}
		}
	}
	p.covers.Store(&all)
}
