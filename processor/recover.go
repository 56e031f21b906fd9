package processor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

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
