package processor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// ErrNotReady: the partition is not restored and caught up yet, or has heard
// nothing of the broker for a while (heardShare). Where it rests, errors say so and
// how it goes on, and wrap this.
var ErrNotReady = errors.New("the subject's partition is not restored and caught up yet")

// NotOwnedError: another instance owns the partition that is meant, as a subject's.
type NotOwnedError struct {
	Partition int32 // -1: it is one of several, nobody knows which
}

// Error implements error.
func (e *NotOwnedError) Error() string {
	if e.Partition < 0 {
		return "the subject may be in a partition of another instance: ask the others too, as nobody knows how producers choose partitions"
	}
	return fmt.Sprintf("another instance owns partition %d", e.Partition)
}

// Membership is one segment a subject is in.
type Membership struct {
	Segment string
	Purpose string
	Since   subject.Instant
}

// lookupWait is how long a look-up waits for a partition that is busy: at a
// barrier it may be held up for as long as a transaction hangs.
const lookupWait = time.Second

// Lookup tells a subject's memberships, in decision order. found is false where
// nothing is kept about the subject. It waits for the partition's goroutine,
// between two batches, for a second at most (ErrNotReady). Where nobody knows
// how producers choose partitions it asks all that it owns. The error is
// ErrNotReady or a *NotOwnedError where this instance cannot tell now.
func (p *Processor) Lookup(ctx context.Context, id subject.ID) (memberships []Membership, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	var elsewhere error
	for _, partition := range p.partitionsOf(id) {
		loop, err := p.ownerOf(partition)
		if err != nil {
			elsewhere = err
			continue
		}
		if memberships, found, err = loop.lookup(ctx, id); found || err != nil {
			return memberships, found, err
		}
	}
	return nil, false, elsewhere
}

// seeksAll reports whether a subject can be in any partition.
func (p *Processor) seeksAll() bool { return p.cfg.Inputs[0].Partition == nil }

