package rules

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/segmentd/segmentd/state/subject"
)

// followedByMethod compiles a.followed_by(b, "1h", c, "2h"), which is
// a.followed_by(b.followed_by(c, "2h"), "1h").
func (s *scope) followedByMethod(c ast.CallExpr, src *source) bool {
	return s.follow(c, src, false)
}

func (s *scope) notFollowedByMethod(c ast.CallExpr, src *source) bool {
	switch {
	case s.absent:
		s.fail(c.Args()[0], "not_followed_by() cannot stand inside another not_followed_by()")
		return false
	case len(c.Args()) > 2:
		s.fail(c.Args()[2], "not_followed_by() takes one follower and one duration; for a sequence that must not come write not_followed_by(events(\"…\").followed_by(…), \"…\")")
		return false
	}
	return s.follow(c, src, true)
}

func (s *scope) follow(c ast.CallExpr, src *source, never bool) bool {
	inner := *s
	inner.follower, inner.absent = true, s.absent || never
	args := c.Args()
	var chain []following
	for i := 0; i+1 < len(args); i += 2 {
		follower, ok := inner.source(args[i])
		if !ok {
			return false
		}
		within, ok := s.duration(args[i+1])
		if !ok {
			return false
		}
		chain = append(chain, following{source: follower, within: within, never: never})
	}
	for i := len(chain) - 1; i > 0; i-- {
		before := &chain[i-1].source
		before.follows = append(before.follows[:len(before.follows):len(before.follows)], chain[i])
	}
	src.follows = append(src.follows[:len(src.follows):len(src.follows)], chain[0])
	return true
}

// namesPrevious reports whether an expression speaks of the event before.
func (s *scope) namesPrevious(e ast.Expr) bool {
	found := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		found = found || e.Kind() == ast.IdentKind && e.AsIdent() == previousName
	}))
	return found
}

// pairConjunct compiles a conjunct of a follower and the event before it.
func (s *scope) pairConjunct(e ast.Expr, src *source) {
	if !s.follower {
		s.fail(e, "previous is known only in the where(...) of a follower, as in followed_by(events(\"…\").where(properties.x == previous.properties.x), \"1h\")")
		return
	}
	inner := s.ofEvent()
	inner.pair = &pairScope{cells: make(map[string]*cell)}
	n := inner.compile(e)
	n.cells = inner.pair.cells
	n.join = inner.joinOf(e)
	src.pairs = append(src.pairs[:len(src.pairs):len(src.pairs)], n)
}

// joinOf returns the equality of the two events that a conjunct is, nil if it is
// none. Its cells are those that the conjunct has been compiled with.
func (s *scope) joinOf(e ast.Expr) *join {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operators.Equals {
		return nil
	}
	a, b := e.AsCall().Args()[0], e.AsCall().Args()[1]
	x, ofX := s.sideOf(a)
	y, ofY := s.sideOf(b)
	switch {
	case ofX == earlierSide && ofY == laterSide:
		return &join{x, y}
	case ofX == laterSide && ofY == earlierSide:
		return &join{y, x}
	}
	return nil
}

// The events that one side of an equality speaks of, as bits.
const (
	earlierSide = 1 << iota
	laterSide
)

func (s *scope) sideOf(e ast.Expr) (value valueFn, side int) {
	s.pair.sides = 0
	n := s.compile(e)
	return n.value, s.pair.sides
}

// pairScope is the scope of a conjunct of two events: what it reads of either
// is kept in cells.
type pairScope struct {
	cells map[string]*cell
	sides int // the events spoken of
}

func (p *pairScope) cell(n node) *cell {
	c := p.cells[n.text]
	if c == nil {
		c = &cell{text: n.text, capture: n.value}
		p.cells[n.text] = c
	}
	return c
}

// earlier and later read a cell of the event before, and of the follower.
func (p *pairScope) earlier(n node) node {
	c := p.cell(n)
	p.sides |= earlierSide
	return valued(previousName+"."+n.text, func(v *View) subject.Value {
		m := &v.scratch.matching.pair
		return entryCell(m.leaf.Values[m.earlier], c)
	})
}

func (p *pairScope) later(n node) node {
	c := p.cell(n)
	p.sides |= laterSide
	return valued(n.text, func(v *View) subject.Value {
		m := &v.scratch.matching.pair
		return entryCell(m.leaf.Values[m.later], c)
	})
}

// previousField compiles previous.properties.x and its like.
func (s *scope) previousField(e ast.Expr, keys []string) node {
	if s.pair == nil {
		return s.fail(e, "previous is known only in the where(...) of a follower")
	}
	switch {
	case keys[0] == "timestamp" && len(keys) == 1:
		return s.pair.earlier(timestampOfEvent())
	case keys[0] == "name" && len(keys) == 1:
		return s.pair.earlier(nameOfEvent())
	case keys[0] != "properties" && keys[0] != "context":
		return s.fail(e, fmt.Sprintf("an event has no field %q", keys[0]))
	case len(keys) == 1:
		return s.fail(e, fmt.Sprintf("%s is no value of its own: name a field of it, as in previous.%s.x", keys[0], keys[0]))
	}
	return s.pair.earlier(s.rawField(keys[0], keys[1:]))
}

// sequence lays out what a leaf keeps of a source with followers; arg is what
// the aggregate takes of the first event (without a closure: nothing).
func (s *scope) sequence(src *source, arg node) *sequence {
	q := &sequence{}
	if arg.value != nil {
		q.cells = append(q.cells, &cell{text: arg.text, capture: arg.value, first: true})
	}
	q.add(src)
	if len(q.steps) > maxSteps {
		s.fail(s.set.segments[s.rule.segment].ast.Expr(), fmt.Sprintf("the sequence has more than %d steps", maxSteps))
		return nil
	}
	return q
}

// add appends the step of a source, and those of its followers behind it.
func (q *sequence) add(src *source) int {
	at := len(q.steps)
	q.steps = append(q.steps, step{event: src.event})
	for _, n := range src.where {
		q.steps[at].where = append(q.steps[at].where, n.truth)
	}
	for _, n := range src.pairs {
		q.steps[at].pairs = append(q.steps[at].pairs, n.truth)
		if n.join != nil {
			q.steps[at].join = n.join
		}
		q.place(n.cells)
	}
	for i := range src.follows {
		f := &src.follows[i]
		q.steps[at].follows = append(q.steps[at].follows, follow{step: q.add(&f.source), within: f.within, never: f.never})
	}
	return at
}

// place gives cells their places; those of the same meaning share one.
func (q *sequence) place(cells map[string]*cell) {
	for _, text := range keysOf(cells) {
		c := cells[text]
		at := slices.IndexFunc(q.cells, func(o *cell) bool { return o.text == text && !o.first })
		if at < 0 {
			at = len(q.cells)
			q.cells = append(q.cells, c)
		}
		c.index = at
	}
}
