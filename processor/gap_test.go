package processor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// onPartition is a subject of a partition.
func (l *lab) onPartition(id int32) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("subject", i); l.of(name) == id {
			return name
		}
	}
}

// overtake lets three decisions of partition 0 come and go while nobody reads,
// and a fourth stay; both partitions have had input before.
func (l *lab) overtake() (gap Gap) {
	l.t.Helper()
	at := ago(time.Hour)
	a, b := l.onPartition(0), l.onPartition(1)
	l.produce(given(a, "marketing", at), given(b, "marketing", at), track(a, "Order Completed", "a1", at), track(b, "Order Completed", "b1", at))
	r := l.start()
	r.read()
	r.stop()
	from := l.watermarks(decisions)[0].End
	for range 3 {
		l.produce(decision(a, "marketing", "withdrawn", at))
	}
	l.produce(given(a, "marketing", at.Add(time.Minute)), track(b, "Order Completed", "b2", at.Add(time.Minute)))
	l.deleteRecords(decisions, 0, from+3)
	return Gap{Topic: decisions, From: from, To: from + 3}
}

// stops waits until a partition has stopped for a gap.
func (r *running) stops(id int32) (gap Gap) {
	r.lab.t.Helper()
	eventually(r.lab.t, fmt.Sprintf("partition %d stops", id), func() bool {
		st := r.stateOf(id)
		if st.Gap != nil {
			gap = *st.Gap
		}
		return st.Gap != nil
	})
	return gap
}

func (r *running) stateOf(id int32) PartitionState {
	_, states := r.processor.States()
	for _, st := range states {
		if st.Partition == id {
			return st
		}
	}
	return PartitionState{Partition: id}
}

// Decisions that retention deleted before they were read stop their partition
// alone, until an operator accepts that; then no restart stops there again.
func TestDecisionsOvertakenByRetentionStopTheirPartition(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules})
	want := l.overtake()
	r := l.start()
	if got := r.stops(0); got != want {
		t.Fatalf("the gap is %s, want %s", got, want)
	}
	b := l.onPartition(1)
	eventually(t, "partition 1 runs on", func() bool { return len(only(causes(l.changes()), "b2")) > 0 || l.membersOf(r, b) != "" })
	if n := r.metric(t, "segmentd_gap_records", "topic", decisions, "partition", "0"); n != 3 {
		t.Errorf("the metric has %v missing records, want 3", n)
	}
	if n := r.metric(t, "segmentd_partitions", "state", "stopped"); n != 1 {
		t.Errorf("%v partitions are stopped", n)
	}
	if text := l.log.String(); !strings.Contains(text, "decisions or requests are missing") || !strings.Contains(text, "resume --partition 0 --accept-gap") {
		t.Errorf("the log does not say what to do:\n%s", text)
	}
	if _, _, err := r.processor.Lookup(background(t), subject.ID{Value: l.onPartition(0)}); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "partition 0 has stopped") {
		t.Errorf("a look-up of the stopped partition: %v", err)
	}
	for _, err := range []error{r.processor.Resume(background(t), 0, false), r.processor.Resume(background(t), 1, true), r.processor.Resume(background(t), -1, true)} {
		if !errors.Is(err, ErrGap) {
			t.Errorf("resumed where it must not be: %v", err)
		}
	}
	// Nothing is forgotten or accepted by a restart, in order or not.
	r.stop()
	r = l.start()
	r.stops(0)
	r.crash()
	r = l.start()
	if got := r.stops(0); got != want {
		t.Fatalf("after a crash the gap is %s, want %s", got, want)
	}
	must(t, r.processor.Resume(background(t), 0, true))
	r.crash() // at once: what was answered is on record
	for _, end := range []func(*running){(*running).crash, (*running).stop} {
		r = l.start()
		r.read()
		if st := r.stateOf(0); !st.Ready || len(st.Accepted) != 1 || st.Accepted[0].Gap != want {
			t.Errorf("after the acceptance: %+v", st)
		}
		end(r)
	}
	if n := strings.Count(l.log.String(), "is on record: the partition goes on"); n != 1 {
		t.Errorf("the acceptance was logged %d times", n)
	}
	l.verify(l.changes())
	// What is missing next needs another acceptance.
	from := l.watermarks(decisions)[0].End
	l.produce(given(l.onPartition(0), "marketing", ago(time.Minute)))
	l.deleteRecords(decisions, 0, from+1)
	r = l.start()
	if got := r.stops(0); got != (Gap{Topic: decisions, From: from, To: from + 1}) {
		t.Errorf("the second gap is %s", got)
	}
	must(t, r.processor.Resume(background(t), 0, true))
	r.read()
	r.stop()
}

