package rules

import "github.com/segmentd/segmentd/state/subject"

// maxTurns bounds the turns of a list macro, with those of all macros in it and
// the elements that in looks at there. Lists come with events, so that their
// product is the sender's choice; two nested lists of a thousand are within it.
// What would take more is taken for no collection.
const maxTurns = 1_000_000

// loop runs a list macro over a list's elements or a map's keys.
type loop struct {
	local int
	over  valueFn
	where truthFn
	each  valueFn // nil: the element itself
}

func always(*View) bool { return true }

func (l loop) node(macro, text string) node {
	switch macro {
	case macroExists:
		return judged(text, l.exists)
	case macroAll:
		return judged(text, l.all)
	case macroExistsOne:
		return judged(text, l.existsOne)
	}
	return valued(text, l.list)
}

func (l loop) exists(v *View) bool { return l.count(v, 1) == 1 }

func (l loop) existsOne(v *View) bool { return l.count(v, 2) == 1 }

// begin returns what the loop runs over, and of how many members that is; -1: it
// is no collection. The outermost loop has all turns before it.
func (l loop) begin(v *View) (over subject.Value, n int) {
	over = l.over(v)
	if l.local == 0 {
		v.scratch.turns = maxTurns
	}
	return over, members(over)
}

// spend takes some of the turns that are left. It reports false where there are
// not so many; then no loop around goes on.
func (s *scratch) spend(turns int) bool {
	s.turns -= max(0, turns)
	return s.turns >= 0
}

// count counts the elements for which the predicate holds, up to a limit.
func (l loop) count(v *View, limit int) (count int) {
	over, n := l.begin(v)
	for i := range n {
		v.scratch.locals[l.local] = member(over, i)
		holds := l.where(v)
		if !v.scratch.spend(1) {
			return 0
		}
		if holds {
			if count++; count == limit {
				return count
			}
		}
	}
	return count
}

func (l loop) all(v *View) bool {
	over, n := l.begin(v)
	for i := range n {
		v.scratch.locals[l.local] = member(over, i)
		holds := l.where(v)
		if !v.scratch.spend(1) || !holds {
			return false
		}
	}
	return n >= 0
}

// list is filter and map.
func (l loop) list(v *View) subject.Value {
	over, n := l.begin(v)
	var list []subject.Value
	for i := range n {
		element := member(over, i)
		v.scratch.locals[l.local] = element
		holds := l.where(v)
		if holds && l.each != nil {
			element = l.each(v)
		}
		if !v.scratch.spend(1) {
			return subject.OfList(nil)
		}
		if holds {
			list = append(list, element)
		}
	}
	return subject.OfList(list)
}
