package rules

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// Evidence is what is kept of one leaf, and what of it counts at an instant.
type Evidence struct {
	Leaf     string  `json:"leaf"`             // its meaning, in the language's canonical form
	Keeps    string  `json:"keeps"`            // what it keeps, in words
	Counting int     `json:"counting"`         // pieces that count
	Pieces   []Piece `json:"pieces,omitempty"` // of those, the newest first
	More     int     `json:"more,omitempty"`   // of those, how many are not in Pieces
	// NextLeaves is when the next of them counts no longer.
	NextLeaves string `json:"nextLeaves,omitempty"`
	// Waiting are pieces kept that do not count yet, the first of them from
	// NextEnters on.
	Waiting    int    `json:"waiting,omitempty"`
	NextEnters string `json:"nextEnters,omitempty"`
	// Left are pieces kept that count no longer.
	Left int `json:"left,omitempty"`
	// Unmatched are first events of a sequence, newest first, that are not
	// followed as the rule asks; the last MoreUnmatched of them are not shown.
	Unmatched     []Piece `json:"unmatched,omitempty"`
	MoreUnmatched int     `json:"moreUnmatched,omitempty"`
	// Truncated says that evidence was dropped because the subject's state was
	// too large.
	Truncated bool `json:"truncated,omitempty"`
}

// Piece is one piece of evidence: an event, or a value of one.
type Piece struct {
	Time       string          `json:"time"`
	Value      json.RawMessage `json:"value,omitempty"`
	FollowedBy []Follower      `json:"followedBy,omitempty"`
	// Open is until when the event of a sequence can still be followed, or from
	// when it counts if it is not.
	Open string `json:"open,omitempty"`
}

// Follower is an event that followed another in a sequence.
type Follower struct {
	Event string `json:"event"` // as the rule names it
	Time  string `json:"time"`
}

// evidence tells what is kept of the leaf and counts at v.At.
func (l *Leaf) evidence(v *View) Evidence {
	e := Evidence{Leaf: l.Text, Keeps: l.Bound}
	s := v.Purpose.Leaf(l.Key)
	if s == nil {
		return e
	}
	e.Truncated = s.Truncated
	if l.program.seq != nil {
		l.program.seq.evidence(l.program, s, v, &e)
	} else {
		l.program.evidence(s, v, &e)
	}
	e.More = e.Counting - len(e.Pieces)
	return e
}

func (g *program) evidence(s *subject.Leaf, v *View, e *Evidence) {
	lo, hi := g.active(s.Times, v.At, false)
	e.Counting, e.Left = hi-lo, lo
	for i := hi - 1; i >= max(lo, hi-maxPieces); i-- {
		p := Piece{Time: s.Times[i].String()}
		if g.gather != gatherNone {
			p.Value = g.jsonValue(s.Values[i])
		}
		e.Pieces = append(e.Pieces, p)
	}
	if lo < hi {
		e.NextLeaves = instantText(g.leaves(s.Times[lo]))
	}
	if hi < len(s.Times) {
		e.Waiting, e.NextEnters = len(s.Times)-hi, instantText(g.enters(s.Times[hi]))
	}
}

// evidence lists the first events of a sequence: those in the window that are
// followed as the rule asks, which count, and the others in it.
func (q *sequence) evidence(g *program, s *subject.Leaf, v *View, e *Evidence) {
	q.matches(s, v)
	m := &v.scratch.matching
	lo, hi := g.active(s.Times, v.At, false)
	for i := len(s.Times) - 1; i >= 0; i-- {
		switch {
		case m.steps[i]&1 == 0:
		case i >= hi:
			e.Waiting, e.NextEnters = e.Waiting+1, instantText(g.enters(s.Times[i]))
		case i < lo:
			e.Left++
		case m.held[i]&1 != 0:
			e.NextLeaves = instantText(g.leaves(s.Times[i]))
			if e.Counting++; len(e.Pieces) < maxPieces {
				e.Pieces = append(e.Pieces, q.matched(g, s, v, i))
			}
		case len(e.Unmatched) < maxPieces:
			e.Unmatched = append(e.Unmatched, Piece{Time: s.Times[i].String(), Open: instantText(q.open(s, v.At, i))})
		default:
			e.MoreUnmatched++
		}
	}
}

