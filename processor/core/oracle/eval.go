package oracle

import (
	"github.com/segmentd/segmentd/state/subject"
)

// function computes a call's value from its unevaluated arguments.
type function func(sc *scope, n *node) any

// scope is what a rule sees: a subject's history for one purpose at one instant.
type scope struct {
	sim      *simulation
	purpose  *standing
	at       subject.Instant // T
	event    *event          // whose properties where and aggregates see
	without  *event          // is taken as if it had not come; nil: none
	keepAged bool            // the retention bound includes its own instant
	answers  map[*segment]bool
	locals   *local
}

// local is a variable of a list macro.
type local struct {
	name  string
	value any
	outer *local
}

func (sc *scope) eval(n *node) any {
	switch n.kind {
	case literalNode:
		return n.value
	case nameNode:
		return sc.name(n.name)
	case selectNode:
		return sc.field(n)
	case callNode:
		return n.call(sc, n)
	case listNode:
		list := make([]any, len(n.args))
		for i, a := range n.args {
			list[i] = sc.eval(a)
		}
		return list
	case mapNode:
		return sc.mapValue(n)
	}
	return nil
}

func (sc *scope) mapValue(n *node) any {
	m := map[string]any{}
	for i := 0; i < len(n.args); i += 2 {
		if k, ok := sc.eval(n.args[i]).(string); ok {
			m[k] = sc.eval(n.args[i+1])
		}
	}
	return m
}

func (sc *scope) name(name string) any {
	for l := sc.locals; l != nil; l = l.outer {
		if l.name == name {
			return l.value
		}
	}
	if sc.event == nil {
		return nil
	}
	return sc.event.part(name)
}

func (sc *scope) field(n *node) any {
	operand := n.args[0]
	if operand.kind == nameNode && operand.name == "traits" && !sc.isLocal("traits") {
		return sc.trait(n.name)
	}
	switch v := sc.eval(operand).(type) {
	case *event:
		return v.part(n.name)
	case map[string]any:
		return v[n.name]
	}
	return nil
}

func (sc *scope) isLocal(name string) bool {
	for l := sc.locals; l != nil; l = l.outer {
		if l.name == name {
			return true
		}
	}
	return false
}

// trait is the value that the newest identify with that key gave it.
func (sc *scope) trait(key string) any {
	for i := len(sc.purpose.identifies) - 1; i >= 0; i-- {
		e := sc.purpose.identifies[i]
		if v, ok := e.traits[key]; ok && e != sc.without {
			return v
		}
	}
	return nil
}

// selected calls yield for each event of a source, oldest first, until it returns false.
func (sc *scope) selected(src *source, yield func(*event) bool) {
	for _, e := range sc.purpose.events[src.name] {
		if e != sc.without && sc.retained(e) && sc.passes(src, e) && !yield(e) {
			return
		}
	}
}

func (sc *scope) retained(e *event) bool {
	oldest := minus(sc.at, sc.purpose.retention)
	return e.at <= sc.at && (e.at > oldest || sc.keepAged && e.at == oldest)
}

func (sc *scope) passes(src *source, e *event) bool {
	for i := range src.filters {
		if !sc.keeps(&src.filters[i], e) {
			return false
		}
	}
	return true
}

func (sc *scope) keeps(f *filter, e *event) bool {
	switch f.method {
	case "where":
		return isTrue(sc.of(e, f.predicate))
	case "since":
		c, ok := compare(e.at, sc.eval(f.at))
		return ok && c >= 0
	case "until":
		c, ok := compare(e.at, sc.eval(f.at))
		return ok && c <= 0
	}
	return e.at > minus(sc.at, f.far) && e.at <= minus(sc.at, f.near)
}

// of evaluates a predicate or an argument for one event, which depends on
// nothing else and so is remembered with it.
func (sc *scope) of(e *event, n *node) any {
	if e.memo == nil {
		e.memo = make([]*memo, sc.sim.set.memos)
	}
	if e.memo[n.memo] == nil {
		inner := scope{sim: sc.sim, purpose: sc.purpose, at: sc.at, event: e}
		e.memo[n.memo] = &memo{inner.eval(n)}
	}
	return e.memo[n.memo].value
}

// answer is the published answer of another segment.
func (sc *scope) answer(key string) bool {
	for _, s := range sc.sim.set.segments {
		if s.key == key && s.purpose == sc.purpose.purpose {
			return sc.answered(s)
		}
	}
	return false
}

func (sc *scope) answered(s *segment) bool {
	if sc.answers != nil {
		return sc.answers[s]
	}
	_, in := sc.sim.since[s]
	return in
}
