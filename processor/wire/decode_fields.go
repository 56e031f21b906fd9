package wire

import (
	"unsafe"

	"github.com/segmentd/segmentd/processor/wire/scan"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// node is a rules.FieldNode made ready for decoding.
type node struct {
	key      string
	whole    bool
	slot     int             // -1: none
	min      *subject.Number // of the slot; nil: none
	children []*node
	byKey    map[string]*node // set where there are many children
}

// manyChildren is from where on a map finds a child faster than comparing all.
const manyChildren = 8

func newNode(f *rules.FieldNode, slots []rules.Slot) *node {
	if f == nil {
		return nil
	}
	n := &node{key: f.Key, whole: f.Whole || f.Slot >= 0, slot: -1}
	if f.Slot >= 0 && f.Slot < len(slots) {
		n.slot, n.min = f.Slot, slots[f.Slot].Min
	}
	for _, c := range f.Children {
		n.children = append(n.children, newNode(c, slots))
	}
	if len(n.children) >= manyChildren {
		n.byKey = make(map[string]*node, len(n.children))
		for _, c := range n.children {
			n.byKey[c.key] = c
		}
	}
	return n
}

// newRoot is newNode for the roots, which stand for the whole part of a record
// and are never read themselves.
func newRoot(f *rules.FieldNode, slots []rules.Slot) *node {
	n := newNode(f, slots)
	if n == nil || len(n.children) == 0 {
		return nil
	}
	n.whole, n.slot, n.min = false, -1, nil
	return n
}

// child finds the node of a key; n may be nil.
func (n *node) child(key []byte) *node {
	if n == nil {
		return nil
	}
	if n.byKey != nil {
		return n.byKey[string(key)]
	}
	for _, c := range n.children {
		if c.key == string(key) {
			return c
		}
	}
	return nil
}

// fill reads a value into the slots of n and of the nodes below it.
func (d *Decoder) fill(n *node, raw []byte) {
	if n.whole {
		d.value(n, raw)
		return
	}
	if raw[0] != '{' {
		return
	}
	left := len(n.children)
	for m := scan.MembersOf(raw); left > 0; {
		name, value, ok := m.Next()
		if !ok {
			return
		}
		if c := n.child(d.unquote(name)); c != nil {
			d.fill(c, value)
			left--
		}
	}
}

// value decodes all of raw. Where n is not nil, it fills the slots of n and of
// the nodes below it on the way, and takes numbers below a minimum as null.
func (d *Decoder) value(n *node, raw []byte) subject.Value {
	v, _ := d.valueAt(n, raw, 0)
	return v
}

// valueAt decodes the value that begins at b[i] and returns the index behind
// it. It passes over each byte once, however deep values are nested.
func (d *Decoder) valueAt(n *node, b []byte, i int) (v subject.Value, end int) {
	switch b[i] {
	case '{':
		v, end = d.mapAt(n, b, i+1)
	case '[':
		v, end = d.listAt(n, b, i+1)
	default:
		end = scan.SkipValue(b, i)
		v = d.atLeast(n, d.scalar(b[i:end]))
	}
	if n != nil && n.slot >= 0 {
		d.fields[n.slot] = v
	}
	return v, end
}

func (d *Decoder) scalar(raw []byte) subject.Value {
	switch raw[0] {
	case '"':
		return subject.OfString(string(d.unquote(raw)))
	case 't':
		return subject.True
	case 'f':
		return subject.False
	case 'n':
		return subject.Value{}
	}
	return number(raw)
}

// mapAt decodes an object from behind its opening brace.
func (d *Decoder) mapAt(n *node, b []byte, i int) (subject.Value, int) {
	var kept []subject.Field
	for {
		if i = scan.SkipTo(b, i, ','); b[i] == '}' {
			return subject.OfMap(kept), i + 1
		}
		end := scan.SkipString(b, i)
		f, c := d.named(n, b[i:end])
		f.Value, i = d.valueAt(c, b, scan.SkipTo(b, end, ':'))
		kept = append(kept, f)
	}
}

// named returns the member of that name, without its value, and its node.
func (d *Decoder) named(n *node, quoted []byte) (subject.Field, *node) {
	key := d.unquote(quoted)
	if c := n.child(key); c != nil {
		return subject.Field{Key: c.key}, c
	}
	return subject.Field{Key: string(key)}, nil
}

// listAt decodes a list from behind its opening bracket; a minimum holds for
// numbers that are its elements too, since a list counts as its elements in
// aggregates.
func (d *Decoder) listAt(n *node, b []byte, i int) (subject.Value, int) {
	var kept []subject.Value
	for {
		if i = scan.SkipTo(b, i, ','); b[i] == ']' {
			return subject.OfList(kept), i + 1
		}
		var v subject.Value
		v, i = d.valueAt(nil, b, i)
		kept = append(kept, d.atLeast(n, v))
	}
}

func (d *Decoder) atLeast(n *node, v subject.Value) subject.Value {
	if n == nil || n.min == nil || v.Kind() != subject.NumberKind || v.Number().Cmp(*n.min) >= 0 {
		return v
	}
	d.belowMin++
	return subject.Value{}
}

// number is exact; null beyond the range of numbers.
func number(raw []byte) subject.Value {
	// ParseNumber keeps nothing of its text.
	n, ok := subject.ParseNumber(unsafe.String(&raw[0], len(raw)))
	if !ok {
		return subject.Value{}
	}
	return subject.OfNumber(n)
}

// readTraits appends an update for each trait that rules read.
func (d *Decoder) readTraits(raw []byte) {
	d.updates = d.updates[:0]
	if d.traits == nil || raw == nil {
		return
	}
	left := len(d.traits.children)
	for m := scan.MembersOf(raw); left > 0; {
		name, value, ok := m.Next()
		if !ok {
			return
		}
		if c := d.traits.child(d.unquote(name)); c != nil {
			d.updates = append(d.updates, subject.TraitUpdate{Key: c.key, Value: d.pruned(c, value)})
			left--
		}
	}
}

// pruned decodes what rules read of raw: rules.FieldNode.Prune of its value.
func (d *Decoder) pruned(n *node, raw []byte) subject.Value {
	if n.whole {
		return d.value(nil, raw)
	}
	if raw[0] != '{' {
		return subject.Value{}
	}
	var kept []subject.Field
	for m := scan.MembersOf(raw); len(kept) < len(n.children); {
		name, value, ok := m.Next()
		if !ok {
			break
		}
		c := n.child(d.unquote(name))
		if c == nil {
			continue
		}
		if v := d.pruned(c, value); !v.IsNull() {
			kept = append(kept, subject.Field{Key: c.key, Value: v})
		}
	}
	if kept == nil {
		return subject.Value{}
	}
	return subject.OfMap(kept)
}