// matched is a first event that counts, with what followed it.
func (q *sequence) matched(g *program, s *subject.Leaf, v *View, i int) Piece {
	p := Piece{Time: s.Times[i].String()}
	if g.gather != gatherNone {
		p.Value = g.jsonValue(entryCell(s.Values[i], q.cells[0]))
	}
	q.followers(s, v, 0, i, &p.FollowedBy)
	return p
}

// followers appends the first events that follow the entry i as a step asks,
// and those that follow them.
func (q *sequence) followers(s *subject.Leaf, v *View, step, i int, list *[]Follower) {
	for _, f := range q.steps[step].follows {
		if f.never {
			continue
		}
		if j := q.firstFollower(f, s, v, i); j >= 0 {
			*list = append(*list, Follower{q.steps[f.step].event.name(), s.Times[j].String()})
			q.followers(s, v, f.step, j, list)
		}
	}
}

func (q *sequence) firstFollower(f follow, s *subject.Leaf, v *View, i int) int {
	m := &v.scratch.matching
	m.pair.leaf = s
	defer func() { m.pair.leaf = nil }()
	for j := i + 1; j < len(s.Times) && s.Times[j] <= after(s.Times[i], f.within); j++ {
		m.pair.earlier, m.pair.later = i, j
		if m.held[j]&(1<<f.step) != 0 && holdAll(q.steps[f.step].pairs, v) {
			return j
		}
	}
	return -1
}

// open is the latest instant by which what follows the entry i, a first event,
// is not settled; Never if it is.
func (q *sequence) open(s *subject.Leaf, at subject.Instant, i int) subject.Instant {
	open := subject.LongAgo
	for _, f := range q.steps[0].follows {
		if d := after(s.Times[i], f.within); d > at {
			open = max(open, d)
		}
	}
	if open == subject.LongAgo {
		return subject.Never
	}
	return open
}

// name is the pattern as a rule writes it, without quotes.
func (p pattern) name() string {
	if p.prefix {
		return p.text + "*"
	}
	return p.text
}

// jsonValue writes a value of the leaf's argument as JSON; a day as its date.
func (g *program) jsonValue(v subject.Value) json.RawMessage {
	if day, ok := v.Number().Int64(); ok && g.daily {
		return quoted(time.Unix(day*86400, 0).UTC().Format(time.DateOnly))
	}
	return jsonValue(v)
}

// maxValueBytes bounds a value in an explanation.
const maxValueBytes = 4 << 10

// jsonValue writes a value as JSON; a larger one than maxValueBytes as a text
// that begins like it and ends in ….
func jsonValue(v subject.Value) json.RawMessage {
	b := appendJSON(nil, v, maxValueBytes)
	if len(b) > maxValueBytes {
		return quoted(string(b[:200]) + "…")
	}
	return b
}

// appendJSON appends a value as JSON, timestamps and durations as text; it stops
// early once b is longer than limit.
func appendJSON(b []byte, v subject.Value, limit int) []byte {
	switch v.Kind() {
	case subject.Null, subject.Bool, subject.NumberKind:
		return append(b, constantText(v)...)
	case subject.String:
		return append(b, quoted(v.Str())...)
	case subject.Time:
		return append(b, quoted(v.Instant().String())...)
	case subject.Duration:
		return append(b, quoted(secondsText(v.Micros()))...)
	case subject.Map:
		return appendMap(b, v, limit)
	}
	b = append(b, '[')
	for i, element := range v.List() {
		if len(b) > limit {
			break
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, element, limit)
	}
	return append(b, ']')
}

func appendMap(b []byte, v subject.Value, limit int) []byte {
	b = append(b, '{')
	for i, f := range v.Fields() {
		if len(b) > limit {
			break
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(append(append(b, quoted(f.Key)...), ':'), f.Value, limit)
	}
	return append(b, '}')
}

// quoted writes a text as JSON does; what is no UTF-8 in it is replaced.
func quoted(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("invariant: every text can be written as JSON: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