// partitionsOf returns where a subject can be.
func (p *Processor) partitionsOf(id subject.ID) []int32 {
	if !p.seeksAll() {
		return []int32{p.cfg.Inputs[0].Partition([]byte(id.Value), p.cfg.Partitions)}
	}
	all := make([]int32, p.cfg.Partitions)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// ownerOf returns the loop of a partition, if it may answer.
func (p *Processor) ownerOf(id int32) (*partition, error) {
	p.mu.RLock()
	loop := p.running[id]
	p.mu.RUnlock()
	switch {
	case loop == nil && p.seeksAll():
		return nil, &NotOwnedError{-1}
	case loop == nil:
		return nil, &NotOwnedError{id}
	case !loop.ready.Load():
		return nil, loop.rest.notReady()
	case !loop.heardWithin(p.cfg.SessionTimeout / heardShare):
		return nil, ErrNotReady
	}
	return loop, nil
}

// heardShare: an owner whose last answered fetch was sent longer ago than this
// part of the session timeout says nothing. It knows of a lost session at the
// latest 0.6 of a session timeout after the last heartbeat that the coordinator
// has had (processor/kafka, GroupConfig), and may have fetched until then; a
// third more, and another one may own the partition.
const heardShare = 3

// heardWithin reports whether the broker has answered a fetch that was sent no
// longer than d ago, by a clock that stood still with the process as well as by
// one that did not.
func (p *partition) heardWithin(d time.Duration) bool {
	sent := p.lastFetch.Load()
	if sent == nil {
		return false
	}
	now := p.deps.Now()
	return max(now.Sub(*sent), now.Round(0).Sub(sent.Round(0))) < d
}

// lookup asks the partition's goroutine.
func (p *partition) lookup(ctx context.Context, id subject.ID) (memberships []Membership, found bool, err error) {
	if asked := p.ask(ctx, func(p *partition) { memberships, found, err = p.memberships(id) }); asked != nil {
		return nil, false, asked
	}
	return memberships, found, err
}

// ask lets f look at the partition between two batches.
func (p *partition) ask(ctx context.Context, f func(*partition)) error {
	done := make(chan struct{})
	q := query{func(p *partition) {
		f(p)
		close(done)
	}}
	select {
	case p.queries <- q:
	case <-ctx.Done():
		return ErrNotReady
	}
	<-done
	return nil
}

// memberships reads a subject between two batches.
func (p *partition) memberships(id subject.ID) (memberships []Membership, found bool, err error) {
	r, err := p.image.Get(id)
	if err != nil || r == nil {
		return nil, false, storeError(err)
	}
	set := p.rules()
	for i := range set.Segments {
		s := &set.Segments[i]
		state := r.Purpose(set.Purposes[s.Purpose].Key)
		if state == nil {
			continue
		}
		if since, in := state.Member(s.ID); in {
			memberships = append(memberships, Membership{s.Key, state.Key, since})
		}
	}
	return memberships, true, nil
}

// SegmentInfo is a segment's definition, and its size and changes in the
// partitions of this instance since they were restored.
type SegmentInfo struct {
	Key, Name, Description, Purpose, When string
	StayWhile                             string        // "": none
	MinDwell, Cooldown                    time.Duration // 0: none
	Members, Entered, Exited              int64
	Coverage                              *Coverage // nil: all that the rule reads is there
}

// Segments lists the segments in decision order.
func (p *Processor) Segments() []SegmentInfo {
	p.mu.RLock()
	defer p.mu.RUnlock()
	set := p.set
	infos := make([]SegmentInfo, len(set.Segments))
	for i := range set.Segments {
		s := &set.Segments[i]
		infos[i] = SegmentInfo{Key: s.Key, Name: s.Name, Description: s.Description, Purpose: set.Purposes[s.Purpose].Key,
			When: strings.TrimSpace(s.When), StayWhile: strings.TrimSpace(s.StayWhile), MinDwell: s.MinDwell, Cooldown: s.Cooldown}
		for _, loop := range p.running {
			loop.table.Load().addTo(&infos[i])
		}
		infos[i].Coverage, _ = p.coverage(s.Key)
	}
	return infos
}

// segmentTable counts the segments of a rule set in one partition. Its counts are
// written by the partition's goroutine only.
type segmentTable struct {
	set    *rules.Set
	counts []segmentCounts // by segment
}

// segmentCounts is one segment's size and changes.
type segmentCounts struct{ members, entered, exited atomic.Int64 }

// under is a table for another rule set that goes on with the segments it shares.
func (t *segmentTable) under(set *rules.Set) *segmentTable {
	next := &segmentTable{set: set, counts: make([]segmentCounts, len(set.Segments))}
	for i := range t.counts {
		if at, ok := set.SegmentByKey(t.set.Segments[i].Key); ok {
			next.counts[at].members.Store(t.counts[i].members.Load())
			next.counts[at].entered.Store(t.counts[i].entered.Load())
			next.counts[at].exited.Store(t.counts[i].exited.Load())
		}
	}
	return next
}

// members are the segments' sizes, by key.
func (t *segmentTable) members() map[string]int64 {
	all := make(map[string]int64, len(t.counts))
	for i := range t.counts {
		all[t.set.Segments[i].Key] = t.counts[i].members.Load()
	}
	return all
}

// setMembers sets the segments' sizes, by key.
func (t *segmentTable) setMembers(members map[string]int64) {
	for i := range t.counts {
		t.counts[i].members.Store(members[t.set.Segments[i].Key])
	}
}

func (t *segmentTable) count(c *subject.Change) {
	at, ok := t.set.SegmentByKey(c.Segment)
	if !ok {
		return
	}
	s := &t.counts[at]
	if c.Kind == subject.Entered {
		s.members.Add(1)
		s.entered.Add(1)
		return
	}
	s.members.Add(-1)
	s.exited.Add(1)
}

func (t *segmentTable) addTo(info *SegmentInfo) {
	if at, ok := t.set.SegmentByKey(info.Key); ok {
		info.Members += t.counts[at].members.Load()
		info.Entered += t.counts[at].entered.Load()
		info.Exited += t.counts[at].exited.Load()
	}
}