// A gap that grows between being told and being accepted is told again.
func TestAcceptanceIsOfTheGapThatWasTold(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules})
	gap := l.overtake()
	r := l.start()
	r.stops(0)
	l.deleteRecords(decisions, 0, gap.To+1)
	if err := r.processor.Resume(background(t), 0, true); !errors.Is(err, ErrGap) || !strings.Contains(err.Error(), "another by now") {
		t.Errorf("a gap that has grown was accepted: %v", err)
	}
	if got := r.stops(0); got.To != gap.To+1 {
		t.Errorf("the gap is %s", got)
	}
	must(t, r.processor.Resume(background(t), 0, true))
	r.read()
	r.stop()
}

// Several operators who accept one gap at once are all told that it is on record,
// and one who comes late when it was accepted.
func TestAcceptancesAtOnce(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules})
	l.overtake()
	begun, goOn := make(chan struct{}), make(chan struct{})
	inner := l.transactor
	l.transactor = func(id string) stream.Transactor {
		if id != "shop-0" {
			return inner(id)
		}
		return &held{inner(id), sync.OnceFunc(func() { close(begun); <-goOn })}
	}
	r := l.start()
	r.stops(0)
	told := make(chan error)
	accept := func() { told <- r.processor.Resume(background(t), 0, true) }
	go accept()
	<-begun // it is taken up, and not on record yet
	for range 4 {
		go accept()
	}
	close(goOn)
	late := func(err error) bool {
		return errors.Is(err, ErrGap) && strings.Contains(err.Error(), "the last one was accepted at 2") && strings.Contains(err.Error(), "(3 records)")
	}
	for range 5 {
		if err := <-told; err != nil && !late(err) {
			t.Error(err)
		}
	}
	if err := r.processor.Resume(background(t), 0, true); !late(err) {
		t.Errorf("one who comes late is told: %v", err)
	}
	r.read()
	r.stop()
}

// held is a transactor that waits before its first commit.
type held struct {
	stream.Transactor
	wait func()
}

func (h *held) Commit(ctx context.Context) error {
	h.wait()
	return h.Transactor.Commit(ctx)
}

// An acceptance whose transaction fails is not on record until one succeeds, or
// it turns out that it has.
func TestAcceptanceOutlivesFailingTransactions(t *testing.T) {
	for _, carriedOut := range []int64{0, 1} {
		t.Run(fmt.Sprintf("carried out %d", carriedOut), func(t *testing.T) { acceptFailing(t, carriedOut) })
	}
}

// acceptFailing lets the end of the acceptance's transaction fail, before or
// after the broker has done it.
func acceptFailing(t *testing.T, carriedOut int64) {
	l := newLab(t, labConfig{rules: clockRules})
	l.overtake()
	inner := l.transactor
	f := &faults{every: 4}
	f.calls.Store(1) // the first transaction's third call fails
	f.done.Store(1 - carriedOut)
	l.transactor = func(id string) stream.Transactor {
		if id != "shop-0" {
			return inner(id)
		}
		return &faulty{Transactor: inner(id), faults: f}
	}
	r := l.start()
	r.stops(0)
	must(t, r.processor.Resume(background(t), 0, true))
	r.crash()
	r = l.start()
	r.read()
	r.stop()
	if f.done.Load() < 2-carriedOut {
		t.Error("no transaction failed")
	}
	l.verify(l.changes())
}

