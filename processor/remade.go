package processor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/segmentd/segmentd/processor/stream"
)

// Offsets do not tell a topic that was deleted and made anew from the one that
// was read: once it has grown past the position, what it holds before would be
// skipped. Its id does. A checkpoint has the ids of the topics that its positions
// are of; each recovery compares them, and while a partition runs so does a
// watch, for all of them together.

// watchTopics looks at the inputs' topics, and that of the rules, now and then until
// ctx ends; what it sees each partition compares with what it reads.
func (p *Processor) watchTopics(ctx context.Context) {
	topics := []string{p.topics.Rules()}
	for _, in := range p.cfg.Inputs {
		topics = append(topics, in.Topic)
	}
	for sleep(ctx, p.cfg.topicWatch) == nil {
		if p.deps.TopicIDs == nil {
			continue
		}
		ids, err := p.deps.TopicIDs(ctx, topics...)
		if err != nil {
			continue // partitions say more of a broker that is away
		}
		p.book.isTopic(ids[p.topics.Rules()])
		if seen := p.watched.Load(); seen == nil || !maps.Equal(*seen, ids) {
			p.watched.Store(&ids)
		}
	}
}

// sameTopics asks for the recovery path once the watch has seen another topic
// under the name of an input. It costs nothing while there is nothing new.
func (p *partition) sameTopics() error {
	seen := p.watched.Load()
	if seen == p.compared {
		return nil
	}
	p.compared = seen
	for topic, id := range *seen {
		if isAnother(p.topicIDs[topic], id) {
			return fmt.Errorf("%w: %s seems to have been deleted and made anew", errRecover, topic)
		}
	}
	return nil
}

// isAnother reports whether two ids are of two topics; "" is not known.
func isAnother(held, now string) bool { return held != "" && now != "" && held != now }

// knowInputs compares the inputs' topics with those that the checkpoint's
// positions are of. One that was made anew is read from its start, where that may
// be (overtaken); of others it notes the ids that are not known yet.
func (p *partition) knowInputs(ctx context.Context) error {
	if p.deps.TopicIDs == nil {
		return nil
	}
	ids, err := p.inputIDs(ctx)
	if err != nil {
		return err
	}
	known := map[string]string{}                          // those of inputs that were dropped are forgotten
	for _, in := range slices.Concat(p.words, p.events) { // what stops the partition first
		now, exists := ids[in.Topic]
		held := p.topicIDs[in.Topic]
		if !exists && held != "" {
			return fmt.Errorf("%w: %s: %w", errInputMissing, in.Topic, stream.ErrUnknownTopic)
		}
		if isAnother(held, now) && !in.fresh && in.position > 0 {
			if err := p.readAnew(ctx, in, now); err != nil {
				return err
			}
		}
		if id := cmp.Or(now, held); id != "" {
			known[in.Topic] = id
		}
	}
	p.topicIDs = known
	return nil
}

// inputIDs asks for the ids of the inputs' topics; of one that is another it asks
// once more a little later, as a broker may lag behind.
func (p *partition) inputIDs(ctx context.Context) (ids map[string]string, err error) {
	var topics []string
	for _, in := range p.inputs() {
		topics = append(topics, in.Topic)
	}
	for again := false; ; again = true {
		if ids, err = p.deps.TopicIDs(ctx, topics...); err != nil {
			return nil, err
		}
		another := slices.ContainsFunc(topics, func(topic string) bool { return isAnother(p.topicIDs[topic], ids[topic]) })
		if !another || again {
			return ids, nil
		}
		if err := sleep(ctx, p.cfg.staleMetadata); err != nil {
			return nil, err
		}
	}
}

// readAnew puts the position on an input that was made anew to its start.
func (p *partition) readAnew(ctx context.Context, in *input, id string) error {
	start, _, err := p.deps.Bounds(ctx, in.Topic, p.id)
	if err != nil {
		return fmt.Errorf("offsets of %s: %w", in.Topic, err)
	}
	if err := p.overtaken(ctx, in, Gap{Topic: in.Topic, Partition: p.id, From: in.position, To: start, Anew: id}); err != nil {
		return err
	}
	in.position = start
	if c := p.change; c != nil {
		c.readAnew(in.Topic, start)
	}
	return nil
}

// readAnew forgets how far a topic was read again: decisions of the old one need
// not be, events of the new one follow live reading.
func (c *change) readAnew(topic string, start int64) {
	if _, ok := c.reread[topic]; ok {
		c.reread[topic] = span{start, start, start}
	}
	if _, ok := c.again[topic]; ok {
		c.again[topic] = span{next: start}
	}
	for _, in := range slices.Concat(c.decisions, c.events) {
		if in.Topic == topic {
			in.position, in.fresh = start, false
		}
	}
}

// stillThatTopic asks for the recovery path where an input is another topic than
// the one that was read.
func (p *partition) stillThatTopic(ctx context.Context, in *input) error {
	if p.deps.TopicIDs == nil || p.topicIDs[in.Topic] == "" {
		return nil
	}
	for again := range 2 {
		if again > 0 {
			if err := sleep(ctx, p.cfg.staleMetadata); err != nil {
				return err
			}
		}
		ids, err := p.deps.TopicIDs(ctx, in.Topic)
		if err != nil {
			return err
		}
		if isAnother(p.topicIDs[in.Topic], ids[in.Topic]) {
			return fmt.Errorf("%w: %s was deleted and made anew", errRecover, in.Topic)
		}
	}
	return nil
}
