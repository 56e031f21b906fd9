package state

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// Physical erasure. In Badger nothing is gone when it is overwritten or deleted:
// older versions and tombstones stay in tables, write-ahead logs and memtables
// until compactions happen to come by. What removes them is DropPrefix, of keys
// that are live: it passes over those that are not. So keys are dropped together
// with their present values, which are then written back.

// Bounds of one drop, in which no write is possible and reads from Badger wait.
// Each key of a table that is rewritten is compared with each key dropped
// (BenchmarkScrub).
const (
	scrubBatch      = 256
	scrubBatchBytes = 8 << 20
	scrubRound      = 100_000 // entries of the journal taken at once
)

// ScrubReport says what a scrub did.
type ScrubReport struct {
	Entries int           // of the journal that are done
	Keys    int           // in Badger that were dropped
	Drops   int           // in how many drops
	Longest time.Duration // of the drops
	Bytes   int64         // of tables that are new since
}

// Scrub removes, for all that was noted before, what is older than the present
// from the image's files, of partitions that are open and others. Where it
// returns without an error, nothing of that is left in any file of the image
// (deleted ones that something has open included); where it fails, or the process
// dies, what is not done stays noted. An error that is not the context's, nor
// ErrNoRoom, nor ErrFilesHeld, means that the image is out of order: writes fail
// from then on, and opening it again puts it in order. One scrub runs at a time.
func (s *Store) Scrub(ctx context.Context) (report ScrubReport, err error) {
	s.scrubbing.Lock()
	defer s.scrubbing.Unlock()
	if s.isClosed() {
		return report, ErrClosed
	}
	for {
		n := report.Entries
		entries, err := s.waiting(scrubRound)
		if err == nil && len(entries) > 0 {
			err = s.scrubRound(ctx, entries, &report)
		}
		if err != nil {
			return report, s.damaged(fmt.Errorf("scrub: %w", damage(err)))
		}
		if report.Entries-n < scrubRound {
			return report, nil
		}
	}
}

// waiting reads the journal of all partitions; about limit entries of it.
func (s *Store) waiting(limit int) (entries []scrubEntry, err error) {
	spaces, err := s.images()
	for _, space := range spaces {
		if err != nil || len(entries) >= limit {
			break
		}
		var of []scrubEntry
		of, err = s.journal(space, limit-len(entries))
		entries = append(entries, of...)
	}
	return entries, err
}

func (s *Store) scrubRound(ctx context.Context, entries []scrubEntry, report *ScrubReport) error {
	keys, err := s.scrubTargets(entries)
	if err != nil {
		return err
	}
	before, obsolete := s.tables(), map[string]bool{}
	for len(keys) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		began := time.Now()
		n, err := s.scrubBatch(keys, obsolete)
		if err != nil {
			return err
		}
		keys = keys[n:]
		report.Keys, report.Drops, report.Longest = report.Keys+n, report.Drops+1, max(report.Longest, time.Since(began))
	}
	for id, size := range s.tables() {
		if _, old := before[id]; !old {
			report.Bytes += size
		}
	}
	if err := s.awaitRemoval(ctx, obsolete); err != nil {
		return err
	}
	s.opts.Reached(StepScrubbed)
	if err := s.clearJournal(entries); err != nil {
		return err
	}
	s.tell(entries)
	report.Entries += len(entries)
	return nil
}

