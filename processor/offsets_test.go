package processor

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
)

// Each transaction has the offsets of all inputs, for lag tools.
func TestGroupOffsetsAreWritten(t *testing.T) {
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
