package processor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// Whatever the batches are and wherever the processor stops in between, the
// changes and the kept state are the same.
func TestBatchesAndStopsChangeNothing(t *testing.T) {
	n := seed(t)
	h := newHistory(n, 1200)
	rng := rand.New(rand.NewPCG(n, 3))
	var first []subject.Change
	var digests []string
	for _, c := range []struct {
		name       string
		batchBytes int
		stops      int
		crash      bool
	}{{"large", 1 << 20, 0, false}, {"tiny", 1, 0, false}, {"stopped", 2000, 3, false}, {"crashed", 2000, 3, true}} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, labConfig{rules: rememberingRules})
			l.cfg.BatchBytes = c.batchBytes
			l.produce(h.decisions...)
			l.holdClock(h.events[0].at)
			events := h.events
			r := l.start()
			for range c.stops {
				at := rng.IntN(len(events))
				l.produce(events[:at]...)
				events = events[at:]
				r.processes(rng.IntN(at + 1))
				if c.crash {
					r.crash()
				} else {
					r.stop()
				}
				r = l.start()
			}
			l.produce(events...)
			r.read()
			l.releaseClock()
			r.caughtUp()
			d := r.digests()
			r.stop()
			changes := inOrder(l.changes())
			l.verify(changes)
			l.kept()
			if first == nil {
				first, digests = changes, d
				return
			}
			if !slices.Equal(changes, first) {
				compare(t, bySubject(changes), bySubject(first), nil)
			}
			if !slices.Equal(d, digests) {
				t.Errorf("digests %v, want %v", d, digests)
			}
		})
	}
}

// processes waits until about n events are applied, of all partitions together.
func (r *running) processes(n int) {
	r.lab.t.Helper()
	eventually(r.lab.t, "some events are applied", func() bool {
		sum := 0
		for id := range r.lab.cfg.Partitions {
			r.inspect(id, func(p *partitionLoop) { sum += int(p.events[0].position) })
		}
		return sum >= n
	})
}

// inOrder sorts changes by subject; those of one subject keep their order.
func inOrder(changes []subject.Change) []subject.Change {
	slices.SortStableFunc(changes, func(a, b subject.Change) int { return strings.Compare(a.Subject.Value, b.Subject.Value) })
	return changes
}

// Without its image, or with one of an earlier moment, a processor has the
// state that it had, and goes on as if nothing had been.
func TestImageIsRestored(t *testing.T) {
	remove := func(l *lab, _ string) { must(l.t, os.RemoveAll(l.data)) }
	for _, c := range []struct {
		name string
		harm func(l *lab, earlier string)
	}{
		{"deleted", remove},
		{"deleted, read in pieces", func(l *lab, earlier string) { l.fetcher = piecemeal{l.fetcher}; remove(l, earlier) }},
		{"deleted, with room for some keys", func(l *lab, earlier string) { l.cfg.restoreKeys = 10; remove(l, earlier) }},
		{"deleted, with room for some keys, read in pieces", func(l *lab, earlier string) {
			l.fetcher, l.cfg.restoreKeys = piecemeal{l.fetcher}, 10
			remove(l, earlier)
		}},
		{"deleted, with room for no key", func(l *lab, earlier string) { l.cfg.restoreKeys = 1; remove(l, earlier) }},
		{"of an earlier moment", func(l *lab, earlier string) { l.data = earlier }},
		{"damaged", func(l *lab, _ string) { damageImage(l.t, l.data) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory(seed(t), 1500)
			l := newLab(t, labConfig{rules: rememberingRules})
			l.cfg.BatchBytes = 8 << 10 // many versions of a subject
			third := len(h.events) / 3
			l.produce(h.decisions...)
			l.produce(h.events[:third]...)
			l.holdClock(h.events[0].at)
			r := l.start()
			r.read()
			r.stop()
			earlier := t.TempDir() + "/data"
			copyImage(t, l.data, earlier)
			l.produce(h.events[third : 2*third]...)
			r = l.start()
			r.read()
			before := r.digests()
			r.stop()
			c.harm(l, earlier)
			r = l.start()
			r.read()
			if after := r.digests(); !slices.Equal(before, after) {
				t.Errorf("digests are %v, were %v", after, before)
			}
			l.produce(h.events[2*third:]...)
			r.read()
			l.releaseClock()
			r.caughtUp()
			r.stop()
			want, _ := expected(t, l.set, h, time.Now())
			changes := l.changes()
			compare(t, bySubject(changes), want, h.stopped())
			l.verify(changes)
		})
	}
}

