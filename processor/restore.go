package processor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
)

// catchingUp is how far a restore is.
type catchingUp struct {
	image    state.Checkpoint // that the image remembers; no History: there is none
	next     int64            // offset after the newest checkpoint
	known    bool             // the image's own checkpoint, or one that follows it, was found
	restored int64
	began    time.Time
	told     time.Time // when it was last logged how far it is
	warned   bool
	foreign  map[string]foreignRecord // by key: those that nothing has replaced yet
}

// restore reads the changelog from an image's position until position, last
// stable offset and high watermark are one. It begins with the record before
// the position: the image's own checkpoint, if this is the image's changelog
// and no newer one has replaced it. Where there is no image it first reads
// backwards what is committed already.
func (p *partition) restore(ctx context.Context, next int64) (restored int64, err error) {
	var buf stream.Buffer
	c := catchingUp{image: p.checkpoint, next: next, began: p.deps.Now(), told: p.deps.Now()}
	at := max(0, next-1)
	if c.image.History == "" {
		if at, err = p.restoreBackwards(ctx, &c, &buf); err != nil {
			return c.restored, err
		}
	}
	for {
		f, err := p.fetchChangelog(ctx, at, &buf)
		if err != nil {
			return c.restored, err
		}
		for i := range f.Records {
			if err := p.restoreRecord(&c, &f.Records[i]); err != nil {
				return c.restored, err
			}
		}
		at = f.Next
		p.tellRestore(&c, f.HighWatermark-at)
		if at >= f.HighWatermark && f.LastStable >= f.HighWatermark {
			return c.restored, p.endRestore(&c)
		}
		if !c.warned && p.deps.Now().Sub(c.began) > 5*time.Second && at >= f.LastStable {
			c.warned = true
			p.log.Warn("an open transaction on the changelog holds up recovery: waiting until it ends or times out; "+
				"where it does neither within minutes, kafka-transactions.sh find-hanging and abort end it", "topic", p.topics.Changelog(), "offset", f.LastStable)
		}
	}
}

// tellRestore says how far a restore is: always by the metric, and in the log
// while it takes its time.
func (p *partition) tellRestore(c *catchingUp, remaining int64) {
	p.gauges.SetRestoreRemaining(remaining)
	if now := p.deps.Now(); now.Sub(c.told) >= p.cfg.progressEvery {
		c.told = now
		p.log.Info("partition is being restored from the changelog", "records", c.restored, "of", c.restored+remaining,
			"seconds", now.Sub(c.began).Seconds())
	}
}

func (p *partition) endRestore(c *catchingUp) error {
	switch {
	case c.image.History != "" && !c.known:
		return fmt.Errorf("%w: it does not hold the image's checkpoint", errOtherHistory)
	case len(c.foreign) > 0:
		return p.foreignError(c.foreign)
	case c.restored == 0:
		return nil
	case p.checkpoint.Transaction == 0:
		return configErrorf("%s partition %d holds records but no checkpoint: it is not segmentd's changelog, or has lost its end", p.topics.Changelog(), p.id)
	}
	return storeError(p.image.RestoreDone(p.checkpoint, c.next))
}

func (p *partition) fetchChangelog(ctx context.Context, next int64, buf *stream.Buffer) (*stream.Fetched, error) {
	at := []stream.Position{{Topic: p.topics.Changelog(), Partition: p.id, Offset: next}}
	fetched, err := p.deps.Fetcher.Fetch(ctx, at, stream.FetchOptions{MaxWait: 100 * time.Millisecond, MaxBytes: 4 << 20}, buf)
	if err != nil {
		return nil, fmt.Errorf("fetch changelog: %w", err)
	}
	f := &fetched[0]
	if errors.Is(f.Err, stream.ErrOffsetOutOfRange) {
		return p.changelogOutOfRange(ctx, next, f)
	}
	if f.Err != nil {
		return nil, fmt.Errorf("fetch changelog: %w", f.Err)
	}
	return f, nil
}

// changelogOutOfRange tells a changelog whose start was deleted (a position of
// 0 then means its start) from one that is not the image's.
func (p *partition) changelogOutOfRange(ctx context.Context, next int64, f *stream.Fetched) (*stream.Fetched, error) {
	start, end, err := p.deps.Bounds(ctx, f.Topic, p.id)
	if err != nil {
		return nil, fmt.Errorf("offsets of %s: %w", f.Topic, err)
	}
	if next > 0 {
		return nil, fmt.Errorf("%w: it holds offsets %d to %d, the image is at %d", errOtherHistory, start, end, next)
	}
	return &stream.Fetched{Topic: f.Topic, Partition: p.id, Next: start, HighWatermark: end, LastStable: start, LogStart: start}, nil
}

// restoreRecord applies one changelog record.
func (p *partition) restoreRecord(c *catchingUp, r *stream.Record) error {
	isCheckpoint := bytes.Equal(r.Key, state.CheckpointKey)
	if r.Offset < c.next && !isCheckpoint {
		return fmt.Errorf("%w: offset %d holds no checkpoint", errOtherHistory, r.Offset)
	}
	if !isCheckpoint {
		c.restored++
		return p.restoreValue(c, r)
	}
	cp, err := p.checkpointOf(r)
	if err != nil {
		return err
	}
	if err := c.follows(&cp, r.Offset); err != nil {
		return err
	}
	if r.Offset >= c.next {
		c.restored++
		p.checkpoint, c.next = cp, r.Offset+1
	}
	return nil
}

// checkpointOf reads a checkpoint on the changelog, and refuses one that this
// configuration must not go on from.
func (p *partition) checkpointOf(r *stream.Record) (state.Checkpoint, error) {
	cp, err := state.DecodeCheckpoint(r.Value)
	if err != nil {
		return cp, p.unreadable(r, err)
	}
	return cp, p.mayAdopt(cp)
}

