package processor

import (
	"context"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// passBarrier drains the decisions up to the high watermark that a fetch sent
// after the batch of events had arrived reports (not the last stable offset:
// an open transaction may hold a withdrawal). So a withdrawal acknowledged
// before an event was produced is in force when that event is judged.
func (p *partition) passBarrier(ctx context.Context) error {
	from := make([]int64, len(p.decisions))
	for i, in := range p.decisions {
		from[i] = in.position
	}
	taken, drained, err := p.readDecisions(ctx, maxBatchDecisions)
	if err != nil {
		return err
	}
	if drained && len(taken) < maxBatchDecisions { // one fetch can hold very many, packed
		return p.applyDecisions(taken)
	}
	return p.drainBacklog(ctx, from, taken)
}

// readDecisions reads decisions until the barrier or the limit, and moves the
// inputs' positions. Misplaced and rejected ones are dealt with as they come.
func (p *partition) readDecisions(ctx context.Context, limit int) (taken []subject.Decision, drained bool, err error) {
	barrier := barrier{began: p.deps.Now()}
	defer p.judging.end()
	for {
		sent := p.deps.Now()
		fetched, err := p.fetch(ctx, p.decisions, &p.fetching.decisions, barrier.options())
		if err != nil {
			return nil, false, err
		}
		barrier.learn(fetched)
		for i := range fetched {
			in := p.decisions[i]
			if taken, err = p.decodeDecisions(in, &fetched[i], taken); err != nil {
				return nil, false, err
			}
			in.position, in.sent = fetched[i].Next, sent
		}
		if err := p.checkPartitioners(); err != nil { // before all of a backlog is read
			return nil, false, err
		}
		if barrier.passed(p.decisions) {
			return taken, true, nil
		}
		if len(taken)+len(p.out.passedOn)+len(p.out.rejects) >= limit {
			return taken, false, nil
		}
		barrier.warn(p)
	}
}

// barrier is the ends of the decisions inputs as their first answer told.
type barrier struct {
	began  time.Time
	ends   []int64
	warned bool
	waits  bool
}

func (b *barrier) options() stream.FetchOptions {
	opts := stream.FetchOptions{MaxBytes: 1 << 20}
	if b.waits {
		opts.MaxWait = 50 * time.Millisecond
	}
	return opts
}

func (b *barrier) learn(fetched []stream.Fetched) {
	b.waits = true
	for i := range fetched {
		b.waits = b.waits && len(fetched[i].Records) == 0
		if len(b.ends) < len(fetched) {
			b.ends = append(b.ends, fetched[i].HighWatermark)
		}
	}
}

func (b *barrier) passed(inputs []*input) bool {
	for i, in := range inputs {
		if in.position < b.ends[i] {
			return false
		}
	}
	return true
}

// warn says once that committed decisions stop short of the barrier, and shows
// the lag that grows meanwhile.
func (b *barrier) warn(p *partition) {
	if b.waits {
		p.judging.end()
		p.observe()
	}
	if b.waits && !b.warned && p.deps.Now().Sub(b.began) > 5*time.Second {
		b.warned = true
		p.log.Warn("an open transaction on a decisions topic holds up the partition: events wait until it ends")
	}
}

// decodeDecisions appends the decisions of fetched records to taken.
func (p *partition) decodeDecisions(in *input, f *stream.Fetched, taken []subject.Decision) ([]subject.Decision, error) {
	for i := range f.Records {
		r := &f.Records[i]
		p.judging.begin(in, r.Offset)
		item, reject := in.decoder.Decode(in.Kind, p.wireInput(in, r))
		if reject != nil {
			p.reject(in, r.Offset, reject)
			p.log.Error("a decision cannot be read: it has no effect", "topic", in.Topic, "offset", r.Offset, "reason", reject.Reason.String(), "detail", reject.Detail)
			continue
		}
		if to, ok := p.belongsElsewhere(in, r, item.Subject); ok {
			stops, err := p.misplaced(in, r, item, to)
			if err != nil {
				return nil, err
			}
			taken = append(taken, stops...)
			continue
		}
		if item.Misunderstood != "" {
			p.deps.Metrics.CountMisunderstood()
			p.log.Error("a decision cannot be understood: it counts as refused", "topic", in.Topic, "offset", r.Offset, "detail", item.Misunderstood)
		}
		taken = append(taken, item.Decisions...)
	}
	return taken, nil
}

func (p *partition) wireInput(in *input, r *stream.Record) wire.Input {
	return wire.Input{Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp,
		Source: subject.Position{Topic: in.Topic, Partition: p.id, Offset: r.Offset}}
}

func (p *partition) applyDecisions(taken []subject.Decision) error {
	for i := range taken {
		p.deps.Metrics.CountDecision(taken[i].Status)
		if err := p.takeDecision(taken[i]); err != nil {
			return err
		}
	}
	return nil
}

// drainBacklog deals with more decisions than one transaction should hold. A
// first pass to the barrier learns the stops; the second applies and commits
// chunk by chunk, without the grants that a later stop beats: so nobody is
// published as a member who has said no already.
func (p *partition) drainBacklog(ctx context.Context, from []int64, first []subject.Decision) error {
	stops := map[stopKey]subject.Instant{}
	noteStops(stops, first)
	for drained := false; !drained; {
		p.out.reset() // the second pass meets the same rejects and misplaced decisions again
		taken, done, err := p.readDecisions(ctx, maxBatchDecisions)
		if err != nil {
			return err
		}
		noteStops(stops, taken)
		drained = done
	}
	p.out.reset()
	for i, in := range p.decisions {
		in.position = from[i]
	}
	for {
		taken, drained, err := p.readDecisions(ctx, maxBatchDecisions)
		if err != nil {
			return err
		}
		if err := p.applyDecisions(withoutBeaten(taken, stops)); err != nil || drained {
			return err
		}
		if err := p.commit(ctx); err != nil {
			return err
		}
	}
}

type stopKey struct {
	subject subject.ID
	purpose string
}

func noteStops(stops map[stopKey]subject.Instant, taken []subject.Decision) {
	for i := range taken {
		if d := &taken[i]; d.Status.Stops() {
			k := stopKey{d.Subject, d.Purpose}
			if at, ok := stops[k]; !ok || at < d.Effective() {
				stops[k] = d.Effective()
			}
		}
	}
}

func withoutBeaten(taken []subject.Decision, stops map[stopKey]subject.Instant) []subject.Decision {
	kept := taken[:0]
	for _, d := range taken {
		if d.Status == subject.Given && (beaten(stops, d, d.Purpose) || beaten(stops, d, "")) {
			continue
		}
		kept = append(kept, d)
	}
	return kept
}

func beaten(stops map[stopKey]subject.Instant, d subject.Decision, purpose string) bool {
	at, ok := stops[stopKey{d.Subject, purpose}]
	return ok && at >= d.Effective()
}
