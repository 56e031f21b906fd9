package processor

import (
	"bytes"
	"context"
	"fmt"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/rules"
)

// publishedMembers counts the members that segments have in the whole group, as
// the topics of members tell.
func (p *Processor) publishedMembers(ctx context.Context, segments []rules.Name) (map[string]int64, error) {
	members := map[string]int64{}
	byOutput := map[string]map[string]bool{}
	for _, n := range segments {
		if byOutput[n.Output] == nil {
			byOutput[n.Output] = map[string]bool{}
		}
		byOutput[n.Output][n.Key] = true
	}
	for output, keys := range byOutput {
		topic := p.topics.Members(output)
		p.deps.Produces([]string{topic})
		for partition := range p.cfg.Partitions {
			rows, err := p.publishedRows(ctx, stream.Position{Topic: topic, Partition: partition}, keys)
			if err != nil {
				return nil, fmt.Errorf("count the members on %s: %w", topic, err)
			}
			for row := range rows {
				members[segmentOf([]byte(row))]++
			}
		}
	}
	return members, nil
}

// publishedRows reads the rows of segments, by key, in one partition of a topic of
// members: those that are not deleted.
func (p *Processor) publishedRows(ctx context.Context, at stream.Position, segments map[string]bool) (map[string]bool, error) {
	rows := map[string]bool{}
	start, end, err := p.deps.Bounds(ctx, at.Topic, at.Partition)
	if err != nil {
		return nil, err
	}
	at.Offset = start
	err = readCommitted(ctx, p.deps.Fetcher, at, end, func(r *stream.Record) {
		switch {
		case r.Value == nil:
			delete(rows, string(r.Key))
		case segments[segmentOf(r.Key)]:
			rows[string(r.Key)] = true
		}
	})
	return rows, err
}

// segmentOf is the segment of a row's key, which is its last part (CONTRACT.md,
// Current members).
func segmentOf(key []byte) string { return string(key[bytes.LastIndexByte(key, '|')+1:]) }
