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

// bound keeps what is kept for one purpose below MaxSubjectBytes: the leaf that
// grew drops its oldest evidence and remembers that it did.
func (e *Engine) bound(p *subject.Purpose, l *rules.Leaf) {
	leaf := p.Leaf(l.Key)
	if leaf == nil || len(leaf.Times) < checkFromLen && !hasLargeValue(leaf) {
		return
	}
	total := 0
	for i := range p.Leaves {
		total += sizeOf(&p.Leaves[i])
	}
	if total <= e.cfg.MaxSubjectBytes {
		return
	}
	if !leaf.Truncated {
		leaf.Truncated = true
		e.Counters.TruncatedLeaves++
	}
	for total > e.cfg.MaxSubjectBytes && len(leaf.Times) > 0 {
		total -= timeBytes
		if leaf.Values != nil {
			total -= leaf.Values[0].SizeBytes()
			leaf.Values = leaf.Values[1:]
		}
		leaf.Times = leaf.Times[1:]
	}
	if len(leaf.Times) == 0 {
		p.DropLeaf(l.Key)
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
