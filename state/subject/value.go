package subject

import (
	"math/big"
	"strings"
)

// Kind is the kind of a Value.
type Kind uint8

// The kinds of values. Null is also "missing"; numbers are one kind.
const (
	Null Kind = iota
	Bool
	NumberKind
	String
	Time
	Duration
	List
	Map
)

// String names the kind as the rule language does.
func (k Kind) String() string {
	return [...]string{"null", "bool", "number", "string", "timestamp", "duration", "list", "map"}[k]
}

// Value is one value of the rule language: what a field of an event or a trait
// holds and what expressions compute. The zero Value is null. Values are
// immutable; lists and maps are shared, never changed in place. Safe for
// concurrent reading.
type Value struct {
	kind Kind
	exp  int32  // decimal exponent of a number
	n    int64  // coefficient of a number; 0/1 of a bool; µs of a time or duration
	s    string // text
	x    *boxed // what does not fit above
}

type boxed struct {
	list   []Value
	fields []Field
	big    *big.Int
}

// Field is one member of a map value; keys are unique within a map.
type Field struct {
	Key   string
	Value Value
}

// True and False are the boolean values.
var (
	True  = Value{kind: Bool, n: 1}
	False = Value{kind: Bool}
)

// OfBool returns the value of b.
func OfBool(b bool) Value {
	if b {
		return True
	}
	return False
}

// OfString returns a text value.
func OfString(s string) Value { return Value{kind: String, s: s} }

// OfTime returns a timestamp value.
func OfTime(t Instant) Value { return Value{kind: Time, n: int64(t)} }

// OfDuration returns a duration value of us microseconds.
func OfDuration(us int64) Value { return Value{kind: Duration, n: us} }

// OfList returns a list value that shares l.
func OfList(l []Value) Value { return Value{kind: List, x: &boxed{list: l}} }

// OfMap returns a map value that shares f; keys must be unique.
func OfMap(f []Field) Value { return Value{kind: Map, x: &boxed{fields: f}} }

// OfNumber returns the value of n.
func OfNumber(n Number) Value {
	v := Value{kind: NumberKind, exp: n.exp, n: n.coef}
	if n.big != nil {
		v.x = &boxed{big: n.big}
	}
	return v
}

// OfInt returns the number i.
func OfInt(i int64) Value { return OfNumber(Int(i)) }

// Kind returns v's kind.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether v is null (or missing).
func (v Value) IsNull() bool { return v.kind == Null }

// IsTrue reports whether v is the boolean true; null and all else are not.
func (v Value) IsTrue() bool { return v.kind == Bool && v.n == 1 }

// Str returns the text of a string value, "" of others.
func (v Value) Str() string { return v.s }

// Instant returns the instant of a timestamp value.
func (v Value) Instant() Instant { return Instant(v.n) }

// Micros returns the microseconds of a duration value.
func (v Value) Micros() int64 { return v.n }

// Number returns the number of a number value, 0 of others.
func (v Value) Number() Number {
	if v.kind != NumberKind {
		return Number{}
	}
	n := Number{coef: v.n, exp: v.exp}
	if v.x != nil {
		n.big = v.x.big
	}
	return n
}

// List returns the elements of a list value (shared; do not change), nil of others.
func (v Value) List() []Value {
	if v.kind != List {
		return nil
	}
	return v.x.list
}

// Fields returns the members of a map value (shared; do not change), nil of others.
func (v Value) Fields() []Field {
	if v.kind != Map {
		return nil
	}
	return v.x.fields
}

// Get returns the member of a map value by key; null if it is missing or v is no map.
func (v Value) Get(key string) Value {
	if v.kind == Map {
		for i := range v.x.fields {
			if v.x.fields[i].Key == key {
				return v.x.fields[i].Value
			}
		}
	}
	return Value{}
}

// Equal reports whether v and w are the same value: null only equals null,
// kinds never mix, 1 and 1.0 are one number, maps ignore the order of keys.
func (v Value) Equal(w Value) bool {
	if v.kind != w.kind {
		return false
	}
	switch v.kind {
	case Null:
		return true
	case NumberKind:
		return v.Number().Cmp(w.Number()) == 0
	case String:
		return v.s == w.s
	case List:
		return equalLists(v.x.list, w.x.list)
	case Map:
		return equalMaps(v, w)
	}
	return v.n == w.n
}

func equalLists(a, b []Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

func equalMaps(v, w Value) bool {
	if len(v.x.fields) != len(w.x.fields) {
		return false
	}
	for _, f := range v.x.fields {
		found := false
		for _, g := range w.x.fields {
			if g.Key == f.Key {
				found = f.Value.Equal(g.Value)
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// Compare orders v and w if they are of one ordered kind (numbers, strings by
// code point, booleans, timestamps, durations); ok is false otherwise, and for null.
func (v Value) Compare(w Value) (c int, ok bool) {
	if v.kind != w.kind {
		return 0, false
	}
	switch v.kind {
	case NumberKind:
		return v.Number().Cmp(w.Number()), true
	case String:
		return strings.Compare(v.s, w.s), true
	case Bool, Time, Duration:
		switch {
		case v.n < w.n:
			return -1, true
		case v.n > w.n:
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// SizeBytes estimates the memory a value holds on to, in bytes.
func (v Value) SizeBytes() int {
	n := 40 + len(v.s)
	if v.x == nil {
		return n
	}
	for _, e := range v.x.list {
		n += e.SizeBytes()
	}
	for _, f := range v.x.fields {
		n += 16 + len(f.Key) + f.Value.SizeBytes()
	}
	if v.x.big != nil {
		n += len(v.x.big.Bits()) * 8
	}
	return n
}
