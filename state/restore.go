package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/segmentd/segmentd/state/subject"
)

// Restore applies one record of the changelog, in its order; a nil value is a
// tombstone, of a record or of a dossier. Key and value are not kept. Nothing must be dirty. What is
// restored can be read at once; it is written behind, without a position until
// RestoreDone. A key that is neither a subject's nor one of the fixed ones, and
// a value that is no record, are errors.
func (p *Partition) Restore(key, value []byte) error {
	switch {
	case bytes.Equal(key, CheckpointKey):
		return nil
	case isFixed(key):
		return p.restoreFixed(key, value)
	case len(key) != KeyBytes:
		return fmt.Errorf("restore partition %d: a changelog key of %d bytes: %w", p.id, len(key), ErrRecord)
	}
	next, k := subject.Never, Key(key)
	switch {
	case value == nil:
		if err := p.noteTombstone(k); err != nil {
			return err
		}
	case IsDossier(value):
		d, err := DecodeDossier(value)
		if err != nil {
			return fmt.Errorf("restore partition %d: %w", p.id, err)
		}
		if err := p.noteRestoredDossier(k, d); err != nil {
			return err
		}
		value = bytes.Clone(value)
	default:
		r, err := p.decoder.Peek(value)
		if err != nil {
			return fmt.Errorf("restore partition %d: %w", p.id, err)
		}
		if err := p.noteRestored(k, r); err != nil {
			return err
		}
		next = r.Due()
	}
	if e := p.cache.entries[k]; e != nil {
		p.cache.remove(e)
	}
	p.subjects = -1
	t := timer{next, k}
	err := p.overlay.add(func(b *batch) {
		p.takeNotes(b)
		b.put(k, value)
		if next != subject.Never {
			b.setTimer(t, true)
		}
	})
	if next != subject.Never {
		p.window.arm(t)
	}
	return err
}

func (p *Partition) restoreFixed(key, value []byte) error {
	value = bytes.Clone(value)
	p.fixed[string(key)] = value
	return p.overlay.add(func(b *batch) { b.fixed[string(key)] = value })
}

// RestoreDone ends a catch-up, or marks how far it has come: all restored
// before and then the position are in Badger when it returns.
func (p *Partition) RestoreDone(cp Checkpoint, next int64) error {
	position, err := encodePosition(cp, next)
	if err != nil {
		return err
	}
	if err := p.overlay.add(func(b *batch) { b.position, b.checkpoint, b.next = position, cp, next }); err != nil {
		return fmt.Errorf("restore partition %d: %w", p.id, err)
	}
	p.position = placed{cp, next, true}
	return p.Flush(context.Background())
}

// Wipe throws the partition's image away: it is then empty and has no position.
func (p *Partition) Wipe() error {
	p.overlay.drop()
	p.forget()
	if err := p.store.drop(p.space); err != nil {
		return p.readError(err)
	}
	p.position = placed{}
	p.scrubs.settleAll(p.store.opts.Now())
	p.overlay.reset()
	clear(p.fixed)
	return p.refill()
}

// drop removes a partition's keys, the position first: should the process die
// meanwhile, an image without a position is dropped when it is opened.
func (s *Store) drop(space keyspace) (err error) {
	defer guard(&err)
	s.dropping.Lock()
	defer s.dropping.Unlock()
	if err := s.dir.room(); err != nil {
		return err
	}
	s.opts.Reached(StepDrop)
	err = s.db.Update(func(txn *badger.Txn) error { return txn.Delete(space.meta(positionName)) })
	if err != nil {
		return damage(err)
	}
	s.opts.Reached(StepDropping)
	if err := damage(s.db.DropPrefix(space.prefix())); err != nil {
		return err
	}
	s.opts.Reached(StepDropped)
	return nil
}

// Each calls f with every committed record, in order of key. The record is
// valid during the call and must not be changed. It counts the subjects.
func (p *Partition) Each(f func(*subject.Record) error) error {
	n := int64(0)
	var d Decoder
	err := p.each(func(_ Key, value []byte) error {
		r, err := d.Peek(value)
		if err != nil {
			return p.readError(err)
		}
		n++
		return f(r)
	})
	if err == nil {
		p.subjects = n
	}
	return err
}

// each passes every committed record's key and encoding to f, in order of key.
func (p *Partition) each(f func(Key, []byte) error) error {
	return p.eachOf(kindRecord, f)
}

// ErrTimers means that the image breaks the INVARIANT on timers.
var ErrTimers = errors.New("a record's timer is missing")

// Digest returns the SHA-256 of all committed records and dossiers, each in order
// of key: two images with equal digests answer alike. Timers are checked (ErrTimers) and
// not digested: they are hints, of which one image may have more than another.
func (p *Partition) Digest() (string, error) {
	if err := p.Flush(context.Background()); err != nil {
		return "", err
	}
	earliest, err := p.earliestTimers()
	if err != nil {
		return "", err
	}
	h, d := sha256.New(), Decoder{}
	add := func(key Key, value []byte) error {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(value)))
		h.Write(key[:])
		h.Write(size[:])
		h.Write(value)
		return nil
	}
	err = p.each(func(key Key, value []byte) error {
		r, err := d.Peek(value)
		if err != nil {
			return p.readError(err)
		}
		if at, ok := earliest[key]; r.Due() != subject.Never && (!ok || at > r.Due()) {
			return fmt.Errorf("partition %d: %w", p.id, ErrTimers)
		}
		return add(key, value)
	})
	if err == nil {
		err = p.eachOf(kindDossier, add)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

// earliestTimers returns the earliest timer of each subject in Badger.
func (p *Partition) earliestTimers() (map[Key]subject.Instant, error) {
	earliest := map[Key]subject.Instant{}
	prefix := p.space.prefix(kindTimer)
	err := p.store.scan(prefix, prefix, func(item *badger.Item) (bool, error) {
		t, ok := timerOf(item.Key())
		if !ok {
			return false, p.readError(ErrDamaged)
		}
		if _, later := earliest[t.key]; !later {
			earliest[t.key] = t.at
		}
		return true, nil
	})
	return earliest, err
}
