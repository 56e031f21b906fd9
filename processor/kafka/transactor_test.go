package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

func TestTransactionsAreVisibleWhenCommitted(t *testing.T) {
	_, c := cluster(t, "out")
	ctx := context.Background()
	tx := newTransactor(t, c, "tx")
	produce := func(prefix string, n int) {
		t.Helper()
		_, err := tx.Produce(ctx, messages("out", prefix, n))
		must(t, err)
	}
	produce("a", 2)
	produce("b", 1)
	must(t, tx.Commit(ctx))
	produce("c", 2)
	must(t, tx.Abort(ctx))
	produce("d", 1)
	must(t, tx.Commit(ctx))
	if diff := cmp.Diff([]string{"a0", "a1", "b0", "d0"}, readAll(t, c, "out")); diff != "" {
		t.Error(diff)
	}
}

func TestOffsetsAreCommittedWithTheRecords(t *testing.T) {
	_, c := cluster(t, "in", "out")
	ctx := context.Background()
	tx := newTransactor(t, c, "tx")
	standalone := stream.GroupMember{Group: "g", Generation: -1}
	committed := func() int64 {
		t.Helper()
		all, err := c.GroupOffsets(ctx, "g", "in", 1)
		must(t, err)
		return all[0]
	}
	send := func(offset int64) {
		t.Helper()
		_, err := tx.Produce(ctx, messages("out", "v", 1))
		must(t, err)
		must(t, tx.SendOffsets(ctx, standalone, []stream.Position{{Topic: "in", Offset: offset}}))
	}
	send(42)
	if got := committed(); got != -1 {
		t.Errorf("before the commit: %d", got)
	}
	must(t, tx.Commit(ctx))
	eventually(t, "the offset is committed", func() bool { return committed() == 42 })
	send(99)
	must(t, tx.Abort(ctx))
	settle(t, c, "out")
	if got := committed(); got != 42 {
		t.Errorf("after an abort: %d", got)
	}
	must(t, tx.SendOffsets(ctx, standalone, []stream.Position{{Topic: "in", Offset: 50}}))
	must(t, tx.Commit(ctx))
	eventually(t, "offsets alone are committed", func() bool { return committed() == 50 })
}

func TestSuccessorFencesItsPredecessor(t *testing.T) {
	_, c := cluster(t, "out", "in")
	ctx := context.Background()
	old := newTransactor(t, c, "tx")
	_, err := old.Produce(ctx, messages("out", "old", 2))
	must(t, err)
	successor := newTransactor(t, c, "tx")
	if err := old.Commit(ctx); !errors.Is(err, stream.ErrFenced) {
		t.Errorf("commit of a zombie: %v", err)
	}
	if _, err := old.Produce(ctx, messages("out", "z", 1)); !errors.Is(err, stream.ErrTransaction) {
		t.Errorf("a failed transactor goes on: %v", err)
	}
	_, err = successor.Produce(ctx, messages("out", "new", 1))
	must(t, err)
	must(t, successor.Commit(ctx))
	if diff := cmp.Diff([]string{"new0"}, readAll(t, c, "out")); diff != "" {
		t.Error(diff)
	}
	zombie := newTransactor(t, c, "tx")
	newTransactor(t, c, "tx")
	if _, err := zombie.Produce(ctx, messages("out", "z", 1)); !errors.Is(err, stream.ErrFenced) {
		t.Errorf("a zombie begins a transaction: %v", err)
	}
}

func TestGenerationThatIsOverIsFenced(t *testing.T) {
	_, c := cluster(t, "in", "out")
	ctx := context.Background()
	tx := newTransactor(t, c, "tx")
	inGeneration(t, c, func(g kafka.Generation) {
		for _, stale := range []stream.GroupMember{
			{Group: "g", Generation: g.ID - 1, MemberID: g.MemberID},
			{Group: "g", Generation: g.ID, MemberID: "other"},
		} {
			_, err := tx.Produce(ctx, messages("out", "v", 1))
			must(t, err)
			if err := tx.SendOffsets(ctx, stale, []stream.Position{{Topic: "in"}}); !errors.Is(err, stream.ErrFenced) {
				t.Errorf("%+v: %v", stale, err)
			}
			if got := readAll(t, c, "out"); len(got) != 0 {
				t.Errorf("records of a fenced transaction: %v", got)
			}
			must(t, tx.Init(ctx))
		}
		_, err := tx.Produce(ctx, messages("out", "ok", 1))
		must(t, err)
		must(t, tx.SendOffsets(ctx, g.Member("g"), []stream.Position{{Topic: "in", Offset: 7}}))
		must(t, tx.Commit(ctx))
	})
	if got, err := c.GroupOffsets(ctx, "g", "in", 1); err != nil || got[0] != 7 {
		t.Error(got, err)
	}
}

