package processor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
)

// republishRules publishes the rule set in force where the topic of rules has
// none: it was deleted, or emptied. Whoever publishes others then supersedes it,
// and so is held to what it allows.
func (p *Processor) republishRules(ctx context.Context) error {
	p.following.Lock()
	lost := p.edition != "" && p.book.want() == nil
	p.following.Unlock()
	if !lost {
		return nil
	}
	set := p.Rules()
	p.deps.Logger.Warn("the rules in force are not on their topic any more: they are published again", "topic", p.topics.Rules(), "rule_set", short(set.Hash), "revision", set.Revision)
	err := p.book.publish(ctx, publication{set: set, may: func(_ context.Context, before *edition) error {
		if before != nil {
			return fmt.Errorf("%w: others were published meanwhile", ErrRefused)
		}
		return nil
	}})
	if errors.Is(err, ErrRefused) {
		return nil
	}
	return err
}

// lastFollowed finds the rule set that the group's partitions followed last, as
// its files are on the changelog; nil: there is none. Where they follow different
// ones it is the one of the highest revision, and of those rather this instance's.
func (p *Processor) lastFollowed(ctx context.Context) (last *edition, err error) {
	former, found := map[string]bool{}, map[string]int32{}
	var order []string
	for id := range p.cfg.Partitions {
		cp, err := newestCheckpoint(ctx, p.deps, p.topics.Changelog(), id)
		if err != nil {
			return nil, fmt.Errorf("find the rules in force: %w", err)
		}
		if cp == nil {
			continue
		}
		former[cp.Cursors[cursorFrom]] = true
		if _, known := found[cp.RuleSet]; !known {
			found[cp.RuleSet] = id
			order = append(order, cp.RuleSet)
		}
	}
	for _, hash := range order {
		if former[hash] {
			continue
		}
		e, err := p.followedBy(ctx, found[hash], hash)
		if err != nil {
			return nil, fmt.Errorf("find the rules in force: %w", err)
		}
		if e != nil && (last == nil || e.Revision > last.Revision || e.Revision == last.Revision && e.Hash == p.deps.Rules.Hash) {
			last = e
		}
	}
	return last, nil
}

// followedBy reads the rule set that a partition follows from its changelog; nil
// where its files are not there.
func (p *Processor) followedBy(ctx context.Context, partition int32, hash string) (*edition, error) {
	at := stream.Position{Topic: p.topics.Changelog(), Partition: partition}
	start, end, err := p.deps.Bounds(ctx, at.Topic, partition)
	if err != nil {
		return nil, err
	}
	e := &edition{Format: editionFormat, Hash: hash}
	var words dictionary
	at.Offset = start
	err = readCommitted(ctx, p.deps.Fetcher, at, end, func(r *stream.Record) {
		switch {
		case bytes.Equal(r.Key, state.RulesKey):
			e.archive = bytes.Clone(r.Value)
		case bytes.Equal(r.Key, state.DictionaryKey):
			words = dictionary{}
			_ = json.Unmarshal(r.Value, &words) // what cannot be read has another hash
		}
	})
	if err != nil || len(e.archive) == 0 || words.RuleSet != hash {
		return nil, err
	}
	e.Revision = words.Revision
	return e, nil
}
