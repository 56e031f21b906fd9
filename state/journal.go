package state

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/segmentd/segmentd/state/subject"
)

// Scrubbed is a subject of whom the image's files hold nothing older than what is
// kept now.
type Scrubbed struct {
	Key Key // of its record
	At  time.Time
}

// scrubs are the subjects of one partition that wait to be scrubbed, and those that were since it was
// last asked. The partition's goroutine adds, the one that scrubs takes.
type scrubs struct {
	mu      sync.Mutex
	waiting map[Key]int64 // guarded by mu: the journal's value of it
	done    []Scrubbed    // guarded by mu
}

func (s *scrubs) add(keys map[Key]struct{}, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range keys {
		s.waiting[k] = at
	}
}

// settle tells that what was noted under k at that time is scrubbed; one that was
// noted again since goes on waiting.
func (s *scrubs) settle(k Key, noted int64, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[k] == noted {
		delete(s.waiting, k)
		s.done = append(s.done, Scrubbed{k, at})
	}
}

// Scrub asks that what was kept of a subject before its present record (what a
// stop deleted from it, say), before its present dossier, and its timers, be removed
// from the image's files. It is noted with the next Commit and forgotten by a Reset.
// Records that Forgot, fences, and dossiers that lose their id or go, need not be told.
func (p *Partition) Scrub(id subject.ID) { p.note(p.keyer.Key(id)) }

func (p *Partition) note(record Key) { p.unscrubbed[record] = struct{}{} }

// AwaitsScrub reports whether files of the image may still hold something of a
// subject that is older than what is kept, by the key of its record. It counts what
// is committed or restored.
func (p *Partition) AwaitsScrub(record Key) bool {
	p.scrubs.mu.Lock()
	defer p.scrubs.mu.Unlock()
	_, waits := p.scrubs.waiting[record]
	return waits
}

// Scrubbed returns what was scrubbed since its last call. What was scrubbed before
// the partition was opened is not told: ask AwaitsScrub.
func (p *Partition) Scrubbed() []Scrubbed {
	p.scrubs.mu.Lock()
	defer p.scrubs.mu.Unlock()
	done := p.scrubs.done
	p.scrubs.done = nil
	return done
}

// noteForgotten notes the dirty records from which something was deleted for good.
func (p *Partition) noteForgotten() {
	for _, e := range p.dirty {
		if e.record.Forgot || e.record.IsFence() {
			p.note(e.key)
		}
		e.record.Forgot = false
	}
}

// takeNotes puts what is to be scrubbed into the batch that shrinks it.
func (p *Partition) takeNotes(b *batch) {
	if len(p.unscrubbed) == 0 {
		return
	}
	at := p.store.noteTime()
	for k := range p.unscrubbed {
		b.scrub[k] = at
	}
	p.scrubs.add(p.unscrubbed, at)
	clear(p.unscrubbed)
}

// noteRestored notes a restored record that lacks what the image has of its subject.
func (p *Partition) noteRestored(key Key, r *subject.Record) error {
	if !hasEnded(r) {
		return nil
	}
	var shrunk bool
	compare := func(b []byte) error {
		former, err := p.former.Peek(b)
		if err == nil {
			shrunk = lacks(r, former)
		}
		return err
	}
	b, found := p.overlay.get(key)
	var err error
	switch {
	case !found:
		_, err = p.store.read(p.space.appendRecord(nil, key), compare)
	case b != nil:
		err = compare(b)
	}
	if shrunk {
		p.note(key)
	}
	return p.readError(err)
}

// noteRestoredDossier notes a restored dossier that has lost its id.
func (p *Partition) noteRestoredDossier(key Key, d *subject.Dossier) error {
	if !d.ID.IsZero() {
		return nil
	}
	former, err := p.dossier(key)
	if former != nil && !former.ID.IsZero() {
		p.note(key.Dossier())
	}
	return err
}

