package rules

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/segmentd/segmentd/state/subject"
)

// leaf returns the leaf of a source, an argument (without a text: none) and
// what is kept of them, shared with all of its purpose that means the same; nil
// if its hash is taken.
func (s *scope) leaf(src source, spec program, arg node) *program {
	spec.window, spec.event = src.window, src.event
	if len(src.follows) > 0 {
		spec.policy, spec.limit = keepAll, 0
		if spec.gather == gatherNone {
			arg = node{}
		}
		if spec.seq = s.sequence(&src, arg); spec.seq == nil {
			return nil
		}
	}
	spec.source, spec.argument = src.eventsText(), arg.text
	what := spec.what(arg.text)
	text := what + " of " + src.text() + " for " + s.set.purposes[s.purpose()].Key
	d, ok := s.leaves[text]
	if !ok {
		if d = s.newLeaf(text, spec); d == nil {
			return nil
		}
		for _, n := range src.where {
			d.leaf.program.where = append(d.leaf.program.where, n.truth)
		}
		if spec.seq == nil {
			d.leaf.program.pick = pickOf(src.where)
		}
		d.leaf.Bound = what + " " + src.window.bound()
		if n := d.leaf.MaxEntries(); n > 0 {
			d.leaf.Bound += fmt.Sprintf(", at most %d", n)
		}
	}
	d.leaf.program.ends = append(d.leaf.program.ends, src.end)
	s.rule.leaves[d] = true
	s.rule.outliner.leaf(d.leaf.program)
	return d.leaf.program
}

// markLeaf returns the leaf of a remembered instant, shared with all of its
// purpose that means the same; nil if its hash is taken.
func (s *scope) markLeaf(what string) *program {
	text := what + " for " + s.set.purposes[s.purpose()].Key
	d, ok := s.leaves[text]
	if !ok {
		if d = s.newLeaf(text, program{kind: markLeaf, window: retention(0)}); d == nil {
			return nil
		}
		d.leaf.Bound = "one time"
	}
	s.rule.leaves[d] = true
	return d.leaf.program
}

func (s *scope) newLeaf(text string, spec program) *leafDraft {
	spec.key = hash32(text)
	if other, taken := s.leafKeys[spec.key]; taken {
		s.fail(s.set.segments[s.rule.segment].ast.Expr(), fmt.Sprintf("what is kept as %q and as %q has the same 32-bit hash, by which it is stored: write one of them differently", other, text))
		return nil
	}
	s.leafKeys[spec.key] = text
	d := &leafDraft{leaf: Leaf{Key: spec.key, Text: text, Purpose: s.purpose(), program: &spec}}
	s.leaves[text] = d
	return d
}

// leafText names a leaf among what may change a rule's answer.
func (s *scope) leafText(g *program) string { return s.leafKeys[g.key] }

// what says in words what a leaf keeps of each event and of how many.
func (g *program) what(arg string) string {
	of := "times"
	if g.seq != nil {
		of = "events of the sequence"
		if len(g.seq.cells) > 0 {
			of += " and what is compared"
		}
	}
	if g.gather != gatherNone {
		of = [...]string{"", "numbers", "ordered values", "values", "values"}[g.gather] + " of " + arg
	}
	if g.policy == keepAll && g.gather == gatherValues {
		return "all values but null of " + arg
	}
	switch g.policy {
	case keepNewest:
		return "the newest " + strconv.Itoa(g.limit) + " " + of
	case keepSum:
		reach := "reaches "
		if g.strict {
			reach = "exceeds "
		}
		return "the newest " + of + " whose sum " + reach + g.goal.String()
	case keepMin:
		return "candidates for the least of " + of
	case keepMax:
		return "candidates for the greatest of " + of
	case keepDistinct:
		if g.limit > 0 {
			return "the newest " + strconv.Itoa(g.limit) + " different " + of
		}
		return "all different " + of
	}
	return "all " + of
}

// bound says in words how long a window keeps an event.
func (w *window) bound() string {
	days := ""
	for _, m := range w.midnights {
		days += fmt.Sprintf(" since midnight %d days before in %s", m.days, m.zone.name)
	}
	switch {
	case days != "" && (w.retained || w.span == unbounded):
		return strings.TrimPrefix(days, " ")
	case w.span == unbounded:
		return "for ever"
	case w.retained:
		return "within the retention of " + durationText(w.span)
	}
	return "within " + durationText(w.span) + days
}

