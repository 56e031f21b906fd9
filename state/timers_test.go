package state

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// timerModel is what timers should do, told naively.
type timerModel map[int]subject.Instant // next by subject; Never: none

func (m timerModel) due(p *Partition, before subject.Instant) (n int, ok bool) {
	best := timer{at: before}
	for i, at := range m {
		if t := (timer{at, p.keyer.Key(simple(i, 0, 0).ID)}); at < before && (!ok || t.before(best)) {
			best, n, ok = t, i, true
		}
	}
	return n, ok
}

// timerRun drives a partition and the model alike.
type timerRun struct {
	t         *testing.T
	rng       *rand.Rand
	dir       string
	opts      Options
	store     *Store
	partition *Partition
	model     timerModel
	committed map[uint64]timerModel // by transaction
	n         uint64
	now       subject.Instant
}

func TestTimersFireAsInANaiveModel(t *testing.T) {
	rng := newRand(t)
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		opts := testOptions()
		opts.TimerWindow, opts.OverlayBytes, opts.WriteDelay = 1+rng.IntN(12), 1<<rng.IntN(14), time.Duration(rng.IntN(3))*time.Millisecond+1
		opts.CacheBytes = 1 << rng.IntN(18)
		r := &timerRun{t: t, rng: rng, dir: t.TempDir(), opts: opts, model: timerModel{}, committed: map[uint64]timerModel{0: {}}}
		r.open()
		for range 400 {
			r.step()
		}
		closeAll(t, r.store, r.partition)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

func (r *timerRun) open() {
	var err error
	if r.store, err = Open(r.dir, r.opts); err != nil {
		r.t.Fatal(err)
	}
	if r.partition, err = r.store.Partition(3); err != nil {
		r.t.Fatal(err)
	}
}

func (r *timerRun) step() {
	switch k := r.rng.IntN(100); {
	case k < 50:
		r.arm()
	case k < 75:
		r.fire()
	case k < 93:
		r.n++
		commit(r.t, r.partition, r.n)
		r.committed[r.n] = maps.Clone(r.model)
	case k < 96:
		flush(r.t, r.partition)
	case k < 98:
		if err := r.partition.Reset(); err != nil {
			r.t.Fatal(err)
		}
		r.goBack()
	case k < 99:
		closeAll(r.t, r.store, r.partition)
		r.open()
		r.goBack()
	}
	if at := r.partition.Earliest(); r.earliest() < at {
		r.t.Fatalf("earliest timer %v, but there is one at %v", at, r.earliest())
	}
}

func (r *timerRun) earliest() subject.Instant {
	at := subject.Never
	for _, next := range r.model {
		at = min(at, next)
	}
	return at
}

func (r *timerRun) goBack() {
	cp, _, _ := r.partition.Position()
	r.n = cp.Transaction
	r.model = maps.Clone(r.committed[r.n])
}

func (r *timerRun) arm() {
	i := r.rng.IntN(40)
	rec := get(r.t, r.partition, i)
	if rec == nil {
		rec = simple(i, 0, subject.Never)
	}
	if want, ok := r.model[i]; ok && rec.Due() != want {
		r.t.Fatalf("subject %d is due at %v, want %v", i, rec.Due(), want)
	}
	r.put(i, rec, r.instant())
}

// put keeps a record with its next instant, which may be held.
func (r *timerRun) put(i int, rec *subject.Record, next subject.Instant) {
	rec.Next, rec.Held = next, subject.Held{}
	if until := r.instant(); r.rng.IntN(3) == 0 && until > next {
		rec.Held = subject.Held{Since: r.now, Until: until}
	}
	put(r.t, r.partition, rec)
	r.model[i] = rec.Due()
}

func (r *timerRun) instant() subject.Instant {
	if r.rng.IntN(6) == 0 {
		return subject.Never
	}
	return r.now + subject.Instant(r.rng.IntN(60)) - 5
}

func (r *timerRun) fire() {
	r.now += subject.Instant(r.rng.IntN(15))
	for range 30 {
		want, wanted := r.model.due(r.partition, r.now)
		rec, at, ok, err := r.partition.Due(r.now)
		if err != nil {
			r.t.Fatal(err)
		}
		if ok != wanted {
			r.t.Fatalf("due before %v: %v, want %v", r.now, ok, wanted)
		}
		if !ok {
			return
		}
		if id := fmt.Sprint("u", want); rec.ID.Value != id || at != r.model[want] {
			r.t.Fatalf("due: %s at %v, want %s at %v", rec.ID.Value, at, id, r.model[want])
		}
		r.put(want, rec, max(at, r.instant()))
	}
}

func TestTheWindowStaysSmall(t *testing.T) {
	const limit, n = 64, 3000
	opts := testOptions()
	opts.TimerWindow, opts.OverlayBytes = limit, 8<<10
	p := openPartition(t, openStore(t, t.TempDir(), opts), 3)
	rng := newRand(t)
	for i := range n {
		put(t, p, simple(i, 1, subject.Instant(rng.IntN(1_000_000))))
		if len(p.window.heap) > 2*limit {
			t.Fatalf("%d timers in memory", len(p.window.heap))
		}
		if i%100 == 99 {
			commit(t, p, uint64(i))
		}
	}
	flush(t, p)
	last := subject.LongAgo
	for fired := 0; ; fired++ {
		r, at, ok, err := p.Due(subject.Never)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			if fired != n {
				t.Errorf("%d timers fired, want %d", fired, n)
			}
			return
		}
		if at < last || len(p.window.heap) > 2*limit {
			t.Fatalf("timer at %v after %v, %d in memory", at, last, len(p.window.heap))
		}
		last, r.Next = at, subject.Never
		put(t, p, r)
		if fired%100 == 0 {
			commit(t, p, uint64(n+fired))
		}
	}
}

