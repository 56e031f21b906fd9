package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/state/arena"
	"github.com/segmentd/segmentd/state/subject"
)

// Partition is the image of one partition. It is used by one goroutine, the
// partition's; a second one of its own writes to Badger behind it, from
// Store.Partition until Close.
//
// A record put is dirty until Commit, which makes all dirty ones committed; a
// Reset instead forgets them. Committed records are in the overlay until they
// are in Badger.
//
// INVARIANT: a record whose Due is not Never has a timer at or before it, in
// Badger as well as in what is read through the overlay. Timers are hints: one
// whose record has another Due is passed over and armed again there.
type Partition struct {
	store   *Store
	id      int32
	space   keyspace
	keyer   *Keyer
	encoder Encoder
	decoder Decoder
	former  Decoder
	scratch []byte

	cache   *cache
	overlay *overlay
	window  *window
	dirty   []*entry
	values  []Dirty
	encoded arena.Arena[byte] // values of dirty

	dossiers dossiers // dirty

	// What firing timers did to them: passed belongs to dirty records and is
	// committed with them, stale does not and may be written at any time.
	passed []timer
	stale  []timerChange

	position placed            // of the last commit
	fixed    map[string][]byte // values of fixed keys
	unsaved  []Fixed           // those that go with the next commit

	unscrubbed map[Key]struct{} // noted with the next commit
	scrubs     scrubs

	together bool     // records are read in the snapshot
	snapshot snapshot // of this batch's reads

	absent       Key // the last key looked up in vain
	hits, misses int
	added        int64 // subjects since counted
	subjects     int64 // as counted by the last Each; -1: not yet

	writer errgroup.Group
}

type timerChange struct {
	timer
	armed bool
}

// Dirty is a record or a dossier to be written to the changelog.
type Dirty struct {
	Key   Key
	Value []byte // nil: a tombstone
}

// Stats are figures of one partition.
type Stats struct {
	OverlayBytes           int64 // committed, not yet in Badger
	CacheBytes             int64 // estimated
	CacheHits, CacheMisses int
	Subjects               int64 // committed ones, counted by Each; -1 before its first call
}

// Partition opens the image of a partition; until it is closed it cannot be
// opened again. What a restore from the start left unfinished is removed.
func (s *Store) Partition(id int32) (*Partition, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.open[id] != nil:
		return nil, fmt.Errorf("partition %d: %w", id, ErrInUse)
	}
	p := &Partition{store: s, id: id, space: keyspace(id), keyer: NewKeyer(s.opts.Secret), cache: newCache(), encoded: arena.New(encodedPool), subjects: -1,
		overlay: newOverlay(s.opts.OverlayBytes, s.opts.WriteDelay), window: newWindow(s.opts.TimerWindow), fixed: map[string][]byte{}, unscrubbed: map[Key]struct{}{}}
	if err := p.load(); err != nil {
		return nil, fmt.Errorf("open partition %d: %w", id, err)
	}
	if err := s.stamp(p.space); err != nil {
		return nil, fmt.Errorf("open partition %d: %w", id, err)
	}
	s.open[id] = p
	s.owned.Add(1)
	p.writer.Go(p.writeBehind)
	return p, nil
}

// load reads the position and the nearest timers.
func (p *Partition) load() error {
	found, err := p.store.read(p.space.meta(positionName), func(b []byte) (err error) {
		p.position.checkpoint, p.position.next, err = decodePosition(b)
		return err
	})
	if err != nil {
		return err
	}
	p.position.ok = found
	if !found {
		if err := p.store.drop(p.space); err != nil {
			return err
		}
	}
	p.overlay.durable = p.position
	return p.reload()
}

// reload reads what is kept in memory of Badger.
func (p *Partition) reload() error {
	if err := p.loadFixed(); err != nil {
		return err
	}
	if err := p.loadScrubs(); err != nil {
		return p.readError(err)
	}
	return p.refill()
}

// Close writes what is committed, ends the writer and gives the partition
// free. Dirty records are forgotten. The error is the writer's, if there was
// one. A second Close does nothing more.
func (p *Partition) Close() error {
	p.overlay.close()
	err := p.writer.Wait()
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	if p.store.open[p.id] == p {
		delete(p.store.open, p.id)
		p.store.owned.Add(-1)
		if err == nil {
			err = p.store.stamp(p.space)
		}
	}
	return err
}

