package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// outbox sends messages in batches: in rounds, each of which has at most one
// batch a partition and one request a leader. It keeps the sequences of one
// producer epoch. One goroutine at a time.
//
// INVARIANT: a sequence number is given to other bytes only after the batch that
// bore it was acknowledged, or in another epoch.
type outbox struct {
	client          *Client
	compression     Compression
	producer        producerState
	transactionalID string
	// resend sends a batch again whose request was not answered. A transaction
	// that has met that is given up instead.
	resend bool
	// failure is what an error that ends the epoch is.
	failure error
	lanes   map[topicPartition]*lane
	used    []*lane // by the messages being sent, in the order of their first
}

type topicPartition struct {
	topic     string
	partition int32
}

// lane is the way to one partition.
type lane struct {
	topicPartition
	sequence int32 // of the next batch
	joined   bool  // to the open transaction
	waiting  []int // indexes of messages
	loaded   int   // how many of waiting have been put in a batch
	batch    []byte
	count    int  // of records in batch; 0: none is under way
	tried    bool // the batch may have been written by an attempt before
	err      error
	produced stream.Produced
}

func newOutbox(c *Client, compression Compression) outbox {
	return outbox{client: c, compression: compression, failure: stream.ErrTransaction}
}

// begin starts an epoch: sequences from 0, and no memory that a request of the
// epoch before might still be reading.
func (o *outbox) begin(p producerState) {
	o.producer, o.lanes, o.used = p, map[topicPartition]*lane{}, nil
}

// sort assigns messages to lanes, in order.
func (o *outbox) sort(messages []stream.Message) {
	o.used = o.used[:0]
	var l *lane
	for i := range messages {
		m := &messages[i]
		if l == nil || l.topic != m.Topic || l.partition != m.Partition {
			l = o.lane(m.Topic, m.Partition)
		}
		if len(l.waiting) == 0 {
			l.produced = stream.Produced{Topic: l.topic, Partition: l.partition, BaseOffset: -1, LogAppendTime: subject.Never}
			o.used = append(o.used, l)
		}
		l.waiting = append(l.waiting, i)
	}
}

func (o *outbox) lane(topic string, partition int32) *lane {
	key := topicPartition{topic, partition}
	l := o.lanes[key]
	if l == nil {
		l = &lane{topicPartition: key}
		o.lanes[key] = l
	}
	return l
}

// send produces all sorted messages. After an error the epoch is over.
func (o *outbox) send(ctx context.Context, messages []stream.Message) ([]stream.Produced, error) {
	for {
		lanes, err := o.load(messages)
		if err != nil {
			return nil, err
		}
		if len(lanes) == 0 {
			return o.produced(), nil
		}
		if err := o.sendRound(ctx, lanes); err != nil {
			return nil, err
		}
	}
}

// load puts the next batch on each lane that has messages waiting.
func (o *outbox) load(messages []stream.Message) (loaded []*lane, err error) {
	encoder := borrowEncoder(o.compression)
	defer encoder.giveBack()
	for _, l := range o.used {
		if l.loaded == len(l.waiting) {
			l.waiting, l.loaded = l.waiting[:0], 0
			continue
		}
		if l.batch, l.count, err = encoder.encode(l.batch, messages, l.waiting[l.loaded:]); err != nil {
			return nil, fmt.Errorf("encode a batch for %s/%d: %w", l.topic, l.partition, err)
		}
		seal(l.batch, o.producer, l.sequence)
		l.loaded += l.count
		loaded = append(loaded, l)
	}
	return loaded, nil
}

func (o *outbox) produced() []stream.Produced {
	all := make([]stream.Produced, 0, len(o.used))
	for _, l := range o.used {
		all = append(all, l.produced)
	}
	return all
}

// sendRound sends the lanes' batches until each is acknowledged or refused.
func (o *outbox) sendRound(ctx context.Context, lanes []*lane) error {
	wait := newBackoff()
	for {
		o.attempt(ctx, lanes)
		var again []*lane
		for _, l := range lanes {
			repeat, err := o.settle(l)
			if err != nil {
				return fmt.Errorf("produce to %s/%d: %w", l.topic, l.partition, denied(err, onTopic("Write", l.topic), onTransactions("Write", o.transactionalID)))
			}
			if repeat {
				again = append(again, l)
			}
		}
		if len(again) == 0 {
			return nil
		}
		if err := wait.sleep(ctx); err != nil {
			l := again[0]
			return fmt.Errorf("produce to %s/%d: %w: %w: %w", l.topic, l.partition, o.failure, err, l.err)
		}
		lanes = again
	}
}

// attempt sends each leader its batches and leaves the outcome in the lanes.
func (o *outbox) attempt(ctx context.Context, lanes []*lane) {
	call := &produceCall{outbox: o, lanes: lanes}
	_, err := roundTrip[*produce.Response](ctx, o.client, call, 0)
	if err == nil {
		return
	}
	for _, l := range lanes {
		l.err = err
	}
}

// settle reports whether a lane's batch has to be sent again; it returns an
// error where it was neither written nor may be repeated.
func (o *outbox) settle(l *lane) (repeat bool, err error) {
	var code kafka.Error
	switch {
	case l.err == nil:
		l.done()
		return false, nil
	case neverSent(l.err):
		return true, nil
	case errors.As(l.err, &code):
		return o.settleRefused(l, code)
	case o.resend && !hopeless(l.err):
		l.tried = true
		return true, nil
	}
	return false, fmt.Errorf("%w: %w", o.failure, l.err)
}

