package wire

import (
	"strings"
	"testing"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// testArrival is when test records arrive: 2026-02-01T00:00:00Z.
const testArrival subject.Instant = 1769904000_000_000

// fieldsOf builds the tree of paths that rules would: slots of behaviour
// fields ("properties.a.b") and paths of traits.
func fieldsOf(slots []rules.Slot, traits []string) rules.Fields {
	root := func() *rules.FieldNode { return &rules.FieldNode{Slot: -1} }
	f := rules.Fields{Properties: root(), Context: root(), Traits: root(), Slots: slots}
	for i, s := range slots {
		head, path, _ := strings.Cut(s.Path, ".")
		at := f.Properties
		if head == "context" {
			at = f.Context
		}
		n := grow(at, path)
		n.Slot, n.Whole = i, true
	}
	for _, path := range traits {
		grow(f.Traits, path).Whole = true
	}
	return f
}

func grow(n *rules.FieldNode, path string) *rules.FieldNode {
	for key := range strings.SplitSeq(path, ".") {
		c := n.Child(key)
		if c == nil {
			c = &rules.FieldNode{Key: key, Slot: -1}
			n.Children = append(n.Children, c)
		}
		n = c
	}
	return n
}

// slots makes slots of paths without minimum.
func slots(paths ...string) []rules.Slot {
	out := make([]rules.Slot, len(paths))
	for i, p := range paths {
		out[i].Path = p
	}
	return out
}

func testChange() subject.Change {
	return subject.Change{
		Subject: subject.ID{Value: "u1"}, Segment: "big_spenders", Kind: subject.Entered,
		Time: 1769853600_000_000, Reason: subject.ByEvent, Purpose: "marketing", Version: 17, CausedBy: "m-1",
	}
}

func mustDecode(t *testing.T, d *Decoder, kind Kind, value string) Item {
	t.Helper()
	item, rejected := d.Decode(kind, Input{Value: []byte(value), Timestamp: testArrival})
	if rejected != nil {
		t.Fatalf("rejected: %s", rejected)
	}
	return item
}