// A paused partition rests with all that it has, the others run on, and it goes
// on where it was.
func TestPause(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules})
	at := ago(time.Hour)
	a, b := l.onPartition(0), l.onPartition(1)
	l.produce(given(a, "marketing", at), given(b, "marketing", at))
	r := l.start()
	r.read()
	must(t, r.processor.Pause(background(t), 0))
	if st := r.stateOf(0); !st.Paused || st.Ready {
		t.Errorf("partition 0 is %+v", st)
	}
	l.produce(track(a, "Order Completed", "a1", at), track(b, "Order Completed", "b1", at))
	eventually(t, "partition 1 runs on", func() bool { return len(only(causes(l.changes()), "b1")) > 0 })
	if len(only(causes(l.changes()), "a1")) > 0 {
		t.Error("a paused partition has worked")
	}
	if _, _, err := r.processor.Lookup(background(t), subject.ID{Value: a}); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "partition 0 is paused, until POST /v1/admin/resume?partition=0 ") {
		t.Errorf("a look-up of the paused partition: %v", err)
	}
	if n := r.metric(t, "segmentd_partitions", "state", "paused"); n != 1 {
		t.Errorf("%v partitions are paused", n)
	}
	must(t, r.processor.Resume(background(t), 0, false))
	if r.stateOf(0).Paused {
		t.Error("a partition that was told to go on is paused")
	}
	r.read()
	must(t, r.processor.Pause(background(t), -1))
	for id := range l.cfg.Partitions {
		if !r.stateOf(id).Paused {
			t.Errorf("partition %d is not paused", id)
		}
	}
	must(t, r.processor.Resume(background(t), -1, false))
	r.read()
	var none *NoPartitionError
	if err := r.processor.Pause(background(t), 2); !errors.As(err, &none) {
		t.Errorf("a partition that is not there: %v", err)
	}
	must(t, r.processor.Pause(background(t), -1)) // a stop ends it
	r.stop()
	l.verify(l.changes())
}

// Events that retention deleted before they were read are lost, which is told:
// in the log, by a metric, and by the coverage of the segments they concerned,
// also after a restart.
func TestEventsOvertakenByRetention(t *testing.T) {
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprintf("kept %v", kept), func(t *testing.T) {
			l := newLab(t, labConfig{rules: coveredRules, partitions: 1})
			at := ago(time.Hour)
			l.produce(given("u1", "marketing", at), track("u1", "Unread", "m1", at))
			r := l.start()
			r.read()
			r.stop()
			l.produce(track("u1", "Order Completed", "lost", at))
			since := at.Add(time.Minute)
			if kept {
				l.produce(track("u1", "Order Completed", "kept", since))
			}
			l.deleteRecords(events, 0, 2)
			started := time.Now().Add(-time.Second)
			r = l.start()
			r.read()
			if n := r.metric(t, "segmentd_overtaken_records_total", "topic", events); n != 1 {
				t.Errorf("%v records are counted, want 1", n)
			}
			r.crash()
			r = l.start()
			r.read()
			for _, segment := range []string{"buyer", "named", "both"} {
				c, ok := r.processor.Coverage(segment)
				if right := c.From == subject.FromTime(since) || !kept && c.From.Time().After(started); !ok || !right || c.Filling {
					t.Errorf("the coverage of %s is %v %+v", segment, ok, c)
				}
			}
			if c, ok := r.processor.Coverage("listed"); ok {
				t.Errorf("a segment that no event concerns has a coverage: %+v", c)
			}
			r.stop()
			if got := causes(l.changes()); kept != slices.ContainsFunc(got, func(c record) bool { return c.topic == "kept" }) {
				t.Errorf("changes:%s", lines(l.changes()))
			}
			if !strings.Contains(l.log.String(), "events are lost") {
				t.Error("nobody was told")
			}
		})
	}
}

const coveredRules = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 60d}
lists:
  - {key: vips, members: [u1]}
segments:
  - {key: buyer, purpose: marketing, when: 'events("Order Completed").exists()'}
  - {key: named, purpose: marketing, when: 'traits.plan == "gold"'}
  - {key: both, purpose: marketing, when: 'segment("buyer") && list("vips")'}
  - {key: listed, purpose: marketing, when: 'list("vips")'}
`

// Waiting for an acceptance ends with who waits.
func TestResumeIsPatientWithinBounds(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules})
	l.overtake()
	inner := l.transactor
	l.transactor = func(id string) stream.Transactor {
		if id != "shop-0" {
			return inner(id)
		}
		return &hanging{inner(id)}
	}
	r := l.start()
	r.stops(0)
	if err := r.processor.Resume(shortly(t), 0, true); !errors.Is(err, ErrNotReady) {
		t.Errorf("what is not on record was confirmed: %v", err)
	}
	l.transactor = inner
	r.crash()
	r = l.start()
	r.stops(0) // it was not on record
	r.stop()
}

// hanging is a transactor whose commits never come to an end.
type hanging struct{ stream.Transactor }

func (h *hanging) Commit(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
