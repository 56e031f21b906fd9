package processor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// ErrGap is wrapped by errors of resuming that a gap stands in the way of, or
// that has none to accept; the message says which.
var ErrGap = errors.New("not resumed")

// condition is what keeps a partition from working, if anything does.
type condition uint8

const (
	gone    condition = iota // no loop is at work
	working                  // or on the way to it
	paused                   // by an operator
	stopped                  // by a gap
)

// acceptance is an operator's of a gap; recorded is closed once it is on record.
type acceptance struct {
	gap      Gap
	recorded chan struct{}
}

// rest is why a partition rests, between its goroutine, which says what it does,
// and operators, who say what it shall do. It belongs to the partition number,
// not to the loop: a pause outlives a generation.
type rest struct {
	mu        sync.Mutex
	condition condition
	gap       *Gap          // while stopped
	accepted  []AcceptedGap // on record
	asked     bool          // to pause
	accept    *acceptance   // not on record yet
	changed   chan struct{} // closed at the next change of any of them
}

func newRest() *rest { return &rest{changed: make(chan struct{})} }

// change lets f change the rest and wakes who waits. mu must not be held.
func (r *rest) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *rest) changes() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *rest) set(s condition, gap *Gap) { r.change(func() { r.condition, r.gap = s, gap }) }

func (r *rest) isAsked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func (r *rest) now() (condition, *Gap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.condition, r.gap
}

// record tells which gaps are on record as accepted.
func (r *rest) record(accepted map[string]AcceptedGap) {
	r.change(func() {
		r.accepted = r.accepted[:0:0]
		for _, topic := range slices.Sorted(maps.Keys(accepted)) {
			r.accepted = append(r.accepted, accepted[topic])
		}
	})
}

// accepts is the acceptance of a gap that is under way, or begins one: so all who
// accept it at once are told when it is on record.
func (r *rest) accepts(gap Gap) (a *acceptance) {
	r.change(func() {
		if r.accept == nil || r.accept.gap != gap {
			r.accept = &acceptance{gap, make(chan struct{})}
		}
		a, r.asked = r.accept, false
	})
	return a
}

// taken takes up the acceptance of a gap; nil: there is none. One of another gap
// is forgotten.
func (r *rest) taken(gap Gap) *acceptance {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.accept != nil && r.accept.gap != gap {
		r.accept = nil
	}
	return r.accept
}

// recorded ends an acceptance that is on record now.
func (r *rest) recorded(a *acceptance) {
	r.change(func() { r.condition, r.gap, r.accept = working, nil, nil })
	close(a.recorded)
}

// noGap says that there is no gap to accept, and which one was accepted last: who
// asks may have been overtaken by somebody else.
func (r *rest) noGap(id int32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.accepted) == 0 {
		return fmt.Errorf("%w: partition %d has not stopped for a gap, there is none to accept", ErrGap, id)
	}
	last := slices.MaxFunc(r.accepted, func(a, b AcceptedGap) int { return cmp.Compare(a.At, b.At) })
	return fmt.Errorf("%w: partition %d has not stopped for a gap, there is none to accept; the last one was accepted at %s: %s", ErrGap, id, last.At, last.Gap)
}

// restWait is how long Pause and Resume wait for a partition to have done as it
// was told.
const restWait = 8 * time.Second

// Pause lets partitions of this instance rest after the batch, or the piece of a
// change of rules, that they are at: one, or all with a partition of -1, those
// among them that are assigned later. Others of the group are not paused. It
// returns when they rest; one that is busy or recovers will, and is an error
// that is ErrNotReady.
func (p *Processor) Pause(ctx context.Context, partition int32) error {
	ctx, cancel := context.WithTimeout(ctx, restWait)
	defer cancel()
	ids, err := p.restsOf(partition)
	if err != nil {
		return err
	}
	for _, id := range ids {
		r := p.restOf(id)
		r.change(func() { r.asked = true })
	}
	for _, id := range ids {
		if err := p.restOf(id).await(ctx, func(s condition) bool { return s != working }); err != nil {
			return fmt.Errorf("partition %d rests when it is done with what it is at: %w", id, ErrNotReady)
		}
	}
	return nil
}

