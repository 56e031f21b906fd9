package state

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/segmentd/segmentd/state/subject"
)

// dossiers are those put since the last Commit or Reset, encoded, in the order in
// which they were first put.
type dossiers struct {
	at    map[Key]int
	dirty []Dirty // a nil value: nothing is kept any more
}

func (d *dossiers) put(key Key, value []byte) {
	if i, ok := d.at[key]; ok {
		d.dirty[i].Value = value
		return
	}
	if d.at == nil {
		d.at = map[Key]int{}
	}
	d.at[key] = len(d.dirty)
	d.dirty = append(d.dirty, Dirty{key, value})
}

func (d *dossiers) get(key Key) (value []byte, found bool) {
	i, found := d.at[key]
	if !found {
		return nil, false
	}
	return d.dirty[i].Value, true
}

func (d *dossiers) clear() {
	clear(d.at)
	clear(d.dirty)
	d.dirty = d.dirty[:0]
}

// Dossier returns the dossier of a subject, which is the caller's; an empty one with
// its id if nothing is kept. Dossiers are not cached: each is read and decoded anew.
func (p *Partition) Dossier(id subject.ID) (*subject.Dossier, error) {
	d, err := p.dossier(p.keyer.Key(id).Dossier())
	switch {
	case err != nil:
		return nil, err
	case d == nil:
		return &subject.Dossier{ID: id}, nil
	case d.ID.IsZero():
		d.ID = id // it is not stored of one that was erased
	case d.ID != id:
		return nil, p.store.damaged(fmt.Errorf("partition %d: a dossier is under another subject's key: %w", p.id, ErrDamaged))
	}
	return d, nil
}

// dossier finds a dossier by key: among the dirty ones, then in the overlay, then
// in Badger.
func (p *Partition) dossier(key Key) (d *subject.Dossier, err error) {
	decode := func(b []byte) (err error) {
		d, err = DecodeDossier(b)
		return err
	}
	value, found := p.dossiers.get(key)
	if !found {
		value, found = p.overlay.get(key)
	}
	switch {
	case !found:
		p.scratch = p.space.appendKey(p.scratch[:0], kindDossier, key)
		_, err = p.store.read(p.scratch, decode)
	case value != nil:
		err = decode(value)
	}
	return d, p.readError(err)
}

// DossierOf is Dossier by the key of the subject's record, and nil if nothing is
// kept. Its id is zero where the subject was erased.
func (p *Partition) DossierOf(record Key) (*subject.Dossier, error) {
	return p.dossier(record.Dossier())
}

// PutDossier keeps the dossier of a subject, without its id where nameless; one
// that says nothing is removed. It is encoded at once: d remains the caller's.
func (p *Partition) PutDossier(record Key, d *subject.Dossier, nameless bool) {
	key := record.Dossier()
	if nameless && !d.ID.IsZero() || isBlank(d) { // one without its id has nothing to lose any more
		p.note(record)
	}
	if isBlank(d) {
		p.dossiers.put(key, nil)
		return
	}
	stored := *d
	if nameless {
		stored.ID = subject.ID{}
	}
	p.dossiers.put(key, AppendDossier(nil, &stored))
}

// EachDossier calls f with every committed dossier and the key of its subject's
// record. Its id is zero where the subject was erased.
func (p *Partition) EachDossier(f func(Key, *subject.Dossier) error) error {
	return p.eachOf(kindDossier, func(key Key, value []byte) error {
		d, err := DecodeDossier(value)
		if err != nil {
			return p.readError(err)
		}
		return f(key.Dossier(), d)
	})
}

// eachOf passes the key and value of everything committed of a kind to f, in order
// of key.
func (p *Partition) eachOf(kind byte, f func(Key, []byte) error) error {
	if err := p.Flush(context.Background()); err != nil {
		return err
	}
	prefix := p.space.prefix(kind)
	return p.store.scan(prefix, prefix, func(item *badger.Item) (bool, error) {
		key, ok := keyOfKind(item.Key(), kind)
		if !ok {
			return false, p.readError(ErrDamaged)
		}
		return true, item.Value(func(b []byte) error { return f(key, b) })
	})
}
