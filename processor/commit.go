package processor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// output is what a transaction will publish beside changes and records.
type output struct {
	passedOn []stream.Message
	rejects  []wire.Rejected
	results  []wire.RequestResult
	dossiers []dossierChange
	arrivals []subject.Instant // of the events that caused changes
	belowMin int
}

func (o *output) reset() {
	o.unread()
	o.arrivals, o.belowMin = o.arrivals[:0], 0
	o.results, o.dossiers = o.results[:0], o.dossiers[:0]
}

// unread forgets what reading decisions and requests brought by itself.
func (o *output) unread() { o.passedOn, o.rejects = o.passedOn[:0], o.rejects[:0] }

// commit publishes, in one transaction, all that the steps since the last
// commit brought: changes, members, rejects, decisions and requests passed on,
// results of requests, records, dossiers, checkpoint, group offsets. Then the image takes the records in. With nothing
// new it does nothing. Any error means the recovery path.
func (p *partition) commit(ctx context.Context) error {
	if err := p.checkPartitioners(); err != nil {
		return err
	}
	cp, moved := p.nextCheckpoint()
	if !moved {
		p.settleCounts()
		return nil
	}
	began := p.deps.Now()
	next, err := p.transact(ctx, cp)
	if err != nil {
		p.deps.Metrics.ObserveTransaction(metrics.Unknown, p.deps.Now().Sub(began))
		return fmt.Errorf("transaction %d: %w", cp.Transaction, err)
	}
	p.deps.Metrics.ObserveTransaction(metrics.Committed, p.deps.Now().Sub(began))
	if err := p.image.Commit(cp, next); err != nil {
		return storeError(err)
	}
	p.checkpoint, p.progressed = cp, true
	p.settleCounts()
	p.settleGaps()
	return nil
}

// nextCheckpoint returns the checkpoint of the next transaction, and whether
// there is anything to commit.
func (p *partition) nextCheckpoint() (state.Checkpoint, bool) {
	cp := p.checkpoint
	moved := cp.Transaction == 0 || p.host.strayed || p.image.DirtyCount() > 0 || len(p.image.UnsavedFixed()) > 0 ||
		len(p.out.rejects) > 0 || len(p.out.passedOn) > 0
	cp.Positions = make(map[string]int64, len(p.checkpoint.Positions))
	for topic, at := range p.checkpoint.Positions {
		if p.cfg.isInput(topic) {
			cp.Positions[topic] = at
		} else {
			moved = true // an input that was dropped
		}
	}
	for _, in := range p.inputs() {
		if at, known := cp.Positions[in.Topic]; !known || at != in.position {
			cp.Positions[in.Topic], moved = in.position, true
		}
	}
	cp.RuleSet, cp.Cursors, cp.Topics = p.rules().Hash, p.cursors(), p.topicIDs
	moved = moved || !maps.Equal(cp.Topics, p.checkpoint.Topics) || cp.RuleSet != p.checkpoint.RuleSet || !maps.Equal(cp.Cursors, p.checkpoint.Cursors)
	cp.Transaction++
	cp.Clock = p.machine.Clock()
	return cp, moved
}

func (p *partition) inputs() []*input {
	return slices.Concat(p.events, p.words)
}

// transact runs the Kafka transaction and returns the changelog offset after it.
func (p *partition) transact(ctx context.Context, cp state.Checkpoint) (next int64, err error) {
	room, _ := messageRoom.Get().(*[]stream.Message)
	if room == nil {
		room = new([]stream.Message)
	}
	defer func() {
		p.encoder.Reset()
		clear(*room)
		*room = (*room)[:0]
		messageRoom.Put(room)
	}()
	messages, err := p.messages(*room, cp)
	if err != nil {
		return 0, err
	}
	*room = messages
	sent := p.deps.Now()
	stop := p.watchTopics(ctx, messages)
	produced, err := p.tx.Produce(ctx, messages)
	stop()
	if err != nil {
		return 0, fmt.Errorf("produce: %w", err)
	}
	for _, pr := range produced {
		if pr.Topic == p.topics.Changelog() {
			next = pr.BaseOffset + int64(pr.Count)
			if _, at, ok := p.image.Position(); ok && pr.BaseOffset < at {
				return 0, fmt.Errorf("%w: %s goes on at offset %d, and was at %d: it was deleted and made anew", errRecover, pr.Topic, pr.BaseOffset, at)
			}
			if err := p.host.compare(p, sent, pr.LogAppendTime); err != nil {
				return 0, err
			}
		}
	}
	if err := p.tx.SendOffsets(ctx, p.member, p.offsets(cp)); err != nil {
		return 0, fmt.Errorf("send offsets: %w", err)
	}
	if err := p.tx.Commit(ctx); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	return next, nil
}

func (p *partition) offsets(cp state.Checkpoint) []stream.Position {
	var offsets []stream.Position
	for _, in := range p.inputs() {
		offsets = append(offsets, stream.Position{Topic: in.Topic, Partition: p.id, Offset: cp.Positions[in.Topic]})
	}
	return offsets
}

// messageRoom is memory of transactions' messages, of all partitions.
var messageRoom sync.Pool // of *[]stream.Message

