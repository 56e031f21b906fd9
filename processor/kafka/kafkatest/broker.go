// Package kafkatest gives tests a broker: the embedded one, or a real Apache
// Kafka, so that one suite runs on both (make test-kafka). For tests only.
//
// The real one is that of SEGMENTD_TEST_BROKERS (host:port,…), or one that this
// package starts from the jars in the directory SEGMENTD_TEST_KAFKA. It should
// be the tests' own: they create topics and groups by fixed names, and delete
// after each test what was not there before it. It must allow consumer groups of
// a second's session timeout (group.min.session.timeout.ms) and keep records of
// any age (log.retention.ms=-1).
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmentd/segmentd/processor/embedded"
)

// Broker is a broker for one test.
type Broker struct {
	t        testing.TB
	brokers  []string
	embedded *embedded.Broker // nil: a real one
	cfg      embedded.Config
	node     *Node // that Down stops; nil: none
}

// Start returns the real broker, where there is one, else it starts an embedded
// one. It is clean, and closed or cleaned when the test ends.
func Start(t testing.TB, cfg embedded.Config) *Broker {
	t.Helper()
	if brokers := Real(t); len(brokers) > 0 {
		return &Broker{t: t, brokers: brokers}
	}
	b := &Broker{t: t, cfg: cfg}
	b.startEmbedded()
	return b
}

// StartOwn is Start for tests that take the broker away and bring it back, which
// nobody else may use: a real one is started for the test alone.
func StartOwn(t testing.TB, cfg embedded.Config) *Broker {
	t.Helper()
	real, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	if len(real.brokers) > 0 {
		c := Options{}.StartCluster(t)
		return &Broker{t: t, brokers: c.Brokers(), node: c.Nodes[0]}
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	b := &Broker{t: t, cfg: cfg}
	b.startEmbedded()
	return b
}

func (b *Broker) startEmbedded() {
	b.t.Helper()
	e, err := embedded.Start(b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = e.Close() })
	b.brokers, b.embedded, b.cfg.Listen = []string{e.Addr()}, e, e.Addr()
}

