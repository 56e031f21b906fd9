package embedded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
)

// killed returns a copy of what a broker has on disk at this moment.
func killed(t *testing.T, dir string) string {
	t.Helper()
	image := t.TempDir()
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return image
}

// A kill between two markers of a commit leaves it to the journal to say what
// becomes of the rest; without "committing" there it is aborted.
func TestRepairFinishesWhatWasBegun(t *testing.T) {
	dir := t.TempDir()
	addr := running(t, dir)
	c := dial(t, addr)
	for _, topic := range []string{"a", "b"} {
		if _, err := c.CreateTopics(context.Background(), []kafka.NewTopic{{Name: topic, Partitions: 1, ReplicationFactor: -1}}); err != nil {
			t.Fatal(err)
		}
	}
	tx := c.NewTransactor(kafka.TransactorConfig{TransactionalID: "tx"})
	check(t, tx.Init(context.Background()))
	send(t, tx, "first")
	check(t, tx.Commit(context.Background()))
	send(t, tx, "second")
	image := killed(t, dir)

	for _, committing := range []bool{false, true} {
		t.Run(fmt.Sprintf("committing %v", committing), func(t *testing.T) {
			image := killed(t, image)
			p := openIn(t, image, "a-0")
			if committing {
				note(t, image, p)
				// The marker in the first partition was written.
				check(t, repairPartition(filepath.Join(image, "partitions", "a-0"), map[producer]bool{p: true}))
			}
			c := dial(t, running(t, image))
			want := "first"
			if committing {
				want = "first second"
			}
			for _, topic := range []string{"a", "b"} {
				if got := visible(t, c, topic); got != want {
					t.Errorf("%s: %s", topic, got)
				}
			}
			// Its producer begins anew and is seen.
			tx := c.NewTransactor(kafka.TransactorConfig{TransactionalID: "tx"})
			check(t, tx.Init(context.Background()))
			send(t, tx, "third")
			check(t, tx.Commit(context.Background()))
			if got := visible(t, c, "a"); got != want+" third" {
				t.Errorf("after the repair: %s", got)
			}
		})
	}
}

// A kill may cut a batch short, and leave the index an entry behind.
func TestRepairOfACutTail(t *testing.T) {
	dir := t.TempDir()
	c := dial(t, running(t, dir))
	if _, err := c.CreateTopics(context.Background(), []kafka.NewTopic{{Name: "a", Partitions: 1, ReplicationFactor: -1}, {Name: "b", Partitions: 1, ReplicationFactor: -1}}); err != nil {
		t.Fatal(err)
	}
	tx := c.NewTransactor(kafka.TransactorConfig{TransactionalID: "tx"})
	check(t, tx.Init(context.Background()))
	send(t, tx, "first")
	check(t, tx.Commit(context.Background()))
	send(t, tx, "second")
	send(t, tx, "third")
	image := killed(t, dir)
	data := filepath.Join(image, "partitions", "a-0", "0.dat")
	cut(t, data, 5)
	cut(t, strings.TrimSuffix(data, ".dat")+".idx", 2*15)
	c = dial(t, running(t, image))
	for _, topic := range []string{"a", "b"} {
		if got := visible(t, c, topic); got != "first" {
			t.Errorf("%s: %s", topic, got)
		}
	}
}

// Whoever believes in a transaction from before the kill is fenced.
func TestRepairFencesProducers(t *testing.T) {
	dir := t.TempDir()
	c := dial(t, running(t, dir))
	tx := c.NewTransactor(kafka.TransactorConfig{TransactionalID: "tx"})
	check(t, tx.Init(context.Background()))
	image := killed(t, dir)
	before := producers(t, image)
	check(t, repair(image))
	after := producers(t, image)
	if len(before) != 1 || len(after) != 1 || after[0].Epoch != before[0].Epoch+1 || after[0].TxnID != "tx" {
		t.Errorf("%+v, then %+v", before, after)
	}
}

func TestJournalIsRewritten(t *testing.T) {
	dir := t.TempDir()
	j, err := newJournal(dir)
	check(t, err)
	defer func() { check(t, j.close()) }()
	for i := range int64(journalMaxBytes) / journalEntryBytes * 2 {
		check(t, j.note(producer{i % 50, int16(i / 100_000)}, i%100 < 50))
	}
	if info, err := os.Stat(j.path); err != nil || info.Size() > 2*journalMaxBytes {
		t.Errorf("%v, %v", info.Size(), err)
	}
	last, err := readJournal(dir)
	check(t, err)
	for id := range int64(50) {
		newest := producer{id, 1}
		if last[newest] != j.last[newest] {
			t.Errorf("producer %d: %v", id, last[newest])
		}
	}
}

func running(t *testing.T, dir string) string {
	t.Helper()
	b, err := Start(Config{Dir: dir})
	check(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b.Addr()
}

func dial(t *testing.T, addr string) *kafka.Client {
	t.Helper()
	c, err := kafka.New(kafka.Config{Brokers: []string{addr}})
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func send(t *testing.T, tx *kafka.Transactor, value string) {
	t.Helper()
	_, err := tx.Produce(context.Background(), []stream.Message{{Topic: "a", Value: []byte(value), Timestamp: 9e15}, {Topic: "b", Value: []byte(value), Timestamp: 9e15}})
	check(t, err)
}

// openIn returns the producer whose transaction is open in a partition.
func openIn(t *testing.T, dir, partition string) producer {
	t.Helper()
	open := map[int64]int16{}
	_, err := walk(filepath.Join(dir, "partitions", partition), 0, open)
	check(t, err)
	if len(open) != 1 {
		t.Fatalf("%d are open", len(open))
	}
	for id, epoch := range open {
		return producer{id, epoch}
	}
	return producer{}
}

func note(t *testing.T, dir string, p producer) {
	t.Helper()
	j, err := newJournal(dir)
	check(t, err)
	check(t, j.note(p, true))
	check(t, j.close())
}

func cut(t *testing.T, path string, n int64) {
	t.Helper()
	info, err := os.Stat(path)
	check(t, err)
	check(t, os.Truncate(path, info.Size()-n))
}

func producers(t *testing.T, dir string) []producerEntry {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "pids.log"))
	check(t, err)
	known, whole := readProducers(raw)
	if whole != len(raw) {
		t.Errorf("%d of %d bytes are whole", whole, len(raw))
	}
	return known
}

func visible(t *testing.T, c *kafka.Client, topic string) string {
	t.Helper()
	check(t, c.WaitTopics(context.Background(), topic))
	var buf stream.Buffer
	var all []string
	for pos := (stream.Position{Topic: topic}); ; {
		f, err := c.Fetch(context.Background(), []stream.Position{pos}, stream.FetchOptions{}, &buf)
		check(t, err)
		check(t, f[0].Err)
		for _, r := range f[0].Records {
			all = append(all, string(r.Value))
		}
		if pos.Offset = f[0].Next; pos.Offset >= f[0].HighWatermark {
			return strings.Join(all, " ")
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
