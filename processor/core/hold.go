package core

import "github.com/segmentd/segmentd/rules"

// hold is what an engine leaves alone while it is not known: such segments are
// not decided, but left where their basis ends, and such leaves take no event.
// A nil hold holds nothing.
type hold struct {
	segments []bool          // by index
	leaves   map[uint32]bool // by key
	answers  map[int]bool    // of segments whose answer is known from elsewhere
}

// answer decides a segment, or tells the answer that is known from elsewhere.
func (h *hold) answer(s *rules.Segment, i int, v *rules.View) bool {
	if h != nil {
		if in, ok := h.answers[i]; ok {
			return in
		}
	}
	return s.Answer(v)
}

func (h *hold) segment(i int) bool { return h != nil && h.segments != nil && h.segments[i] }

func (h *hold) leaf(l *rules.Leaf) bool { return h != nil && h.leaves[l.Key] }