// A changelog may begin later than at 0, and there with the end of a transaction.
func TestImageIsRestoredWithoutTheChangelogsStart(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	l.holdClock(ago(time.Hour))
	r := l.start()
	for i := range 4 { // transactions of their own
		l.produce(given("u1", "marketing", ago(48*time.Hour)), track("u1", "Order Completed", fmt.Sprint("m", i), ago(47*time.Hour)))
		r.read()
	}
	before := r.digests()
	r.stop()
	changelog := Topics{l.cfg.Group}.Changelog()
	for _, rec := range l.readPartition(changelog, 0) {
		if bytes.Equal(rec.Key, state.CheckpointKey) {
			l.deleteRecords(changelog, 0, rec.Offset+1)
			break
		}
	}
	must(t, os.RemoveAll(l.data))
	l.fetcher = piecemeal{l.fetcher}
	r = l.start()
	r.read()
	if after := r.digests(); !slices.Equal(before, after) {
		t.Errorf("digests are %v, were %v", after, before)
	}
	r.stop()
}

// piecemeal fetches one record batch, or a few, at a time.
type piecemeal struct{ stream.Fetcher }

func (f piecemeal) Fetch(ctx context.Context, at []stream.Position, o stream.FetchOptions, b *stream.Buffer) ([]stream.Fetched, error) {
	o.MaxBytes = 1
	return f.Fetcher.Fetch(ctx, at, o, b)
}

// damageImage overwrites the middle of the image's largest files.
func damageImage(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir + "/badger")
	must(t, err)
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".sst") || name == "MANIFEST" {
			must(t, os.WriteFile(dir+"/badger/"+name, []byte("damaged"), 0o600))
		}
	}
}

// A changelog that was begun anew elsewhere is another history than an image's,
// even where it is as long as the one before: the image is thrown away.
func TestImageOfAnotherChangelogIsThrownAway(t *testing.T) {
	for name, n := range map[string]int{"as long": 1, "longer": 4} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, labConfig{rules: rememberingRules, partitions: 1})
			l.holdClock(ago(time.Hour))
			l.produce(given("u1", "marketing", ago(48*time.Hour)), track("u1", "Order Completed", "m1", ago(47*time.Hour)))
			r := l.start()
			r.read()
			r.stop()
			l.remake(Topics{l.cfg.Group}.Changelog())
			l.forgetOffsets()
			l.elsewhere(n)
			r = l.start()
			r.read()
			eventually(t, "the image is thrown away", func() bool { return strings.Contains(l.log.String(), "image is thrown away") })
			r.stop()
		})
	}
}

// remake deletes a topic and creates it again.
func (l *lab) remake(topic string) {
	l.t.Helper()
	l.broker.DeleteTopic(topic)
	for _, s := range (Topics{l.cfg.Group}).Specs(l.set) {
		if s.Name == topic {
			_, err := l.client.CreateTopics(l.t.Context(), []kafka.NewTopic{{Name: topic, Partitions: l.partitionsOf(topic), ReplicationFactor: 1, Configs: s.Configs}})
			must(l.t, err)
		}
	}
	must(l.t, l.client.WaitTopics(l.t.Context(), topic))
}

// elsewhere lets another instance, with an image of its own, work n times.
func (l *lab) elsewhere(n int) {
	l.t.Helper()
	data := l.data
	l.data = l.t.TempDir() + "/data"
	for i := range n {
		if i > 0 {
			l.produce(track("u1", "Order Completed", fmt.Sprint("again", i), ago(46*time.Hour)))
		}
		r := l.start()
		r.read()
		r.stop()
	}
	l.data = data
}

// Each step of a transaction fails once, before and after the broker has
// carried it out; the processor recovers each time and publishes once.
func TestFailingTransactions(t *testing.T) {
	h := newHistory(seed(t), 1500)
	l := newLab(t, labConfig{rules: rememberingRules, partitions: 1})
	l.cfg.BatchBytes = 2000
	f := &faults{every: 5}
	inner := l.transactor
	l.transactor = func(id string) stream.Transactor { return &faulty{Transactor: inner(id), faults: f} }
	l.produce(h.all()...)
	r := l.start()
	r.caughtUp()
	r.stop()
	want, _ := expected(t, l.set, h, time.Now())
	changes := l.changes()
	compare(t, bySubject(changes), want, h.stopped())
	l.verify(changes)
	if n := f.done.Load(); n < 8 {
		t.Errorf("only %d faults were tried", n)
	}
	l.kept()
}

// kept checks that no image was thrown away: what is in one is always a moment of
// its changelog, so that only what came after is read again.
func (l *lab) kept() {
	l.t.Helper()
	if strings.Contains(l.log.String(), "image is thrown away") {
		l.t.Errorf("a sound image was thrown away:\n%s", l.log.String())
	}
}

// faults decides which calls of a transactor fail: at first every so many, in
// turn each step before and after it is done.
type faults struct {
	every int64
	calls atomic.Int64
	done  atomic.Int64
}

var errFault = errors.New("a fault of the test")

const maxFaults = 12

