package processor

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// recover is the only way into processing, after a start, a crash, a lost disk
// or a failed transaction: fence predecessors and abort what they left open,
// catch up with the changelog from the image's position (0 without an image),
// and go on from the checkpoint found there. Only a member of the present
// generation may: one that was away, and does not know yet that the partition
// is another's, would fence its rightful owner.
func (p *partition) recover(ctx context.Context) error {
	if err := p.image.Reset(); err != nil {
		return storeError(err)
	}
	if err := p.deps.CheckMember(ctx, p.member); err != nil {
		return fmt.Errorf("is the partition still ours: %w", err)
	}
	if err := p.tx.Init(ctx); err != nil {
		return fmt.Errorf("init producer: %w", err)
	}
	began := p.deps.Now()
	restored, err := p.catchUp(ctx)
	if err != nil {
		return err
	}
	if p.checkpoint.Transaction == 0 {
		if err := mayBegin(ctx, p.deps, p.cfg, p.id, 0); err != nil {
			return err
		}
	}
	if err := p.knowRules(ctx); err != nil {
		return err
	}
	if err := p.adopt(); err != nil {
		return err
	}
	if err := p.knowInputs(ctx); err != nil {
		return err
	}
	if err := p.countMembers(); err != nil {
		return storeError(err)
	}
	p.log.Debug("partition recovered", "changelog_records", restored, "seconds", p.deps.Now().Sub(began).Seconds(),
		"transaction", p.checkpoint.Transaction)
	return nil
}

// knowRules makes sure that what is wanted is no older than what the checkpoint
// follows: the partition comes from an instance that may have read more of the
// group's rules than this one, and can write no more of them.
func (p *partition) knowRules(ctx context.Context) error {
	if p.checkpoint.Transaction == 0 || p.checkpoint.RuleSet == p.target().Hash {
		return nil
	}
	return p.refresh(ctx)
}

// errOtherHistory: the image does not belong to this changelog.
var errOtherHistory = errors.New("the image belongs to another changelog")

// catchUp applies the changelog from the image's position to its end. An image
// that belongs to another history is thrown away and restored from the start,
// where there is another history: a changelog without any was lost.
func (p *partition) catchUp(ctx context.Context) (restored int64, err error) {
	for range 2 {
		cp, next, ok := p.image.Position()
		if !ok {
			cp, next = state.Checkpoint{}, 0
		}
		p.checkpoint = cp
		restored, err = p.restore(ctx, next)
		if !errors.Is(err, errOtherHistory) {
			return restored, err
		}
		if cp, err := newestCheckpoint(ctx, *p.deps, p.topics.Changelog(), p.id); err != nil {
			return 0, fmt.Errorf("find a checkpoint on %s: %w", p.topics.Changelog(), err)
		} else if cp == nil {
			return 0, mayBegin(ctx, p.deps, p.cfg, p.id, p.checkpoint.Transaction)
		}
		p.log.Warn("the local image is thrown away and restored from the changelog", "error", err)
		if err := p.image.Wipe(); err != nil {
			return 0, storeError(err)
		}
	}
	return restored, err
}

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
// and no newer one has replaced it.
func (p *partition) restore(ctx context.Context, next int64) (restored int64, err error) {
	var buf stream.Buffer
	c := catchingUp{image: p.checkpoint, next: next, began: p.deps.Now(), told: p.deps.Now()}
	for at := max(0, next-1); ; {
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
			p.log.Warn("an open transaction on the changelog holds up recovery: waiting until it ends or times out")
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
	cp, err := state.DecodeCheckpoint(r.Value)
	if err != nil {
		return configErrorf("the checkpoint on %s cannot be read (%v): it was written by a newer version, or the topic is not segmentd's", p.topics.Changelog(), err)
	}
	if err := c.follows(&cp, r.Offset); err != nil {
		return err
	}
	if err := p.mayAdopt(cp); err != nil {
		return err
	}
	if r.Offset >= c.next {
		c.restored++
		p.checkpoint, c.next = cp, r.Offset+1
	}
	return nil
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

// adopt begins from the checkpoint, or afresh where there is none.
func (p *partition) adopt() error {
	begins := p.checkpoint.Transaction == 0
	if begins {
		p.checkpoint = state.Checkpoint{Format: state.CheckpointFormat, Group: p.cfg.Group, Partition: p.id, History: rand.Text(),
			Clock: subject.LongAgo, RuleSet: p.target().Hash, Secret: p.deps.Secret}
	} else if err := errors.Join(p.mayAdopt(p.checkpoint), checkInputs(p.topics.Changelog(), &p.checkpoint, p.cfg)); err != nil {
		return err
	}
	for _, in := range p.inputs() {
		at, known := p.checkpoint.Positions[in.Topic]
		in.position, in.fresh = at, !known
		in.sent, in.end = time.Time{}, 0
	}
	p.topicIDs = p.checkpoint.Topics
	p.tellDropped()
	clear(p.tally[:])
	clear(p.gaps)
	p.out.reset()
	p.host.begin()
	if begins {
		p.change, p.machine, p.coverage, p.accepted = nil, nil, map[string]subject.Instant{}, map[string]AcceptedGap{}
		set := p.target()
		p.follow(set)
		return p.keepRules(set)
	}
	return p.adoptRules()
}

func decoderOptions(in Input, set *rules.Set) wire.DecoderOptions {
	o := in.Decoder
	o.Fields, o.Names = set.Fields, set.EventNames()
	for i := range set.Purposes {
		o.Purposes = append(o.Purposes, set.Purposes[i].Key)
	}
	return o
}
