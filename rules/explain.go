package rules

import (
	"encoding/json"

	"github.com/segmentd/segmentd/state/subject"
)

// Bounds of an explanation, so that it can be read.
const (
	maxParts  = 1000 // of the rules
	maxPieces = 20   // of evidence of one leaf
)

// Explained is how a segment's rule stands for a subject at an instant: a
// document, written as JSON.
type Explained struct {
	When      Part
	StayWhile *Part      // nil: the segment has none
	Leaves    []Evidence // that the parts shown read, each once

	DwellUntil subject.Instant // until when min_dwell keeps a member in; LongAgo: it does not
	CoolUntil  subject.Instant // until when cooldown keeps one who left out; LongAgo: it does not
}

// Part is an expression of a rule and how it stands: a condition, or a value
// where a condition needs one. Instants are RFC 3339 in UTC, "" where there is none.
type Part struct {
	// Kind is "and", "or", "not", "choice" (x ? a : b), "let", "held",
	// "constant", "condition" or "value".
	Kind string `json:"kind"`
	// Text is the expression as it is written; of a let its name. Of and, or
	// and not the parts say it.
	Text string `json:"text,omitempty"`
	// Holds is the answer of a condition, nil of a value.
	Holds *bool `json:"holds,omitempty"`
	// Value is that of a value, and of a condition that is no boolean.
	Value json.RawMessage `json:"value,omitempty"`
	Parts []Part          `json:"parts,omitempty"`
	// Omitted is how many parts are left out because the rule is very large.
	Omitted int             `json:"omitted,omitempty"`
	Reads   []LeafReading   `json:"reads,omitempty"`
	Trait   *TraitReading   `json:"trait,omitempty"`
	Segment *SegmentReading `json:"segment,omitempty"`
	Held    *HeldReading    `json:"held,omitempty"`
	// MayChange is the next instant at which the expression may change by
	// itself, because what it reads does.
	MayChange string `json:"mayChange,omitempty"`
}

// LeafReading is what an expression takes of a leaf.
type LeafReading struct {
	Leaf    int             `json:"leaf"`              // index into the explanation's leaves
	Measure string          `json:"measure,omitempty"` // count, distinct, days or sum, where the expression compares it
	Value   json.RawMessage `json:"value,omitempty"`   // of the measure
	// AtLeast says that the measure may be more: no more is kept than decides
	// the comparison.
	AtLeast bool `json:"atLeast,omitempty"`
}

// TraitReading is the trait that an expression reads.
type TraitReading struct {
	Key  string `json:"key"`
	Time string `json:"time,omitempty"` // of the identify call that set or removed it; "": none did
}

// SegmentReading is the segment whose answer an expression reads.
type SegmentReading struct {
	Key   string `json:"key"`
	Since string `json:"since,omitempty"` // since when the subject is in it; "": it is not
}

// HeldReading says for how long the condition of held() has held.
type HeldReading struct {
	Since string `json:"since,omitempty"` // "": it does not hold
	From  string `json:"from,omitempty"`  // when it will have held for long enough, or has; "": not before the year 10000
}

// Explain tells how a segment's rule stands at v.At for what is kept in
// v.Purpose, which it does not change.
func (s *Set) Explain(segment int, v *View) Explained {
	seg := &s.Segments[segment]
	x := &explainer{set: s, view: v, places: make(map[uint32]int), left: maxParts}
	e := Explained{DwellUntil: subject.LongAgo, CoolUntil: subject.LongAgo}
	e.When = x.part(seg.whenShown, true)
	if seg.stayShown != nil {
		stay := x.part(seg.stayShown, true)
		e.StayWhile = &stay
	}
	e.Leaves = x.leaves
	since, in := v.Purpose.Member(seg.ID)
	if until := since.Add(seg.MinDwell); in && until > v.At {
		e.DwellUntil = until
	}
	if seg.Cooldown > 0 && !in {
		if left, ok := seg.cooling.at(v.Purpose); ok && left.Add(seg.Cooldown) > v.At {
			e.CoolUntil = left.Add(seg.Cooldown)
		}
	}
	return e
}

