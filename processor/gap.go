package processor

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// Gap is what the retention of an input deleted before it was read, or what went
// with an input that was deleted.
type Gap struct {
	Topic     string
	Partition int32
	// From and To are offsets: the first that is missing and the first that is
	// there again. Of a topic that was made anew they are of the old one and of the
	// new one.
	From, To int64
	Anew     string // the id of the topic that was made anew; "": retention left the gap
}

// Records is how many are missing; 1 where that cannot be told.
func (g Gap) Records() int64 {
	if g.Anew != "" {
		return 1
	}
	return g.To - g.From
}

// String says where the gap is.
func (g Gap) String() string {
	if g.Anew != "" {
		return fmt.Sprintf("%s partition %d, of which offsets up to %d were read before it was deleted and made anew (topic id %s, from offset %d)",
			g.Topic, g.Partition, g.From, g.Anew, g.To)
	}
	return fmt.Sprintf("%s partition %d, offsets %d to %d (%d records)", g.Topic, g.Partition, g.From, g.To-1, g.To-g.From)
}

// GapError means that a partition stands still because decisions or requests are
// missing, until an operator accepts that.
type GapError struct{ Gap Gap }

// Error implements error.
func (e *GapError) Error() string {
	if e.Gap.Anew != "" {
		return fmt.Sprintf("%s was deleted and made anew, and what was not read of it is missing, among it perhaps withdrawals or erasures: %s. "+
			"Have them sent again if that can be; then let the partition read the new topic from its start with: segmentd resume --partition %d --accept-gap",
			e.Gap.Topic, e.Gap, e.Gap.Partition)
	}
	return fmt.Sprintf("the retention of %s deleted records before they were read, among them perhaps withdrawals or erasures: %s. "+
		"Have them sent again if that can be; then let the partition go on with: segmentd resume --partition %d --accept-gap",
		e.Gap.Topic, e.Gap, e.Gap.Partition)
}

// AcceptedGap is a gap that an operator has accepted.
type AcceptedGap struct {
	Gap
	At subject.Instant // when, by the host's clock
}

// outOfRange goes on from the start of an input that no longer holds its
// position, where that may be, and returns an empty answer there.
func (p *partition) outOfRange(ctx context.Context, in *input) (stream.Fetched, error) {
	start, end, err := p.deps.Bounds(ctx, in.Topic, p.id)
	if err != nil {
		return stream.Fetched{}, fmt.Errorf("offsets of %s: %w", in.Topic, err)
	}
	if !in.fresh && !in.again {
		if err := p.stillThatTopic(ctx, in); err != nil {
			return stream.Fetched{}, err
		}
		if in.position > end {
			return stream.Fetched{}, &StoppedError{p.id, fmt.Sprintf("%s ends at offset %d, before the group's position %d: its brokers have lost the end of it, "+
				"or it was deleted and made anew on brokers that give topics no ids. Start with another group to process what is there", in.Topic, end, in.position)}
		}
		if err := p.overtaken(ctx, in, Gap{Topic: in.Topic, Partition: p.id, From: in.position, To: start}); err != nil {
			return stream.Fetched{}, err
		}
	}
	in.position, in.fresh = start, false
	return stream.Fetched{Topic: in.Topic, Partition: p.id, Next: start, HighWatermark: end, LastStable: start, LogStart: start}, nil
}

// overtaken says whether the partition may go on behind a gap. Events that are
// missing are counted, and told by the coverage of the segments that they could
// have concerned; decisions and requests must not be missing, but where that was accepted.
func (p *partition) overtaken(ctx context.Context, in *input, gap Gap) error {
	if in.Kind != wire.Events {
		if p.accepting == nil || p.accepting.gap != gap {
			return &GapError{gap}
		}
		p.accepted[in.Topic] = AcceptedGap{gap, subject.FromTime(p.deps.Now())}
	} else {
		since, err := p.firstArrival(ctx, gap)
		if err != nil {
			return err
		}
		p.coverFrom(since)
		p.tellLost(gap, since)
	}
	p.gaps[gap.Topic] = gap
	return nil
}

