package rules

import "github.com/segmentd/segmentd/state/subject"

// Fields says which parts of a record rules read: nothing else is decoded.
type Fields struct {
	Properties *FieldNode // below "properties"; nil: nothing
	Context    *FieldNode // below "context"; nil: nothing
	Traits     *FieldNode // below "traits", the union over all purposes; nil: nothing
	Slots      []Slot     // what subject.Event.Fields holds, by index
}

// Slot is one field that rules read of behaviour events.
type Slot struct {
	Path string          // "properties.total", "context.page.url"; keys that are no identifiers in backquotes
	Min  *subject.Number // declared minimum: a number below it counts as missing; nil: none
}

// FieldNode is a node of the tree of paths that rules read. The root stands for
// "properties", "context" or "traits" itself and is never Whole.
type FieldNode struct {
	Key      string
	Whole    bool // the value itself is read, with all below it
	Slot     int  // index into Fields.Slots, -1 if it has none (inner nodes, traits)
	Children []*FieldNode
}

// Child returns the node of a key below n, or nil.
func (n *FieldNode) Child(key string) *FieldNode {
	if n == nil {
		return nil
	}
	for _, c := range n.Children {
		if c.Key == key {
			return c
		}
	}
	return nil
}

// Prune returns v cut down to what the node's rules read; null if nothing is left.
func (n *FieldNode) Prune(v subject.Value) subject.Value {
	if n.Whole || v.IsNull() {
		return v
	}
	var kept []subject.Field
	for _, f := range v.Fields() {
		if c := n.Child(f.Key); c != nil {
			if w := c.Prune(f.Value); !w.IsNull() {
				kept = append(kept, subject.Field{Key: f.Key, Value: w})
			}
		}
	}
	if kept == nil {
		return subject.Value{}
	}
	return subject.OfMap(kept)
}