func (f *faults) strike(step int64) (before, after bool) {
	n := f.calls.Add(1)
	if n%f.every != 0 || f.done.Load() >= maxFaults {
		return false, false
	}
	k := f.done.Add(1)
	return k%2 == step%2, k%2 != step%2
}

type faulty struct {
	stream.Transactor
	faults *faults
}

func (f *faulty) Produce(ctx context.Context, ms []stream.Message) ([]stream.Produced, error) {
	before, after := f.faults.strike(0)
	if before {
		return nil, errFault
	}
	p, err := f.Transactor.Produce(ctx, ms)
	if after {
		return nil, errFault
	}
	return p, err
}

func (f *faulty) SendOffsets(ctx context.Context, m stream.GroupMember, at []stream.Position) error {
	before, after := f.faults.strike(1)
	if before {
		return errFault
	}
	err := f.Transactor.SendOffsets(ctx, m, at)
	if after {
		return errFault
	}
	return err
}

func (f *faulty) Commit(ctx context.Context) error {
	before, after := f.faults.strike(0)
	if before {
		return errFault
	}
	err := f.Transactor.Commit(ctx)
	if after {
		return errFault
	}
	return err
}

// A transaction of somebody else that hangs on the changelog hides what was
// committed after it began: recovery waits for its end, and says so.
func TestHungTransactionOnTheChangelog(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	l.holdClock(at)
	l.produce(given("u1", "marketing", at))
	r := l.start()
	r.read()
	stranger := l.transactor("somebody-else")
	must(t, stranger.Init(background(t)))
	_, err := stranger.Produce(background(t), []stream.Message{{Topic: Topics{l.cfg.Group}.Changelog(), Key: []byte("rules"), Value: []byte("none")}})
	must(t, err)
	l.produce(track("u1", "Order Completed", "m1", at))
	r.read()
	r.stop()
	r = l.start()
	later := at
	eventually(t, "it says that it waits", func() bool {
		later = later.Add(time.Second)
		l.holdClock(later)
		return strings.Contains(l.log.String(), "an open transaction on the changelog holds up recovery")
	})
	if r.stateOf(0).Ready {
		t.Error("it did not wait")
	}
	must(t, stranger.Abort(background(t)))
	eventually(t, "it is at work", func() bool { return r.stateOf(0).Ready })
	l.produce(track("u1", "Unread", "m2", at))
	r.read()
	r.stop()
	l.kept()
	l.verify(l.changes())
	if n := len(only(causes(l.changes()), "m1")); n != 1 {
		t.Errorf("%d changes by the event:%s", n, lines(l.changes()))
	}
}

// Nothing of a transaction is in the image or counted before its end: one that
// fails then, however much has been written behind meanwhile, leaves the image as
// it was.
func TestImageFollowsTheTransaction(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	l.holdClock(at)
	l.produce(given("u1", "marketing", at))
	var fail atomic.Bool
	inner := l.transactor
	var r *running
	l.transactor = func(id string) stream.Transactor {
		return &failingAtLast{inner(id), func() error {
			if !fail.Swap(false) {
				return nil
			}
			return errors.Join(errFault, r.processor.running[0].image.Flush(t.Context()))
		}}
	}
	r = l.start()
	r.read()
	fail.Store(true)
	l.produce(track("u1", "Order Completed", "m1", at))
	r.read()
	eventually(t, "the event is counted", func() bool { return r.metric(t, "segmentd_events_total", "outcome", "admitted") > 0 })
	if n := r.metric(t, "segmentd_events_total", "outcome", "admitted"); n != 1 {
		t.Errorf("%v events were counted", n)
	}
	if n := r.metric(t, "segmentd_changes_total", "segment", "buyer"); n != 1 {
		t.Errorf("%v changes were counted", n)
	}
	r.stop()
	if fail.Load() || !strings.Contains(l.log.String(), errFault.Error()) {
		t.Error("no transaction failed")
	}
	l.kept()
	l.verify(l.changes())
}

// failingAtLast fails instead of ending a transaction, where before says so.
type failingAtLast struct {
	stream.Transactor
	before func() error
}

func (f *failingAtLast) Commit(ctx context.Context) error {
	if err := f.before(); err != nil {
		return err
	}
	return f.Transactor.Commit(ctx)
}

// A second owner of the partition takes over; the first, fenced, comes back by
// the recovery path and continues from where the second was.
func TestFencedByAnotherOwner(t *testing.T) {
	l := newLab(t, labConfig{partitions: 1})
	l.holdClock(ago(time.Hour))
	l.produce(given("u1", "marketing", ago(48*time.Hour)))
	r := l.start()
	r.read()
	must(t, l.transactor("shop-0").Init(background(t)))
	l.produce(track("u1", "Order Completed", "m1", ago(47*time.Hour)))
	r.read()
	r.stop()
	if !strings.Contains(l.log.String(), "partition recovers") {
		t.Error("it was not fenced")
	}
	l.verify(l.changes())
}
