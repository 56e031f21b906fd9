package state

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Upkeep is what a store promises of its files. The zero values are the defaults.
type Upkeep struct {
	// EraseWithin is how long after a commit what it deleted of a subject may still be
	// in files: 1 h. A scrub begins when a quarter of it has passed, or scrubMany wait.
	EraseWithin time.Duration
	// KeepUnowned is how long the image of a partition that is not open is kept: 24 h.
	KeepUnowned time.Duration
	// Observe is told how it stands, every few seconds; Scrubbed of each scrub and how
	// long it took; Dropped of each image that was not open for too long. On one
	// goroutine; nil: nobody.
	Observe  func(ScrubState)
	Scrubbed func(ScrubReport, time.Duration)
	Dropped  func(partition int32)
}

// ScrubState is what waits to be scrubbed in a store.
type ScrubState struct {
	Waiting int           // subjects
	Oldest  time.Duration // since when the first of them does
}

const (
	scrubMany    = 10_000           // subjects for which a scrub begins at once
	unownedGrace = 10 * time.Minute // after a start, in which the group assigns partitions
)

func (u Upkeep) withDefaults() Upkeep {
	u.EraseWithin = cmp.Or(u.EraseWithin, time.Hour)
	u.KeepUnowned = cmp.Or(u.KeepUnowned, 24*time.Hour)
	if u.Observe == nil {
		u.Observe = func(ScrubState) {}
	}
	if u.Scrubbed == nil {
		u.Scrubbed = func(ScrubReport, time.Duration) {}
	}
	if u.Dropped == nil {
		u.Dropped = func(int32) {}
	}
	return u
}

// every is how often Keep looks.
func (u Upkeep) every() time.Duration {
	return min(max(u.EraseWithin/64, 50*time.Millisecond), 10*time.Second)
}

// Keep scrubs, and drops images that are no longer owned, until ctx ends or the
// image is out of order (Scrub): then the store must be opened anew. What can be
// mended without that (no room, files held open) is logged and tried again.
func (s *Store) Keep(ctx context.Context, u Upkeep) error {
	u = u.withDefaults()
	begun, quiet := s.opts.Now(), time.Time{}
	for {
		state, err := s.ScrubState()
		if err != nil {
			return err
		}
		u.Observe(state)
		now := s.opts.Now()
		if state.Oldest > u.EraseWithin*3/4 && now.After(quiet) {
			s.opts.Logger.Error("what was erased is not gone from the files yet, and will not be in the time that was promised",
				"subjects", state.Waiting, "oldest", state.Oldest.Round(time.Second).String(), "erase_within", u.EraseWithin.String())
			quiet = now.Add(u.EraseWithin / 4)
		}
		if state.Waiting >= scrubMany || state.Waiting > 0 && state.Oldest >= u.EraseWithin/4 {
			if err := s.scrubAndTell(ctx, u); err != nil {
				return err
			}
		}
		if now.Sub(begun) >= min(unownedGrace, u.KeepUnowned) {
			if err := s.dropUnowned(u); err != nil {
				return err
			}
		}
		select {
		case <-time.After(u.every()):
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Store) scrubAndTell(ctx context.Context, u Upkeep) error {
	began := time.Now()
	report, err := s.Scrub(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, ErrFilesHeld), errors.Is(err, ErrNoRoom):
		s.opts.Logger.Warn("a scrub of the image is not done yet", "error", err)
		return nil
	case err != nil:
		return err
	}
	u.Scrubbed(report, time.Since(began))
	s.opts.Logger.Debug("image scrubbed", "subjects", report.Entries, "keys", report.Keys, "drops", report.Drops, "bytes", report.Bytes,
		"seconds", time.Since(began).Seconds(), "longest", report.Longest.String())
	return nil
}

// ScrubState tells what waits, of what is in Badger.
func (s *Store) ScrubState() (state ScrubState, err error) {
	entries, err := s.waiting(1 << 30)
	if err != nil {
		return state, s.damaged(fmt.Errorf("read the scrub journal: %w", err))
	}
	for _, e := range entries {
		state.Oldest = max(state.Oldest, s.opts.Now().Sub(time.UnixMicro(e.noted)))
	}
	state.Waiting = len(entries)
	return state, nil
}

// ownedName is the meta key of when a partition was last known to be open, 8 bytes
// of µs since 1970.
const ownedName = "owned"

// stampEvery is how exact that is.
const stampEvery = time.Hour

// stamp writes down that a partition is, or was until now, open.
func (s *Store) stamp(space keyspace) (err error) {
	defer guard(&err)
	s.dropping.RLock()
	defer s.dropping.RUnlock()
	if s.broken != nil {
		return s.broken
	}
	w := s.newWriter(0)
	defer func() { w.txn.Discard() }()
	w.set(space.meta(ownedName), binary.BigEndian.AppendUint64(nil, uint64(s.opts.Now().UnixMicro())))
	return damage(w.finish())
}

// lastOwned tells when; ok is false where nothing says so.
func (s *Store) lastOwned(space keyspace) (at time.Time, ok bool, err error) {
	ok, err = s.read(space.meta(ownedName), func(b []byte) error {
		if len(b) != 8 {
			return fmt.Errorf("partition %d was last owned: %w", space, ErrDamaged)
		}
		at = time.UnixMicro(int64(binary.BigEndian.Uint64(b)))
		return nil
	})
	return at, ok, err
}

// dropUnowned drops the images of partitions that nobody has opened for too long,
// and stamps the others. Other partitions cannot be opened meanwhile.
func (s *Store) dropUnowned(u Upkeep) error {
	spaces, err := s.images()
	if err != nil {
		return s.damaged(err)
	}
	for _, space := range spaces {
		dropped, err := s.dropIfUnowned(space, u.KeepUnowned)
		if err != nil {
			return s.damaged(fmt.Errorf("drop the image of partition %d: %w", space, err))
		}
		if dropped {
			s.opts.Logger.Info("the image of a partition that is another instance's was deleted", "partition", int32(space))
			u.Dropped(int32(space))
		}
	}
	return nil
}

func (s *Store) dropIfUnowned(space keyspace, keep time.Duration) (dropped bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, ErrClosed
	}
	at, known, err := s.lastOwned(space)
	if err != nil {
		return false, err
	}
	age := s.opts.Now().Sub(at)
	switch {
	case s.open[int32(space)] != nil && (!known || age >= stampEvery), !known:
		return false, s.stamp(space)
	case s.open[int32(space)] != nil || age < keep:
		return false, nil
	}
	if err := s.dropWhole(space); err != nil {
		return false, err
	}
	return true, nil
}

// dropWhole drops all keys of a partition, and looks that nothing is left.
func (s *Store) dropWhole(space keyspace) error {
	if err := s.drop(space); err != nil {
		return err
	}
	spaces, err := s.images()
	if err == nil && slices.Contains(spaces, space) {
		err = errors.New("badger did not drop all of it")
	}
	return err
}
