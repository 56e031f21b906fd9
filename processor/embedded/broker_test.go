package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/segmentd/segmentd/processor/embedded"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
)

// childDir makes the test binary a broker on that directory.
const childDir = "SEGMENTD_TEST_BROKER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// child prints its address and waits to be killed.
func child(dir string) {
	b, err := embedded.Start(embedded.Config{Dir: dir, AutoCreateTopics: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(b.Addr())
	select {}
}

func start(t *testing.T, cfg embedded.Config) *embedded.Broker {
	t.Helper()
	b, err := embedded.Start(cfg)
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func connect(t *testing.T, addr string) *kafka.Client {
	t.Helper()
	c, err := kafka.New(kafka.Config{Brokers: []string{addr}})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func createTopic(t *testing.T, c *kafka.Client, topic kafka.NewTopic) {
	t.Helper()
	if topic.Partitions == 0 {
		topic.Partitions = 1
	}
	topic.ReplicationFactor = -1
	_, err := c.CreateTopics(context.Background(), []kafka.NewTopic{topic})
	must(t, err)
	must(t, c.WaitTopics(context.Background(), topic.Name))
}

// transact commits values to partition 0 of a topic, with the offset of a group.
func transact(t *testing.T, c *kafka.Client, topic string, values ...string) *kafka.Transactor {
	t.Helper()
	tx := c.NewTransactor(kafka.TransactorConfig{TransactionalID: "tx"})
	must(t, tx.Init(context.Background()))
	must(t, produce(tx, topic, values...))
	must(t, tx.SendOffsets(context.Background(), stream.GroupMember{Group: "g", Generation: -1}, []stream.Position{{Topic: topic, Offset: 42}}))
	must(t, tx.Commit(context.Background()))
	return tx
}

func produce(tx *kafka.Transactor, topic string, values ...string) error {
	var msgs []stream.Message
	for _, v := range values {
		key, _, _ := strings.Cut(v, "=")
		msgs = append(msgs, stream.Message{Topic: topic, Key: []byte(key), Value: []byte(v), Timestamp: 1_500_000_000_000_000})
	}
	_, err := tx.Produce(context.Background(), msgs)
	return err
}

// committed returns the values of partition 0.
func committed(t *testing.T, c *kafka.Client, topic string) string {
	t.Helper()
	w, err := c.Watermarks(context.Background(), topic, 1)
	must(t, err)
	var all []string
	var buf stream.Buffer
	for pos := (stream.Position{Topic: topic, Offset: w[0].Start}); pos.Offset < w[0].LastStable; {
		f, err := c.Fetch(context.Background(), []stream.Position{pos}, stream.FetchOptions{}, &buf)
		must(t, err)
		must(t, f[0].Err)
		for _, r := range f[0].Records {
			all = append(all, string(r.Value))
		}
		pos.Offset = f[0].Next
	}
	return strings.Join(all, " ")
}

func checkKept(t *testing.T, c *kafka.Client) {
	t.Helper()
	must(t, c.WaitTopics(context.Background(), "t"))
	if got := committed(t, c, "t"); got != "a b" {
		t.Errorf("records after a restart: %s", got)
	}
	offsets, err := c.GroupOffsets(context.Background(), "g", "t", 1)
	if err != nil || offsets[0] != 42 {
		t.Errorf("offsets after a restart: %v, %v", offsets, err)
	}
	cfg, err := c.Configs(context.Background(), "t")
	if err != nil || cfg["segment.bytes"] != "12345678" {
		t.Errorf("settings after a restart: %v, %v", cfg["segment.bytes"], err)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	b := start(t, embedded.Config{Dir: dir})
	c := connect(t, b.Addr())
	createTopic(t, c, kafka.NewTopic{Name: "t", Configs: map[string]string{"retention.ms": "-1", "segment.bytes": "12345678"}})
	tx := transact(t, c, "t", "a", "b")
	must(t, produce(tx, "t", "open"))
	must(t, c.Close())
	must(t, b.Close())

	b = start(t, embedded.Config{Dir: dir})
	c = connect(t, b.Addr())
	must(t, c.NewTransactor(kafka.TransactorConfig{TransactionalID: "tx"}).Init(context.Background()))
	checkKept(t, c)
}

func TestKilledBrokerKeepsWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	addr, kill := startChild(t, dir)
	c := connect(t, addr)
	createTopic(t, c, kafka.NewTopic{Name: "t", Configs: map[string]string{"retention.ms": "-1", "segment.bytes": "12345678"}})
	tx := transact(t, c, "t", "a", "b")
	must(t, produce(tx, "t", "open"))
	kill()
	if err := tx.Commit(context.Background()); !errors.Is(err, stream.ErrTransaction) {
		t.Errorf("commit without a broker: %v", err)
	}
	addr, _ = startChild(t, dir)
	c = connect(t, addr)
	must(t, c.NewTransactor(kafka.TransactorConfig{TransactionalID: "tx"}).Init(context.Background()))
	checkKept(t, c)
	// The producer's next transactions are seen, by any client, though the broker
	// has written no marker for the one that it forgot.
	transact(t, c, "t", "c")
	transact(t, c, "t", "d")
	if got := committed(t, c, "t"); got != "a b c d" {
		t.Errorf("records of transactions after a restart: %s", got)
	}
	if got := readByFranz(t, addr, "t", 4); got != "a b c d" {
		t.Errorf("records that another client sees: %s", got)
	}
}

// Topics that came into being by themselves are kept too.
func TestKilledBrokerKeepsAutoCreatedTopics(t *testing.T) {
	dir := t.TempDir()
	addr, kill := startChild(t, dir)
	k, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, err)
	err = k.ProduceSync(context.Background(), &kgo.Record{Topic: "auto", Value: []byte("v")}).FirstErr()
	k.Close()
	must(t, err)
	kill()
	addr, _ = startChild(t, dir)
	if got := committed(t, connect(t, addr), "auto"); got != "v" {
		t.Errorf("after the kill: %q", got)
	}
}

// readByFranz returns what another make of client sees of partition 0.
func readByFranz(t *testing.T, addr, topic string, n int) string {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	must(t, err)
	defer k.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var all []string
	for len(all) < n && ctx.Err() == nil {
		k.PollFetches(ctx).EachRecord(func(r *kgo.Record) { all = append(all, string(r.Value)) })
	}
	return strings.Join(all, " ")
}

func startChild(t *testing.T, dir string) (addr string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(kill)
	var b [128]byte
	n, err := out.Read(b[:])
	must(t, err)
	return strings.TrimSpace(string(b[:n])), kill
}

func TestOneBrokerADirectory(t *testing.T) {
	dir := t.TempDir()
	b := start(t, embedded.Config{Dir: dir})
	if _, err := embedded.Start(embedded.Config{Dir: dir}); !errors.Is(err, embedded.ErrLocked) {
		t.Error(err)
	}
	must(t, b.Close())
	must(t, b.Close())
	start(t, embedded.Config{Dir: dir})
}

func TestPortInUse(t *testing.T) {
	b := start(t, embedded.Config{})
	dir := t.TempDir()
	if _, err := embedded.Start(embedded.Config{Dir: dir, Listen: b.Addr()}); !errors.Is(err, embedded.ErrPortInUse) || !strings.Contains(err.Error(), b.Addr()) {
		t.Error(err)
	}
	start(t, embedded.Config{Dir: dir}) // the failure left no lock
}

func TestDamagedDataIsAnError(t *testing.T) {
	dir := t.TempDir()
	b := start(t, embedded.Config{Dir: dir})
	must(t, b.Close())
	must(t, os.WriteFile(filepath.Join(dir, "meta.json"), []byte("{"), 0o600))
	if b, err := embedded.Start(embedded.Config{Dir: dir}); err == nil {
		_ = b.Close()
		t.Error("started")
	}
}

func TestAdvertisedHost(t *testing.T) {
	b := start(t, embedded.Config{Listen: "127.0.0.1:0", Advertise: "localhost"})
	if !strings.HasPrefix(b.Addr(), "localhost:") {
		t.Error(b.Addr())
	}
	connectsTo(t, b.Addr())
}

func connectsTo(t *testing.T, addr string) {
	t.Helper()
	if _, err := connect(t, addr).Topics(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestAutoCreate(t *testing.T) {
	for _, auto := range []bool{true, false} {
		b := start(t, embedded.Config{AutoCreateTopics: auto, Partitions: 3})
		k, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(0))
		must(t, err)
		err = k.ProduceSync(context.Background(), &kgo.Record{Topic: "new", Value: []byte("v")}).FirstErr()
		k.Close()
		if (err == nil) != auto {
			t.Errorf("auto %v: %v", auto, err)
		}
		topics, err := connect(t, b.Addr()).Topics(context.Background(), "new")
		if err != nil || (topics["new"].Partitions == 3) != auto {
			t.Errorf("auto %v: %v, %v", auto, topics, err)
		}
	}
}

func TestMaxMessageBytes(t *testing.T) {
	b := start(t, embedded.Config{MaxMessageBytes: 10_000})
	c := connect(t, b.Addr())
	createTopic(t, c, kafka.NewTopic{Name: "t"})
	p := c.NewProducer(kafka.ProducerConfig{Compression: kafka.None})
	_, err := p.Send(context.Background(), []stream.Message{{Topic: "t", Value: make([]byte, 20_000)}})
	if !errors.Is(err, stream.ErrFatal) {
		t.Error(err)
	}
}

// Topics are compacted at the start, and their old records are kept: kfake would
// let a retention time of seven days loose on them.
func TestCompactionAtStart(t *testing.T) {
	dir := t.TempDir()
	b := start(t, embedded.Config{Dir: dir})
	c := connect(t, b.Addr())
	createTopic(t, c, kafka.NewTopic{Name: "log", Configs: map[string]string{"cleanup.policy": "compact"}})
	transact(t, c, "log", "a=1", "b=1")
	transact(t, c, "log", "a=2")
	transact(t, c, "log", "c=1")
	b.Cluster().ApplyRetention()
	if got := committed(t, c, "log"); got != "a=1 b=1 a=2 c=1" {
		t.Fatal(got)
	}
	must(t, b.Close())
	b = start(t, embedded.Config{Dir: dir})
	if got := committed(t, connect(t, b.Addr()), "log"); got != "b=1 a=2 c=1" {
		t.Error(got)
	}
}

// A record of an open transaction must not drive a committed one out.
func TestNoCompactionWhileATransactionIsOpen(t *testing.T) {
	dir := t.TempDir()
	b := start(t, embedded.Config{Dir: dir})
	c := connect(t, b.Addr())
	createTopic(t, c, kafka.NewTopic{Name: "log", Configs: map[string]string{"cleanup.policy": "compact"}})
	tx := transact(t, c, "log", "a=1")
	must(t, produce(tx, "log", "a=2"))
	must(t, produce(tx, "log", "b=2"))
	must(t, b.Close())
	var warnings bytes.Buffer
	b = start(t, embedded.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&warnings, nil))})
	c = connect(t, b.Addr())
	must(t, c.NewTransactor(kafka.TransactorConfig{TransactionalID: "tx"}).Init(context.Background()))
	if got := committed(t, c, "log"); got != "a=1" {
		t.Errorf("%q, %s", got, warnings.String())
	}
}

func TestKafka4Only(t *testing.T) {
	b := start(t, embedded.Config{Kafka4Only: true})
	k, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	must(t, err)
	defer k.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn := rawConn(t, b.Addr())
	conn.send(t, kmsg.NewPtrMetadataRequest(), 1)
	if !conn.answered() {
		t.Error("metadata version 1 is refused")
	}
	old := kmsg.NewPtrJoinGroupRequest()
	conn.send(t, old, 1)
	if conn.answered() {
		t.Error("join group version 1 is answered")
	}
	must(t, k.Ping(ctx))
}