// noteTombstone notes a record or a dossier that a tombstone removes.
func (p *Partition) noteTombstone(key Key) error {
	if b, found := p.overlay.get(key); found {
		switch {
		case IsDossier(b):
			p.note(key.Dossier())
		case b != nil:
			p.note(key)
		}
		return nil
	}
	for kind, record := range map[byte]Key{kindRecord: key, kindDossier: key.Dossier()} {
		found, err := p.store.read(p.space.appendKey(nil, kind, key), func([]byte) error { return nil })
		if err != nil {
			return p.readError(err)
		}
		if found {
			p.note(record)
		}
	}
	return nil
}

// hasEnded reports whether something of a subject was deleted because a basis ended.
func hasEnded(r *subject.Record) bool {
	return r.Erased != 0 || slices.ContainsFunc(r.Purposes, func(p subject.Purpose) bool {
		return p.Basis.Lapsed || p.Basis.Stop.Status != subject.NoDecision
	})
}

// lacks reports whether a record is without something that a former one of its
// subject has, because a basis ended in between.
func lacks(r, former *subject.Record) bool {
	if r.Erased != former.Erased {
		return true
	}
	return slices.ContainsFunc(former.Purposes, func(f subject.Purpose) bool {
		if len(f.Traits) == 0 && len(f.Leaves) == 0 && len(f.Members) == 0 {
			return false
		}
		p := r.Purpose(f.Key)
		return p == nil || p.Basis.Stop != f.Basis.Stop || p.Basis.Since > f.Basis.Since || f.Basis.Known && !p.Basis.Known
	})
}

// loadScrubs reads the journal of the partition.
func (p *Partition) loadScrubs() error {
	entries, err := p.store.journal(p.space, 0)
	if err != nil {
		return err
	}
	p.scrubs.mu.Lock()
	defer p.scrubs.mu.Unlock()
	p.scrubs.waiting = map[Key]int64{}
	for _, e := range entries {
		p.scrubs.waiting[e.key] = e.noted
	}
	return nil
}

// settleAll tells that nothing is left of what waited: the image is gone.
func (s *scrubs) settleAll(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.waiting {
		s.done = append(s.done, Scrubbed{k, at})
	}
	clear(s.waiting)
}

// entry of the scrub journal.
type scrubEntry struct {
	space keyspace
	key   Key   // of the record
	noted int64 // when, µs since 1970; no two of one key have the same
}

func (e scrubEntry) badgerKey() []byte {
	return e.space.appendKey(nil, kindScrub, e.key)
}

// noteTime is the present in µs since 1970, later at each call.
func (s *Store) noteTime() int64 {
	for {
		last := s.noted.Load()
		now := max(s.opts.Now().UnixMicro(), last+1)
		if s.noted.CompareAndSwap(last, now) {
			return now
		}
	}
}

// journal reads what of a partition waits to be scrubbed, in order of key; at most
// limit entries where that is not 0.
func (s *Store) journal(space keyspace, limit int) (entries []scrubEntry, err error) {
	prefix := space.prefix(kindScrub)
	err = s.scan(prefix, prefix, func(item *badger.Item) (bool, error) {
		e, ok := scrubEntry{space: space}, false
		if e.key, ok = keyOfKind(item.Key(), kindScrub); !ok {
			return false, fmt.Errorf("scrub journal: a key of %d bytes: %w", len(item.Key()), ErrDamaged)
		}
		err := item.Value(func(v []byte) error {
			if len(v) != 8 {
				return fmt.Errorf("scrub journal: a value of %d bytes: %w", len(v), ErrDamaged)
			}
			e.noted = int64(binary.BigEndian.Uint64(v))
			return nil
		})
		entries = append(entries, e)
		return len(entries) != limit, err
	})
	return entries, err
}

// images lists the partitions that have anything in Badger.
func (s *Store) images() (spaces []keyspace, err error) {
	err = s.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); {
			space := keyspace(binary.BigEndian.Uint32(it.Item().Key()))
			spaces = append(spaces, space)
			it.Seek((space + 1).prefix())
		}
		return nil
	})
	return spaces, err
}
