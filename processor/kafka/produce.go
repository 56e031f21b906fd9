package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentd/segmentd/processor/stream"
)

// ProducerConfig says how a Producer compresses.
type ProducerConfig struct {
	Compression Compression
}

// Producer produces outside of transactions, acknowledged by all replicas in
// sync and idempotent: a batch whose request was not answered is sent again with
// the same bytes and sequence, and the broker keeps one. Not safe for
// concurrent use.
type Producer struct {
	outbox outbox
	ready  bool
}

var errUnacknowledged = errors.New("records may be missing in kafka")

// NewProducer returns a producer; it needs no closing.
func (c *Client) NewProducer(cfg ProducerConfig) *Producer {
	p := &Producer{outbox: newOutbox(c, cfg.Compression)}
	p.outbox.resend, p.outbox.failure = true, errUnacknowledged
	return p
}

// Send produces messages to the partitions they name, those of one partition in
// order, in batches below 1 MB with one in flight a partition, and returns when
// all are acknowledged. After an error some may be in Kafka and some not.
func (p *Producer) Send(ctx context.Context, messages []stream.Message) ([]stream.Produced, error) {
	if len(messages) == 0 {
		return nil, nil
	}
	if !p.ready {
		res, err := p.outbox.client.initProducer(ctx, TransactorConfig{})
		if err != nil {
			return nil, fmt.Errorf("init producer: %w", denied(err, idempotence))
		}
		p.outbox.begin(producerState{id: res.ProducerID, epoch: res.ProducerEpoch})
		p.ready = true
	}
	p.outbox.sort(messages)
	produced, err := p.outbox.send(ctx, messages)
	if err != nil {
		p.ready = false
		return nil, err
	}
	return produced, nil
}
