package state

import "bytes"

// Fixed is a value under one of the fixed keys.
type Fixed struct {
	Key   []byte
	Value []byte // nil: removed
}

// Fixed returns the value last restored or set under a fixed key other than
// CheckpointKey, nil if there is none. It must not be changed.
func (p *Partition) Fixed(key []byte) []byte { return p.fixed[string(key)] }

// SetFixed keeps a value as if it had been restored; nil removes it. The caller
// writes it (UnsavedFixed) to the changelog in the transaction that the next
// Commit tells of; a Reset forgets it. The value is copied.
func (p *Partition) SetFixed(key, value []byte) {
	value = bytes.Clone(value)
	p.fixed[string(key)] = value
	p.unsaved = append(p.unsaved, Fixed{key, value})
}

// UnsavedFixed returns what was set since the last Commit or Reset, in order.
func (p *Partition) UnsavedFixed() []Fixed { return p.unsaved }

// loadFixed reads the values in Badger.
func (p *Partition) loadFixed() error {
	clear(p.fixed)
	for _, key := range fixedKeys {
		_, err := p.store.read(p.space.meta(string(key)), func(b []byte) error {
			p.fixed[string(key)] = append([]byte{}, b...)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