// explainer explains one rule.
type explainer struct {
	set    *Set
	view   *View
	leaves []Evidence
	places map[uint32]int // in leaves, by leaf
	left   int            // parts that may still be shown
}

// part explains an expression, as a condition or as a value.
func (x *explainer) part(o *outline, condition bool) Part {
	x.left--
	value := o.value(x.view)
	p := Part{Kind: o.name(condition), Text: o.text}
	if holds := value.IsTrue(); condition {
		p.Holds = &holds
	}
	if !condition || value.Kind() != subject.Bool {
		p.Value = jsonValue(value)
	}
	for i := range o.parts {
		if x.left <= 0 {
			p.Omitted = len(o.parts) - i
			break
		}
		p.Parts = append(p.Parts, x.part(&o.parts[i], o.asks(i, condition)))
	}
	if o.reads != nil {
		x.readings(&p, o.reads)
	}
	return p
}

// name is the part's kind in an explanation.
func (o *outline) name(condition bool) string {
	switch {
	case o.kind != plainPart:
		return [...]string{"", "and", "or", "not", "choice", "let", "held", "constant"}[o.kind]
	case condition:
		return "condition"
	}
	return "value"
}

// asks reports whether a part is asked as a condition.
func (o *outline) asks(part int, condition bool) bool {
	switch o.kind {
	case plainPart:
		return false
	case letPart:
		return condition
	case choicePart:
		return part == 0 || condition
	}
	return true
}

func (x *explainer) readings(p *Part, r *readings) {
	for _, l := range r.leaves {
		p.Reads = append(p.Reads, x.leaf(l))
	}
	if r.trait != "" {
		p.Trait = x.trait(r.trait)
	}
	if r.segment != "" {
		since, in := x.view.Purpose.Member(hash32(r.segment))
		p.Segment = &SegmentReading{Key: r.segment}
		if in {
			p.Segment.Since = since.String()
		}
	}
	if r.held != nil {
		p.Held = r.held.explain(x.view)
	}
	next := subject.Never
	for _, turn := range r.turns {
		next = min(next, turn(x.view))
	}
	p.MayChange = instantText(next)
}

func (x *explainer) trait(key string) *TraitReading {
	for _, t := range x.view.Purpose.Traits {
		if t.Key == key {
			return &TraitReading{key, t.Time.String()}
		}
	}
	return &TraitReading{Key: key}
}

func (h *held) explain(v *View) *HeldReading {
	since, ok := h.at(v.Purpose)
	if !ok {
		return &HeldReading{}
	}
	return &HeldReading{since.String(), instantText(after(since, h.length))}
}

// leaf explains what an expression takes of a leaf, and the leaf itself where
// that has not been done.
func (x *explainer) leaf(l leafReading) LeafReading {
	place, ok := x.places[l.key]
	if !ok {
		place = len(x.leaves)
		x.places[l.key] = place
		x.leaves = append(x.leaves, x.set.LeafByKey(l.key).evidence(x.view))
	}
	r := LeafReading{Leaf: place, Measure: l.measure}
	if l.value != nil {
		value := l.value(x.view)
		r.Value, r.AtLeast = jsonValue(value), x.leaves[place].Truncated || l.reached(value)
	}
	return r
}

// reached reports whether a leaf keeps no more because its measure decides the
// comparison already.
func (g *program) reached(value subject.Value) bool {
	switch g.policy {
	case keepNewest, keepDistinct:
		return g.limit > 0 && value.Number().Cmp(subject.Int(int64(g.limit))) >= 0
	case keepSum:
		c := value.Number().Cmp(g.goal)
		return c > 0 || c == 0 && !g.strict
	}
	return false
}

// instantText writes an instant, "" where there is none.
func instantText(t subject.Instant) string {
	if !t.Valid() {
		return ""
	}
	return t.String()
}
