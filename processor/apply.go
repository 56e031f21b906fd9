package processor

import (
	"context"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// applyEvents judges and applies fetched events in order, merged by arrival
// where there are several topics: as far as each of them is known, the rest is
// fetched again. A batch that grows too large for one
// transaction is committed in parts, each at an event's boundary; the barrier
// already passed covers all of them.
func (p *partition) applyEvents(ctx context.Context, fetched []stream.Fetched) error {
	merge := newMerge(fetched, p.events)
	defer p.judging.end()
	defer p.image.ReadTogether()()
	for ctx.Err() == nil {
		i, r := merge.next()
		if r == nil {
			break
		}
		in := p.events[i]
		p.judging.begin(in, r.Offset)
		if err := p.applyEvent(ctx, in, r); err != nil {
			return err
		}
		in.position = r.Offset + 1
		if p.full() {
			if err := p.commit(ctx); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range fetched {
		in := p.events[i]
		if merge.isDone(i) {
			in.position = max(in.position, fetched[i].Next)
		}
		in.starved = merge.isStarved(i)
	}
	return nil
}

// applyEvent decodes one record and steps its subject.
func (p *partition) applyEvent(ctx context.Context, in *input, r *stream.Record) error {
	item, reject := in.decoder.Decode(in.Kind, p.wireInput(in, r))
	if reject == nil {
		if _, elsewhere := p.belongsElsewhere(in, r, item.Subject); elsewhere {
			reject = &wire.Reject{Reason: wire.WrongPartition, Detail: "not the partition that " + in.Partitioner + " gives its key"}
		}
	}
	if reject != nil {
		p.reject(in, r.Offset, reject)
		p.tally[subject.OutcomeRejected]++
		return nil
	}
	p.out.belowMin += item.BelowMin
	if err := p.advance(ctx, min(item.Event.Time, item.Event.Arrival)); err != nil {
		return err
	}
	before := len(p.changes())
	outcome, err := p.machine.Event(item.Event)
	if err != nil {
		return storeError(err)
	}
	p.tally[outcome]++
	for range p.changes()[before:] {
		p.out.arrivals = append(p.out.arrivals, r.Timestamp)
	}
	return nil
}

// advance moves the clock on, committing in between where very many timers fire
// or those that fire change very much.
func (p *partition) advance(ctx context.Context, to subject.Instant) error {
	for timers := timersAtOnce; ; timers += timersAtOnce {
		done, err := p.machine.Advance(to, timersAtOnce)
		if err != nil {
			return storeError(err)
		}
		if done {
			return nil
		}
		if timers < maxBatchTimers && !p.full() {
			continue
		}
		if err := p.commit(ctx); err != nil {
			return err
		}
		timers = 0
	}
}

func (p *partition) changes() []subject.Change { return p.machine.Engine().Changes }

func (p *partition) full() bool {
	return len(p.changes()) >= maxBatchChanges || p.image.DirtyCount() >= maxBatchSubjects
}

// belongsElsewhere reports whether a record by its key (or, without a key, by
// its subject) should be on another partition, and on which. The verdict on the
// partitioner rests on what producers chose, so not on what was passed on.
func (p *partition) belongsElsewhere(in *input, r *stream.Record, id subject.ID) (int32, bool) {
	if in.Partition == nil {
		return p.id, false
	}
	key := r.Key
	if key == nil {
		key = []byte(id.Value)
	}
	to := in.Partition(key, p.cfg.Partitions)
	if !wasPassedOn(r) {
		in.fit.note(to == p.id)
	}
	return to, to != p.id
}

// reject notes a reference to a record that was not taken; never its payload.
func (p *partition) reject(in *input, offset int64, why *wire.Reject) {
	p.out.rejects = append(p.out.rejects, wire.Rejected{
		Source: subject.Position{Topic: in.Topic, Partition: p.id, Offset: offset}, Reject: *why})
}

// partitionerFit counts, of the first records of an input, how many were on the
// partition that the configured partitioner gives.
type partitionerFit struct{ seen, wrong int }

// How many records the verdict on a partitioner may rest on.
const (
	fitFrom = 100
	fitTo   = 1000
)

func (f *partitionerFit) note(right bool) {
	if f.seen >= fitTo {
		return
	}
	f.seen++
	if !right {
		f.wrong++
	}
}

// checkPartitioners stops the partition, before anything of the batch that shows
// it is committed, if most of an input's first records are on the wrong partition.
func (p *partition) checkPartitioners() error {
	for _, in := range p.inputs() {
		if in.fit.seen >= fitFrom && in.fit.wrong*2 > in.fit.seen && in.fit.seen < 2*fitTo {
			return configErrorf("%d of the first %d records of partition %d of %s are not where partitioner %s puts their keys: "+
				"set the input's partitioner to what its producers use (murmur2: Java clients; crc32: librdkafka; fnv1a: Sarama, kafka-go), "+
				"or produce it keyed by the subject's id", in.fit.wrong, in.fit.seen, p.id, in.Topic, in.Partitioner)
		}
	}
	return nil
}

// merge yields the records of several topics by arrival, each topic's in order,
// up to where one of them ends although there is more of it: what that holds may
// be older than what the others go on with.
type merge struct {
	fetched []stream.Fetched
	from    []int64 // offsets that were asked for
	at      []int
}

func newMerge(fetched []stream.Fetched, inputs []*input) *merge {
	m := &merge{fetched: fetched, at: make([]int, len(fetched))}
	for _, in := range inputs {
		m.from = append(m.from, in.position)
	}
	return m
}

func (m *merge) next() (topic int, r *stream.Record) {
	for i := range m.fetched {
		if m.isDone(i) {
			if m.fetched[i].Next < m.fetched[i].LastStable {
				return 0, nil
			}
			continue
		}
		if c := &m.fetched[i].Records[m.at[i]]; r == nil || c.Timestamp < r.Timestamp {
			topic, r = i, c
		}
	}
	if r != nil {
		m.at[topic]++
	}
	return topic, r
}

// isDone reports whether all records of a topic were yielded.
func (m *merge) isDone(topic int) bool { return m.at[topic] >= len(m.fetched[topic].Records) }

// isStarved reports whether nothing of a topic was fetched although there is
// more: a broker that is short of room answers what was asked first.
func (m *merge) isStarved(topic int) bool {
	f := &m.fetched[topic]
	return f.Next <= m.from[topic] && f.Next < f.LastStable
}
