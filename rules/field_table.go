package rules

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/segmentd/segmentd/state/subject"
)

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// pathText writes a path as Slot.Path does.
func pathText(root string, keys []string) string {
	var b strings.Builder
	b.WriteString(root)
	for _, k := range keys {
		switch {
		case identifier.MatchString(k):
			b.WriteString("." + k)
		case strings.ContainsRune(k, '`'):
			b.WriteString("[" + strconv.Quote(k) + "]")
		default:
			b.WriteString(".`" + k + "`")
		}
	}
	return b.String()
}

// fieldTable collects what rules read.
type fieldTable struct {
	fields Fields
	slots  map[string]int // by path
	mins   map[string]*subject.Number
	traits []*FieldNode // by purpose
}

func newFieldTable(c *checked) *fieldTable {
	t := &fieldTable{slots: make(map[string]int), mins: make(map[string]*subject.Number), traits: make([]*FieldNode, len(c.purposes))}
	for _, f := range c.fields {
		if f.min != nil {
			t.mins[f.path] = f.min
		}
	}
	return t
}

// slot returns the slot of an event's field, "properties" or "context" and at
// least one key.
func (t *fieldTable) slot(root string, keys []string) int {
	path := pathText(root, keys)
	if slot, ok := t.slots[path]; ok {
		return slot
	}
	slot := len(t.fields.Slots)
	t.slots[path] = slot
	t.fields.Slots = append(t.fields.Slots, Slot{Path: path, Min: t.mins[path]})
	tree := &t.fields.Properties
	if root == "context" {
		tree = &t.fields.Context
	}
	markPath(tree, root, keys).Slot = slot
	return slot
}

// trait notes that a purpose's rules read a trait.
func (t *fieldTable) trait(purpose int, keys []string) {
	markPath(&t.fields.Traits, "traits", keys)
	markPath(&t.traits[purpose], "traits", keys)
}

// markPath makes the value at a path wanted as a whole and returns its node.
func markPath(root **FieldNode, name string, keys []string) *FieldNode {
	if *root == nil {
		*root = &FieldNode{Key: name, Slot: -1}
	}
	n := *root
	for _, k := range keys {
		c := n.Child(k)
		if c == nil {
			c = &FieldNode{Key: k, Slot: -1}
			n.Children = append(n.Children, c)
			slices.SortFunc(n.Children, func(a, b *FieldNode) int { return strings.Compare(a.Key, b.Key) })
		}
		n = c
	}
	n.Whole = true
	return n
}
