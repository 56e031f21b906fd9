package rules

import "github.com/segmentd/segmentd/state/subject"

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

// count counts the elements for which the predicate holds, up to a limit.
func (l loop) count(v *View, limit int) (n int) {
	over := l.over(v)
	for i := range members(over) {
		v.scratch.locals[l.local] = member(over, i)
		if l.where(v) {
			if n++; n == limit {
				return n
			}
		}
	}
	return n
}

func (l loop) all(v *View) bool {
	over := l.over(v)
	n := members(over)
	for i := range n {
		v.scratch.locals[l.local] = member(over, i)
		if !l.where(v) {
			return false
		}
	}
	return n >= 0
}

// list is filter and map.
func (l loop) list(v *View) subject.Value {
	over := l.over(v)
	var list []subject.Value
	for i := range members(over) {
		element := member(over, i)
		v.scratch.locals[l.local] = element
		if !l.where(v) {
			continue
		}
		if l.each != nil {
			element = l.each(v)
		}
		list = append(list, element)
	}
	return subject.OfList(list)
}
