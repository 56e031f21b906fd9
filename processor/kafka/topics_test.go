package kafka_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
)

func TestTopics(t *testing.T) {
	b := startBroker(t)
	// With the metadata of one topic only; creating others must not hang on it.
	c := newClientWith(t, kafka.Config{Brokers: b.Addrs(), Topics: []string{"events"}})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	created, err := c.CreateTopics(ctx, []kafka.NewTopic{
		{Name: "events", Partitions: 3, ReplicationFactor: -1, Configs: map[string]string{"cleanup.policy": "delete", "retention.ms": "123"}},
		{Name: "other", Partitions: -1, ReplicationFactor: -1},
	})
	must(t, err)
	if diff := cmp.Diff([]string{"events", "other"}, created); diff != "" {
		t.Error(diff)
	}
	must(t, c.WaitTopics(ctx, "events"))
	topics, err := c.Topics(ctx, "events", "other", "none")
	must(t, err)
	want := map[string]kafka.Topic{"events": {Name: "events", Partitions: 3, ReplicationFactor: 1}, "other": {Name: "other", Partitions: topics["other"].Partitions, ReplicationFactor: 1}}
	if diff := cmp.Diff(want, topics); diff != "" {
		t.Error(diff)
	}
	if all, err := c.Topics(ctx); err != nil || len(all) != 2 {
		t.Error(all, err)
	}
	cfg, err := c.Configs(ctx, "events")
	if err != nil || cfg["retention.ms"] != "123" || cfg["cleanup.policy"] != "delete" {
		t.Error(cfg, err)
	}
	if _, err := c.Configs(ctx, "none"); !errors.Is(err, stream.ErrUnknownTopic) {
		t.Error(err)
	}
	hooks(b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "refused", Err: kerr.PolicyViolation})
	created, err = c.CreateTopics(ctx, []kafka.NewTopic{{Name: "events", Partitions: 3, ReplicationFactor: -1}, {Name: "refused", Partitions: 1, ReplicationFactor: -1}})
	if len(created) != 0 || !errors.Is(err, stream.ErrFatal) {
		t.Error(created, err)
	}
}

func TestWaitTopicsEndsWithItsContext(t *testing.T) {
	_, c := cluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := c.WaitTopics(ctx, "none"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestWatermarks(t *testing.T) {
	b, c := cluster(t, "t")
	ctx := context.Background()
	p := c.NewProducer(kafka.ProducerConfig{})
	for i := range 4 {
		_, err := p.Send(ctx, []stream.Message{{Topic: "t", Value: []byte("v"), Timestamp: 1_700_000_000_000_000 + 1e6*1}, {Topic: "t", Timestamp: 1_700_000_000_000_000 + 1e9*1}}[i%2:])
		must(t, err)
	}
	tx := newTransactor(t, c, "tx")
	_, err := tx.Produce(ctx, messages("t", "open", 2))
	must(t, err)
	b.DeleteRecords("t", 0, 1)
	got, err := c.Watermarks(ctx, "t", 1)
	must(t, err)
	if diff := cmp.Diff([]kafka.Watermarks{{Start: 1, LastStable: 6, End: 8}}, got); diff != "" {
		t.Error(diff)
	}
	at, err := c.OffsetsAt(ctx, "t", 1, time.UnixMicro(1_700_000_000_000_000+1e12))
	if err != nil || at[0] != 8 {
		t.Errorf("after the last: %v, %v", at, err)
	}
	at, err = c.OffsetsAt(ctx, "t", 1, time.UnixMicro(1_700_000_000_000_000+1e7))
	if err != nil || at[0] != 1 {
		t.Errorf("in between: %v, %v", at, err)
	}
	if _, err := c.Watermarks(ctx, "none", 1); err == nil {
		t.Error("a topic that is not there has watermarks")
	}
}

func TestGroupOffsets(t *testing.T) {
	_, c := cluster(t, "t")
	ctx := context.Background()
	must(t, c.SetGroupOffsets(ctx, stream.GroupMember{Group: "g", Generation: -1}, []stream.Position{{Topic: "t", Offset: 5}}))
	if got, err := c.GroupOffsets(ctx, "g", "t", 1); err != nil || got[0] != 5 {
		t.Error(got, err)
	}
	if got, err := c.GroupOffsets(ctx, "unknown", "t", 1); err != nil || got[0] != -1 {
		t.Error(got, err)
	}
}