// writeBehind writes batch after batch until the overlay is closed or a write fails.
func (p *Partition) writeBehind() error {
	for b := p.overlay.next(); b != nil; b = p.overlay.next() {
		began := time.Now()
		err := p.store.writeBatch(p.space, b)
		if err != nil {
			err = p.store.damaged(fmt.Errorf("write partition %d: %w", p.id, damage(err)))
		} else {
			p.store.opts.WriteObserved(time.Since(began))
		}
		p.overlay.written(err)
		if err != nil {
			return err
		}
	}
	return nil
}

// Get returns the record of a subject, nil if nothing is kept. The caller may
// change it in place, and must then Put it; it must not keep it beyond the next
// Commit.
func (p *Partition) Get(id subject.ID) (*subject.Record, error) {
	e, err := p.entry(p.keyer.Key(id))
	if e == nil || err != nil {
		return nil, err
	}
	if e.record.IsFence() {
		e.record.ID = id // it is not stored
	}
	if e.record.ID != id {
		return nil, p.store.damaged(fmt.Errorf("partition %d: a record is under another subject's key: %w", p.id, ErrDamaged))
	}
	return e.record, nil
}

// entry finds a record by key: in the cache, which has the newest version of
// what it has, then in the overlay, then in Badger.
func (p *Partition) entry(key Key) (*entry, error) {
	if e := p.cache.get(key); e != nil {
		p.hits++
		return e, nil
	}
	p.misses++
	r, err := p.fetch(key)
	if r == nil || err != nil {
		p.absent = key
		return nil, err
	}
	p.cache.shrink(p.cacheLimit()) // first: what is returned must not be evicted
	return p.cache.add(key, r, r.Due()), nil
}

func (p *Partition) cacheLimit() int {
	return p.store.opts.CacheBytes / max(1, int(p.store.owned.Load()))
}

func (p *Partition) fetch(key Key) (r *subject.Record, err error) {
	decode := func(b []byte) (err error) {
		r, err = p.decoder.Decode(b)
		return err
	}
	b, found, written := p.overlay.look(key)
	if found {
		if b != nil {
			err = decode(b)
		}
		return r, p.readError(err)
	}
	p.scratch = p.space.appendRecord(p.scratch[:0], key)
	if p.together {
		_, err = p.store.readIn(&p.snapshot, written, p.scratch, decode)
	} else {
		_, err = p.store.read(p.scratch, decode)
	}
	return r, p.readError(err)
}

// ReadTogether makes records be read in as few transactions as can be until end is
// called, which must be soon: Badger keeps for a transaction what was overwritten since.
func (p *Partition) ReadTogether() (end func()) {
	p.together = true
	return func() {
		p.together = false
		p.snapshot.end()
	}
}

// readError tells a record that cannot be decoded from other errors of reading.
func (p *Partition) readError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrRecord) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return p.store.damaged(fmt.Errorf("read partition %d: %w", p.id, err))
}

// Put keeps a record, which becomes dirty, and arms its timer at r.Due(). It
// replaces what is kept of the subject; r remains the caller's as from Get.
func (p *Partition) Put(r *subject.Record) error {
	key := p.keyer.Key(r.ID)
	e := p.cache.get(key)
	if e == nil {
		if err := p.countNew(key); err != nil {
			return err
		}
		e = p.cache.add(key, r, subject.Never)
	}
	e.record = r
	p.touch(e)
	if at := r.Due(); at < e.armed {
		e.armed = at
		p.window.arm(timer{at, key})
	}
	return nil
}

// touch makes an entry dirty.
func (p *Partition) touch(e *entry) {
	e.value = nil
	if !e.dirty {
		e.dirty = true
		p.dirty = append(p.dirty, e)
	}
}

// countNew counts the subject of a record that is not cached, if it is new.
func (p *Partition) countNew(key Key) error {
	if key == p.absent {
		p.absent = Key{}
		p.added++
		return nil
	}
	r, err := p.fetch(key)
	if r == nil && err == nil {
		p.added++
	}
	return err
}

// DirtyCount is the number of records and dossiers put since the last Commit or Reset.
func (p *Partition) DirtyCount() int { return len(p.dirty) + len(p.dossiers.dirty) }

// Dirty returns the records, and then the dossiers, put since the last Commit,
// encoded, in the order in which they were first put. The slice is valid until the next call of Dirty,
// Commit or Reset, the values until the next Commit or Reset.
func (p *Partition) Dirty() []Dirty {
	p.values = p.values[:0]
	for _, e := range p.dirty {
		if e.value == nil {
			p.encode(e)
		}
		p.values = append(p.values, Dirty{e.key, e.value})
	}
	p.values = append(p.values, p.dossiers.dirty...)
	return p.values
}

