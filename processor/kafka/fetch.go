package kafka

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/segmentd/segmentd/processor/stream"
)

// defaultMaxBytes a partition and fetch; 8 MB were measured to be slower than 1 MB.
const defaultMaxBytes = 1 << 20

// readCommitted is the isolation level (KIP-98).
const readCommitted = 1

// What a buffer keeps of what it once needed: little, or a few times what it needed last.
const (
	keptPlainBytes = 64 << 10
	keptRecords    = 256
	keptTimes      = 4
)

// Fetch implements stream.Fetcher. It asks each leader once, all at the same
// time, and waits for the last of them: ask for partitions of different
// brokers with a MaxWait only where the wait of one may delay the others.
//
// The errors of single partitions are in their Fetched; those of a leader that
// cannot be asked are in those of its partitions. Fetch itself fails where ctx
// has ended, the client is closed, or nothing is known of the cluster.
func (c *Client) Fetch(ctx context.Context, positions []stream.Position, opts stream.FetchOptions, buf *stream.Buffer) ([]stream.Fetched, error) {
	opts = fetchDefaults(opts)
	call := &fetchCall{positions: positions, opts: opts, answers: make([]fetchAnswer, len(positions))}
	_, err := roundTrip[*fetchResponse](ctx, c, call, opts.MaxWait)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		call.giveBack()
		return nil, requestError(c.unreachable(ctx, err))
	}
	p, _ := c.parsers.Get().(*parser)
	if p == nil {
		p = new(parser)
	}
	defer c.parsers.Put(p)
	reset(buf)
	for i := range positions {
		buf.Fetched = append(buf.Fetched, call.fetched(i, p, buf))
	}
	return buf.Fetched, nil
}

func fetchDefaults(opts stream.FetchOptions) stream.FetchOptions {
	if opts.MinBytes == 0 {
		opts.MinBytes = 1
	}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = defaultMaxBytes
	}
	return opts
}

func reset(buf *stream.Buffer) {
	returnSets(buf.Sets)
	buf.Sets, buf.Fetched, buf.Headers = buf.Sets[:0], buf.Fetched[:0], buf.Headers[:0]
	if cap(buf.Plain) > max(keptPlainBytes, keptTimes*len(buf.Plain)) {
		buf.Plain = nil
	}
	if cap(buf.Records) > max(keptRecords, keptTimes*len(buf.Records)) {
		buf.Records = nil
	}
	buf.Plain, buf.Records = buf.Plain[:0], buf.Records[:0]
}

// fetchCall becomes a request for each leader.
type fetchCall struct {
	positions []stream.Position
	opts      stream.FetchOptions
	answers   []fetchAnswer // of positions
}

type fetchAnswer struct {
	part *fetchedPartition
	err  error
}

func (*fetchCall) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Split implements protocol.Splitter.
func (f *fetchCall) Split(cluster protocol.Cluster) ([]protocol.Message, protocol.Merger, error) {
	if len(cluster.Brokers) == 0 {
		return nil, nil, errNoCluster
	}
	var requests []protocol.Message
	byLeader := map[int32]*fetchRequest{}
	for i, pos := range f.positions {
		leader, err := leaderOf(cluster, pos.Topic, pos.Partition)
		if err != nil {
			f.answers[i].err = err
			continue
		}
		r := byLeader[leader.ID]
		if r == nil {
			r = f.request(leader)
			byLeader[leader.ID] = r
			requests = append(requests, r)
		}
		r.add(i, pos, f.opts)
	}
	return requests, f, nil
}

func leaderOf(cluster protocol.Cluster, topic string, partition int32) (protocol.Broker, error) {
	t, ok := cluster.Topics[topic]
	if code := kafka.Error(t.Error); ok && code != 0 && len(t.Partitions) == 0 {
		return protocol.Broker{}, fetchError(t.Error)
	}
	p, ok := t.Partitions[partition]
	if !ok {
		return protocol.Broker{}, stream.ErrUnknownTopic
	}
	b, ok := cluster.Brokers[p.Leader]
	if !ok {
		return protocol.Broker{}, errNoLeader
	}
	return b, nil
}

