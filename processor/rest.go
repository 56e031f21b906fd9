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
// and operators, who say what it shall do. It outlives a generation where the next
// one has the partition too.
type rest struct {
	id        int32 // of the partition
	mu        sync.Mutex
	condition condition
	gap       *Gap          // while stopped
	accepted  []AcceptedGap // on record
	asked     bool          // to pause
	accept    *acceptance   // not on record yet
	changed   chan struct{} // closed at the next change of any of them
}

func newRest(id int32, asked bool) *rest {
	return &rest{id: id, asked: asked, changed: make(chan struct{})}
}

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

// restError is ErrNotReady in words of its own.
type restError struct{ detail string }

func notReadyf(format string, args ...any) error { return &restError{fmt.Sprintf(format, args...)} }

func (e *restError) Error() string { return e.detail }

func (e *restError) Unwrap() error { return ErrNotReady }

// notReady says why a partition that is not ready is not.
func (r *rest) notReady() error {
	switch now, _ := r.now(); now {
	case paused:
		return notReadyf("the subject's partition %d is paused, until POST /v1/admin/resume?partition=%d or segmentd resume --partition %d", r.id, r.id, r.id)
	case stopped:
		return notReadyf("the subject's partition %d has stopped, as decisions or requests are missing: GET /v1/status says which, "+
			"and segmentd resume --partition %d --accept-gap lets it go on without them", r.id, r.id)
	}
	return ErrNotReady
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
func (r *rest) noGap() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.accepted) == 0 {
		return fmt.Errorf("%w: partition %d has not stopped for a gap, there is none to accept", ErrGap, r.id)
	}
	last := slices.MaxFunc(r.accepted, func(a, b AcceptedGap) int { return cmp.Compare(a.At, b.At) })
	return fmt.Errorf("%w: partition %d has not stopped for a gap, there is none to accept; the last one was accepted at %s: %s", ErrGap, r.id, last.At, last.Gap)
}

// restWait is how long Pause and Resume wait for a partition to have done as it
// was told.
const restWait = 8 * time.Second

// Pause lets partitions of this instance rest after the batch, or the piece of a
// change of rules, that they are at: one, or all with a partition of -1, those
// among them that are assigned later. Others of the group are not paused, and one
// that moves to another instance is paused no more. It returns when they rest; one
// that is busy or recovers will, and is an error that is ErrNotReady. Of a partition
// that another instance owns nothing is kept: that is a *NotOwnedError.
func (p *Processor) Pause(ctx context.Context, partition int32) error {
	ctx, cancel := context.WithTimeout(ctx, restWait)
	defer cancel()
	if partition == -1 {
		p.pausing.Store(true)
	}
	rests, err := p.restsOf(partition)
	if err != nil {
		return err
	}
	for _, r := range rests {
		r.change(func() { r.asked = true })
	}
	for _, r := range rests {
		now, err := r.leaves(ctx, working)
		switch {
		case err != nil:
			return notReadyf("partition %d rests when it is done with what it is at", r.id)
		case now == gone && partition >= 0:
			return &NotOwnedError{partition}
		}
	}
	return nil
}

// leaves waits until the condition is another, or until ctx ends.
func (r *rest) leaves(ctx context.Context, from condition) (now condition, err error) {
	for {
		changed := r.changes()
		if now, _ = r.now(); now != from {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}

// Resume lets paused partitions go on: one, or all with a partition of -1. It
// returns when they do. One that has stopped for a gap goes on only with acceptGap,
// which takes one partition, once: it returns when the acceptance is on record, and
// from then on no restart stops there again; several who accept one gap at once all
// succeed.
// Errors: ErrGap, a *NotOwnedError, ErrNotReady.
func (p *Processor) Resume(ctx context.Context, partition int32, acceptGap bool) error {
	ctx, cancel := context.WithTimeout(ctx, restWait)
	defer cancel()
	switch {
	case partition == -1 && acceptGap:
		return fmt.Errorf("%w: a gap is accepted for one partition at a time: name it", ErrGap)
	case partition == -1:
		p.pausing.Store(false)
	}
	rests, err := p.restsOf(partition)
	switch {
	case err != nil:
		return err
	case acceptGap:
		return rests[0].acceptGap(ctx)
	}
	var stands error
	for _, r := range rests {
		if _, gap := r.now(); gap != nil {
			stands = errors.Join(stands, fmt.Errorf("%w: %w", ErrGap, &GapError{*gap}))
			continue
		}
		r.change(func() { r.asked = false })
	}
	for _, r := range rests {
		now, err := r.leaves(ctx, paused)
		switch {
		case err != nil:
			return errors.Join(stands, notReadyf("partition %d goes on when it can", r.id))
		case now == gone && partition >= 0:
			return &NotOwnedError{partition}
		}
	}
	return stands
}

func (r *rest) acceptGap(ctx context.Context) error {
	condition, gap := r.now()
	switch {
	case condition == gone:
		return &NotOwnedError{r.id}
	case gap == nil:
		return r.noGap()
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
			return notReadyf("partition %d has not put the acceptance on record yet", r.id)
		}
	}
}

// NoPartitionError means that the topics do not have a partition.
type NoPartitionError struct{ Partition, Partitions int32 }

// Error implements error.
func (e *NoPartitionError) Error() string {
	return fmt.Sprintf("there is no partition %d: the topics have %d", e.Partition, e.Partitions)
}

// restsOf are those of the partitions that an operator means: of one that is ours,
// or with -1 of all that are, or were until a moment ago.
func (p *Processor) restsOf(partition int32) (rests []*rest, err error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	switch {
	case partition >= p.cfg.Partitions || partition < -1:
		return nil, &NoPartitionError{partition, p.cfg.Partitions}
	case partition >= 0 && p.running[partition] == nil:
		return nil, &NotOwnedError{partition}
	}
	for id := range p.cfg.Partitions {
		if r := p.rests[id]; r != nil && (partition < 0 || partition == id) {
			rests = append(rests, r)
		}
	}
	return rests, nil
}

// keepRests forgets what was asked of partitions that are not ours any more, and
// begins with those that are ours from now on.
func (p *Processor) keepRests(assigned []int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.rests
	p.rests = make(map[int32]*rest, len(assigned))
	for _, id := range assigned {
		p.rests[id] = before[id]
		if p.rests[id] == nil {
			p.rests[id] = newRest(id, p.pausing.Load())
		}
	}
}

// state says how far the partition is. Safe for concurrent use.
func (p *partition) state() PartitionState {
	p.rest.mu.Lock()
	defer p.rest.mu.Unlock()
	busy := p.judging.busy(p.cfg.busyLimit)
	return PartitionState{Partition: p.id, Ready: p.ready.Load() && busy == nil, Busy: busy, Paused: p.rest.condition == paused, Gap: p.rest.gap, Accepted: p.rest.accepted}
}
