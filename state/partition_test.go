package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/state/subject"
)

func get(t testing.TB, p *Partition, n int) *subject.Record {
	t.Helper()
	r, err := p.Get(simple(n, 0, 0).ID)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func flush(t testing.TB, p *Partition) {
	t.Helper()
	if err := p.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func digest(t testing.TB, p *Partition) string {
	t.Helper()
	d, err := p.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// lazy keeps the overlay from being written unless asked.
func lazy() Options {
	opts := testOptions()
	opts.WriteDelay = time.Hour
	return opts
}

func TestReadsSeeTheNewestOfCacheOverlayAndBadger(t *testing.T) {
	s := openStore(t, t.TempDir(), lazy())
	p := openPartition(t, s, 3)
	if r := get(t, p, 1); r != nil {
		t.Fatalf("an empty image has %v", r)
	}
	version := func(where string, want uint64) {
		t.Helper()
		if r := get(t, p, 1); r == nil || r.Version != want {
			t.Errorf("%s: %v, want version %d", where, r, want)
		}
	}
	put(t, p, simple(1, 1, 50))
	version("dirty", 1)
	commit(t, p, 1)
	flush(t, p)
	p.cache.clear()
	version("Badger", 1)
	put(t, p, simple(1, 2, 50))
	commit(t, p, 2)
	version("cache", 2)
	p.cache.clear()
	version("overlay", 2)
	flush(t, p)
	p.cache.clear()
	version("Badger after the overlay", 2)
	if _, found := p.overlay.get(p.keyer.Key(simple(1, 0, 0).ID)); found {
		t.Error("the overlay kept what was written")
	}
}

func TestDirtyRecordsAreEncodedOnceInOrder(t *testing.T) {
	p := openPartition(t, openStore(t, t.TempDir(), lazy()), 3)
	for _, n := range []int{3, 1, 2, 1} {
		put(t, p, simple(n, uint64(n), subject.Never))
	}
	dirty := p.Dirty()
	if len(dirty) != 3 || p.DirtyCount() != 3 {
		t.Fatalf("%d dirty records, count %d, want 3", len(dirty), p.DirtyCount())
	}
	for i, n := range []int{3, 1, 2} {
		want := simple(n, uint64(n), subject.Never)
		if dirty[i].Key != p.keyer.Key(want.ID) || !bytes.Equal(dirty[i].Value, AppendRecord(nil, want)) {
			t.Errorf("dirty record %d is not that of subject %d", i, n)
		}
	}
	if again := p.Dirty(); &again[0].Value[0] != &dirty[0].Value[0] {
		t.Error("records were encoded twice")
	}
	commit(t, p, 1)
	if p.DirtyCount() != 0 || len(p.Dirty()) != 0 {
		t.Error("records are dirty after the commit")
	}
}

func TestWhatWasCommittedIsWritten(t *testing.T) {
	p := openPartition(t, openStore(t, t.TempDir(), lazy()), 3)
	r := simple(1, 1, 50)
	put(t, p, r)
	commit(t, p, 1)
	r.Version, r.Next = 99, 40 // in place, before the write
	put(t, p, r)
	flush(t, p)
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	if got := get(t, p, 1); got == nil || got.Version != 1 || got.Next != 50 {
		t.Errorf("written: %v, want what was committed", got)
	}
	if p.Earliest() != 50 {
		t.Errorf("earliest timer %v, want 50", p.Earliest())
	}
}

func TestResetForgetsWhatIsNotInBadger(t *testing.T) {
	p := openPartition(t, openStore(t, t.TempDir(), lazy()), 3)
	put(t, p, simple(1, 1, 10))
	commit(t, p, 1)
	flush(t, p)
	put(t, p, simple(1, 2, 5))
	put(t, p, simple(2, 2, 7))
	commit(t, p, 2)
	put(t, p, simple(3, 3, 1))
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	cp, next, ok := p.Position()
	if !ok || cp.Transaction != 1 || next != 100 {
		t.Errorf("position %d at %d (%v), want transaction 1 at 100", cp.Transaction, next, ok)
	}
	if r := get(t, p, 1); r == nil || r.Version != 1 {
		t.Errorf("subject 1: %v, want version 1", r)
	}
	if get(t, p, 2) != nil || get(t, p, 3) != nil {
		t.Error("subjects that never reached Badger are still there")
	}
	if p.Earliest() != 10 || p.DirtyCount() != 0 {
		t.Errorf("earliest timer %v and %d dirty records, want 10 and none", p.Earliest(), p.DirtyCount())
	}
	// Catching up brings the same state as if nothing had happened.
	restore(t, p, simple(1, 2, 5), simple(2, 2, 7))
	if err := p.RestoreDone(checkpoint(2), 200); err != nil {
		t.Fatal(err)
	}
	if r := get(t, p, 2); r == nil || r.Version != 2 || p.Earliest() != 5 {
		t.Errorf("after catching up: %v, earliest %v", r, p.Earliest())
	}
}

func restore(t testing.TB, p *Partition, rs ...*subject.Record) {
	t.Helper()
	for _, r := range rs {
		key := p.keyer.Key(r.ID)
		if err := p.Restore(key[:], AppendRecord(nil, r)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARestoredImageEqualsOneThatNeverCrashed(t *testing.T) {
	rng := newRand(t)
	s := openStore(t, t.TempDir(), testOptions())
	live, restored := openPartition(t, s, 1), openPartition(t, s, 2)
	changelog := []Dirty{}
	for n := uint64(1); n <= 50; n++ {
		for range 40 {
			i := rng.IntN(300)
			r := get(t, live, i)
			if r == nil {
				r = simple(i, 0, subject.Never)
			}
			r.Version, r.Next, r.Held = n, subject.Instant(rng.IntN(10_000)), subject.Held{}
			if i%3 == 0 {
				r.Held = subject.Held{Since: r.Next, Until: r.Next + 1 + subject.Instant(rng.IntN(1_000))}
			}
			put(t, live, r)
		}
		for {
			r, _, ok, err := live.Due(subject.Instant(n * 50))
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			r.Next, r.Held = r.Next+subject.Instant(100+rng.IntN(5_000)), subject.Held{}
			put(t, live, r)
		}
		changelog = append(changelog, cloned(live.Dirty())...)
		commit(t, live, n)
	}
	for i, d := range changelog {
		if err := restored.Restore(d.Key[:], d.Value); err != nil {
			t.Fatal(err)
		}
		if i == len(changelog)/2 {
			if err := restored.RestoreDone(checkpoint(25), 2500); err != nil {
				t.Fatal(err)
			}
			if err := restored.Reset(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := restored.RestoreDone(checkpoint(50), 5000); err != nil {
		t.Fatal(err)
	}
	if a, b := digest(t, live), digest(t, restored); a != b {
		t.Errorf("digests differ: live %s, restored %s", a, b)
	}
	if diff := cmp.Diff(drain(t, live), drain(t, restored)); diff != "" {
		t.Errorf("timers (-live +restored):\n%s", diff)
	}
}

// drain fires all timers.
func drain(t testing.TB, p *Partition) (fired []string) {
	t.Helper()
	for {
		r, at, ok, err := p.Due(subject.Never)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return fired
		}
		fired = append(fired, fmt.Sprint(r.ID.Value, " ", int64(at)))
		r.Next, r.Held = subject.Never, subject.Held{}
		put(t, p, r)
	}
}

func TestTombstonesAndDictionaryAreRestored(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	restore(t, p, simple(1, 1, 10), simple(2, 1, 20))
	key := p.keyer.Key(simple(1, 0, 0).ID)
	for _, r := range [][2][]byte{{key[:], nil}, {DictionaryKey, []byte("words")}, {CheckpointKey, []byte("{}")}} {
		if err := p.Restore(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	if get(t, p, 1) != nil || get(t, p, 2) == nil {
		t.Error("the tombstone had no effect, or too much")
	}
	if err := p.RestoreDone(checkpoint(1), 5); err != nil {
		t.Fatal(err)
	}
	if get(t, p, 1) != nil || get(t, p, 2) == nil {
		t.Error("the tombstone had no effect in Badger, or too much")
	}
	if fired := drain(t, p); len(fired) != 1 || fired[0] != "u2 20" {
		t.Errorf("timers fired: %v", fired)
	}
	closeAll(t, s, p)
	s = openStore(t, dir, testOptions())
	p = openPartition(t, s, 3)
	if string(p.Fixed(DictionaryKey)) != "words" {
		t.Errorf("dictionary %q", p.Fixed(DictionaryKey))
	}
	p.SetFixed(DictionaryKey, []byte("other words"))
	commit(t, p, 2)
	closeAll(t, s, p)
	if p = openPartition(t, openStore(t, dir, testOptions()), 3); string(p.Fixed(DictionaryKey)) != "other words" {
		t.Errorf("dictionary %q", p.Fixed(DictionaryKey))
	}
}

func TestRestoreRefusesWhatIsNoRecord(t *testing.T) {
	p := openPartition(t, openStore(t, t.TempDir(), testOptions()), 3)
	for name, r := range map[string][2][]byte{
		"key":   {[]byte("short"), AppendRecord(nil, simple(1, 1, 1))},
		"value": {make([]byte, KeyBytes), []byte{CodecVersion}},
		"empty": {make([]byte, KeyBytes), {}},
	} {
		if err := p.Restore(r[0], r[1]); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v, want %v", name, err, ErrRecord)
		}
	}
	if err := p.Restore(make([]byte, KeyBytes), []byte{CodecVersion + 1}); !errors.Is(err, ErrNewerVersion) {
		t.Errorf("newer record: %v, want %v", err, ErrNewerVersion)
	}
}

func TestWipeConcernsOnePartition(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, testOptions())
	p, other := openPartition(t, s, 1), openPartition(t, s, 256)
	for i := range 50 {
		put(t, p, simple(i, 1, 10))
		put(t, other, simple(i, 1, 10))
	}
	commit(t, p, 1)
	commit(t, other, 1)
	before := digest(t, other)
	if err := p.Wipe(); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := p.Position(); ok || get(t, p, 1) != nil || p.Earliest() != subject.Never {
		t.Error("the wiped partition is not empty")
	}
	if after := digest(t, other); after != before {
		t.Error("another partition changed")
	}
	put(t, p, simple(7, 7, 70))
	commit(t, p, 1)
	closeAll(t, s, p, other)
	s = openStore(t, dir, testOptions())
	p = openPartition(t, s, 1)
	if r := get(t, p, 7); r == nil || get(t, p, 1) != nil {
		t.Errorf("after reopening: %v, %v", r, get(t, p, 1))
	}
}

func TestAnUnfinishedRestoreIsRemoved(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	restore(t, p, simple(1, 1, 10), simple(2, 1, 10))
	flush(t, p)
	closeAll(t, s, p)
	p = openPartition(t, openStore(t, dir, testOptions()), 3)
	if _, _, ok := p.Position(); ok || get(t, p, 1) != nil || p.Earliest() != subject.Never {
		t.Error("an image without a position is not empty")
	}
}

func TestAFailedWriteStopsThePartition(t *testing.T) {
	s, err := Open(t.TempDir(), lazy())
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Partition(3)
	if err != nil {
		t.Fatal(err)
	}
	put(t, p, simple(1, 1, 10))
	commit(t, p, 1)
	flush(t, p)
	if err := s.db.Close(); err != nil { // the disk is gone
		t.Fatal(err)
	}
	put(t, p, simple(1, 2, 10))
	commit(t, p, 2)
	failed := p.Flush(context.Background())
	if failed == nil {
		t.Fatal("writing to a closed database succeeded")
	}
	put(t, p, simple(1, 3, 10))
	if err := p.Commit(checkpoint(3), 300); !errors.Is(err, badger.ErrDBClosed) && !errors.Is(err, badger.ErrBlockedWrites) {
		t.Errorf("Commit after a failed write: %v, want %v", err, failed)
	}
	if err := p.Close(); err == nil {
		t.Error("Close hides the failed write")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCommitWaitsForAFullOverlay(t *testing.T) {
	o := newOverlay(100, time.Hour)
	fill := func() error { return o.add(func(b *batch) { b.put(Key{byte(b.bytes)}, make([]byte, 100)) }) }
	if err := fill(); err != nil {
		t.Fatal(err)
	}
	b := o.next()
	if err := fill(); err != nil { // beside the one that is being written
		t.Fatal(err)
	}
	var group errgroup.Group
	var mu sync.Mutex
	finished := false
	group.Go(func() error {
		err := fill()
		mu.Lock()
		defer mu.Unlock()
		if !finished {
			err = errors.Join(err, errors.New("a full overlay took more in"))
		}
		return err
	})
	if n := o.bytes(); n < 200 {
		t.Errorf("the overlay holds %d bytes", n)
	}
	mu.Lock()
	finished = true
	mu.Unlock()
	o.written(nil)
	if b != nil && len(b.values) != 0 {
		t.Error("the written batch was not emptied")
	}
	if o.next() == nil {
		t.Fatal("nothing to write")
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	o.written(errors.New("disk full"))
	if err := fill(); err == nil || o.next() != nil {
		t.Error("the overlay goes on after a failed write")
	}
	o.close()
}

// A batch may be more than Badger takes in one transaction.
func TestBatchesOfSeveralTransactions(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, lazy())
	p := openPartition(t, s, 3)
	const n = 12_000
	text := subject.OfString(strings.Repeat("x", 1000))
	for i := range n {
		r := simple(i, 1, subject.Instant(i))
		r.EnsurePurpose("p").Traits = []subject.Trait{{Key: "bio", Value: text}}
		put(t, p, r)
	}
	commit(t, p, 1)
	if limit := s.db.MaxBatchSize(); p.Stats().OverlayBytes < 2*limit {
		t.Fatalf("%d bytes fit into two transactions of %d", p.Stats().OverlayBytes, limit)
	}
	closeAll(t, s, p)
	s = openStore(t, dir, testOptions())
	p = openPartition(t, s, 3)
	digest(t, p) // every timer is there
	count := 0
	if err := p.Each(func(*subject.Record) error { count++; return nil }); err != nil {
		t.Fatal(err)
	}
	if cp, _, ok := p.Position(); count != n || !ok || cp.Transaction != 1 {
		t.Errorf("%d of %d records, position %v", count, n, ok)
	}
}

func TestFlushEndsWithItsContext(t *testing.T) {
	o := newOverlay(100, time.Hour)
	if err := o.add(func(b *batch) { b.put(Key{}, nil) }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := o.flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("flush: %v, want %v", err, context.Canceled)
	}
	o.close()
}

func TestTheCacheStaysWithinItsBytes(t *testing.T) {
	opts := testOptions()
	opts.CacheBytes = 200 << 10
	s := openStore(t, t.TempDir(), opts)
	p := openPartition(t, s, 3)
	for n := uint64(1); n <= 20; n++ {
		for i := range 100 {
			put(t, p, simple(int(n)*100+i, n, subject.Instant(i)))
		}
		commit(t, p, n)
		if stats := p.Stats(); stats.CacheBytes > int64(opts.CacheBytes) {
			t.Fatalf("the cache holds %d bytes of %d", stats.CacheBytes, opts.CacheBytes)
		}
	}
	for i := range 2000 {
		if r := get(t, p, 100+i); r == nil || r.Version != uint64(1+i/100) {
			t.Fatalf("subject %d: %v", i, r)
		}
	}
	stats := p.Stats()
	if stats.CacheHits == 0 || stats.CacheMisses == 0 || len(p.cache.entries) != len(p.cache.ring) {
		t.Errorf("stats %+v, %d entries, %d in the ring", stats, len(p.cache.entries), len(p.cache.ring))
	}
	held := 0
	for _, e := range p.cache.entries {
		held += e.bytes
		if p.cache.ring[e.slot] != e {
			t.Fatal("an entry is not where it says")
		}
	}
	if held != p.cache.bytes {
		t.Errorf("the cache counts %d bytes, its entries %d", p.cache.bytes, held)
	}
}

func TestSubjectsAreCounted(t *testing.T) {
	opts := testOptions()
	opts.CacheBytes = 1
	p := openPartition(t, openStore(t, t.TempDir(), opts), 3)
	if n := p.Stats().Subjects; n != -1 {
		t.Errorf("%d subjects before the first count", n)
	}
	count := func() (n int64) {
		t.Helper()
		if err := p.Each(func(*subject.Record) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	count()
	rng := newRand(t)
	for n := uint64(1); n <= 30; n++ {
		for range 20 {
			i := rng.IntN(200)
			if rng.IntN(2) == 0 {
				get(t, p, i)
			}
			put(t, p, simple(i, n, subject.Never))
		}
		commit(t, p, n)
		if got := p.Stats().Subjects; n%10 == 0 {
			if want := count(); got != want {
				t.Fatalf("%d subjects, want %d", got, want)
			}
		}
	}
}

// TestPartitionsWriteBehindConcurrently is for the race detector too.
func TestPartitionsWriteBehindConcurrently(t *testing.T) {
	opts := testOptions()
	opts.OverlayBytes, opts.WriteDelay, opts.CacheBytes = 4<<10, time.Millisecond, 64<<10
	var mu sync.Mutex
	writes := 0
	opts.WriteObserved = func(time.Duration) { mu.Lock(); writes++; mu.Unlock() }
	dir := t.TempDir()
	s := openStore(t, dir, opts)
	var group errgroup.Group
	for id := range int32(4) {
		p := openPartition(t, s, id)
		group.Go(func() error { return churn(p, uint64(id)) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if mu.Lock(); writes == 0 {
		t.Error("no write was observed")
	}
	mu.Unlock()
}

func churn(p *Partition, seed uint64) error {
	want := map[int]uint64{}
	for n := uint64(1); n <= 60; n++ {
		for i := range 30 {
			i := int((seed + n*7 + uint64(i)*13) % 400)
			r, err := p.Get(simple(i, 0, 0).ID)
			if err != nil {
				return err
			}
			if r == nil {
				r = simple(i, 0, subject.Never)
			}
			if r.Version != want[i] {
				return fmt.Errorf("subject %d has version %d, want %d", i, r.Version, want[i])
			}
			r.Version, want[i] = n, n
			if err := p.Put(r); err != nil {
				return err
			}
		}
		if err := p.Commit(checkpoint(n), int64(n)); err != nil {
			return err
		}
		if n == 30 && seed == 0 {
			if err := errors.Join(p.Wipe(), p.Reset()); err != nil {
				return err
			}
			clear(want)
		}
	}
	got := map[int]uint64{}
	err := p.Each(func(r *subject.Record) error {
		var i int
		_, err := fmt.Sscanf(r.ID.Value, "u%d", &i)
		got[i] = r.Version
		return err
	})
	if err == nil && !maps.Equal(got, want) {
		err = fmt.Errorf("%d subjects kept, want %d", len(got), len(want))
	}
	return err
}