func (p *partition) unreadable(r *stream.Record, err error) error {
	return configErrorf("the checkpoint on %s partition %d, offset %d, cannot be read (%v): it was written by a newer version, or the topic is not segmentd's", p.topics.Changelog(), p.id, r.Offset, err)
}

// follows checks that a checkpoint is the image's own, or a later one of its history.
func (c *catchingUp) follows(cp *state.Checkpoint, offset int64) error {
	own := offset < c.next
	switch {
	case c.image.History == "":
		return nil
	case cp.History != c.image.History:
		return fmt.Errorf("%w: its history is another", errOtherHistory)
	case own && cp.Transaction != c.image.Transaction, !own && cp.Transaction <= c.image.Transaction:
		return fmt.Errorf("%w: transaction %d stands where %d is expected", errOtherHistory, cp.Transaction, c.image.Transaction)
	}
	c.known = true
	return nil
}

// mayAdopt refuses a checkpoint that this configuration must not go on from,
// before anything is done with it.
func (p *partition) mayAdopt(cp state.Checkpoint) error {
	changelog := p.topics.Changelog()
	if err := checkSecret(changelog, cp.Secret, p.deps.Secret); err != nil {
		return err
	}
	if cp.Group != p.cfg.Group || cp.Partition != p.id {
		return configErrorf("%s partition %d holds the checkpoint of group %s partition %d: it was copied or is shared with another group", changelog, p.id, cp.Group, cp.Partition)
	}
	return nil
}

// restoreBackwards restores an image from nothing: it reads what is committed on the
// changelog from its end to its start, and applies of each key the last record only. A
// changelog that was not compacted lately holds many versions of a subject, which
// reading forwards decodes and stores one after the other. Once it knows as many keys
// as it has room for, it reads the rest forwards and passes over those. It returns the
// offset to go on from, forwards.
func (p *partition) restoreBackwards(ctx context.Context, c *catchingUp, buf *stream.Buffer) (end int64, err error) {
	start := int64(0)
	f, err := p.fetchChangelog(ctx, start, buf)
	if err == nil && len(f.Records) == 0 { // the first that is kept may be a later one
		start = f.Next
		f, err = p.fetchChangelog(ctx, start, buf)
	}
	if err != nil {
		return 0, err
	}
	if len(f.Records) > 0 {
		start = f.Records[0].Offset
	}
	end = f.LastStable
	waiting := f.HighWatermark - end
	p.tellRestore(c, end-start+waiting)
	l := latest{keys: map[state.Key]struct{}{}, others: map[string]struct{}{}, room: p.cfg.restoreKeys / int(p.cfg.Partitions)}
	at := end
	for span := max(1, f.Next-start); at > start && !l.full(); {
		from := max(start, at-span)
		if f, err = p.fetchChangelog(ctx, from, buf); err != nil {
			return 0, err
		}
		if f.Next > from {
			span = max(1, (f.Next-from)*3/4) // records are not all of one size, and what is beyond at is read in vain
		}
		if f.Next < at { // begin nearer, so that nothing is left out
			continue
		}
		for _, r := range slices.Backward(f.Records) {
			if r.Offset < at {
				if err := p.restoreLatest(c, &l, &r, true); err != nil {
					return 0, err
				}
			}
		}
		at = from
		p.tellRestore(c, at-start+waiting)
	}
	for next := start; next < at; {
		if f, err = p.fetchChangelog(ctx, next, buf); err != nil {
			return 0, err
		}
		for i := range f.Records {
			if r := &f.Records[i]; r.Offset < at {
				if err := p.restoreLatest(c, &l, r, false); err != nil {
					return 0, err
				}
			}
		}
		next = f.Next
		p.tellRestore(c, max(0, at-next)+waiting)
	}
	return end, nil
}

// restoreLatest applies a record of the changelog, unless a later one of its key is
// known to have been applied. Backwards, this one is known from now on.
func (p *partition) restoreLatest(c *catchingUp, l *latest, r *stream.Record, backwards bool) error {
	c.restored++
	if bytes.Equal(r.Key, state.CheckpointKey) {
		return p.restoreLatestCheckpoint(c, r)
	}
	if l.knows(r.Key) {
		return nil
	}
	if backwards {
		l.add(r.Key)
	}
	return p.restoreValue(c, r)
}

// restoreLatestCheckpoint goes by the last checkpoint. One before it may be somebody
// else's record, which the owner's next commit has replaced as compaction will.
func (p *partition) restoreLatestCheckpoint(c *catchingUp, r *stream.Record) error {
	replaced := r.Offset < c.next
	cp, err := state.DecodeCheckpoint(r.Value)
	switch {
	case err != nil && replaced:
		return nil
	case err != nil:
		return p.unreadable(r, err)
	}
	err = p.mayAdopt(cp)
	if err == nil && !replaced {
		p.checkpoint, c.next = cp, r.Offset+1
	}
	return err
}

// latest are the keys of which the last record was applied.
type latest struct {
	keys   map[state.Key]struct{}
	others map[string]struct{} // fixed ones, and those that are not ours
	room   int
}

func (l *latest) full() bool { return len(l.keys)+len(l.others) >= l.room }

func (l *latest) knows(key []byte) (known bool) {
	if len(key) == state.KeyBytes {
		_, known = l.keys[state.Key(key)]
	} else {
		_, known = l.others[string(key)]
	}
	return known
}

func (l *latest) add(key []byte) {
	if len(key) == state.KeyBytes {
		l.keys[state.Key(key)] = struct{}{}
	} else {
		l.others[string(key)] = struct{}{}
	}
}