// maxKept is the greatest constant for which a leaf keeps only what can matter.
const maxKept = 1 << 20

// countThreshold compiles count() op n for n ≥ 0.
func (s *scope) countThreshold(src source, op comparison, n int) node {
	op, n = canonical(op, n)
	if len(src.follows) > 0 {
		return s.sequenceThreshold(src, op, n)
	}
	g := s.leaf(src, program{policy: keepNewest, limit: limitOf(op, n)}, node{})
	if g == nil {
		return literal(null)
	}
	t := &threshold{program: g, op: op, n: n}
	s.rule.outliner.measure("count", g.count)
	text := fmt.Sprintf("(%s.count() %s %d)", src.text(), op, n)
	s.rule.turn(text, t.nextCount)
	return judged(text, t.counted)
}

// sequenceThreshold compiles count() op n of a source with followers, of which
// everything in the window is kept.
func (s *scope) sequenceThreshold(src source, op comparison, n int) node {
	g := s.leaf(src, program{policy: keepAll}, node{})
	if g == nil {
		return literal(null)
	}
	s.rule.outliner.measure("count", g.count)
	t := &threshold{program: g, op: op, n: n}
	s.rule.turn(s.leafText(g), g.next)
	return judged(fmt.Sprintf("(%s.count() %s %d)", src.text(), op, n), t.counted)
}

// distinctThreshold compiles distinct(arg) op n for n ≥ 0.
func (s *scope) distinctThreshold(src source, spec program, arg node, t threshold) node {
	op, n := canonical(t.op, t.n)
	spec.gather, spec.policy, spec.limit = gatherValues, keepDistinct, limitOf(op, n)
	g := s.leaf(src, spec, arg)
	if g == nil {
		return literal(null)
	}
	t = threshold{program: g, op: op, n: n}
	if g.daily {
		s.rule.outliner.measure("days", g.distinct)
	} else {
		s.rule.outliner.measure("distinct", g.distinct)
	}
	text := fmt.Sprintf("(%s.distinct(%s) %s %d)", src.text(), arg.text, op, n)
	if g.lag > 0 || g.seq != nil {
		s.rule.turn(s.leafText(g), g.next)
		return judged(text, t.countedDistinct)
	}
	s.rule.turn(text, t.nextCount)
	return judged(text, t.counted)
}

// sumThreshold compiles sum(arg) op goal where no number is negative and
// neither is the goal.
func (s *scope) sumThreshold(src source, spec program, arg node, op comparison) node {
	spec.gather, spec.policy = gatherNumbers, keepSum
	spec.strict = op != greaterEqual && op != less
	g := s.leaf(src, spec, arg)
	if g == nil {
		return literal(null)
	}
	t := &threshold{program: g, op: op}
	s.rule.outliner.measure("sum", g.sum)
	text := fmt.Sprintf("(%s.sum(%s) %s %s)", src.text(), arg.text, op, spec.goal)
	s.rule.turn(text, t.nextSum)
	return judged(text, t.summed)
}

// canonical writes comparisons of whole numbers that mean the same as one.
func canonical(op comparison, n int) (comparison, int) {
	switch {
	case op == greater, op == notEqual && n == 0:
		return greaterEqual, n + 1
	case op == lessEqual, op == equal && n == 0:
		return less, n + 1
	}
	return op, n
}

// limitOf is how many entries decide a canonical comparison with n.
func limitOf(op comparison, n int) int {
	if op == equal || op == notEqual {
		return n + 1
	}
	return n
}

// wholeThreshold turns a comparison of a count with any number into one with a
// whole number of at least 0; decided says that the answer is constant.
func wholeThreshold(op comparison, k subject.Number) (t threshold, decided, answer bool) {
	whole := k.Trunc()
	if whole.Cmp(k) != 0 { // between two whole numbers
		if !op.ordering() {
			return t, true, op == notEqual
		}
		if k.Sign() > 0 && (op == less || op == greaterEqual) {
			whole, _ = whole.Add(subject.Int(1))
		}
		if k.Sign() < 0 {
			whole = subject.Int(-1)
		}
	}
	n, ok := whole.Int64()
	t = threshold{op: op, n: int(n)}
	switch {
	case whole.Sign() < 0 || n == 0 && ok && (op == less || op == greaterEqual):
		return t, true, op == notEqual || op == greater || op == greaterEqual
	case !ok || n > maxKept:
		t.n = -1
	}
	return t, false, false
}
