package processor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	if wanted := p.book.want(); wanted != nil && wanted.Hash != set.Hash {
		own := p.book.known(set.Hash)
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
	for ctx.Err() == nil {
		err := p.book.await(ctx, followWait, &buf)
		if err == nil {
			err = p.refreshRules(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && dispose(err) == giveUp:
			return err
		case err != nil:
			p.deps.Logger.Warn("the group's rules cannot be read, trying again", "topic", p.topics.Rules(), "error", err)
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
	return p.book.publish(ctx, publication{set, removals, func(ctx context.Context, from *edition) error {
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

// publishedMembers counts the members that segments have in the whole group, as
// the topics of members tell.
func (p *Processor) publishedMembers(ctx context.Context, segments []rules.Name) (map[string]int64, error) {
	in := map[string]int64{}
	byOutput := map[string][]rules.Name{}
	for _, n := range segments {
		byOutput[n.Output] = append(byOutput[n.Output], n)
	}
	for output, names := range byOutput {
		topic := p.topics.Members(output)
		p.deps.Produces([]string{topic})
		for partition := range p.cfg.Partitions {
			if err := p.countPublished(ctx, stream.Position{Topic: topic, Partition: partition}, names, in); err != nil {
				return nil, err
			}
		}
	}
	return in, nil
}

// countPublished adds the members of segments in one partition of a topic of
// members to in.
func (p *Processor) countPublished(ctx context.Context, at stream.Position, segments []rules.Name, in map[string]int64) error {
	var buf stream.Buffer
	rows := map[string]string{} // segments by row
	start, _, err := p.deps.Bounds(ctx, at.Topic, at.Partition)
	for at.Offset = start; err == nil; {
		var fetched []stream.Fetched
		if fetched, err = p.deps.Fetcher.Fetch(ctx, []stream.Position{at}, stream.FetchOptions{MaxBytes: 4 << 20}, &buf); err != nil {
			break
		}
		f := &fetched[0]
		if err = f.Err; err != nil {
			break
		}
		for i := range f.Records {
			r := &f.Records[i]
			segment := r.Key[bytes.LastIndexByte(r.Key, '|')+1:]
			for j := range segments {
				if string(segment) == segments[j].Key {
					rows[string(r.Key)] = segments[j].Key
				}
			}
			if r.Value == nil {
				delete(rows, string(r.Key))
			}
		}
		at.Offset = f.Next
		if at.Offset >= f.LastStable {
			for _, segment := range rows {
				in[segment]++
			}
			return nil
		}
	}
	return fmt.Errorf("count the members on %s: %w", at.Topic, err)
}
