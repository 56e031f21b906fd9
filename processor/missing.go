package processor

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
)

// watchTopics tells, each time messages have waited for another Config.patience
// and until it is stopped, which of their topics do not exist. The producer waits
// for those for as long as the partition is ours, since a topic may be young.
func (p *partition) watchTopics(ctx context.Context, messages []stream.Message) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	timer := time.AfterFunc(p.cfg.patience, func() {
		defer close(done)
		for ctx.Err() == nil {
			p.tellMissing(ctx, messages)
			_ = sleep(ctx, p.cfg.patience) // until ctx ends
		}
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-done
		}
	}
}

// tellMissing logs those of the messages' topics that do not exist.
func (p *partition) tellMissing(ctx context.Context, messages []stream.Message) {
	var topics []string
	for i := range messages {
		if !slices.Contains(topics, messages[i].Topic) {
			topics = append(topics, messages[i].Topic)
		}
	}
	for _, topic := range topics {
		if _, _, err := p.deps.Bounds(ctx, topic, p.id); errors.Is(err, stream.ErrUnknownTopic) {
			p.log.Error("a topic is missing, and the partition waits for it: make it again, with the group's number of partitions "+
				"('segmentd topics --create', with the former rules where only they name it)", "topic", topic, "partitions", p.cfg.Partitions)
		}
	}
}
