package processor

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// Each transaction has the offsets of all inputs, for lag tools, timer-only ones
// too; nobody goes by them: they expire, and others may set them.
func TestGroupOffsetsAreWrittenAndNotObeyed(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	l.produce(given("u1", "marketing", at), track("u1", "Order Completed", "m1", at), track("u1", "Unread", "m2", at))
	r := l.start()
	r.read()
	r.stop()
	for topic, want := range map[string]int64{events: 2, decisions: 1} {
		eventually(t, "the transaction's end is on the offsets", func() bool {
			got, err := l.client.GroupOffsets(t.Context(), "shop", topic, 1)
			return err == nil && slices.Equal(got, []int64{want})
		})
	}
	l.produce(track("u1", "Order Completed", "m3", at.Add(time.Minute)), decision("u1", "marketing", "withdrawn", at.Add(time.Hour)))
	l.setOffsets(map[string]int64{events: 3, decisions: 2}) // as if all had been read
	r = l.start()
	r.read()
	r.stop()
	changes := l.changes()
	l.verify(changes)
	if !slices.ContainsFunc(changes, func(c subject.Change) bool { return c.Reason.String() == "withdrawn" }) {
		t.Errorf("the withdrawal was not read:%s", lines(changes))
	}
	l.setOffsets(map[string]int64{events: 0, decisions: 0}) // as if nothing had
	r = l.start()
	r.read()
	r.stop()
	if again := l.changes(); len(again) != len(changes) {
		t.Errorf("inputs were read again:%s", lines(again))
	}
}

func (l *lab) setOffsets(at map[string]int64) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	c, err := kadm.NewOptClient(kgo.SeedBrokers(l.broker.Addrs()...))
	must(l.t, err)
	defer c.Close()
	var offsets kadm.Offsets
	for topic, offset := range at {
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: offset, LeaderEpoch: -1})
	}
	res, err := c.CommitOffsets(ctx, l.cfg.Group, offsets)
	must(l.t, err)
	must(l.t, res.Error())
}

// A successor fences its predecessor before it reads the changelog: what the
// predecessor does until then is read, and it does nothing afterwards.
func TestSuccessorFencesBeforeItCatchesUp(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	l.holdClock(at)
	l.produce(given("u1", "marketing", at))
	predecessor := l.start()
	predecessor.read()
	inner := l.transactor
	l.transactor = func(id string) stream.Transactor {
		return &lastWord{Transactor: inner(id), before: func() {
			l.produce(track("u1", "Order Completed", "m1", at))
			predecessor.read()
		}}
	}
	data := l.data
	l.data = t.TempDir() + "/data"
	successor := l.start()
	eventually(t, "the successor is at work", func() bool { return successor.stateOf(0).Ready })
	predecessor.stop()
	successor.read()
	successor.stop()
	l.data = data
	changes := l.changes()
	l.verify(changes)
	if n := len(only(causes(changes), "m1")); n == 0 {
		t.Errorf("the event has no effect:%s", lines(changes))
	}
}

// lastWord lets something happen right before its first Init.
type lastWord struct {
	stream.Transactor
	before func()
}

func (w *lastWord) Init(ctx context.Context) error {
	if w.before != nil {
		w.before()
		w.before = nil
	}
	return w.Transactor.Init(ctx)
}