func (p *partition) tellLost(gap Gap, since subject.Instant) {
	if gap.Anew != "" {
		p.log.Error("an event topic was deleted and made anew: events are lost, and it is read from its start", "topic", gap.Topic, "from", gap.From, "to", gap.To,
			"topic_id", gap.Anew, "complete_from", since.String())
		return
	}
	p.log.Error("the retention of an event topic overtook us: events are lost", "topic", gap.Topic, "from", gap.From, "to", gap.To,
		"lost", gap.Records(), "complete_from", since.String())
}

// firstArrival is when the first record behind a gap arrived, now if there is none.
func (p *partition) firstArrival(ctx context.Context, gap Gap) (subject.Instant, error) {
	var buf stream.Buffer
	at := []stream.Position{{Topic: gap.Topic, Partition: gap.Partition, Offset: gap.To}}
	fetched, err := p.deps.Fetcher.Fetch(ctx, at, stream.FetchOptions{MaxBytes: 64 << 10}, &buf)
	if err == nil {
		err = fetched[0].Err
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("fetch %s behind what is missing: %w", gap.Topic, err)
	case len(fetched[0].Records) > 0:
		return fetched[0].Records[0].Timestamp, nil
	}
	return subject.FromTime(p.deps.Now()), nil
}

// coverFrom notes that what is kept of events is complete only since an instant.
func (p *partition) coverFrom(since subject.Instant) {
	set := p.rules()
	for i, concerned := range set.FromEvents() {
		if concerned {
			key := set.Segments[i].Key
			p.coverage[key] = max(since, p.coverage[key])
		}
	}
	if c := p.change; c != nil {
		c.covered = max(c.covered, since)
	}
}

// settleGaps counts the gaps that the transaction just committed has passed.
func (p *partition) settleGaps() {
	if len(p.gaps) == 0 {
		return
	}
	for _, g := range p.gaps {
		p.deps.Metrics.AddOvertaken(g.Topic, g.Records())
	}
	clear(p.gaps)
	p.settleAcceptance()
}

// settleAcceptance shows which gaps are on record as accepted, by a transaction
// just committed or found by a recovery, and tells who accepted one.
func (p *partition) settleAcceptance() {
	p.rest.record(p.accepted)
	if p.accepting == nil || p.accepted[p.accepting.gap.Topic].Gap != p.accepting.gap {
		return
	}
	gap := p.accepting.gap
	p.log.Warn("a gap in decisions or requests was accepted and is on record: the partition goes on", "topic", gap.Topic, "from", gap.From, "to", gap.To)
	p.rest.recorded(p.accepting)
	p.accepting = nil
}

// awaitAcceptance holds the partition still until its gap is accepted; ctx ends it too.
func (p *partition) awaitAcceptance(ctx context.Context, gap Gap) error {
	p.accepting = nil
	p.log.Error("the partition has stopped: decisions or requests are missing, among them perhaps withdrawals or erasures", "topic", gap.Topic, "from", gap.From, "to", gap.To,
		"records", gap.Records(), "anew", gap.Anew != "", "then", fmt.Sprintf("segmentd resume --partition %d --accept-gap", p.id))
	p.gauges.SetState(metrics.Stopped)
	p.gauges.SetGap(gap.Topic, gap.Records())
	p.rest.set(stopped, &gap)
	defer p.gauges.SetGap(gap.Topic, 0)
	return p.standStill(ctx, func() bool {
		p.accepting = p.rest.taken(gap)
		return p.accepting != nil
	})
}

// standStill waits until something is so, and answers meanwhile who still asks.
func (p *partition) standStill(ctx context.Context, so func() bool) error {
	for {
		changed := p.rest.changes()
		if so() {
			return nil
		}
		select {
		case <-changed:
		case q := <-p.queries:
			q.answer(p)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pauseIfAsked holds the partition still, between two batches, while it is paused.
func (p *partition) pauseIfAsked(ctx context.Context) error {
	if !p.rest.isAsked() {
		return nil
	}
	p.ready.Store(false)
	p.gauges.SetState(metrics.Paused)
	p.rest.set(paused, nil)
	p.log.Info("the partition is paused")
	began := time.Now()
	if err := p.standStill(ctx, func() bool { return !p.rest.isAsked() }); err != nil {
		return err
	}
	p.rest.set(working, nil)
	p.gauges.SetState(metrics.Restoring) // until its next batch
	p.log.Info("the partition goes on", "paused_for", time.Since(began).Round(time.Millisecond).String())
	return nil
}
