package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/addoffsetstotxn"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/txnoffsetcommit"

	"github.com/segmentd/segmentd/processor/stream"
)

// TransactorConfig names a transactional producer.
type TransactorConfig struct {
	TransactionalID string
	// Timeout after which Kafka aborts a transaction by itself; 0 means 60 s. The
	// broker's transaction.max.timeout.ms bounds it.
	Timeout     time.Duration
	Compression Compression
}

// Transactor implements stream.Transactor. A request that may or may not have
// been carried out is never repeated: the transaction fails, and Init begins a
// new epoch in which whatever is still on its way is refused.
type Transactor struct {
	client *Client
	cfg    TransactorConfig
	outbox outbox
	state  transactorState
	txn    role
	group  role
}

var _ stream.Transactor = (*Transactor)(nil)

type transactorState uint8

const (
	stateFailed transactorState = iota // only Init is allowed
	stateReady                         // no transaction is open
	stateOpen
)

var errInitFirst = fmt.Errorf("init has to come first: %w", stream.ErrTransaction)

// NewTransactor returns a transactor that has to be Init before anything else.
func (c *Client) NewTransactor(cfg TransactorConfig) *Transactor {
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	t := &Transactor{client: c, cfg: cfg, outbox: newOutbox(c, cfg.Compression)}
	t.outbox.transactionalID = cfg.TransactionalID
	t.txn = role{key: cfg.TransactionalID, kind: transactionCoordinator}
	t.group = role{kind: groupCoordinator}
	return t
}

// Init implements stream.Transactor. It can be repeated at any time.
func (t *Transactor) Init(ctx context.Context) error {
	t.state = stateFailed
	res, err := t.client.initProducer(ctx, t.cfg)
	if err != nil {
		return fmt.Errorf("init transactional id %s: %w", t.cfg.TransactionalID, denied(err, t.right()))
	}
	t.outbox.begin(producerState{id: res.ProducerID, epoch: res.ProducerEpoch, txn: true})
	t.state = stateReady
	return nil
}

// initProducer asks for a producer id and epoch; "" as the transactional id for
// one of an idempotent producer. Repeating it is harmless.
func (c *Client) initProducer(ctx context.Context, cfg TransactorConfig) (*initproducerid.Response, error) {
	req := &initproducerid.Request{
		TransactionalID:      cfg.TransactionalID,
		TransactionTimeoutMs: milliseconds(cfg.Timeout),
		ProducerID:           -1, // zeros would be another producer's
		ProducerEpoch:        -1,
	}
	for wait := newBackoff(); ; {
		res, err := roundTrip[*initproducerid.Response](ctx, c, req, 0)
		if err == nil {
			if res.ErrorCode == 0 {
				return res, nil
			}
			code := kafka.Error(res.ErrorCode)
			if v := judge(code); v != verdictRetry && v != verdictCoordinator {
				return nil, refusal(code)
			}
			err = code
		}
		err = requestError(c.unreachable(ctx, err))
		if hopeless(err) {
			return nil, err
		}
		if over := wait.sleep(ctx); over != nil {
			return nil, fmt.Errorf("%w: %w", over, err)
		}
	}
}

// Produce implements stream.Transactor. Messages are split into batches below
// 1 MB; a larger message goes alone. Their memory is not kept.
func (t *Transactor) Produce(ctx context.Context, messages []stream.Message) ([]stream.Produced, error) {
	if t.state == stateFailed {
		return nil, errInitFirst
	}
	if len(messages) == 0 {
		return nil, nil
	}
	t.outbox.sort(messages)
	if err := t.join(ctx); err != nil {
		return nil, t.failed(err)
	}
	produced, err := t.outbox.send(ctx, messages)
	if err != nil {
		return nil, t.failed(err)
	}
	return produced, nil
}

// right is what all of it needs.
func (t *Transactor) right() right { return onTransactions("Write", t.cfg.TransactionalID) }

// failed leaves only Init allowed.
func (t *Transactor) failed(err error) error {
	t.state = stateFailed
	return err
}

