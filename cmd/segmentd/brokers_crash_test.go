package main

import (
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
)

// TestCrashOfBrokers takes the nodes of a real Kafka of three away at random,
// in order (SIGTERM) or not (SIGKILL), one or two at a time, and brings them
// back, while the processor works off a backlog: leaders and coordinators move,
// and with two away nothing can be written. The processor must outlive all of
// it, and what it published in the end is what a replay says.
// SEGMENTD_CRASH_KILLS sets how often, SEGMENTD_CRASH_SEED repeats the choices.
func TestCrashOfBrokers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	cluster := kafkatest.Options{Nodes: 3, Heap: "512m", Properties: map[string]string{
		"default.replication.factor": "3", "min.insync.replicas": "2", "transaction.state.log.min.isr": "2",
		"replica.lag.time.max.ms": "5000", "broker.session.timeout.ms": "3000",
	}}.StartCluster(t)
	c := newCrashOn(t, cluster.Brokers())
	c.startBroker()
	history := c.history(numberFrom(t, "SEGMENTD_CRASH_RECORDS", 20_000))
	c.createInputs()
	c.produce(history)
	c.write("c.yaml", c.config("{linger: 4s, batch_bytes: 64KiB}")) // two minutes of work
	p := c.startProcessor()
	atWork := 0
	kills := numberFrom(t, "SEGMENTD_CRASH_KILLS", 6)
	for range kills {
		c.alive(p, time.Duration(c.rng.Int64N(int64(2*time.Second))))
		if c.lag() > 0 {
			atWork++
		}
		away := c.rng.Perm(3)[:1+c.rng.IntN(2)]
		for _, i := range away {
			if c.rng.IntN(2) == 0 {
				cluster.Nodes[i].Kill()
			} else {
				cluster.Nodes[i].Stop()
			}
		}
		c.alive(p, time.Duration(c.rng.Int64N(int64(4*time.Second))))
		for _, i := range away {
			c.must(cluster.Nodes[i].Start())
		}
		c.must(cluster.Wait(t.Context()))
	}
	c.awaitEnd()
	p.stops(0)
	t.Logf("%d of %d times it was at work, partitions recovered %d times", atWork, kills, strings.Count(p.log.String(), "partition recovers"))
	if atWork == 0 {
		t.Error("the processor was never at work")
	}
	c.compare(history)
	c.verifies()
}

// lag is how many records there are to be read, as far as the processor knows.
func (c *crash) lag() (n float64) {
	body, err := get("http://" + c.http + "/metrics")
	if err != nil { // it has just begun
		return 0
	}
	for _, lag := range series(body, "segmentd_input_lag_records") {
		n += lag
	}
	return n
}

// alive waits, and sees that the processor has not ended.
func (c *crash) alive(p *process, d time.Duration) {
	c.t.Helper()
	select {
	case <-time.After(d):
	case <-p.ended:
		c.t.Fatalf("the processor ended by itself: %v\n%s", p.err, p.log.String())
	}
}
