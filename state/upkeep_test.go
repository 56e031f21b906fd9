package state

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/canary"
)

// clock is a clock that a test sets.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMicro(c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(d.Microseconds()) }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

// keepUp runs Keep until the test is done with it.
func keepUp(t *testing.T, s *Store, u Upkeep) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Keep(ctx, u) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return stop
}

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// A scrub begins a quarter of the promised time after the first that waits, and what
// waits can be seen meanwhile.
func TestScrubsKeepTheirPromise(t *testing.T) {
	dir, c := scannedDir(t), newClock()
	opts := testOptions()
	opts.Now = c.now
	s := openStore(t, dir, opts)
	p := openPartition(t, s, 3)
	people(t, p, 20)
	put(t, p, fence(7, 3))
	commit(t, p, 3)
	flush(t, p)
	c.advance(14 * time.Minute)
	states, scrubs := make(chan ScrubState, 1), make(chan ScrubReport, 1)
	stop := keepUp(t, s, Upkeep{EraseWithin: time.Hour, Observe: func(s ScrubState) {
		select {
		case states <- s:
		default:
		}
	}, Scrubbed: func(r ScrubReport, _ time.Duration) { scrubs <- r }})
	if got, want := receive(t, "state", states), (ScrubState{1, 14 * time.Minute}); got != want {
		t.Errorf("it stands %+v, want %+v", got, want)
	}
	stop()
	if len(scrubs) > 0 {
		t.Error("a scrub began early")
	}
	c.advance(time.Minute)
	stop = keepUp(t, s, Upkeep{EraseWithin: time.Hour, Scrubbed: func(r ScrubReport, _ time.Duration) { scrubs <- r }})
	if r := receive(t, "scrub", scrubs); r.Entries != 1 {
		t.Errorf("scrubbed %+v", r)
	}
	stop()
	if state, err := s.ScrubState(); err != nil || state != (ScrubState{}) {
		t.Errorf("it stands %+v, %v", state, err)
	}
	expectFound(t, "scrubbed", dir, canariesOf(7, both...))
}

// Images of partitions that others own are deleted after a time, those that are open
// are not, and what is deleted is gone from the files.
func TestImagesNotOwnedAreDropped(t *testing.T) {
	dir, c := scannedDir(t), newClock()
	opts := testOptions()
	opts.Now = c.now
	s := openStore(t, dir, opts)
	for _, id := range []int32{0, 1, 2} {
		p := openPartition(t, s, id)
		put(t, p, person(int(id), 1))
		commit(t, p, 1)
		put(t, p, person(int(id), 2))
		commit(t, p, 2)
		if id > 0 {
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			flush(t, p)
		}
	}
	u := Upkeep{KeepUnowned: 24 * time.Hour}
	drop := func(want ...int32) {
		t.Helper()
		var dropped []int32
		u.Dropped = func(id int32) { dropped = append(dropped, id) }
		if err := s.dropUnowned(u); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(dropped, want) {
			t.Errorf("dropped %v, want %v", dropped, want)
		}
	}
	c.advance(23 * time.Hour)
	drop()
	p := openPartition(t, s, 2)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Hour)
	drop(1)
	drop()
	expectFound(t, "dropped", dir, append(canariesOf(1, both...), canary.Number("time", personTimer+1_000_000)))
	for _, id := range []int{0, 2} {
		stays := canariesOf(id, both...)
		expectFound(t, "dropped", dir, stays, namesOf(stays)...)
	}
	if held, err := s.Held(3); err != nil || len(held) != 2 || held[1] != 0 {
		t.Errorf("held are %v, %v", held, err)
	}
	c.advance(48 * time.Hour)
	drop(2) // 0 is open all the while
	drop()
}

// A process that starts after long waits until the group has assigned partitions.
func TestImagesAreNotDroppedAtTheStart(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	opts := testOptions()
	opts.Now = c.now
	s := openStore(t, dir, opts)
	p := openPartition(t, s, 1)
	put(t, p, person(1, 1))
	commit(t, p, 1)
	closeAll(t, s, p)
	c.advance(72 * time.Hour)
	s = openStore(t, dir, opts)
	looks, dropped := make(chan ScrubState, 1), make(chan int32, 1)
	stop := keepUp(t, s, Upkeep{EraseWithin: time.Second, Observe: func(s ScrubState) {
		select {
		case looks <- s:
		default:
		}
	}, Dropped: func(id int32) { dropped <- id }})
	for range 3 {
		receive(t, "look", looks)
	}
	if len(dropped) > 0 {
		t.Error("an image was dropped at once")
	}
	c.advance(unownedGrace)
	defer stop()
	if id := receive(t, "drop", dropped); id != 1 {
		t.Errorf("dropped %d", id)
	}
}