// join adds the partitions that are not part of the transaction yet.
func (t *Transactor) join(ctx context.Context) error {
	req := &addPartitionsRequest{
		TransactionalID: t.cfg.TransactionalID,
		ProducerID:      t.outbox.producer.id,
		ProducerEpoch:   t.outbox.producer.epoch,
	}
	for _, l := range t.outbox.used {
		if !l.joined {
			req.add(l.topicPartition)
		}
	}
	if len(req.Topics) == 0 {
		return nil
	}
	t.state = stateOpen
	var topic string
	err := t.ask(ctx, &t.txn, func(ctx context.Context, at coordinator) (kafka.Error, error) {
		req.coordinator = at
		res, err := roundTrip[*addpartitionstotxn.Response](ctx, t.client, req, 0)
		if err != nil {
			return 0, err
		}
		code, worst := addPartitionsOutcome(res)
		topic = worst
		return code, nil
	})
	if err != nil {
		return fmt.Errorf("add partitions to the transaction: %w", denied(err, onTopic("Write", topic), t.right()))
	}
	for _, l := range t.outbox.used {
		l.joined = true
	}
	return nil
}

func (r *addPartitionsRequest) add(tp topicPartition) {
	for i := range r.Topics {
		if r.Topics[i].Name == tp.topic {
			r.Topics[i].Partitions = append(r.Topics[i].Partitions, tp.partition)
			return
		}
	}
	r.Topics = append(r.Topics, addPartitionsTopic{Name: tp.topic, Partitions: []int32{tp.partition}})
}

// notAttempted is the code of partitions that were well but shared a request
// with one that was not; kafka-go knows it by the wrong name.
const notAttempted kafka.Error = 55

func addPartitionsOutcome(res *addpartitionstotxn.Response) (worst kafka.Error, topic string) {
	for _, t := range res.Results {
		for _, p := range t.Results {
			if code := kafka.Error(p.ErrorCode); code != 0 && (worst == 0 || worst == notAttempted) {
				worst, topic = code, t.Name
			}
		}
	}
	return worst, topic
}

// SendOffsets implements stream.Transactor. Where the group's generation is over
// it aborts the transaction, lest readers wait for its timeout.
func (t *Transactor) SendOffsets(ctx context.Context, member stream.GroupMember, offsets []stream.Position) error {
	if t.state == stateFailed {
		return errInitFirst
	}
	t.state = stateOpen
	if err := t.addOffsets(ctx, member.Group); err != nil {
		return t.failed(fmt.Errorf("add group offsets to the transaction: %w", denied(err, onGroup("Read", member.Group), t.right())))
	}
	if err := t.commitOffsets(ctx, member, offsets); err != nil {
		if errors.Is(err, stream.ErrFenced) {
			_ = t.end(ctx, false)
		}
		return t.failed(fmt.Errorf("commit group offsets in the transaction: %w", err))
	}
	return nil
}

func (t *Transactor) addOffsets(ctx context.Context, group string) error {
	req := &addOffsetsRequest{
		TransactionalID: t.cfg.TransactionalID,
		ProducerID:      t.outbox.producer.id,
		ProducerEpoch:   t.outbox.producer.epoch,
		GroupID:         group,
	}
	return t.ask(ctx, &t.txn, func(ctx context.Context, at coordinator) (kafka.Error, error) {
		req.coordinator = at
		res, err := roundTrip[*addoffsetstotxn.Response](ctx, t.client, req, 0)
		if err != nil {
			return 0, err
		}
		return kafka.Error(res.ErrorCode), nil
	})
}

func (t *Transactor) commitOffsets(ctx context.Context, member stream.GroupMember, offsets []stream.Position) error {
	req := &txnOffsetCommitRequest{
		TransactionalID: t.cfg.TransactionalID,
		GroupID:         member.Group,
		ProducerID:      t.outbox.producer.id,
		ProducerEpoch:   t.outbox.producer.epoch,
		GenerationID:    member.Generation,
		MemberID:        member.MemberID,
	}
	for _, pos := range offsets {
		req.add(pos)
	}
	t.group.rename(member.Group)
	var topic string
	err := t.ask(ctx, &t.group, func(ctx context.Context, at coordinator) (kafka.Error, error) {
		req.coordinator = at
		res, err := roundTrip[*txnoffsetcommit.Response](ctx, t.client, req, 0)
		if err != nil {
			return 0, err
		}
		code, refused := offsetCommitOutcome(res)
		topic = refused
		return code, nil
	})
	return denied(err, onTopic("Read", topic), onGroup("Read", member.Group), t.right())
}

