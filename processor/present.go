package processor

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
)

// CheckGroup compares Deps.Secret, and the inputs, with the newest readable
// checkpoint of the first partition of the group's changelog that has one, before
// a group is joined or an image opened. It writes nothing. Where the secret is
// another one, or an input is missing, the error is a *ConfigError; with no
// checkpoint there is nothing to compare. Of cfg it needs Group, Partitions, Inputs
// and DropInputs, of deps Fetcher, Bounds and Secret.
func CheckGroup(ctx context.Context, cfg Config, deps Deps) error {
	changelog := Topics{cfg.Group}.Changelog()
	for id := range cfg.Partitions {
		cp, err := newestCheckpoint(ctx, deps, changelog, id)
		if err != nil {
			return fmt.Errorf("find a checkpoint on %s: %w", changelog, err)
		}
		if cp != nil {
			if err := checkSecret(changelog, cp.Secret, deps.Secret); err != nil {
				return err
			}
			return checkInputs(changelog, cp, &cfg)
		}
	}
	return nil
}

// checkInputs refuses inputs that lack a topic of which a checkpoint has a
// position: decisions that it holds would not be read any more, and nobody told.
func checkInputs(changelog string, cp *state.Checkpoint, cfg *Config) error {
	var missing []string
	for topic := range cp.Positions {
		if !cfg.isInput(topic) && !slices.Contains(cfg.DropInputs, topic) {
			missing = append(missing, topic)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return configErrorf("the inputs lack %s, which the group has read (%s): give all instances of a group the same inputs; "+
		"where it shall never be read again say so with --drop-input %s", strings.Join(missing, ", "), changelog, strings.Join(missing, ","))
}

func (c *Config) isInput(topic string) bool {
	return slices.ContainsFunc(c.Inputs, func(in Input) bool { return in.Topic == topic })
}

// tellDropped logs what the next transaction forgets: the positions of inputs that
// are none any more.
func (p *partition) tellDropped() {
	for topic, at := range p.checkpoint.Positions {
		if !p.cfg.isInput(topic) {
			p.log.Warn("an input is dropped: it is not read any more", "topic", topic, "position", at)
		}
	}
}

func checkSecret(changelog, written, configured string) error {
	if written == configured {
		return nil
	}
	return configErrorf("the secret is not the one %s was written with (fingerprint %s, configured %s): give the same secret as before "+
		"(secret_file or SEGMENTD_SECRET); to start anew without the old state use another group", changelog, written, configured)
}

// newestCheckpoint finds the newest readable checkpoint of a changelog's
// partition, nil if there is none. It ends every transaction, so it is looked for
// from the end backwards, in pieces that grow.
func newestCheckpoint(ctx context.Context, deps Deps, changelog string, partition int32) (*state.Checkpoint, error) {
	start, end, err := deps.Bounds(ctx, changelog, partition)
	if err != nil {
		return nil, err
	}
	for back := int64(64); start < end; back *= 16 {
		from := stream.Position{Topic: changelog, Partition: partition, Offset: max(start, end-back)}
		cp, err := lastCheckpoint(ctx, deps.Fetcher, from, end)
		if cp != nil || err != nil || from.Offset == start {
			return cp, err
		}
	}
	return nil, nil
}

// lastCheckpoint is the last readable one from a position to an offset, as far as
// that is committed; nil if there is none.
func lastCheckpoint(ctx context.Context, fetcher stream.Fetcher, at stream.Position, end int64) (last *state.Checkpoint, err error) {
	err = readCommitted(ctx, fetcher, at, end, func(r *stream.Record) {
		if !bytes.Equal(r.Key, state.CheckpointKey) {
			return
		}
		if cp, err := state.DecodeCheckpoint(r.Value); err == nil {
			last = &cp
		}
	})
	return last, err
}

// readCommitted passes the records from a position to an offset to f, as far as
// they are committed. A record is valid during the call.
func readCommitted(ctx context.Context, fetcher stream.Fetcher, at stream.Position, end int64, f func(*stream.Record)) error {
	var buf stream.Buffer
	for {
		fetched, err := fetcher.Fetch(ctx, []stream.Position{at}, stream.FetchOptions{MaxBytes: 4 << 20}, &buf)
		if err == nil {
			err = fetched[0].Err
		}
		if err != nil {
			return err
		}
		for i := range fetched[0].Records {
			f(&fetched[0].Records[i])
		}
		at.Offset = fetched[0].Next
		if at.Offset >= min(end, fetched[0].LastStable) {
			return nil
		}
	}
}
