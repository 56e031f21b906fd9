package processor

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/segmentd/segmentd/state/subject"
)

// Errors of look-ups.
var (
	// ErrNotOwned: another instance owns the subject's partition.
	ErrNotOwned = errors.New("another instance owns the subject's partition")
	// ErrNotReady: the partition is not restored and caught up yet.
	ErrNotReady = errors.New("the subject's partition is not restored yet")
)

// Membership is one segment a subject is in.
type Membership struct {
	Segment string
	Purpose string
	Since   subject.Instant
}

// Lookup tells a subject's memberships, in decision order. found is false where
// nothing is kept about the subject. It waits for the partition's goroutine,
// between two batches.
func (p *Processor) Lookup(ctx context.Context, id subject.ID) (memberships []Membership, found bool, err error) {
	loop, err := p.ownerOf(id)
	if err != nil {
		return nil, false, err
	}
	type answer struct {
		memberships []Membership
		found       bool
		err         error
	}
	done := make(chan answer, 1)
	q := query{func(loop *partition) {
		m, found, err := loop.memberships(id)
		done <- answer{m, found, err}
	}}
	select {
	case loop.queries <- q:
	case <-ctx.Done():
		return nil, false, ErrNotReady
	}
	a := <-done
	return a.memberships, a.found, a.err
}

// ownerOf returns the loop of the subject's partition.
func (p *Processor) ownerOf(id subject.ID) (*partition, error) {
	partition := int32(0)
	for _, in := range p.cfg.Inputs {
		if in.Partition != nil {
			partition = in.Partition([]byte(id.Value), p.cfg.Partitions)
			break
		}
	}
	p.mu.RLock()
	loop := p.running[partition]
	p.mu.RUnlock()
	switch {
	case loop == nil:
		return nil, ErrNotOwned
	case !loop.ready.Load():
		return nil, ErrNotReady
	}
	return loop, nil
}

// memberships reads a subject between two batches.
func (p *partition) memberships(id subject.ID) (memberships []Membership, found bool, err error) {
	r, err := p.image.Get(id)
	if err != nil || r == nil {
		return nil, false, storeError(err)
	}
	set := p.deps.Rules
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
	Members, Entered, Exited              int64
}

// Segments lists the segments in decision order.
func (p *Processor) Segments() []SegmentInfo {
	set := p.deps.Rules
	infos := make([]SegmentInfo, len(set.Segments))
	for i := range set.Segments {
		s := &set.Segments[i]
		infos[i] = SegmentInfo{Key: s.Key, Name: s.Name, Description: s.Description, Purpose: set.Purposes[s.Purpose].Key, When: s.When}
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, loop := range p.running {
		for i := range loop.counts {
			c := &loop.counts[i]
			infos[i].Members += c.members.Load()
			infos[i].Entered += c.entered.Load()
			infos[i].Exited += c.exited.Load()
		}
	}
	return infos
}

// segmentCounts is one segment's size and changes in one partition. Written by
// the partition's goroutine only.
type segmentCounts struct{ members, entered, exited atomic.Int64 }

func (c *segmentCounts) count(kind subject.ChangeKind) {
	if kind == subject.Entered {
		c.members.Add(1)
		c.entered.Add(1)
		return
	}
	c.members.Add(-1)
	c.exited.Add(1)
}