// inGeneration runs f as the one member of group g on topic in.
func inGeneration(t *testing.T, c *kafka.Client, f func(kafka.Generation)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	must(t, c.RunGroup(ctx, kafka.GroupConfig{Group: "g", Topic: "in", SessionTimeout: 2 * time.Second}, func(_ context.Context, g kafka.Generation) error {
		defer cancel()
		f(g)
		return nil
	}))
}

// What may or may not have happened is a failed transaction; Init makes it good.
func TestUnansweredRequestsFailTheTransaction(t *testing.T) {
	steps := map[kmsg.Key]func(context.Context, *kafka.Transactor) error{
		kmsg.AddPartitionsToTxn: produceStep,
		kmsg.Produce:            produceStep,
		kmsg.AddOffsetsToTxn:    offsetsStep,
		kmsg.TxnOffsetCommit:    offsetsStep,
		kmsg.EndTxn:             func(ctx context.Context, tx *kafka.Transactor) error { return tx.Commit(ctx) },
	}
	for key, step := range steps {
		t.Run(key.Name(), func(t *testing.T) {
			b, c := cluster(t, "in", "out")
			ctx := context.Background()
			tx := newTransactor(t, c, "tx")
			if key != kmsg.AddPartitionsToTxn {
				must(t, produceStep(ctx, tx))
			}
			hooks(b).ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
				return nil, errors.New("hang up"), true
			})
			if err := step(ctx, tx); !errors.Is(err, stream.ErrTransaction) {
				t.Fatalf("unanswered: %v", err)
			}
			for name, err := range map[string]error{"commit": tx.Commit(ctx), "abort": tx.Abort(ctx), "produce": produceStep(ctx, tx), "offsets": offsetsStep(ctx, tx)} {
				if !errors.Is(err, stream.ErrTransaction) {
					t.Errorf("%s after a failure: %v", name, err)
				}
			}
			must(t, tx.Init(ctx))
			_, err := tx.Produce(ctx, messages("out", "again", 2))
			must(t, err)
			must(t, tx.Commit(ctx))
			if diff := cmp.Diff([]string{"again0", "again1"}, readAll(t, c, "out")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func produceStep(ctx context.Context, tx *kafka.Transactor) error {
	_, err := tx.Produce(ctx, messages("out", "v", 1))
	return err
}

func offsetsStep(ctx context.Context, tx *kafka.Transactor) error {
	return tx.SendOffsets(ctx, stream.GroupMember{Group: "g", Generation: -1}, []stream.Position{{Topic: "in", Offset: 1}})
}

func TestRefusalsForTheMomentAreRepeated(t *testing.T) {
	for key, refusals := range map[kmsg.Key][]*kerr.Error{
		kmsg.InitProducerID:     {kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator},
		kmsg.AddPartitionsToTxn: {kerr.ConcurrentTransactions, kerr.CoordinatorNotAvailable, kerr.NotCoordinator},
		kmsg.Produce:            {kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend},
		kmsg.AddOffsetsToTxn:    {kerr.ConcurrentTransactions, kerr.NotCoordinator},
		kmsg.TxnOffsetCommit:    {kerr.CoordinatorLoadInProgress, kerr.NotCoordinator},
		kmsg.EndTxn:             {kerr.ConcurrentTransactions, kerr.NotCoordinator},
		kmsg.FindCoordinator:    {kerr.CoordinatorNotAvailable},
	} {
		for _, refused := range refusals {
			t.Run(fmt.Sprint(key.Name(), " ", refused.Message), func(t *testing.T) {
				b, c := cluster(t, "in", "out")
				ctx := context.Background()
				fault := hooks(b).Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: refused, Count: 2})
				tx := newTransactor(t, c, "tx")
				must(t, produceStep(ctx, tx))
				must(t, produceStep(ctx, tx))
				must(t, offsetsStep(ctx, tx))
				must(t, tx.Commit(ctx))
				if diff := cmp.Diff([]string{"v0", "v0"}, readAll(t, c, "out")); diff != "" {
					t.Error(diff)
				}
				if fault.Hits() != 2 {
					t.Errorf("refused %d times", fault.Hits())
				}
			})
		}
	}
}

func TestRefusalsForGood(t *testing.T) {
	for _, tt := range []struct {
		key  kmsg.Key
		err  *kerr.Error
		want error
	}{
		{kmsg.Produce, kerr.TopicAuthorizationFailed, stream.ErrFatal},
		{kmsg.Produce, kerr.MessageTooLarge, stream.ErrFatal},
		{kmsg.Produce, kerr.InvalidProducerEpoch, stream.ErrFenced},
		{kmsg.Produce, kerr.OutOfOrderSequenceNumber, stream.ErrTransaction},
		{kmsg.Produce, kerr.DuplicateSequenceNumber, stream.ErrTransaction}, // of nothing that we sent before
		{kmsg.AddPartitionsToTxn, kerr.TransactionalIDAuthorizationFailed, stream.ErrFatal},
		{kmsg.EndTxn, kerr.InvalidTxnState, stream.ErrTransaction},
		{kmsg.EndTxn, kerr.ProducerFenced, stream.ErrFenced},
	} {
		t.Run(fmt.Sprint(tt.key.Name(), " ", tt.err.Message), func(t *testing.T) {
			b, c := cluster(t, "in", "out")
			ctx := context.Background()
			tx := newTransactor(t, c, "tx")
			hooks(b).Fault(kfake.Fault{Keys: []kmsg.Key{tt.key}, Err: tt.err})
			err := produceStep(ctx, tx)
			if err == nil {
				err = tx.Commit(ctx)
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
			if err := produceStep(ctx, tx); !errors.Is(err, stream.ErrTransaction) {
				t.Errorf("goes on: %v", err)
			}
		})
	}
}

func TestDeadlineEndsARequest(t *testing.T) {
	b, c := cluster(t, "out")
	tx := newTransactor(t, c, "tx")
	release := make(chan struct{})
	hooks(b).ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		hooks(b).SleepControl(func() { <-release })
		return nil, nil, false
	})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err := produceStep(ctx, tx)
	close(release)
	if !errors.Is(err, stream.ErrTransaction) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestLargeTransactionsKeepOrder(t *testing.T) {
	_, c := cluster(t, "out", "log")
	ctx := context.Background()
	tx := newTransactor(t, c, "tx")
	var msgs []stream.Message
	var want []string
	for i := range 30_000 {
		m := stream.Message{Topic: []string{"out", "log"}[i%2], Key: fmt.Append(nil, i), Value: fmt.Appendf(nil, "value %d %s", i, strings.Repeat("x", i%200))}
		msgs = append(msgs, m)
		if i%2 == 0 {
			want = append(want, string(m.Value))
		}
	}
	produced, err := tx.Produce(ctx, msgs)
	must(t, err)
	must(t, tx.Commit(ctx))
	if diff := cmp.Diff([]stream.Produced{{Topic: "out", Count: 15_000, LogAppendTime: subject.Never}, {Topic: "log", Count: 15_000, LogAppendTime: subject.Never}}, produced); diff != "" {
		t.Error(diff)
	}
	if got := readAll(t, c, "out"); !slices.Equal(got, want) {
		t.Errorf("%d of %d records, or in another order", len(got), len(want))
	}
}

// Another client's reader sees keys, values, headers, times and tombstones as sent.
func TestOtherClientsReadWhatIsProduced(t *testing.T) {
	for _, compression := range []kafka.Compression{kafka.Zstd, kafka.LZ4, kafka.None} {
		b, c := cluster(t, "out")
		ctx := context.Background()
		tx := c.NewTransactor(kafka.TransactorConfig{TransactionalID: "tx", Compression: compression})
		must(t, tx.Init(ctx))
		_, err := tx.Produce(ctx, []stream.Message{
			{Topic: "out", Key: []byte("k"), Value: bytes.Repeat([]byte("value "), 100), Timestamp: 1_700_000_000_123_000, Headers: []stream.Header{{Key: "ce_id", Value: []byte("1")}, {Key: "nil"}}},
			{Topic: "out", Key: []byte("k"), Timestamp: 1_700_000_001_000_000},
		})
		must(t, err)
		must(t, tx.Commit(ctx))
		k := newFranz(t, b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"out": {0: kgo.NewOffset().AtStart()}}), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		got := k.PollRecords(ctx, 2).Records()
		if len(got) != 2 || string(got[0].Value) != strings.Repeat("value ", 100) || got[0].Timestamp.UnixMilli() != 1_700_000_000_123 ||
			len(got[0].Headers) != 2 || got[0].Headers[0].Key != "ce_id" || string(got[0].Headers[0].Value) != "1" || got[0].Headers[1].Value != nil ||
			got[1].Value != nil || string(got[1].Key) != "k" || got[1].Timestamp.UnixMilli() != 1_700_000_001_000 {
			t.Errorf("compression %d: %+v", compression, got)
		}
	}
}
