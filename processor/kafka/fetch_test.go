package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmentd/segmentd/processor/embedded"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/stream"
)

func newFranz(t testing.TB, b *kafkatest.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	k, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func TestFetchReadsWhatOtherClientsCompress(t *testing.T) {
	b, c := cluster(t, "t")
	value := bytes.Repeat([]byte("value "), 200)
	for i, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		k := newFranz(t, b, kgo.ProducerBatchCompression(codec))
		r := &kgo.Record{Topic: "t", Key: fmt.Append(nil, i), Value: value, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}}, Timestamp: time.UnixMilli(1_700_000_000_000)}
		must(t, k.ProduceSync(context.Background(), r, &kgo.Record{Topic: "t"}).FirstErr())
	}
	w := kafkago.Writer{Addr: kafkago.TCP(b.Addrs()...), Topic: "t", RequiredAcks: kafkago.RequireAll, Compression: kafkago.Snappy, Transport: &kafkago.Transport{}} // with xerial framing
	must(t, w.WriteMessages(context.Background(), kafkago.Message{Value: value}))
	must(t, w.Close())
	w.Transport.(*kafkago.Transport).CloseIdleConnections()

	var buf stream.Buffer
	f := fetchOne(t, c, stream.Position{Topic: "t"}, &buf)
	if len(f.Records) != 11 || f.Next != 11 || f.HighWatermark != 11 || f.LastStable != 11 || f.LogStart != 0 || f.BytesOnTheWire == 0 {
		t.Fatalf("%d records, next %d, high watermark %d", len(f.Records), f.Next, f.HighWatermark)
	}
	for i := range 5 {
		r := f.Records[2*i]
		if r.Offset != int64(2*i) || string(r.Key) != fmt.Sprint(i) || !bytes.Equal(r.Value, value) || r.Timestamp != 1_700_000_000_000_000 ||
			len(r.Headers) != 1 || r.Headers[0].Key != "h" || string(r.Headers[0].Value) != "1" {
			t.Errorf("record %d: %+v", i, r)
		}
		if tombstone := f.Records[2*i+1]; tombstone.Key != nil || tombstone.Value != nil || tombstone.Headers != nil {
			t.Errorf("record %d: %+v", i, tombstone)
		}
	}
}