// scrubTargets are the keys in Badger that entries stand for, in order: so that
// those of one drop lie in few tables.
func (s *Store) scrubTargets(entries []scrubEntry) (keys [][]byte, err error) {
	subjects := map[keyspace]map[Key]bool{}
	for _, e := range entries {
		keys = append(keys, e.space.appendRecord(nil, e.key))
		dossier := e.space.appendKey(nil, kindDossier, e.key.Dossier())
		there, err := s.hasVersion(dossier)
		if err != nil {
			return nil, err
		}
		if there {
			keys = append(keys, dossier)
		}
		if subjects[e.space] == nil {
			subjects[e.space] = map[Key]bool{}
		}
		subjects[e.space][e.key] = true
	}
	for space, of := range subjects {
		timers, err := s.timersOf(space, of)
		if err != nil {
			return nil, err
		}
		keys = append(keys, timers...)
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys, nil
}

// timersOf finds the keys of all timers of subjects, those that were removed too.
func (s *Store) timersOf(space keyspace, subjects map[Key]bool) (keys [][]byte, err error) {
	err = s.scanVersions(space.prefix(kindTimer), func(item *badger.Item) (bool, error) {
		t, ok := timerOf(item.Key())
		if !ok {
			return false, ErrDamaged
		}
		if subjects[t.key] && (len(keys) == 0 || !bytes.Equal(keys[len(keys)-1], item.Key())) {
			keys = append(keys, item.KeyCopy(nil))
		}
		return true, nil
	})
	return keys, err
}

// scanVersions is scan over every version that Badger's files and memory hold,
// deleted ones too.
func (s *Store) scanVersions(prefix []byte, f func(*badger.Item) (bool, error)) error {
	return s.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix, o.PrefetchValues, o.AllVersions = prefix, false, true
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(prefix); it.Valid(); it.Next() {
			if more, err := f(it.Item()); err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// scrubBatch drops the first of the keys and writes back what they hold. It tells
// how many; files that hold what they held are added to obsolete.
func (s *Store) scrubBatch(keys [][]byte, obsolete map[string]bool) (n int, err error) {
	defer guard(&err)
	if err := s.dir.room(); err != nil {
		return 0, err
	}
	s.scanning.Lock()
	defer s.scanning.Unlock()
	s.dropping.Lock()
	defer s.dropping.Unlock()
	if s.broken != nil {
		return 0, s.broken
	}
	ks, err := s.present(keys)
	if err != nil {
		return 0, err
	}
	s.opts.Reached(StepScrub)
	if err := s.dir.writeRedo(ks); err != nil {
		return 0, err
	}
	s.opts.Reached(StepScrubNoted)
	s.lend(ks)
	if err := s.redo(ks, obsolete); err != nil {
		s.broken = fmt.Errorf("an earlier scrub failed: %w", err)
		return 0, err
	}
	s.lend(nil)
	return len(ks), nil
}

// lend lets reads of keys take their values from here, while Badger has not got them.
func (s *Store) lend(ks []kept) {
	lent := make(map[string]kept, len(ks))
	for _, k := range ks {
		lent[string(k.key)] = k
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	s.lent = lent
	s.scrubbed++
}

// redo drops keys, writes back what is live of them, and removes the file that
// says so. Nobody may write or scan.
func (s *Store) redo(ks []kept, obsolete map[string]bool) error {
	w := s.newWriter(0)
	defer func() { w.txn.Discard() }()
	prefixes := make([][]byte, len(ks))
	for i, k := range ks {
		prefixes[i] = k.key
		if !k.live {
			w.set(k.key, []byte{0}) // DropPrefix looks for live keys only
		}
	}
	if err := w.finish(); err != nil {
		return err
	}
	s.opts.Reached(StepScrubMarked)
	files, err := s.dataFiles()
	if err != nil {
		return err
	}
	if err := s.db.DropPrefix(prefixes...); err != nil {
		return err
	}
	s.opts.Reached(StepScrubDropped)
	s.addObsolete(obsolete, files)
	if err := s.verifyDropped(prefixes); err != nil { // DropPrefix only logs some errors
		return err
	}
	back := s.newWriter(0)
	defer func() { back.txn.Discard() }()
	for _, k := range ks {
		if k.live {
			back.set(k.key, k.value)
		}
	}
	if err := back.finish(); err != nil {
		return err
	}
	s.opts.Reached(StepScrubRestored)
	return s.dir.removeRedo()
}

// verifyDropped looks for versions of keys.
func (s *Store) verifyDropped(keys [][]byte) error {
	for _, key := range keys {
		if there, err := s.hasVersion(key); err != nil {
			return err
		} else if there {
			return errors.New("badger did not drop a key")
		}
	}
	return nil
}

// hasVersion reports whether anything of a key is in Badger, if only that it was deleted.
func (s *Store) hasVersion(key []byte) (there bool, err error) {
	err = s.scanVersions(key, func(*badger.Item) (bool, error) {
		there = true
		return false, nil
	})
	return there, err
}

// present reads the values of the first of the keys, so many as one drop takes. A
// timer of a subject of whom only a fence is left counts as not live.
func (s *Store) present(keys [][]byte) (ks []kept, err error) {
	size := 0
	for _, key := range keys {
		if len(ks) == scrubBatch || size >= scrubBatchBytes {
			break
		}
		k := kept{key: key}
		if k.live, err = s.read(key, func(b []byte) error { k.value = bytes.Clone(b); return nil }); err != nil {
			return nil, err
		}
		if t, ok := timerOf(key); ok && k.live {
			if k.live, err = s.needsTimers(key, t.key); err != nil {
				return nil, err
			}
		}
		size += len(key) + len(k.value)
		ks = append(ks, k)
	}
	return ks, nil
}

// needsTimers reports whether the record of a timer's subject may rest on timers.
func (s *Store) needsTimers(timer []byte, key Key) (needs bool, err error) {
	var d Decoder
	space := keyspace(binary.BigEndian.Uint32(timer))
	_, err = s.read(space.appendRecord(nil, key), func(b []byte) error {
		r, err := d.Peek(b)
		needs = err == nil && !r.IsFence()
		return err
	})
	return needs, err
}

// clearJournal removes entries, but those that were noted again since.
func (s *Store) clearJournal(entries []scrubEntry) (err error) {
	defer guard(&err)
	s.dropping.Lock()
	defer s.dropping.Unlock()
	w := s.newWriter(0)
	defer func() { w.txn.Discard() }()
	for _, e := range entries {
		key := e.badgerKey()
		_, err := s.read(key, func(b []byte) error {
			if int64(binary.BigEndian.Uint64(b)) == e.noted {
				w.remove(key)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return w.finish()
}

// tell lets the open partitions know.
func (s *Store) tell(entries []scrubEntry) {
	now := s.opts.Now()
	s.mu.Lock()
	open := maps.Clone(s.open)
	s.mu.Unlock()
	for _, e := range entries {
		if p := open[int32(e.space)]; p != nil {
			p.scrubs.settle(e.key, e.noted, now)
		}
	}
}

// tables are the sizes of Badger's tables, by number.
func (s *Store) tables() map[uint64]int64 {
	sizes := map[uint64]int64{}
	for _, t := range s.db.Tables() {
		sizes[t.ID] = int64(t.OnDiskSize)
	}
	return sizes
}

// dataFiles are the names of the files with tables and write-ahead logs.
func (s *Store) dataFiles() (names []string, err error) {
	entries, err := os.ReadDir(s.dir.image())
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext == ".sst" || ext == ".mem" {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// addObsolete adds those files of before a drop that Badger no longer reads from:
// what has one open keeps it from being deleted.
func (s *Store) addObsolete(obsolete map[string]bool, before []string) {
	live := map[string]bool{}
	for id := range s.tables() {
		live[filepath.Base(table.NewFilename(id, ""))] = true
	}
	for _, name := range before {
		if !live[name] {
			obsolete[name] = true
		}
	}
}

// ErrFilesHeld means that something reads from files that were scrubbed, such as a
// long walk through the records, so that they are not gone yet.
var ErrFilesHeld = errors.New("files of the image are held open")

// removalPatience is how long a scrub waits for readers to end.
const removalPatience = time.Minute

// awaitRemoval waits until files are gone.
func (s *Store) awaitRemoval(ctx context.Context, names map[string]bool) error {
	deadline := time.Now().Add(removalPatience)
	for {
		maps.DeleteFunc(names, func(name string, _ bool) bool {
			_, err := os.Stat(filepath.Join(s.dir.image(), name))
			return errors.Is(err, os.ErrNotExist)
		})
		if len(names) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %s", ErrFilesHeld, strings.Join(slices.Sorted(maps.Keys(names)), ", "))
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
