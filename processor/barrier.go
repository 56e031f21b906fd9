package processor

import (
	"context"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// passBarrier drains decisions and requests up to the high watermark that a fetch
// sent after the batch of events had arrived reports (not the last stable offset:
// an open transaction may hold a withdrawal). So a withdrawal acknowledged
// before an event was produced is in force when that event is judged.
func (p *partition) passBarrier(ctx context.Context) error {
	if err := p.sameTopics(); err != nil {
		return err
	}
	from := make([]int64, len(p.words))
	for i, in := range p.words {
		from[i] = in.position
	}
	taken, drained, err := p.readWords(ctx, maxBatchWords)
	if err != nil {
		return err
	}
	if drained && len(taken) < maxBatchWords { // one fetch can hold very many, packed
		return p.applyWords(taken)
	}
	return p.drainBacklog(ctx, from, taken)
}

// readWords reads decisions and requests until the barrier or the limit, and moves the
// inputs' positions. Misplaced and rejected ones are dealt with as they come.
func (p *partition) readWords(ctx context.Context, limit int) (taken []word, drained bool, err error) {
	barrier := barrier{began: p.deps.Now()}
	defer p.judging.end()
	for {
		sent := p.deps.Now()
		fetched, err := p.fetch(ctx, p.words, &p.fetching.words, barrier.options())
		if err != nil {
			return nil, false, err
		}
		barrier.learn(fetched)
		for i := range fetched {
			in := p.words[i]
			if taken, err = p.decodeWords(in, &fetched[i], taken); err != nil {
				return nil, false, err
			}
			in.position, in.sent = fetched[i].Next, sent
		}
		if err := p.checkPartitioners(); err != nil { // before all of a backlog is read
			return nil, false, err
		}
		if barrier.passed(p.words) {
			return taken, true, nil
		}
		if len(taken)+len(p.out.passedOn)+len(p.out.rejects) >= limit {
			return taken, false, nil
		}
		barrier.warn(p)
	}
}

// barrier is the ends of the inputs of decisions and requests as their first answer told.
type barrier struct {
	began  time.Time
	ends   []int64
	warned bool
	waits  bool
}

func (b *barrier) options() stream.FetchOptions {
	opts := stream.FetchOptions{MaxBytes: 256 << 10}
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

// warn says once that what is committed there stops short of the barrier, and shows
// the lag that grows meanwhile.
func (b *barrier) warn(p *partition) {
	if b.waits {
		p.judging.end()
		p.observe()
	}
	if b.waits && !b.warned && p.deps.Now().Sub(b.began) > 5*time.Second {
		b.warned = true
		p.log.Warn("an open transaction on a topic of decisions or requests holds up the partition: events wait until it ends")
	}
}

func (p *partition) wireInput(in *input, r *stream.Record) wire.Input {
	return wire.Input{Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp,
		Source: subject.Position{Topic: in.Topic, Partition: p.id, Offset: r.Offset}}
}

// drainBacklog deals with more decisions and requests than one transaction should
// hold. A first pass to the barrier learns the stops, of which an erasure is one of
// all purposes; the second applies and commits chunk by chunk, without the grants
// that a later stop beats, and with restrictions ahead of all else: so nobody is
// published as a member who has said no already. A restriction is taken again
// where it stands, which changes nothing any more.
func (p *partition) drainBacklog(ctx context.Context, from []int64, first []word) error {
	b := newBacklog(p.knownRequest)
	if err := b.note(first); err != nil {
		return err
	}
	for drained := false; !drained; {
		p.out.unread() // the second pass meets the same rejects and misplaced ones again
		taken, done, err := p.readWords(ctx, maxBatchWords)
		if err != nil {
			return err
		}
		if err := b.note(taken); err != nil {
			return err
		}
		drained = done
	}
	p.out.unread()
	for i, in := range p.words {
		in.position = from[i]
	}
	for _, q := range b.restrict() {
		if _, err := p.applyRequest(q); err != nil {
			return err
		}
	}
	for {
		taken, drained, err := p.readWords(ctx, maxBatchWords)
		if err != nil {
			return err
		}
		if err := p.applyWords(b.marked(taken)); err != nil || drained {
			return err
		}
		if err := p.commit(ctx); err != nil {
			return err
		}
	}
}
