package mapping

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPaths(t *testing.T) {
	m := compiled(t, Event, map[string]string{"userId": `string(value.customer.id)`, "event": `value.kind`, "anonymousId": "key", "type": `"track"`, "context": "value",
		"messageId": `has(value.a.b) ? value["c d"].e : headers.x`, "properties": `{"lines": value.items.map(i, {"sku": i.sku, "x": value.x}), "t": value.list[0].y}`})
	record := []byte(`{"customer":{"id":null},"kind":"E","a":{"b":false},"c d":"text","items":[],"x":0,"list":[{"y":1}]}`)
	var got []string
	for _, p := range m.Paths() {
		text := p.Key + " " + p.String()
		if !p.LeadsTo(record) {
			text += " nowhere"
		}
		got = append(got, text)
	}
	want := []string{"userId value.customer.id nowhere", "event value.kind", "messageId value.a.b", "messageId value.c d.e nowhere",
		"properties value.items", "properties value.x", "properties value.list"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
