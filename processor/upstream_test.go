package processor

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/segmentd/segmentd/processor/stream"
)

// A broker that takes its time for each answer changes nothing but the pace.
func TestSlowBroker(t *testing.T) {
	h := newHistory(seed(t), 400)
	l := newLab(t, labConfig{rules: rememberingRules})
	l.cfg.BatchBytes = 2000
	l.produce(h.all()...)
	cluster := l.broker.Embedded().Cluster()
	var slowed atomic.Int64
	cluster.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		slowed.Add(1)
		cluster.SleepControl(func() { <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond) })
		return nil, nil, false
	})
	l.equalsReplay(h)
	if slowed.Load() < 100 {
		t.Errorf("only %d requests were slow", slowed.Load())
	}
}

// Connections that break at requests to produce, to end transactions and others
// in between, before the broker has done what was asked or after it, so that the
// answer is lost, cost recoveries and change nothing.
func TestLostAnswers(t *testing.T) {
	h := newHistory(seed(t), 800)
	l := newLab(t, labConfig{rules: rememberingRules})
	l.cfg.BatchBytes = 2000
	l.produce(h.all()...)
	cluster := l.broker.Embedded().Cluster()
	second, err := kgo.NewClient(kgo.SeedBrokers(l.broker.Addrs()...), kgo.MaxVersions(kversion.V2_8_0()), kgo.RequestRetries(0))
	must(t, err)
	t.Cleanup(second.Close)
	var lost [2]atomic.Int64 // requests; answers
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.EndTxn, kmsg.AddPartitionsToTxn, kmsg.TxnOffsetCommit, kmsg.InitProducerID} {
		var n atomic.Int64
		var again atomic.Bool // it is ours
		cluster.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			if again.Load() || n.Add(1)%7 != 0 || n.Load() > 70 {
				return nil, nil, false
			}
			carriedOut := n.Load()%2 == 0
			if carriedOut {
				again.Store(true)
				cluster.SleepControl(func() { _, err = second.Broker(0).Request(context.Background(), req) })
				again.Store(false)
			}
			if carriedOut && err == nil {
				lost[1].Add(1)
			} else {
				lost[0].Add(1)
			}
			return nil, errors.New("hang up"), true
		})
	}
	l.equalsReplay(h)
	if lost[0].Load() < 3 || lost[1].Load() < 3 {
		t.Errorf("%d requests and %d answers were lost", lost[0].Load(), lost[1].Load())
	}
	if !strings.Contains(l.log.String(), "partition recovers") {
		t.Error("nothing had to recover")
	}
}

// equalsReplay runs a processor over a history and compares what it publishes.
func (l *lab) equalsReplay(h history) {
	l.t.Helper()
	r := l.start()
	r.caughtUp()
	r.stop()
	want, _ := expected(l.t, l.set, h, time.Now())
	changes := l.changes()
	compare(l.t, bySubject(changes), want, h.stopped())
	l.verify(changes)
	l.kept()
}

// A changelog that is deleted and made anew while the processor runs would hold
// nothing of before: no transaction ends on it. The image is thrown away, and the
// partition begins from what the inputs hold, as a new group does; what is on the
// new changelog is all of it.
func TestChangelogDeletedWhileRunning(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	l.produce(given("u1", "marketing", at), track("u1", "Order Completed", "m1", at), given("u2", "marketing", at), track("u2", "Order Completed", "m2", at))
	r := l.start()
	r.read()
	l.broker.DeleteTopic(Topics{l.cfg.Group}.Changelog())
	l.produce(track("u1", "Order Completed", "m3", at.Add(time.Minute)))
	l.createTopics()
	err := r.fails()
	var stopped *StoppedError
	if !errors.As(err, &stopped) || !strings.Contains(err.Error(), "it was deleted and made anew") && !strings.Contains(err.Error(), "the topic was deleted and made anew") {
		t.Errorf("the processor ended with %v", err)
	}
	if n := len(l.readTopic(Topics{l.cfg.Group}.Changelog())); n > 0 {
		t.Errorf("%d records were written to the new changelog", n)
	}
	l.verify(l.changes())
}

// Inputs may be compacted topics with holes, and hold transactions that came to
// nothing: positions pass over what is not there.
func TestInputsWithHoles(t *testing.T) {
	l := newLab(t, labConfig{rules: barrierRules, partitions: 1})
	l.fetcher = holes{l.fetcher}
	at := ago(time.Hour)
	l.produce(given("u1", "marketing", at))
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		l.produce(track("u1", "Order Completed", id, at))
	}
	r := l.start()
	r.read()
	r.turns(3)
	if n := r.metric(t, "segmentd_events_total", "outcome", "admitted"); n != 3 {
		t.Errorf("%v events were admitted, want 3", n)
	}
	r.stop()
	l.verify(l.changes())
}

// holes leaves every second event out, as compaction does; the last is a batch of
// which nothing is left.
type holes struct{ stream.Fetcher }

func (h holes) Fetch(ctx context.Context, at []stream.Position, o stream.FetchOptions, b *stream.Buffer) ([]stream.Fetched, error) {
	fetched, err := h.Fetcher.Fetch(ctx, at, o, b)
	for i := range fetched {
		if fetched[i].Topic != events {
			continue
		}
		var kept []stream.Record
		for _, r := range fetched[i].Records {
			if r.Offset%2 == 0 {
				kept = append(kept, r)
			}
		}
		fetched[i].Records = kept
	}
	return fetched, err
}
