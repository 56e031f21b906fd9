package rules_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/rules"
)

const readingRules = `
purposes:
  - {key: p, description: P, lawful_basis: explicit_consent, retention: 30d, min_age: 16, birthdate_trait: born}
  - {key: q, description: Q, lawful_basis: consent, retention: 30d}
data:
  - {field: properties.basket, category: user.behavior.purchase_history}
  - {field: properties.basket.items, category: user.behavior}
  - {field: properties.basket.items.diagnosis, category: user.health_and_medical, special: true}
  - {field: properties.basket.total, min: 0}
lists:
  - {key: vips, members: [a, b]}
let:
  orders: events("Order *").where(properties.currency == "EUR")
segments:
  - key: a
    purpose: p
    when: orders.followed_by(events("Refund").where(properties.sum == previous.properties.basket.total && context.app == "x"), "1h").exists()
    stay_while: traits.address.country == "DE" && list("vips")
  - key: b
    purpose: p
    when: segment("a") || events("Read").last().properties.basket.items[0].name == "x" || false && traits.never == 1
  - {key: c, purpose: q, when: traits.country == "DE"}
`

func TestReads(t *testing.T) {
	set := mustLoad(t, readingRules)
	a, _ := set.SegmentByKey("a")
	want := rules.Reads{
		Events: []string{"Order *", "Refund"},
		Fields: []string{"context.app", "properties.basket.total", "properties.currency", "properties.sum", "traits.address.country"},
		Lists:  []string{"vips"},
	}
	if diff := cmp.Diff(want, set.Segments[a].Reads); diff != "" {
		t.Errorf("of the segment (-want +have):\n%s", diff)
	}
	p, _ := set.PurposeIndex("p")
	want = rules.Reads{
		Events:   []string{"Order *", "Read", "Refund"},
		Fields:   slices.Sorted(slices.Values(append(want.Fields, "properties.basket.items", "traits.born", "traits.never"))),
		Segments: []string{"a"},
		Lists:    []string{"vips"},
	}
	if diff := cmp.Diff(want, set.ReadsFor(p)); diff != "" {
		t.Errorf("of the purpose (-want +have):\n%s", diff)
	}
}

// What purposes read is exactly what records are decoded for.
func TestReadsAreTheFields(t *testing.T) {
	set := mustLoad(t, readingRules)
	var decoded, read []string
	for i := range set.Fields.Slots {
		decoded = append(decoded, set.Fields.Slots[i].Path)
	}
	for i := range set.Purposes {
		for _, path := range set.ReadsFor(i).Fields {
			if keys := strings.Split(path, "."); keys[0] != "traits" {
				read = append(read, path)
			} else if n := set.Purposes[i].Traits; !wantedAt(n, keys[1:]) {
				t.Errorf("%s is read, and not kept for %s", path, set.Purposes[i].Key)
			}
		}
	}
	slices.Sort(decoded)
	slices.Sort(read)
	if diff := cmp.Diff(decoded, slices.Compact(read)); diff != "" {
		t.Errorf("decoded and read (-decoded +read):\n%s", diff)
	}
}

func wantedAt(n *rules.FieldNode, keys []string) bool {
	for _, k := range keys {
		n = n.Child(k)
	}
	return n != nil && n.Whole
}

func TestDeclarations(t *testing.T) {
	set := mustLoad(t, readingRules)
	basket := rules.Declaration{Path: "properties.basket", Category: "user.behavior.purchase_history"}
	items := rules.Declaration{Path: "properties.basket.items", Category: "user.behavior"}
	diagnosis := rules.Declaration{Path: "properties.basket.items.diagnosis", Category: "user.health_and_medical", Special: true}
	for path, want := range map[string][]rules.Declaration{
		"properties.basket":            {basket, items, diagnosis, {Path: "properties.basket.total"}},
		"properties.basket.items":      {items, diagnosis},
		"properties.basket.items.name": {items},
		"properties.basket.other":      {basket},
		"properties.other":             nil,
		"traits.basket":                nil,
	} {
		if diff := cmp.Diff(want, set.Declarations(path)); diff != "" {
			t.Errorf("%s (-want +have):\n%s", path, diff)
		}
	}
}
