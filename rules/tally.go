package rules

import "github.com/segmentd/segmentd/state/subject"

// tally counts how often values occur. The zero tally is empty.
type tally struct {
	plain map[subject.Value]int
	rest  []tallied // lists, maps and numbers of many digits
}

type tallied struct {
	value subject.Value
	n     int
}

func (t *tally) clear() {
	clear(t.plain)
	t.rest = t.rest[:0]
}

func (t *tally) add(v subject.Value) {
	if isPlain(v) {
		if t.plain == nil {
			t.plain = make(map[subject.Value]int)
		}
		t.plain[v]++
		return
	}
	for i := range t.rest {
		if t.rest[i].value.Equal(v) {
			t.rest[i].n++
			return
		}
	}
	t.rest = append(t.rest, tallied{v, 1})
}

func (t *tally) count(v subject.Value) int {
	if isPlain(v) {
		return t.plain[v]
	}
	for i := range t.rest {
		if t.rest[i].value.Equal(v) {
			return t.rest[i].n
		}
	}
	return 0
}