func (o *outbox) settleRefused(l *lane, code kafka.Error) (repeat bool, err error) {
	if code == kafka.DuplicateSequenceNumber && l.tried {
		// These bytes, in this epoch: the attempt before has written them.
		l.produced.Count += l.count
		l.done()
		return false, nil
	}
	if v := judge(code); v == verdictRetry || v == verdictCoordinator {
		l.tried = l.tried || code == kafka.RequestTimedOut || code == kafka.NotEnoughReplicasAfterAppend
		return true, nil
	}
	if judge(code) == verdictFailed {
		return false, fmt.Errorf("%w: %w", o.failure, code)
	}
	return false, refusal(code)
}

// done makes room for the next batch.
func (l *lane) done() {
	l.sequence, l.count = nextSequence(l.sequence, l.count), 0
	if l.tried {
		// A request that was given up might still be reading it.
		l.batch, l.tried = nil, false
	}
}

// acknowledge notes where the batch went.
func (l *lane) acknowledge(p *produce.ResponsePartition) {
	if l.produced.BaseOffset < 0 {
		l.produced.BaseOffset = p.BaseOffset
	}
	l.produced.Count += l.count
	if p.LogAppendTime >= 0 {
		l.produced.LogAppendTime = instant(p.LogAppendTime, 0)
	}
}

// produceCall becomes a request for each leader.
type produceCall struct {
	outbox *outbox
	lanes  []*lane
}

func (*produceCall) ApiKey() protocol.ApiKey { return protocol.Produce }

// Split implements protocol.Splitter.
func (p *produceCall) Split(cluster protocol.Cluster) ([]protocol.Message, protocol.Merger, error) {
	if len(cluster.Brokers) == 0 {
		return nil, nil, errNoCluster
	}
	var requests []protocol.Message
	byLeader := map[int32]*produceRequest{}
	for _, l := range p.lanes {
		leader, err := leaderOf(cluster, l.topic, l.partition)
		if l.err = asRefusal(err); l.err != nil {
			continue
		}
		r := byLeader[leader.ID]
		if r == nil {
			r = p.request(leader)
			byLeader[leader.ID] = r
			requests = append(requests, r)
		}
		r.add(l)
	}
	return requests, p, nil
}

// asRefusal makes a partition that metadata does not know yet what the broker
// would make of it.
func asRefusal(err error) error {
	if errors.Is(err, stream.ErrUnknownTopic) {
		return kafka.UnknownTopicOrPartition
	}
	return err
}

func (p *produceCall) request(leader protocol.Broker) *produceRequest {
	return &produceRequest{
		TransactionalID: p.outbox.transactionalID,
		Acks:            -1, // all replicas in sync
		Timeout:         milliseconds(p.outbox.client.cfg.RequestTimeout / 2),
		leader:          leader,
	}
}

func (r *produceRequest) add(l *lane) {
	part := producePartition{Partition: l.partition, RecordSet: encodedBatch{l.batch}}
	r.lanes = append(r.lanes, l)
	for t := range r.Topics {
		if r.Topics[t].Topic == l.topic {
			r.Topics[t].Partitions = append(r.Topics[t].Partitions, part)
			return
		}
	}
	r.Topics = append(r.Topics, produceTopic{Topic: l.topic, Partitions: []producePartition{part}})
}

// Merge implements protocol.Merger: it hands the answers to their lanes.
func (p *produceCall) Merge(requests []protocol.Message, results []any) (protocol.Message, error) {
	for i, result := range results {
		msg, err := protocol.Result(result)
		res, ok := msg.(*produce.Response)
		if err == nil && !ok {
			err = fmt.Errorf("kafka answered %T to a produce", msg)
		}
		for _, l := range requests[i].(*produceRequest).lanes {
			if l.err = noAnswer(err); err == nil {
				l.err = l.outcome(res)
			}
		}
	}
	return &produce.Response{}, nil
}

func (l *lane) outcome(res *produce.Response) error {
	for t := range res.Topics {
		if res.Topics[t].Topic != l.topic {
			continue
		}
		for p := range res.Topics[t].Partitions {
			part := &res.Topics[t].Partitions[p]
			if part.Partition != l.partition {
				continue
			}
			if part.ErrorCode != 0 {
				return kafka.Error(part.ErrorCode)
			}
			l.acknowledge(part)
			return nil
		}
	}
	return errors.New("kafka answered without the partition")
}

// backoff is the waits between attempts: short at first, since a transaction's
// markers take a few milliseconds.
type backoff struct {
	next  time.Duration
	until time.Time
}

// patience bounds how long a request that the broker refuses for the moment is
// repeated: below the time after which Kafka aborts the transaction itself.
const patience = 30 * time.Second

var errPatience = fmt.Errorf("not possible within %v", patience)

func newBackoff() backoff {
	return backoff{next: time.Millisecond, until: time.Now().Add(patience)}
}

func (b *backoff) sleep(ctx context.Context) error {
	if time.Now().After(b.until) {
		return errPatience
	}
	t := time.NewTimer(b.next)
	defer t.Stop()
	b.next = min(2*b.next, 250*time.Millisecond)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
