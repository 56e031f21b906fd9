package state

import (
	"unsafe"

	"github.com/segmentd/segmentd/state/subject"
)

// entry is a decoded record in the cache.
type entry struct {
	key    Key
	record *subject.Record
	bytes  int  // estimate of the memory it holds
	slot   int  // its place in cache.ring
	used   bool // since the hand last passed
	dirty  bool // put since the last commit: not evicted
	value  []byte

	// armed and stored are instants at or before which the record is sure to have
	// a timer; Never: unknown. A timer is made only for an instant before them.
	// That of armed is in the window or will be in it after a refill; that of
	// stored is in the committed image.
	armed, stored subject.Instant
}

// cache holds decoded records up to a limit of bytes, dirty ones beyond it. It
// evicts by CLOCK: a hit only sets a bit. Used by one goroutine.
type cache struct {
	entries map[Key]*entry
	ring    []*entry
	hand    int
	bytes   int
}

func newCache() *cache { return &cache{entries: map[Key]*entry{}} }

func (c *cache) get(key Key) *entry {
	e := c.entries[key]
	if e != nil {
		e.used = true
	}
	return e
}

func (c *cache) add(key Key, r *subject.Record, known subject.Instant) *entry {
	e := &entry{key: key, record: r, slot: len(c.ring), armed: known, stored: known}
	c.entries[key] = e
	c.ring = append(c.ring, e)
	c.weigh(e)
	return e
}

// weigh brings the estimate of an entry up to date.
func (c *cache) weigh(e *entry) {
	c.bytes -= e.bytes
	e.bytes = recordBytes(e.record)
	c.bytes += e.bytes
}

func (c *cache) remove(e *entry) {
	delete(c.entries, e.key)
	last := len(c.ring) - 1
	c.ring[e.slot] = c.ring[last]
	c.ring[e.slot].slot = e.slot
	c.ring[last] = nil
	c.ring = c.ring[:last]
	c.bytes -= e.bytes
}

// shrink evicts until limit bytes are held. Two rounds see every entry with its
// bit cleared; what is left then is dirty.
func (c *cache) shrink(limit int) {
	for left := 2 * len(c.ring); c.bytes > limit && left > 0; left-- {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		e := c.ring[c.hand]
		switch {
		case e.dirty:
			c.hand++
		case e.used:
			e.used = false
			c.hand++
		default:
			c.remove(e)
		}
	}
}

func (c *cache) clear() {
	clear(c.entries)
	clear(c.ring)
	c.ring, c.hand, c.bytes = c.ring[:0], 0, 0
}

// entryBytes is the estimated cost of an entry beside what its record refers to.
const entryBytes = int(unsafe.Sizeof(entry{})+unsafe.Sizeof(subject.Record{})) + 64

// recordBytes estimates the memory that a record holds.
func recordBytes(r *subject.Record) int {
	n := entryBytes + len(r.ID.Value) + cap(r.Purposes)*int(unsafe.Sizeof(subject.Purpose{})) +
		cap(r.Messages)*int(unsafe.Sizeof(subject.Message{}))
	for i := range r.Purposes {
		n += purposeBytes(&r.Purposes[i])
	}
	if r.Shadow != nil {
		n += recordBytes(r.Shadow)
	}
	return n
}

func purposeBytes(p *subject.Purpose) int {
	n := cap(p.Basis.Grants)*int(unsafe.Sizeof(subject.Grant{})) + cap(p.Traits)*int(unsafe.Sizeof(subject.Trait{})) +
		cap(p.Leaves)*int(unsafe.Sizeof(subject.Leaf{})) + cap(p.Members)*int(unsafe.Sizeof(subject.Membership{})) +
		cap(p.Armed)*int(unsafe.Sizeof(subject.Armed{}))
	for i := range p.Traits {
		n += p.Traits[i].Value.SizeBytes()
	}
	for i := range p.Leaves {
		l := &p.Leaves[i]
		n += cap(l.Times) * 8
		for j := range l.Values {
			n += l.Values[j].SizeBytes()
		}
	}
	return n
}