// await waits for a condition, or until ctx ends.
func (r *rest) await(ctx context.Context, is func(condition) bool) error {
	for {
		changed := r.changes()
		if s, _ := r.now(); is(s) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Resume lets paused partitions go on: one, or all with a partition of -1. It
// returns when they do. One
// that has stopped for a gap goes on only with acceptGap, which takes one
// partition, once: it returns when the acceptance is on record, and from then on
// no restart stops there again; several who accept one gap at once all succeed.
// Errors: ErrGap, a *NotOwnedError, ErrNotReady.
func (p *Processor) Resume(ctx context.Context, partition int32, acceptGap bool) error {
	ctx, cancel := context.WithTimeout(ctx, restWait)
	defer cancel()
	ids, err := p.restsOf(partition)
	if err != nil {
		return err
	}
	if acceptGap {
		if len(ids) != 1 {
			return fmt.Errorf("%w: a gap is accepted for one partition at a time", ErrGap)
		}
		return p.acceptGap(ctx, ids[0])
	}
	var stands error
	for _, id := range ids {
		r := p.restOf(id)
		if _, gap := r.now(); gap != nil {
			stands = errors.Join(stands, fmt.Errorf("%w: %w", ErrGap, &GapError{*gap}))
			continue
		}
		r.change(func() { r.asked = false })
	}
	for _, id := range ids {
		if err := p.restOf(id).await(ctx, func(s condition) bool { return s != paused }); err != nil {
			return errors.Join(stands, fmt.Errorf("partition %d goes on when it can: %w", id, ErrNotReady))
		}
	}
	return stands
}

func (p *Processor) acceptGap(ctx context.Context, id int32) error {
	r := p.restOf(id)
	condition, gap := r.now()
	switch {
	case condition == gone:
		return &NotOwnedError{id}
	case gap == nil:
		return r.noGap(id)
	}
	a := r.accepts(*gap)
	for {
		changed := r.changes()
		if _, now := r.now(); now != nil && *now != a.gap {
			return fmt.Errorf("%w: the gap is another by now: %w", ErrGap, &GapError{*now})
		}
		select {
		case <-a.recorded:
			return nil
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("partition %d has not put the acceptance on record yet: %w", id, ErrNotReady)
		}
	}
}

// restsOf are the partitions that an operator means: one, or all with -1.
func (p *Processor) restsOf(partition int32) (ids []int32, err error) {
	switch {
	case partition >= p.cfg.Partitions || partition < -1:
		return nil, &NoPartitionError{partition, p.cfg.Partitions}
	case partition >= 0:
		return []int32{partition}, nil
	}
	for id := range p.cfg.Partitions {
		ids = append(ids, id)
	}
	return ids, nil
}

// NoPartitionError means that the topics do not have a partition.
type NoPartitionError struct{ Partition, Partitions int32 }

// Error implements error.
func (e *NoPartitionError) Error() string {
	return fmt.Sprintf("there is no partition %d: the topics have %d", e.Partition, e.Partitions)
}

func (p *Processor) restOf(id int32) *rest {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rests[id]
	if r == nil {
		r = newRest()
		p.rests[id] = r
	}
	return r
}

// state says how far the partition is. Safe for concurrent use.
func (p *partition) state() PartitionState {
	p.rest.mu.Lock()
	defer p.rest.mu.Unlock()
	busy := p.judging.busy(p.cfg.busyLimit)
	return PartitionState{Partition: p.id, Ready: p.ready.Load() && busy == nil, Busy: busy, Paused: p.rest.condition == paused, Gap: p.rest.gap, Accepted: p.rest.accepted}
}
