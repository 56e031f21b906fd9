package core

import (
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Cheap estimates of what a piece of evidence takes in a stored record, in
// bytes: a time is a delta of a few bytes, a value its memory.
const (
	timeBytes     = 6
	checkFromLen  = 512     // entries from which a leaf is weighed at all
	checkFromSize = 4 << 10 // bytes of a single value from which it is
)

// bound keeps what is kept for one purpose below MaxSubjectBytes, and a leaf
// below the number of entries that it can be read with: the leaf that grew drops
// its oldest evidence and remembers that it did.
func (e *Engine) bound(p *subject.Purpose, l *rules.Leaf) {
	leaf := p.Leaf(l.Key)
	if leaf == nil {
		return
	}
	if most := l.MaxEntries(); most > 0 && len(leaf.Times) > most {
		e.truncate(leaf, len(leaf.Times)-most)
	}
	if len(leaf.Times) < checkFromLen && !hasLargeValue(leaf) {
		return
	}
	total := 0
	for i := range p.Leaves {
		total += sizeOf(&p.Leaves[i])
	}
	drop := 0
	for ; total > e.cfg.MaxSubjectBytes && drop < len(leaf.Times); drop++ {
		total -= timeBytes
		if leaf.Values != nil {
			total -= leaf.Values[drop].SizeBytes()
		}
	}
	e.truncate(leaf, drop)
	if len(leaf.Times) == 0 {
		p.DropLeaf(l.Key)
	}
}

// truncate drops the n oldest entries of a leaf.
func (e *Engine) truncate(leaf *subject.Leaf, n int) {
	if n == 0 {
		return
	}
	if !leaf.Truncated {
		leaf.Truncated = true
		e.Counters.TruncatedLeaves++
	}
	leaf.Times = leaf.Times[n:]
	if leaf.Values != nil {
		leaf.Values = leaf.Values[n:]
	}
}

func hasLargeValue(l *subject.Leaf) bool {
	return len(l.Values) > 0 && l.Values[len(l.Values)-1].SizeBytes() > checkFromSize
}

func sizeOf(l *subject.Leaf) int {
	n := timeBytes * len(l.Times)
	for i := range l.Values {
		n += l.Values[i].SizeBytes()
	}
	return n
}
