package processor

import (
	"context"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// tellEvery is the time between two lines of progress of reading events again,
// which goes on beside live processing, a piece a turn.
const tellEvery = 10 * time.Second

// isFilling reports whether events are being read again.
func (p *partition) isFilling() bool { return p.change != nil && p.change.phase == filling }

// meets reports whether live events wait for those read again.
func (p *partition) meets() bool { return p.isFilling() && p.toFill() <= p.cfg.closeRecords }

// toFill is how many records are still to be read again, by offsets.
func (p *partition) toFill() (records int64) {
	for i, in := range p.change.events {
		records += max(0, p.history[i].position-in.position)
	}
	return records
}

// fillTurn reads a piece of the events again. live is what the turn's live batch
// was: a piece is larger than it, so that reading again comes nearer whatever
// the load is, and small beside small batches, so that they do not wait.
func (p *partition) fillTurn(ctx context.Context, live []stream.Fetched) error {
	if !p.isFilling() {
		return nil
	}
	bytes := 0
	for i := range live {
		bytes += live[i].BytesOnTheWire
	}
	piece := min(max(2*bytes, p.cfg.BatchBytes/4), 2*p.cfg.BatchBytes)
	if p.toFill() > 0 {
		if err := p.fillPiece(ctx, piece); err != nil {
			return err
		}
	}
	left := p.toFill()
	p.gauges.SetBackfillRemaining(left)
	p.tellProgress()
	if left == 0 && len(live) == 0 {
		p.change.phase, p.change.key = takingOver, nil
	}
	return nil
}

// fillPiece fetches and applies a piece.
func (p *partition) fillPiece(ctx context.Context, bytes int) error {
	c := p.change
	fetched, err := p.fetch(ctx, c.events, &p.fetching.again, stream.FetchOptions{MaxBytes: bytes})
	if err != nil {
		return err
	}
	for i := range fetched {
		p.cutToLive(&fetched[i], p.history[i].position)
		p.noteStart(c.events[i], &fetched[i])
	}
	merge := newMerge(fetched, c.events)
	defer p.judging.end()
	for ctx.Err() == nil {
		i, r := merge.next()
		if r == nil {
			break
		}
		p.judging.begin(c.events[i], r.Offset)
		if err := p.fill(c.events[i], r); err != nil {
			return err
		}
		p.setAgain(c.events[i], r.Offset+1)
		if p.full() {
			if err := p.commit(ctx); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, in := range c.events {
		if merge.isDone(i) {
			p.setAgain(in, max(in.position, fetched[i].Next))
		}
		in.starved = merge.isStarved(i)
	}
	return nil
}

// cutToLive leaves out what live reading has not come to.
func (p *partition) cutToLive(f *stream.Fetched, live int64) {
	n := len(f.Records)
	for n > 0 && f.Records[n-1].Offset >= live {
		n--
	}
	f.Records, f.Next, f.LastStable = f.Records[:n], min(f.Next, live), min(f.LastStable, live)
}

// noteStart notes where reading again begins, and if the topic does not hold all
// any more, from when on it does.
func (p *partition) noteStart(in *input, f *stream.Fetched) {
	c := p.change
	s := c.again[in.Topic]
	if s.end > 0 || len(f.Records) == 0 {
		return
	}
	s.start = f.Records[0].Offset
	s.end = s.start + 1
	c.again[in.Topic] = s
	if f.LogStart > 0 && in.Kind == wire.Events {
		c.covered = max(c.covered, f.Records[0].Timestamp)
	}
}

func (p *partition) setAgain(in *input, next int64) {
	in.position = next
	s := p.change.again[in.Topic]
	s.next = next
	p.change.again[in.Topic] = s
}

// fill steps a shadow by one record of an event, or by a request that corrects
// traits, which live reading has judged and counted.
func (p *partition) fill(in *input, r *stream.Record) error {
	c := p.change
	item, reject := in.decoder.Decode(in.Kind, p.wireInput(in, r))
	if reject != nil {
		return nil
	}
	if _, elsewhere := p.belongsElsewhere(in, r, item.Subject); elsewhere {
		return nil
	}
	if q := item.Request; item.Content == wire.HasRequest {
		if first, err := p.knownRequest(q); err != nil || first != nil && first.Effective != q.Effective() {
			return err // it was sent again, which changes nothing
		}
		return p.withRecord(item.Subject, func(rec *subject.Record) bool {
			return c.migration.FillRequest(rec, p.machine.DatedRequest(q), c.clock)
		})
	}
	c.clock = max(c.clock, min(item.Event.Time, item.Event.Arrival))
	return p.withRecord(item.Subject, func(rec *subject.Record) bool { return c.migration.Fill(rec, item.Event, c.clock) })
}

// tellProgress logs how far reading again is, now and then.
func (p *partition) tellProgress() {
	c, now := p.change, p.deps.Now()
	if now.Sub(c.told) < tellEvery {
		return
	}
	c.told = now
	done, of := p.filled()
	p.log.Info("events are read again for changed rules", "done", done, "of", of)
}

// filled is how many records have been read again, and of how many, by offsets.
func (p *partition) filled() (done, of int64) {
	for i, in := range p.change.events {
		start := p.change.again[in.Topic].start
		done += max(0, in.position-start)
		of += max(0, p.history[i].position-start)
	}
	return done, of
}