func TestFetchReturnsOneLargeRecord(t *testing.T) {
	b := kafkatest.Start(t, embedded.Config{MaxMessageBytes: 8 << 20})
	b.CreateTopic("t", 1)
	c := newClient(t, b.Addrs()...)
	k := newFranz(t, b, kgo.ProducerBatchMaxBytes(4<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	must(t, k.ProduceSync(context.Background(), &kgo.Record{Topic: "t", Value: make([]byte, 3<<20)}).FirstErr())
	var buf stream.Buffer
	all, err := c.Fetch(context.Background(), []stream.Position{{Topic: "t"}}, stream.FetchOptions{MaxBytes: 1000}, &buf)
	must(t, err)
	if len(all[0].Records) != 1 || len(all[0].Records[0].Value) != 3<<20 {
		t.Errorf("%d records, %v", len(all[0].Records), all[0].Err)
	}
}

func TestFetchWaits(t *testing.T) {
	_, c := cluster(t, "t")
	var buf stream.Buffer
	at := []stream.Position{{Topic: "t"}}
	start := time.Now()
	if _, err := c.Fetch(context.Background(), at, stream.FetchOptions{MaxWait: 50 * time.Millisecond}, &buf); err != nil || time.Since(start) < 40*time.Millisecond {
		t.Errorf("an empty fetch took %v, %v", time.Since(start), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	start = time.Now()
	if _, err := c.Fetch(ctx, at, stream.FetchOptions{MaxWait: 30 * time.Second}, &buf); !errors.Is(err, context.Canceled) || time.Since(start) > 15*time.Second {
		t.Errorf("a cancelled fetch took %v, %v", time.Since(start), err)
	}
	woken := make(chan stream.Fetched)
	go func() {
		var buf stream.Buffer
		all, _ := c.Fetch(context.Background(), at, stream.FetchOptions{MaxWait: 30 * time.Second}, &buf)
		woken <- all[0]
	}()
	tx := newTransactor(t, c, "tx")
	_, err := tx.Produce(context.Background(), messages("t", "v", 1))
	must(t, err)
	must(t, tx.Commit(context.Background()))
	if f := <-woken; len(f.Records) != 1 {
		t.Errorf("woken with %+v", f)
	}
}

// An open transaction holds the last stable offset back, and no record of it is seen.
func TestFetchSeesCommittedOnly(t *testing.T) {
	_, c := cluster(t, "t")
	ctx := context.Background()
	tx := newTransactor(t, c, "tx")
	_, err := tx.Produce(ctx, messages("t", "v", 3))
	must(t, err)
	var buf stream.Buffer
	if f := fetchOne(t, c, stream.Position{Topic: "t"}, &buf); len(f.Records) != 0 || f.LastStable != 0 || f.HighWatermark != 3 || f.Next != 0 {
		t.Errorf("open: %+v", f)
	}
	must(t, tx.Abort(ctx))
	settle(t, c, "t")
	f := fetchOne(t, c, stream.Position{Topic: "t"}, &buf)
	if f.Next == 3 { // without the mark that follows
		f = fetchOne(t, c, stream.Position{Topic: "t", Offset: f.Next}, &buf)
	}
	if len(f.Records) != 0 || f.LastStable != 4 || f.HighWatermark != 4 || f.Next != 4 {
		t.Errorf("aborted: %+v", f)
	}
}

// Where a fetch ends because its limit is reached, within aborted data, none of
// that is seen.
func TestFetchSeesCommittedOnlyAtItsLimit(t *testing.T) {
	_, c := cluster(t, "t")
	ctx := context.Background()
	tx := newTransactor(t, c, "tx")
	for range 8 {
		_, err := tx.Produce(ctx, messages("t", "aborted", 500))
		must(t, err)
		must(t, tx.Abort(ctx))
		_, err = tx.Produce(ctx, messages("t", "v", 1))
		must(t, err)
		must(t, tx.Commit(ctx))
	}
	var buf stream.Buffer
	seen := 0
	for pos := (stream.Position{Topic: "t"}); ; {
		fetched, err := c.Fetch(ctx, []stream.Position{pos}, stream.FetchOptions{MaxBytes: 2000}, &buf)
		must(t, err)
		f := fetched[0]
		for _, r := range f.Records {
			seen++
			if string(r.Value) != "v0" {
				t.Fatalf("offset %d: %s", r.Offset, r.Value)
			}
		}
		if pos.Offset = f.Next; pos.Offset >= f.HighWatermark {
			break
		}
	}
	if seen != 8 {
		t.Errorf("%d committed records of 8", seen)
	}
}

func TestFetchTellsErrorsApart(t *testing.T) {
	b, c := cluster(t, "t", "cut", "ok")
	tx := newTransactor(t, c, "tx")
	_, err := tx.Produce(context.Background(), slices.Concat(messages("t", "v", 1), messages("ok", "v", 1), messages("cut", "v", 5)))
	must(t, err)
	must(t, tx.Commit(context.Background()))
	settle(t, c, "cut")
	settle(t, c, "ok")
	b.DeleteRecords("cut", 0, 3)
	var buf stream.Buffer
	all, err := c.Fetch(context.Background(), []stream.Position{{Topic: "none"}, {Topic: "cut"}, {Topic: "t", Offset: 99}, {Topic: "t", Partition: 9}, {Topic: "ok"}}, stream.FetchOptions{}, &buf)
	must(t, err)
	for i, want := range []error{stream.ErrUnknownTopic, stream.ErrOffsetOutOfRange, stream.ErrOffsetOutOfRange, stream.ErrUnknownTopic, nil} {
		if !errors.Is(all[i].Err, want) || all[i].Err == nil != (want == nil) {
			t.Errorf("position %d: %v, want %v", i, all[i].Err, want)
		}
	}
	if len(all[4].Records) != 1 {
		t.Errorf("%+v", all)
	}
}

// Three brokers lead the partitions; one fetch asks them all and keeps the order.
func TestFetchFromSeveralLeaders(t *testing.T) {
	k, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(6, "t"))
	must(t, err)
	t.Cleanup(k.Close)
	for p := range int32(6) {
		must(t, k.MoveTopicPartition("t", p, p%3))
	}
	c := newClient(t, k.ListenAddrs()...)
	var msgs []stream.Message
	var at []stream.Position
	for p := range int32(6) {
		msgs = append(msgs, stream.Message{Topic: "t", Partition: 5 - p, Value: fmt.Append(nil, 5-p)})
		at = append(at, stream.Position{Topic: "t", Partition: 5 - p})
	}
	produced, err := c.NewProducer(kafka.ProducerConfig{}).Send(context.Background(), msgs)
	must(t, err)
	if len(produced) != 6 {
		t.Fatal(produced)
	}
	check := func() {
		t.Helper()
		var buf stream.Buffer
		all, err := c.Fetch(context.Background(), at, stream.FetchOptions{}, &buf)
		must(t, err)
		for i, f := range all {
			if f.Partition != int32(5-i) || f.Err != nil || len(f.Records) != 1 || string(f.Records[0].Value) != fmt.Sprint(5-i) {
				t.Fatalf("position %d: %+v", i, f)
			}
		}
	}
	check()
	must(t, k.MoveTopicPartition("t", 3, 1))
	for range 200 { // until the new leader is known; the partition's error is retryable
		var buf stream.Buffer
		all, err := c.Fetch(context.Background(), at[2:3], stream.FetchOptions{MaxWait: 20 * time.Millisecond}, &buf)
		must(t, err)
		if all[0].Err == nil {
			break
		}
		if !errors.Is(all[0].Err, kafkago.NotLeaderForPartition) {
			t.Fatal(all[0].Err)
		}
		wait(t, 20*time.Millisecond)
	}
	check()
}

// A compacted topic has batches without their tail, or without anything.
func TestFetchReadsCompactedTopics(t *testing.T) {
	b := startBroker(t)
	hooks(b) // a real one compacts in its own time
	segment, ratio, always, forever := "1", "0.0", "compact", "-1"
	c := newClient(t, b.Addrs()...)
	createTopic(t, c, kafka.NewTopic{Name: "log", Partitions: 1, Configs: map[string]string{"cleanup.policy": always, "segment.bytes": segment, "min.cleanable.dirty.ratio": ratio, "retention.ms": forever}})
	tx := newTransactor(t, c, "tx")
	for i := range 20 {
		_, err := tx.Produce(context.Background(), messages("log", fmt.Sprintf("v%d-", i), 3))
		must(t, err)
		if i%3 == 0 {
			must(t, tx.Abort(context.Background()))
		} else {
			must(t, tx.Commit(context.Background()))
		}
	}
	before := readAll(t, c, "log")
	hooks(b).Compact()
	after := readAll(t, c, "log")
	if len(before) != 39 || len(after) >= len(before) || after[len(after)-1] != "v19-2" {
		t.Errorf("%d records, then %v", len(before), after)
	}
}

func TestFetchFailsWhereNothingAnswers(t *testing.T) {
	c := newClientWith(t, kafka.Config{Brokers: []string{"127.0.0.1:1"}, RequestTimeout: 2 * time.Second})
	_, err := c.Fetch(context.Background(), []stream.Position{{Topic: "t"}}, stream.FetchOptions{}, &stream.Buffer{})
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("connection refused")) {
		t.Error(err)
	}
	must(t, c.Close())
	if _, err := c.Fetch(context.Background(), nil, stream.FetchOptions{}, &stream.Buffer{}); !errors.Is(err, kafka.ErrClosed) {
		t.Error(err)
	}
}

func TestFetchRefusedByTheBroker(t *testing.T) {
	b, c := cluster(t, "t")
	hooks(b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "t", Err: kerr.TopicAuthorizationFailed, Count: 1})
	var buf stream.Buffer
	all, err := c.Fetch(context.Background(), []stream.Position{{Topic: "t"}}, stream.FetchOptions{}, &buf)
	must(t, err)
	if !errors.Is(all[0].Err, stream.ErrFatal) {
		t.Error(all[0].Err)
	}
}

// Results live in the buffer until it is lent again, whatever other fetches do.
func TestFetchBuffersAreApart(t *testing.T) {
	_, c := cluster(t, "t")
	_, err := c.NewProducer(kafka.ProducerConfig{}).Send(context.Background(), messages("t", "value", 1000))
	must(t, err)
	var first stream.Buffer
	f := fetchOne(t, c, stream.Position{Topic: "t"}, &first)
	want := values(f)
	for range 20 {
		var other stream.Buffer
		fetchOne(t, c, stream.Position{Topic: "t", Offset: 500}, &other)
	}
	if !slices.Equal(values(f), want) {
		t.Error("a fetch into another buffer changed this one")
	}
}

func values(f stream.Fetched) (all []string) {
	for _, r := range f.Records {
		all = append(all, string(r.Value))
	}
	return all
}
