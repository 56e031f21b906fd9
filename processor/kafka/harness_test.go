package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/segmentd/segmentd/processor/embedded"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startBroker returns the real broker, or an embedded one in memory that refuses
// what Kafka 4.0 would refuse.
func startBroker(t testing.TB) *kafkatest.Broker {
	t.Helper()
	return kafkatest.Start(t, embedded.Config{Kafka4Only: true, MinSessionTimeout: time.Second, Partitions: 4})
}

// hooks returns the embedded broker's, which the test needs.
func hooks(b *kafkatest.Broker) *kfake.Cluster { return b.Embedded().Cluster() }

// createTopic creates a topic and waits for it.
func createTopic(t testing.TB, c *kafka.Client, topic kafka.NewTopic) {
	t.Helper()
	topic.ReplicationFactor = 1
	_, err := c.CreateTopics(t.Context(), []kafka.NewTopic{topic})
	must(t, err)
	must(t, c.WaitTopics(t.Context(), topic.Name))
	eventually(t, "the leaders of "+topic.Name+" know of it", func() bool {
		_, err := c.Watermarks(t.Context(), topic.Name, topic.Partitions)
		return err == nil
	})
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
func cluster(t testing.TB, topics ...string) (*kafkatest.Broker, *kafka.Client) {
	t.Helper()
	b := startBroker(t)
	c := newClient(t, b.Addrs()...)
	for _, topic := range topics {
		createTopic(t, c, kafka.NewTopic{Name: topic, Partitions: 1})
	}
	return b, c
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

// settle waits until no transaction is open on partition 0: a broker answers
// EndTxn before the end is on the partitions.
func settle(t testing.TB, c *kafka.Client, topic string) {
	t.Helper()
	eventually(t, "the transaction ends on "+topic, func() bool {
		at, err := c.Watermarks(context.Background(), topic, 1)
		must(t, err)
		return at[0].LastStable == at[0].End
	})
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); wait(t, 5*time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within ten seconds: %s", what)
		}
	}
}

// readAll returns the values of partition 0, on which no transaction is open.
func readAll(t testing.TB, c *kafka.Client, topic string) (values []string) {
	t.Helper()
	settle(t, c, topic)
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

// wait paces a loop that asks for something until it is so.
func wait(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
