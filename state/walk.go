package state

import (
	"bytes"
	"context"

	"github.com/dgraph-io/badger/v4"

	"github.com/segmentd/segmentd/state/subject"
)

// KeyOf returns the key of a subject.
func (p *Partition) KeyOf(id subject.ID) Key { return p.keyer.Key(id) }

// Keys returns the keys of the next committed records in order of key, at most
// limit: from the first, or where after is not nil from behind it. What is
// committed is written to Badger first; records that are only dirty are not
// found.
func (p *Partition) Keys(after *Key, limit int) (keys []Key, err error) {
	if err := p.Flush(context.Background()); err != nil {
		return nil, err
	}
	prefix := p.space.prefix(kindRecord)
	from := prefix
	if after != nil {
		from = append(p.space.appendRecord(nil, *after), 0)
	}
	err = p.store.scan(prefix, from, func(item *badger.Item) (bool, error) {
		key, ok := recordOf(item.Key())
		if !ok {
			return false, p.readError(ErrDamaged)
		}
		keys = append(keys, key)
		return len(keys) < limit, nil
	})
	return keys, err
}

// Record is Get by key. The record is nil if nothing is kept under it.
func (p *Partition) Record(key Key) (*subject.Record, error) {
	e, err := p.entry(key)
	if e == nil || err != nil {
		return nil, err
	}
	return e.record, nil
}

// Compare orders keys as Keys does.
func (k Key) Compare(other Key) int { return bytes.Compare(k[:], other[:]) }