func (r *txnOffsetCommitRequest) add(pos stream.Position) {
	part := txnOffsetPartition{Partition: pos.Partition, CommittedOffset: pos.Offset, CommittedLeaderEpoch: -1}
	for i := range r.Topics {
		if r.Topics[i].Name == pos.Topic {
			r.Topics[i].Partitions = append(r.Topics[i].Partitions, part)
			return
		}
	}
	r.Topics = append(r.Topics, txnOffsetTopic{Name: pos.Topic, Partitions: []txnOffsetPartition{part}})
}

func offsetCommitOutcome(res *txnoffsetcommit.Response) (code kafka.Error, topic string) {
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return kafka.Error(p.ErrorCode), t.Name
			}
		}
	}
	return 0, ""
}

// Commit implements stream.Transactor; where nothing is open it does nothing.
func (t *Transactor) Commit(ctx context.Context) error {
	if err := t.end(ctx, true); err != nil {
		return t.failed(fmt.Errorf("commit the transaction: %w", err))
	}
	return nil
}

// Abort implements stream.Transactor; where nothing is open it does nothing.
func (t *Transactor) Abort(ctx context.Context) error {
	if err := t.end(ctx, false); err != nil {
		return t.failed(fmt.Errorf("abort the transaction: %w", err))
	}
	return nil
}

func (t *Transactor) end(ctx context.Context, commit bool) error {
	switch t.state {
	case stateFailed:
		return errInitFirst
	case stateReady:
		return nil
	}
	req := &endTxnRequest{
		TransactionalID: t.cfg.TransactionalID,
		ProducerID:      t.outbox.producer.id,
		ProducerEpoch:   t.outbox.producer.epoch,
		Committed:       commit,
	}
	err := t.ask(ctx, &t.txn, func(ctx context.Context, at coordinator) (kafka.Error, error) {
		req.coordinator = at
		res, err := roundTrip[*endtxn.Response](ctx, t.client, req, 0)
		if err != nil {
			return 0, err
		}
		return kafka.Error(res.ErrorCode), nil
	})
	if err != nil {
		return denied(err, t.right())
	}
	t.state = stateReady
	for _, l := range t.outbox.lanes {
		l.joined = false
	}
	return nil
}

// ask sends a request to a coordinator until it is carried out or refused for
// good. send returns the broker's error code, or the transport's error.
func (t *Transactor) ask(ctx context.Context, r *role, send func(context.Context, coordinator) (kafka.Error, error)) error {
	for wait := newBackoff(); ; {
		repeat, err := t.askOnce(ctx, r, send)
		if !repeat {
			return err
		}
		if over := wait.sleep(ctx); over != nil {
			return fmt.Errorf("%w: %w: %w", stream.ErrTransaction, over, err)
		}
	}
}

func (t *Transactor) askOnce(ctx context.Context, r *role, send func(context.Context, coordinator) (kafka.Error, error)) (repeat bool, err error) {
	if err := r.find(ctx, t.client); err != nil {
		return !hopeless(err), fmt.Errorf("find the coordinator: %w", err)
	}
	code, err := send(ctx, coordinator{r.node})
	switch {
	case err == nil && code == 0:
		return false, nil
	case err == nil:
		return r.refused(code)
	case neverSent(err):
		r.known = false
		return true, err
	}
	r.known = false
	return false, fmt.Errorf("%w: %w", stream.ErrTransaction, err)
}

// The kinds of coordinators (FindCoordinator's KeyType).
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
)

// role is a coordinator's, and who has it as far as we know.
type role struct {
	key   string
	kind  int8
	node  int32
	known bool
}

func (r *role) rename(key string) {
	if r.key != key {
		r.key, r.known = key, false
	}
}

func (r *role) refused(code kafka.Error) (repeat bool, err error) {
	switch judge(code) {
	case verdictCoordinator:
		r.known = false
		return true, code
	case verdictRetry:
		return true, code
	}
	return false, refusal(code)
}

func (r *role) find(ctx context.Context, c *Client) error {
	if r.known {
		return nil
	}
	req := &findcoordinator.Request{Key: r.key, KeyType: r.kind}
	res, err := roundTrip[*findcoordinator.Response](ctx, c, req, 0)
	if err != nil {
		return requestError(c.unreachable(ctx, err))
	}
	if res.ErrorCode != 0 {
		return requestError(kafka.Error(res.ErrorCode))
	}
	r.node, r.known = res.NodeID, true
	return nil
}
