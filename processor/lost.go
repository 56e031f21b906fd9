package processor

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
)

// CheckChangelog looks at all partitions of the changelog before any of them is
// begun. Where one is empty although this instance has an image of it, or the
// group has committed offsets of its inputs, the changelog was lost: the error is
// a *StoppedError, and nothing was written.
func (p *Processor) CheckChangelog(ctx context.Context) error {
	images, err := p.deps.Store.Held(p.cfg.Partitions)
	if err != nil {
		return storeError(err)
	}
	changelog := p.topics.Changelog()
	for id := range p.cfg.Partitions {
		start, end, err := p.deps.Bounds(ctx, changelog, id)
		if err != nil {
			return fmt.Errorf("offsets of %s: %w", changelog, err)
		}
		if start < end {
			continue // whose it is shows when it is read
		}
		if err := mayBegin(ctx, &p.deps, &p.cfg, id, images[id]); err != nil {
			return err
		}
	}
	return nil
}

// mayBegin says whether a partition without any checkpoint on the changelog may
// begin afresh. Not where an image is of a transaction (0: there is none), or the
// group has read of its inputs: the changelog was lost, and all would be published
// a second time.
func mayBegin(ctx context.Context, deps *Deps, cfg *Config, id int32, image uint64) error {
	changelog := Topics{cfg.Group}.Changelog()
	const lost = "%s has no checkpoint of partition %d, and %s: the topic was deleted and made anew, or emptied. " +
		"To go on would publish everything a second time. Put the topic back from a copy, or start over with another group; to start over with this one delete %s"
	if image > 0 {
		return &StoppedError{id, fmt.Sprintf(lost, changelog, id, fmt.Sprintf("the local image is at transaction %d", image),
			"the image directories of its instances, and the group's offsets (kafka-consumer-groups.sh --delete)")}
	}
	if deps.Committed == nil {
		return nil
	}
	for _, in := range cfg.Inputs {
		at, err := deps.Committed(ctx, in.Topic, id)
		if err != nil {
			return fmt.Errorf("offsets of group %s: %w", cfg.Group, err)
		}
		if at > 0 {
			return &StoppedError{id, fmt.Sprintf(lost, changelog, id, fmt.Sprintf("the group has read %s up to offset %d", in.Topic, at),
				"the group's offsets (kafka-consumer-groups.sh --delete)")}
		}
	}
	return nil
}

// foreignRecord is a record on the changelog that cannot be restored.
type foreignRecord struct {
	offset int64
	err    error
}

// restoreValue applies a changelog record that is no checkpoint. One that is not
// ours is noted until a later one under its key replaces or deletes it.
func (p *partition) restoreValue(c *catchingUp, r *stream.Record) error {
	err := p.image.Restore(r.Key, r.Value)
	key, foreign := string(r.Key), errors.Is(err, state.ErrRecord) || errors.Is(err, state.ErrNewerVersion)
	switch {
	case err == nil, foreign && r.Value == nil: // a tombstone needs no key of ours
		delete(c.foreign, key)
		return nil
	case !foreign:
		return storeError(err)
	}
	if c.foreign == nil {
		c.foreign = map[string]foreignRecord{}
	}
	c.foreign[key] = foreignRecord{r.Offset, err}
	return nil
}

// foreignError names the first of the records that are not ours.
func (p *partition) foreignError(all map[string]foreignRecord) error {
	first := foreignRecord{offset: -1}
	for _, f := range all {
		if first.offset < 0 || f.offset < first.offset {
			first = f
		}
	}
	return &StoppedError{p.id, fmt.Sprintf("%s partition %d, offset %d: %v: something else has written to the changelog (or a newer version of segmentd: run that one). "+
		"Take away its right to; then write a tombstone (a record with that key and no value) to that partition: what it deletes is not looked at. Records of this kind: %d",
		p.topics.Changelog(), p.id, first.offset, first.err, len(all))}
}