// Down takes a broker of StartOwn away.
func (b *Broker) Down() {
	b.t.Helper()
	if b.node != nil {
		b.node.Stop()
	} else if err := b.embedded.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// Up brings a broker back, on its address, with what it held.
func (b *Broker) Up() {
	b.t.Helper()
	if b.node == nil {
		b.startEmbedded()
	} else if err := b.node.Start(); err != nil {
		b.t.Fatal(err)
	}
}

// Addrs are host:port of the nodes.
func (b *Broker) Addrs() []string { return b.brokers }

// Real reports whether this is a real Kafka.
func (b *Broker) Real() bool { return b.embedded == nil }

// Embedded returns the embedded broker, for what only its hooks can do. On a
// real one the test is skipped.
func (b *Broker) Embedded() *embedded.Broker {
	b.t.Helper()
	if b.embedded == nil {
		b.t.Skip("needs the embedded broker's hooks")
	}
	return b.embedded
}

// Real returns the addresses of the real broker, nil where the tests run on
// embedded ones only. The topics and groups that the test makes are deleted when
// it ends.
func Real(t testing.TB) []string {
	t.Helper()
	real, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	if len(real.brokers) > 0 {
		(&Broker{t: t, brokers: real.brokers}).cleanUp()
	}
	return real.brokers
}

// Jars returns the directory of Kafka's jars, for tests that need a cluster of
// their own. Without it the test is skipped.
func Jars(t testing.TB) string {
	t.Helper()
	jars := os.Getenv("SEGMENTD_TEST_KAFKA")
	if jars == "" {
		t.Skip("needs Apache Kafka's jars: make test-kafka")
	}
	return jars
}

// StartCluster starts a cluster of the test's own, and closes it when the test ends.
func (o Options) StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c, err := StartCluster(t.Context(), Jars(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// backend is where the real broker is.
type backend struct {
	brokers []string
	cluster *Cluster // of ours, which must stay in reach: its pipes keep it alive
}

// shared is the real broker of all tests of the process, if there is one. It
// ends with the process.
var shared = sync.OnceValues(func() (backend, error) {
	if brokers := os.Getenv("SEGMENTD_TEST_BROKERS"); brokers != "" {
		return backend{brokers: strings.Split(brokers, ",")}, nil
	}
	jars := os.Getenv("SEGMENTD_TEST_KAFKA")
	if jars == "" {
		return backend{}, nil
	}
	c, err := StartCluster(context.Background(), jars, Options{Ephemeral: true,
		Listeners: map[string]string{delayedListener: "PLAINTEXT"}, Advertised: map[string]string{delayedListener: delayedHost}})
	if err != nil {
		return backend{}, fmt.Errorf("start Apache Kafka from %s: %w", jars, err)
	}
	return backend{c.Brokers(), c}, nil
})

// cleanUp deletes, when the test ends, the topics and groups that it made.
func (b *Broker) cleanUp() {
	b.t.Helper()
	before, err := b.inventory()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		after, err := b.inventory()
		if err == nil {
			err = b.delete(after.without(before))
		}
		if err != nil {
			b.t.Error("clean up after the test:", err)
		}
	})
}

// inventory is what a broker holds.
type inventory struct{ topics, groups []string }

func (i inventory) without(o inventory) inventory {
	return inventory{topics: without(i.topics, o.topics), groups: without(i.groups, o.groups)}
}

func without(all, some []string) (rest []string) {
	known := map[string]bool{}
	for _, s := range some {
		known[s] = true
	}
	for _, s := range all {
		if !known[s] {
			rest = append(rest, s)
		}
	}
	return rest
}

// admin is a client for the work around a test, bounded in time.
func (b *Broker) admin(fn func(context.Context, *kadm.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := kadm.NewOptClient(kgo.SeedBrokers(b.brokers...))
	if err != nil {
		return err
	}
	defer c.Close()
	return fn(ctx, c)
}

// must runs fn with a client of the broker's administration.
func (b *Broker) must(fn func(context.Context, *kadm.Client) error) {
	b.t.Helper()
	if err := b.admin(fn); err != nil {
		b.t.Fatal(err)
	}
}

// DeleteTopic deletes a topic.
func (b *Broker) DeleteTopic(topic string) {
	b.t.Helper()
	b.must(func(ctx context.Context, c *kadm.Client) error {
		_, err := c.DeleteTopic(ctx, topic)
		return err
	})
}

// CreateTopic creates a topic without replicas.
func (b *Broker) CreateTopic(topic string, partitions int32) {
	b.t.Helper()
	b.must(func(ctx context.Context, c *kadm.Client) error {
		_, err := c.CreateTopic(ctx, partitions, 1, nil, topic)
		return err
	})
}

// DeleteRecords deletes the records of a partition before an offset. Of a topic that
// is only compacted a real Kafka does so once its cleanup.policy is delete too.
func (b *Broker) DeleteRecords(topic string, partition int32, before int64) {
	b.t.Helper()
	b.must(func(ctx context.Context, c *kadm.Client) error {
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before})
		policy := "compact,delete"
		for {
			res, err := c.DeleteRecords(ctx, offsets)
			if err != nil || !errors.Is(res.Error(), kerr.PolicyViolation) {
				return errors.Join(err, res.Error())
			}
			_, err = c.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "cleanup.policy", Value: &policy}}, topic)
			if err := errors.Join(err, pause(ctx)); err != nil {
				return err
			}
		}
	})
}

func (b *Broker) inventory() (i inventory, err error) {
	err = b.admin(func(ctx context.Context, c *kadm.Client) error {
		topics, err := c.ListTopics(ctx)
		if err != nil {
			return err
		}
		i.topics = topics.Names()
		groups, err := c.ListGroups(ctx)
		i.groups = groups.Groups()
		return err
	})
	return i, err
}

// delete deletes topics and groups, and waits until the topics are gone. A group may hold a member yet that was
// killed, until its session ends: such are tried again.
func (b *Broker) delete(i inventory) error {
	return b.admin(func(ctx context.Context, c *kadm.Client) error {
		if len(i.topics) > 0 {
			if _, err := c.DeleteTopics(ctx, i.topics...); err != nil {
				return err
			}
			if err := awaitAbsence(ctx, c, i.topics); err != nil {
				return err
			}
		}
		for _, group := range i.groups {
			if err := deleteGroup(ctx, c, group); err != nil {
				return err
			}
		}
		return nil
	})
}

func awaitAbsence(ctx context.Context, c *kadm.Client, topics []string) error {
	for {
		left, err := c.ListTopics(ctx)
		if err != nil || !slices.ContainsFunc(topics, left.Has) {
			return err
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("delete topics %q: %w", topics, err)
		}
	}
}

func deleteGroup(ctx context.Context, c *kadm.Client, group string) error {
	for {
		_, err := c.DeleteGroup(ctx, group)
		if !errors.Is(err, kerr.NonEmptyGroup) {
			return ignore(err, kerr.GroupIDNotFound)
		}
		if pause(ctx) != nil {
			return fmt.Errorf("delete group %s: %w", group, err)
		}
	}
}

// pause paces a loop that asks until something is so.
func pause(ctx context.Context) error {
	select {
	case <-time.After(100 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func ignore(err, ignored error) error {
	if errors.Is(err, ignored) {
		return nil
	}
	return err
}
