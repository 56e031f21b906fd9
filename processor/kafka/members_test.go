package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/stream"
)

// introducing is a fast group's member that says where it can be asked.
func introducing(instance string, held ...kafka.Held) kafka.GroupConfig {
	cfg := fastGroup()
	cfg.Instance, cfg.Address = instance, "http://"+instance+":8080"
	cfg.Held = func() []kafka.Held { return held }
	return cfg
}

// members waits until so many members are in a stable group, by instance.
func members(t *testing.T, c *kafka.Client, n int) map[string]kafka.Member {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for {
		all, err := c.Members(context.Background(), "g", "t")
		must(t, err)
		if len(all) == n {
			by := map[string]kafka.Member{}
			for _, m := range all {
				by[m.Instance] = m
			}
			return by
		}
		if time.Now().After(end) {
			t.Fatalf("not %d members: %+v", n, all)
		}
		wait(t, 10*time.Millisecond)
	}
}

// Members know of each other where they can be asked, and partitions go to where
// their images are.
func TestMembersIntroduceThemselves(t *testing.T) {
	b, c := fourPartitions(t)
	if none, err := c.Members(context.Background(), "g", "t"); err != nil || len(none) != 0 {
		t.Errorf("a group that is not: %v, %v", none, err)
	}
	first := join(t, c, introducing("a"))
	first.next(t, 4)
	join(t, newClient(t, b.Addrs()...), introducing("b", kafka.Held{Partition: 0, Transaction: 7}, kafka.Held{Partition: 3, Transaction: 9})).next(t, 2)
	by := members(t, c, 2)
	if a := by["a"]; a.Address != "http://a:8080" || !slices.Equal(a.Partitions, []int32{1, 2}) || len(a.Owned) != 4 || a.ID == "" {
		t.Errorf("%+v", a)
	}
	if b := by["b"]; !slices.Equal(b.Partitions, []int32{0, 3}) {
		t.Errorf("%+v", b)
	}
	if b.Real() {
		return
	}
	hooks(b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeGroups}, Err: kerr.GroupAuthorizationFailed, Count: 1})
	if _, err := c.Members(context.Background(), "g", "t"); err == nil {
		t.Error("a refusal is no error")
	}
}

// While a member of an older version is there, which knows range only, the group
// uses that, and the others can be asked all the same.
func TestOlderMembersAreJoined(t *testing.T) {
	b, c := fourPartitions(t)
	first := join(t, c, introducing("a"))
	first.next(t, 4)
	older, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{ID: "g", Brokers: b.Addrs(), Topics: []string{"t"},
		GroupBalancers: []kafkago.GroupBalancer{kafkago.RangeGroupBalancer{}}, HeartbeatInterval: 20 * time.Millisecond, SessionTimeout: 2 * time.Second})
	must(t, err)
	gen, err := older.Next(t.Context())
	must(t, err)
	if n := len(gen.Assignments["t"]); n != 2 {
		t.Errorf("the older member has %d partitions", n)
	}
	if a := members(t, c, 2)["a"]; a.Address != "http://a:8080" || len(a.Partitions) != 2 {
		t.Errorf("%+v", a)
	}
	must(t, older.Close())
	first.next(t, 4)
}

// Only a member of the present generation is told that it is one.
func TestCheckMember(t *testing.T) {
	_, c := fourPartitions(t)
	m := join(t, c, fastGroup())
	g := m.next(t, 4)
	must(t, c.CheckMember(context.Background(), g.Member("g")))
	older, stranger := g, g
	older.ID--
	stranger.MemberID = "somebody"
	for name, other := range map[string]kafka.Generation{"an older generation": older, "a stranger": stranger} {
		if err := c.CheckMember(context.Background(), other.Member("g")); !errors.Is(err, stream.ErrFenced) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m.stop()
	must(t, <-m.done)
	if err := c.CheckMember(context.Background(), g.Member("g")); !errors.Is(err, stream.ErrFenced) {
		t.Errorf("one that has left: %v", err)
	}
}

// With several brokers, each group's coordinator is the one that is asked.
func TestMembersOnACluster(t *testing.T) {
	cluster := kafkatest.Options{Nodes: 2, Heap: "384m"}.StartCluster(t)
	c := newClient(t, cluster.Nodes[0].Addr)
	createTopic(t, c, kafka.NewTopic{Name: "t", Partitions: 4})
	for i := range 6 { // about half of their coordinators are on either node
		cfg := introducing("a")
		cfg.Group = fmt.Sprint("g", i)
		m := join(t, c, cfg)
		g := m.next(t, 4)
		must(t, c.CheckMember(t.Context(), g.Member(cfg.Group)))
		g.ID--
		if err := c.CheckMember(t.Context(), g.Member(cfg.Group)); !errors.Is(err, stream.ErrFenced) {
			t.Errorf("%s: a generation that is over: %v", cfg.Group, err)
		}
		all, err := c.Members(t.Context(), cfg.Group, "t")
		if err != nil || len(all) != 1 || all[0].Address != cfg.Address || len(all[0].Partitions) != 4 {
			t.Errorf("%s: %+v, %v", cfg.Group, all, err)
		}
		m.stop()
		must(t, <-m.done)
	}
}
