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
	segment  *segment        // that is decided; nil: none
	memory   *memory         // of earlier answers
	at       subject.Instant // T
	event    *event          // whose properties where and aggregates see
	previous *event          // that it follows
	without  *event          // is taken as if it had not come; nil: none
	keepAged bool            // the retention bound includes its own instant
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
	switch {
	case name == "previous":
		return orNull(sc.previous)
	case sc.event == nil:
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
	list := sc.purpose.identifies
	if key == sc.purpose.birthTrait {
		list = sc.purpose.births
	}
	return newestTrait(list, key, sc.without)
}

func newestTrait(list []*event, key string, without *event) any {
	for i := len(list) - 1; i >= 0; i-- {
		if v, ok := list[i].traits[key]; ok && list[i] != without {
			return v
		}
	}
	return nil
}

// published is the published answer of another segment.
func (sc *scope) published(key string) bool {
	for _, s := range sc.sim.set.segments {
		if s.key == key && s.purpose == sc.purpose.purpose {
			return sc.memory.member(s)
		}
	}
	return false
}
