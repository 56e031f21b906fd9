package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestCrashOfAMissingInput deletes the topic whose partitions the group shares,
// before anything of it was read: the processor waits, says what for, and goes on
// once it is back. Once it has read of it, it says that events are lost, too.
func TestCrashOfAMissingInput(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	c := newCrash(t)
	c.startBroker()
	c.createInputs()
	p := c.startProcessor()
	c.serves("/readyz?verbose", "partition 0: ready")
	generations := func() int { return strings.Count(p.log.String(), "generation begins") }
	before := generations()
	c.remove("events")
	c.serves("/readyz", "not ready: missing input topics: events")
	time.Sleep(3 * time.Second) // what must not happen in this time
	if n := generations() - before; n > 3 {
		t.Errorf("%d generations in 3 s without the topic", n)
	}
	if n := strings.Count(p.log.String(), "an input topic is missing, and all"); n != 1 {
		t.Errorf("the log says %d times that a topic is missing:\n%s", n, p.log.String())
	}
	c.makeAnew("events")
	c.serves("/readyz?verbose", "partition 0: ready")

	c.produce(c.history(30))
	c.awaitEnd()
	c.remove("events")
	c.serves("/readyz", "not ready: missing input topics: events")
	c.makeAnew("events")
	c.serves("/readyz?verbose", "partition 0: ready")
	c.until("it is said that events are lost", func() bool {
		return strings.Contains(p.log.String(), "an event topic was deleted and made anew: events are lost")
	})
}

// remove deletes a topic.
func (c *crash) remove(topic string) {
	c.t.Helper()
	c.admin(func(ctx context.Context, admin *kadm.Client) error {
		_, err := admin.DeleteTopic(ctx, topic)
		return err
	})
}

// makeAnew creates a topic once more; a broker may still be deleting it.
func (c *crash) makeAnew(topic string) {
	c.t.Helper()
	c.until(topic+" is made anew", func() (made bool) {
		c.admin(func(ctx context.Context, admin *kadm.Client) error {
			_, err := admin.CreateTopic(ctx, crashPartitions, 1, nil, topic)
			made = err == nil
			return nil
		})
		return made
	})
}
