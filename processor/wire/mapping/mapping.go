// Package mapping reads events, decisions and requests out of records of
// another shape: for each member of ours a CEL expression over key, value and
// headers. It is pure and bounded: the same record gives the same result, an
// evaluation takes at most a fixed number of steps, and no failure says
// anything of a record's content.
//
// The language is CEL with the product's own ideas of JSON: a member that is
// missing is null, and so is what is asked of null; numbers are one exact kind.
package mapping

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kind is the kind of an input, as the configuration writes it.
type Kind string

// The kinds of inputs.
const (
	Event    Kind = "event"
	Decision Kind = "decision"
	Request  Kind = "request"
)

// want is what a member of ours may be, beside null.
type want uint8

const (
	text want = iota
	object
	instant
	boolean
)

var wantWords = [...]string{"text", "an object", "a timestamp, text or a number", "true or false"}

// member is what an expression can be given for.
type member struct {
	name string
	want want
}

var (
	identity = []member{{"userId", text}, {"anonymousId", text}}

	members = map[Kind][]member{
		Event: append(identity[:2:2], member{"type", text}, member{"event", text}, member{"messageId", text}, member{"timestamp", instant},
			member{"properties", object}, member{"traits", object}, member{"context", object}),
		Decision: append(identity[:2:2], member{"type", text}, member{"purpose", text}, member{"status", text}, member{"timestamp", instant},
			member{"explicit", boolean}, member{"expiresAt", instant},
			member{"noticeVersion", text}, member{"method", text}, member{"recordId", text}, member{"event", text}, member{"context", object}),
		Request: append(identity[:2:2], member{"type", text}, member{"requestId", text}, member{"request", text}, member{"timestamp", instant},
			member{"traits", object}),
	}
)

// Keys lists the members that an input of the kind can be given expressions
// for; none of an unknown kind.
func Keys(kind Kind) []string {
	var names []string
	for _, m := range members[kind] {
		names = append(names, m.name)
	}
	return names
}

// Mapping is the expressions of one input, compiled. It is safe for concurrent
// use; what evaluates it is not (Evaluator).
type Mapping struct {
	kind    Kind
	keys    []string // in the order of Keys
	entries []entry  // likewise
}

type entry struct {
	member
	expression
}

// Kind is the kind of input that the mapping is for.
func (m *Mapping) Kind() Kind { return m.kind }

// Keys lists the members that have an expression. The caller does not change it.
func (m *Mapping) Keys() []string { return m.keys }

// ReadsRecord reports whether an expression reads key or headers.
func (m *Mapping) ReadsRecord() bool {
	return slices.ContainsFunc(m.entries, func(e entry) bool { return e.readsKey || e.readsHeaders })
}

// Problem is what is wrong with an expression, or with a key.
type Problem struct {
	Key  string
	Text string // where it points into the expression, several lines
}

// Compile compiles the expressions of an input of a kind, which it must know.
// The mapping is nil if there are problems, which are sorted by key.
func Compile(kind Kind, expressions map[string]string) (*Mapping, []Problem) {
	env, err := newEnv()
	if err != nil {
		return nil, []Problem{{Text: err.Error()}}
	}
	m := &Mapping{kind: kind}
	var problems []Problem
	for key := range expressions {
		if !slices.Contains(Keys(kind), key) {
			problems = append(problems, Problem{key, fmt.Sprintf("unknown key; known for kind %s: %s", kind, strings.Join(Keys(kind), ", "))})
		}
	}
	for _, member := range members[kind] {
		text, given := expressions[member.name]
		if !given {
			continue
		}
		compiled, wrong := compile(env, text, member.want)
		if wrong != "" {
			problems = append(problems, Problem{member.name, wrong})
		}
		m.keys, m.entries = append(m.keys, member.name), append(m.entries, entry{member, compiled})
	}
	if len(problems) > 0 {
		slices.SortFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Key, b.Key) })
		return nil, problems
	}
	return m, nil
}
