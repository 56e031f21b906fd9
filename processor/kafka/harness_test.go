package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/segmentd/segmentd/processor/embedded"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startBroker runs a broker in memory that refuses what Kafka 4.0 would refuse.
func startBroker(t testing.TB) *embedded.Broker {
	t.Helper()
	b, err := embedded.Start(embedded.Config{Kafka4Only: true, MinSessionTimeout: time.Second, Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func newClient(t testing.TB, brokers ...string) *kafka.Client {
	t.Helper()
	return newClientWith(t, kafka.Config{Brokers: brokers})
}

func newClientWith(t testing.TB, cfg kafka.Config) *kafka.Client {
	t.Helper()
	c, err := kafka.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// cluster is a broker with topics of one partition, and a client of it.
func cluster(t testing.TB, topics ...string) (*embedded.Broker, *kafka.Client) {
	t.Helper()
	b := startBroker(t)
	for _, topic := range topics {
		if err := b.Cluster().CreateTopic(topic, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	return b, newClient(t, b.Addr())
}

func newTransactor(t testing.TB, c *kafka.Client, id string) *kafka.Transactor {
	t.Helper()
	tx := c.NewTransactor(kafka.TransactorConfig{TransactionalID: id})
	if err := tx.Init(context.Background()); err != nil {
		t.Fatal(err)
	}
	return tx
}

// messages to partition 0 with the values prefix0, prefix1, …
func messages(topic, prefix string, n int) []stream.Message {
	all := make([]stream.Message, n)
	for i := range all {
		all[i] = stream.Message{Topic: topic, Key: []byte("key"), Value: fmt.Appendf(nil, "%s%d", prefix, i), Timestamp: 1_700_000_000_000_000}
	}
	return all
}

// readAll returns the values of partition 0 from its start up to the last stable offset.
func readAll(t testing.TB, c *kafka.Client, topic string) (values []string) {
	t.Helper()
	var buf stream.Buffer
	at, err := c.Watermarks(context.Background(), topic, 1)
	must(t, err)
	for pos := (stream.Position{Topic: topic, Offset: at[0].Start}); ; {
		f := fetchOne(t, c, pos, &buf)
		for _, r := range f.Records {
			values = append(values, string(r.Value))
		}
		if f.Next == pos.Offset && f.Next >= f.LastStable {
			return values
		}
		pos.Offset = f.Next
	}
}

func fetchOne(t testing.TB, c *kafka.Client, pos stream.Position, buf *stream.Buffer) stream.Fetched {
	t.Helper()
	all, err := c.Fetch(context.Background(), []stream.Position{pos}, stream.FetchOptions{}, buf)
	if err != nil {
		t.Fatal(err)
	}
	if all[0].Err != nil {
		t.Fatal(all[0].Err)
	}
	return all[0]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startLarge runs a broker that takes batches of 8 MB.
func startLarge(t testing.TB) (addr string, err error) {
	b, err := embedded.Start(embedded.Config{MaxMessageBytes: 8 << 20})
	if err != nil {
		return "", err
	}
	t.Cleanup(func() { _ = b.Close() })
	return b.Addr(), b.Cluster().CreateTopic("t", 1, nil)
}

// wait paces a loop that asks for something until it is so.
func wait(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
