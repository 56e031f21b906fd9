package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Partitions added to a topic while the processor runs end it with a message that
// says what to do, and keep it from starting: keys belong to other partitions than
// what is kept of them, and readers look elsewhere. Nothing of the new partition was
// processed.
func TestCrashOfAddedPartitions(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	c := newCrash(t)
	c.startBroker()
	c.createInputs()
	c.decide("given")
	for topic, why := range map[string]string{"-rejected": "-rejected has 4 partitions now, and had 3 at the start", "-members": "-members has 4 partitions now", "-rules": "-rules has 2 partitions and must have 1"} {
		p := c.startProcessor()
		c.serves("/readyz?verbose", "partition 0: ready")
		c.addPartition(crashGroup + topic)
		p.ends(2, why)
		c.startProcessor().ends(2, crashGroup+topic)
		c.remove(crashGroup + topic) // none of these holds anything that could not be lost here
	}
	p := c.startProcessor()
	c.serves("/readyz?verbose", "partition 0: ready")
	c.addPartition("decisions")
	p.ends(2, "decisions has 4 partitions now, and had 3 at the start")
	c.startProcessor().ends(2, "decisions")
	c.verifies()
}

// addPartition adds one to a topic.
func (c *crash) addPartition(topic string) {
	c.t.Helper()
	c.admin(func(ctx context.Context, admin *kadm.Client) error {
		res, err := admin.CreatePartitions(ctx, 1, topic)
		if err == nil {
			err = res.Error()
		}
		return err
	})
}

// admin does something to the broker.
func (c *crash) admin(do func(context.Context, *kadm.Client) error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(strings.Split(c.broker, ",")...))
	c.must(err)
	defer admin.Close()
	c.must(do(ctx, admin))
}

// ends waits until the process ends by itself, with an exit status, and its last
// words say why.
func (p *process) ends(status int, why string) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		p.t.Fatalf("it does not end\n%s", p.log.String())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status || !strings.Contains(p.log.String(), why) {
		p.t.Fatalf("the exit status is %d (%v), want %d and %q\n%s", got, p.err, status, why, p.log.String())
	}
}