// encodedPool is the memory of encoded dirty records, of all partitions.
var encodedPool = arena.NewPool[byte](64 << 10)

func (p *Partition) encode(e *entry) {
	p.scratch = p.encoder.Append(p.scratch[:0], e.record)
	p.encoded.Room(len(p.scratch))
	at := len(p.encoded.Open)
	p.encoded.Open = append(p.encoded.Open, p.scratch...)
	e.value = p.encoded.Open[at:len(p.encoded.Open):len(p.encoded.Open)]
}

// Commit tells that a transaction with the dirty records and this checkpoint is
// committed; next is the changelog offset after it. The records become clean
// and are written behind. It blocks while the overlay is full. An error is that
// of an earlier write: the partition cannot go on.
func (p *Partition) Commit(cp Checkpoint, next int64) error {
	position, err := encodePosition(cp, next)
	if err != nil {
		return err
	}
	dirty := p.Dirty()
	p.noteForgotten()
	err = p.overlay.add(func(b *batch) {
		p.takeNotes(b)
		p.addTimers(b)
		for i := range dirty {
			b.put(dirty[i].Key, dirty[i].Value)
		}
		for _, f := range p.unsaved {
			b.fixed[string(f.Key)] = f.Value
		}
		b.position, b.checkpoint, b.next = position, cp, next
	})
	if err != nil {
		return fmt.Errorf("commit partition %d: %w", p.id, err)
	}
	p.position, p.unsaved = placed{cp, next, true}, nil
	p.settle()
	return nil
}

// addTimers brings the timers of a batch to where the dirty records have them.
func (p *Partition) addTimers(b *batch) {
	p.addStale(b)
	for _, t := range p.passed {
		b.setTimer(t, false)
	}
	for _, e := range p.dirty {
		if at := e.record.Due(); at < e.stored {
			e.stored = at
			b.setTimer(timer{e.stored, e.key}, true)
		}
	}
}

func (p *Partition) addStale(b *batch) {
	for _, c := range p.stale {
		b.setTimer(c.timer, c.armed)
	}
	p.stale = p.stale[:0]
}

// settle makes the dirty records clean.
func (p *Partition) settle() {
	for i, e := range p.dirty {
		if e.record.IsFence() {
			e.stored = subject.Never // a scrub removes what there may be
		}
		e.dirty, e.value, e.armed = false, nil, e.stored
		p.cache.weigh(e)
		p.dirty[i] = nil
	}
	clear(p.values)
	p.dirty, p.values, p.passed = p.dirty[:0], p.values[:0], p.passed[:0]
	p.encoded.Free()
	p.dossiers.clear()
	if p.subjects >= 0 {
		p.subjects += p.added
	}
	p.added = 0
	p.cache.shrink(p.cacheLimit())
}

// Reset forgets all that is not in Badger, after a transaction of which it is
// not known that it was committed. Position tells afterwards from where to
// catch up with the changelog.
func (p *Partition) Reset() error {
	p.position = p.overlay.drop()
	p.forget()
	return p.reload()
}

func (p *Partition) forget() {
	p.cache.clear()
	clear(p.dirty)
	clear(p.values)
	p.encoded.Free()
	p.dossiers.clear()
	p.dirty, p.values, p.passed, p.stale = p.dirty[:0], p.values[:0], p.passed[:0], p.stale[:0]
	p.added, p.subjects, p.absent, p.unsaved = 0, -1, Key{}, nil
	clear(p.unscrubbed)
	p.window.clear()
}

// Position returns the checkpoint up to which the changelog is in the image,
// and the changelog offset after it; ok is false for an empty image.
func (p *Partition) Position() (cp Checkpoint, next int64, ok bool) {
	return p.position.checkpoint, p.position.next, p.position.ok
}

// Flush waits until all that is committed or restored is in Badger.
func (p *Partition) Flush(ctx context.Context) error {
	if len(p.stale) > 0 {
		if err := p.overlay.add(p.addStale); err != nil {
			return err
		}
	}
	return p.overlay.flush(ctx)
}

// Stats returns figures of the partition.
func (p *Partition) Stats() Stats {
	return Stats{OverlayBytes: p.overlay.bytes(), CacheBytes: int64(p.cache.bytes), CacheHits: p.hits, CacheMisses: p.misses, Subjects: p.subjects}
}