// messages lays the transaction out behind what ms has: changes and members first, the
// checkpoint last on the changelog.
func (p *partition) messages(ms []stream.Message, cp state.Checkpoint) ([]stream.Message, error) {
	now := subject.FromTime(p.deps.Now())
	ms = p.changeMessages(ms, now)
	for i := range p.out.rejects {
		if i == maxRejects {
			break
		}
		r := &p.out.rejects[i]
		r.Time = now
		ms = append(ms, p.encoder.Rejected(r, p.place(p.topics.Rejected(), now)))
	}
	ms = append(ms, p.out.passedOn...)
	for i := range p.out.results {
		r := &p.out.results[i]
		r.Time = now
		ms = append(ms, p.encoder.RequestResult(r, p.place(p.topics.RequestResults(), now)))
	}
	changelog := p.topics.Changelog()
	for _, d := range p.image.Dirty() {
		ms = append(ms, stream.Message{Topic: changelog, Partition: p.id, Timestamp: now, Key: d.Key[:], Value: d.Value})
	}
	for _, f := range p.image.UnsavedFixed() {
		ms = append(ms, stream.Message{Topic: changelog, Partition: p.id, Timestamp: now, Key: f.Key, Value: f.Value})
	}
	value, err := cp.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint: %w", err)
	}
	ms = append(ms, stream.Message{Topic: changelog, Partition: p.id, Timestamp: now, Key: state.CheckpointKey, Value: value})
	return ms, nil
}

func (p *partition) changeMessages(ms []stream.Message, now subject.Instant) []stream.Message {
	all := p.changes()
	output, changes, members := "", p.topics.Changes(""), p.topics.Members("")
	for i := range all {
		c := &all[i]
		if o := p.outputOf(c); o != output {
			output, changes, members = o, p.topics.Changes(o), p.topics.Members(o)
		}
		ms = append(ms, p.encoder.Change(c, p.place(changes, now)))
		if m, ok := p.encoder.Member(c, p.place(members, now)); ok {
			ms = append(ms, m)
		}
	}
	return ms
}

// outputOf is the output whose topics a change is published on.
func (p *partition) outputOf(c *subject.Change) string {
	if c.Routed {
		return c.Output
	}
	set := p.rules()
	if pi, ok := set.PurposeIndex(c.Purpose); ok {
		return set.Purposes[pi].Output
	}
	return ""
}

func (p *partition) place(topic string, now subject.Instant) wire.Place {
	return wire.Place{Topic: topic, Partition: p.id, Timestamp: now}
}

// settleCounts moves the metrics by what has been committed and clears the
// batch. What a failed transaction did is counted when it is done again.
func (p *partition) settleCounts() {
	m := p.deps.Metrics
	m.AddEvents(&p.tally)
	p.explainNoDecision()
	clear(p.tally[:])
	changes := p.changes()
	for i := range changes {
		p.gauges.CountChange(&changes[i])
		p.table.Load().count(&changes[i])
	}
	now := p.deps.Now()
	for _, at := range p.out.arrivals {
		m.ObserveEventToChange(max(0, now.Sub(at.Time())))
	}
	for i := range p.out.rejects {
		r := &p.out.rejects[i]
		m.CountRejected(r.Source.Topic, r.Reject.Reason.String())
		if i >= maxRejects {
			m.CountRejectedCapped()
		}
	}
	for range p.out.passedOn {
		m.CountPassedOn()
	}
	m.AddBelowMinimum(p.out.belowMin)
	p.register.settle(p.out.dossiers)
	p.settleEngineCounts()
	p.out.reset()
}

func (p *partition) settleEngineCounts() {
	m, engine := p.deps.Metrics, p.machine.Engine()
	m.AddDedupeEvicted(int(engine.Counters.DedupeEvicted - p.counted.DedupeEvicted))
	m.AddTruncatedLeaves(int(engine.Counters.TruncatedLeaves - p.counted.TruncatedLeaves))
	m.AddTimersFired(int(p.machine.TimersFired - p.timers))
	p.counted, p.timers = engine.Counters, p.machine.TimersFired
	engine.Changes = engine.Changes[:0]
}

// explainNoDecision says once what it means if no event at all had a decision.
func (p *partition) explainNoDecision() {
	var total uint64
	for _, n := range p.tally {
		total += n
	}
	none := p.tally[subject.OutcomeNoDecision]
	if p.noDecision || none < 100 || none < total {
		return
	}
	p.noDecision = true
	p.log.Warn("no event was used: no subject of them has decided about any purpose. " +
		"segmentd uses events only of subjects with consent on the decisions topics; check that decisions arrive there, keyed by the same ids")
}

// observe moves the gauges after a batch.
func (p *partition) observe() {
	now := p.deps.Now()
	for _, in := range p.inputs() {
		lag := max(0, in.end-in.position)
		var age time.Duration
		if lag > 0 && p.machine.Clock().Valid() {
			age = max(0, now.Sub(p.machine.Clock().Time()))
		}
		p.gauges.SetInputLag(in.Topic, lag, age)
	}
	p.showCoverage()
	p.register.show(p.gauges, p.machine.Clock())
	p.gauges.SetClock(p.machine.Clock())
	p.gauges.SetOldestTimer(p.image.Earliest())
	stats := p.image.Stats()
	p.gauges.SetOverlayBytes(stats.OverlayBytes)
	p.deps.Metrics.AddCache(stats.CacheHits-p.seen.CacheHits, stats.CacheMisses-p.seen.CacheMisses)
	p.seen = stats
}