func TestPassedTimersAreRemoved(t *testing.T) {
	p := openPartition(t, openStore(t, t.TempDir(), testOptions()), 3)
	count := func() int {
		t.Helper()
		flush(t, p)
		at, err := p.earliestTimers()
		if err != nil {
			t.Fatal(err)
		}
		return len(at)
	}
	for i := range 100 {
		put(t, p, simple(i, 1, 10))
	}
	commit(t, p, 1)
	for i := range 100 { // moved on: the timers at 10 are stale
		put(t, p, simple(i, 2, 20))
	}
	commit(t, p, 2)
	if _, _, ok, err := p.Due(15); ok || err != nil {
		t.Fatalf("a stale timer fired: %v", err)
	}
	if n := count(); n != 100 {
		t.Errorf("%d subjects have timers, want 100", n)
	}
	if fired := drain(t, p); len(fired) != 100 {
		t.Errorf("%d timers fired, want 100", len(fired))
	}
	commit(t, p, 3)
	if n := count(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

func TestDigestNoticesMissingTimers(t *testing.T) {
	p := openPartition(t, openStore(t, t.TempDir(), testOptions()), 3)
	put(t, p, simple(1, 1, 10))
	commit(t, p, 1)
	digest(t, p)
	if err := p.overlay.add(func(b *batch) { b.setTimer(timer{10, p.keyer.Key(simple(1, 0, 0).ID)}, false) }); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Digest(); err == nil {
		t.Error("a missing timer went unnoticed")
	}
}

func TestKeysSortAsWhatTheyName(t *testing.T) {
	rng := newRand(t)
	space := keyspace(7)
	ts := []timer{{at: subject.LongAgo}, {at: -1}, {at: 0}, {at: 1}, {at: subject.Never}}
	for range 200 {
		u := timer{at: subject.Instant(rng.Int64() - rng.Int64())}
		u.key[0], u.key[15] = byte(rng.Uint32()), byte(rng.Uint32())
		ts = append(ts, u)
	}
	slices.SortFunc(ts, timer.compare)
	var last []byte
	for _, u := range ts {
		b := space.appendTimer(nil, u)
		if bytes.Compare(last, b) > 0 {
			t.Errorf("the key of %v sorts before its predecessor's", u)
		}
		last = b
		if got, ok := timerOf(b); !ok || got != u {
			t.Errorf("timer %v reads back as %v", u, got)
		}
	}
	key := Key{1, 2, 3}
	if got, ok := recordOf(space.appendRecord(nil, key)); !ok || got != key {
		t.Errorf("record key reads back as %v", got)
	}
	if _, ok := timerOf(space.appendRecord(nil, key)); ok {
		t.Error("a record key reads as a timer's")
	}
}

// Timers that are in the window twice do not bring its horizon to one that it keeps.
func TestTheHorizonIsBehindWhatIsKept(t *testing.T) {
	w := newWindow(1)
	w.horizon = endOfTime
	for _, at := range []subject.Instant{5, 5, 5, 7, 9} {
		w.arm(timer{at: at})
	}
	for len(w.heap) > 0 {
		if earliest := w.pop(); !earliest.before(w.horizon) {
			t.Errorf("the timer at %v is kept, and the horizon is at %v", earliest.at, w.horizon.at)
		}
	}
}
