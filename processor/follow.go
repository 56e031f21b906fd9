package processor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/rules"
)

// followWait is how long one look at <group>-rules waits for something new, and
// how long after a failed one the next begins.
const followWait = time.Second

// SettleRules reads which rule set the group wants, and before that publishes
// the one of Deps.Rules if it never was. One that was superseded is not published
// again: the newer one is followed. It must return before a generation runs. The
// broker away is waited for until ctx ends; a *ConfigError says why this
// instance's rules must not follow those in force, and nothing is written then.
func (p *Processor) SettleRules(ctx context.Context) error {
	set := p.deps.Rules
	err := p.publishRules(ctx, set, p.cfg.AllowRemovals)
	if errors.Is(err, ErrRefused) {
		return &ConfigError{err.Error()}
	}
	if err != nil {
		return fmt.Errorf("settle the rules: %w", err)
	}
	if wanted, own := p.book.want(), p.book.known(set.Hash); wanted != nil && own != nil && wanted != own {
		p.deps.Logger.Warn("the rule files of this instance are superseded: it follows the newer rules of its group",
			"files", short(set.Hash), "files_revision", set.Revision, "files_published", own.Published,
			"rule_set", short(wanted.Hash), "revision", wanted.Revision, "published", wanted.Published)
	}
	return p.followWanted()
}

// FollowRules lets the instance follow the rule sets that the group's instances
// publish, until ctx ends. The error is a *ConfigError: this program cannot
// compile the rules that are wanted now.
func (p *Processor) FollowRules(ctx context.Context) error {
	var buf stream.Buffer
	for failures := 0; ctx.Err() == nil; failures++ {
		err := p.book.await(ctx, followWait, &buf)
		if err == nil {
			err = p.refreshRules(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && dispose(err) == giveUp:
			return err
		case err == nil:
			failures = -1
		default:
			level := slog.LevelDebug
			if failures == 0 { // partitions say more of a broker that is away
				level = slog.LevelWarn
			}
			p.deps.Logger.Log(ctx, level, "the group's rules cannot be read, trying again", "topic", p.topics.Rules(), "error", err)
			_ = sleep(ctx, followWait)
		}
	}
	return nil
}

// refreshRules reads all that was published and follows what is wanted. A rule
// set is under way to all instances at once: whoever finds it in a checkpoint
// finds it on the topic too.
func (p *Processor) refreshRules(ctx context.Context) error {
	if err := p.book.read(ctx); err != nil {
		return err
	}
	if err := p.republishRules(ctx); err != nil {
		return err
	}
	return p.followWanted()
}

// followWanted puts the edition wanted in force.
func (p *Processor) followWanted() error {
	p.following.Lock()
	defer p.following.Unlock()
	e := p.book.want()
	if e == nil || p.edition == e.Hash {
		return nil
	}
	set := p.Rules()
	if set.Hash != e.Hash {
		var err error
		if set, err = e.compile(); err != nil {
			return configErrorf("the rules on %s (revision %d, published %s) cannot be compiled by this program: %v; upgrade it before the rules",
				p.topics.Rules(), e.Revision, e.Published, err)
		}
		p.deps.Logger.Info("the group's rules are followed", "rule_set", short(e.Hash), "revision", e.Revision, "published", e.Published)
		p.deps.Produces(p.topics.names(set))
	}
	p.edition = e.Hash
	p.setRules(set, e.checked())
	return nil
}

// publishRules publishes a rule set if it may follow the edition wanted so far;
// otherwise the error is ErrRefused.
func (p *Processor) publishRules(ctx context.Context, set *rules.Set, removals bool) error {
	return p.book.publish(ctx, publication{set: set, removals: removals, lost: p.lastFollowed, may: func(ctx context.Context, from *edition) error {
		return p.maySupersede(ctx, from, set, removals)
	}})
}

// maySupersede says why a rule set must not follow an edition; nil if it may.
func (p *Processor) maySupersede(ctx context.Context, e *edition, to *rules.Set, allowRemovals bool) error {
	if _, err := to.Archive(); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if e == nil {
		return nil // what partitions have is looked at by each of them
	}
	if err := mayFollowRevision(e.Revision, to); err != nil || allowRemovals {
		return err
	}
	from := p.Rules()
	if from.Hash != e.Hash {
		var err error
		if from, err = e.compile(); err != nil {
			return fmt.Errorf("%w: the rules in force cannot be compiled by this program (%w), so it cannot be told what is removed; "+
				"allow it with --allow-removals if that is meant", ErrRefused, err)
		}
	}
	removed := rules.Compare(from, nil, to).Removed
	members, err := p.publishedMembers(ctx, removed)
	if err != nil {
		return err
	}
	return mayRemove(from.Names(), to, members)
}