// request of no positions yet; it belongs to no fetch session (KIP-227).
func (f *fetchCall) request(leader protocol.Broker) *fetchRequest {
	return &fetchRequest{
		ReplicaID:      -1,
		MaxWaitTime:    milliseconds(f.opts.MaxWait),
		MinBytes:       int32(f.opts.MinBytes),
		IsolationLevel: readCommitted,
		SessionEpoch:   -1,
		leader:         leader,
	}
}

func (r *fetchRequest) add(i int, pos stream.Position, opts stream.FetchOptions) {
	p := fetchPartition{
		Partition:          pos.Partition,
		CurrentLeaderEpoch: -1,
		FetchOffset:        pos.Offset,
		LogStartOffset:     -1,
		PartitionMaxBytes:  int32(opts.MaxBytes),
	}
	r.MaxBytes = int32(min(int64(r.MaxBytes)+int64(opts.MaxBytes), maxSetBytes))
	r.positions = append(r.positions, i)
	if t := slices.IndexFunc(r.Topics, func(t fetchTopic) bool { return t.Topic == pos.Topic }); t >= 0 {
		r.Topics[t].Partitions = append(r.Topics[t].Partitions, p)
		return
	}
	r.Topics = append(r.Topics, fetchTopic{Topic: pos.Topic, Partitions: []fetchPartition{p}})
}

// Merge implements protocol.Merger: it hands the answers to their positions.
func (f *fetchCall) Merge(requests []protocol.Message, results []any) (protocol.Message, error) {
	for i, result := range results {
		f.merge(requests[i].(*fetchRequest), result)
	}
	return &fetchResponse{}, nil
}

func (f *fetchCall) merge(req *fetchRequest, result any) {
	msg, err := protocol.Result(result)
	res, ok := msg.(*fetchResponse)
	switch {
	case err == nil && !ok:
		err = fmt.Errorf("kafka answered %T to a fetch", msg)
	case err == nil:
		err = fetchError(res.ErrorCode)
	}
	for _, i := range req.positions {
		f.answers[i] = fetchAnswer{err: noAnswer(err)}
		if err == nil {
			f.answers[i] = res.of(f.positions[i])
		}
	}
}

func (r *fetchResponse) of(pos stream.Position) fetchAnswer {
	for t := range r.Topics {
		if r.Topics[t].Topic != pos.Topic {
			continue
		}
		for p := range r.Topics[t].Partitions {
			if part := &r.Topics[t].Partitions[p]; part.Partition == pos.Partition {
				return fetchAnswer{part: part, err: fetchError(part.ErrorCode)}
			}
		}
	}
	return fetchAnswer{err: fmt.Errorf("kafka answered without the partition: %w", stream.ErrUnknownTopic)}
}

// giveBack returns the memory of answers that nobody will read.
func (f *fetchCall) giveBack() {
	for _, a := range f.answers {
		if a.part != nil && a.part.RecordSet.raw != nil {
			returnSets([][]byte{a.part.RecordSet.raw})
		}
	}
}

// fetched parses the answer of position i.
func (f *fetchCall) fetched(i int, p *parser, buf *stream.Buffer) stream.Fetched {
	pos, a := f.positions[i], f.answers[i]
	out := stream.Fetched{Topic: pos.Topic, Partition: pos.Partition, Next: pos.Offset, Err: a.err, HighWatermark: -1, LastStable: -1, LogStart: -1}
	if a.part != nil {
		out.HighWatermark, out.LastStable, out.LogStart = a.part.HighWatermark, a.part.LastStableOffset, a.part.LogStartOffset
		if set := a.part.RecordSet.raw; set != nil {
			out.BytesOnTheWire = len(set)
			buf.Sets = append(buf.Sets, set)
			if out.Err == nil {
				mark := len(buf.Records)
				out.Next, out.Err = p.recordsOf(set, pos.Offset, a.part.Aborted, min(plainTimes*f.opts.MaxBytes, partitionPlainBytes), buf)
				out.Records = buf.Records[mark:len(buf.Records):len(buf.Records)]
			}
		}
	}
	if out.Err != nil {
		out.Err = fmt.Errorf("fetch %s/%d at %d: %w", pos.Topic, pos.Partition, pos.Offset, denied(requestError(out.Err), onTopic("Read", pos.Topic)))
	}
	return out
}

func milliseconds(d time.Duration) int32 { return int32(d / time.Millisecond) }
