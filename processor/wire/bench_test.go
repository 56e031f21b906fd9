package wire

import (
	"maps"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/wire/mapping"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// benchEvent is a track event of some 600 bytes, as Segment's SDK sends it.
const benchEvent = `{"timestamp":"2026-01-02T03:04:05.678Z","integrations":{},"event":"Order Completed","type":"track",` +
	`"properties":{"order_id":"o-100234","total":129.33,"revenue":119.33,"currency":"EUR","coupon":"SPRING",` +
	`"products":[{"product_id":"cd-1","quantity":2,"price":14.665},{"product_id":"lp-7","quantity":1,"price":90}]},` +
	`"context":{"ip":"203.0.113.7","page":{"url":"https://shop.example/checkout/done"},` +
	`"library":{"name":"@segment/analytics-node","version":"3.1.0"}},"userId":"user-0000004",` +
	`"messageId":"node-next-1795444339211-59f0aa39-1c2b-40f0-a145-b6663e766190","_metadata":{"nodeVersion":"v20.20.2"}}`

func benchDecoder() *Decoder {
	zero := subject.Int(0)
	return NewDecoder(DecoderOptions{
		Fields: fieldsOf([]rules.Slot{{Path: "properties.total", Min: &zero}, {Path: "properties.currency"},
			{Path: "properties.order_id"}, {Path: "context.page.url"}}, nil),
		Names: []string{"Order Completed"},
	})
}

func BenchmarkDecodeTrack(b *testing.B) {
	d, in := benchDecoder(), Input{Key: []byte("user-0000004"), Value: []byte(benchEvent), Timestamp: testArrival}
	b.SetBytes(int64(len(benchEvent)))
	b.ReportAllocs()
	for b.Loop() {
		if _, rejected := d.Decode(Events, in); rejected != nil {
			b.Fatal(rejected)
		}
	}
}

// BenchmarkDecodeMapped decodes the content of benchEvent from a record of
// another shape: with paths alone, and with two expressions that compute.
func BenchmarkDecodeMapped(b *testing.B) {
	record := strings.NewReplacer(`"event":`, `"kind":`, `"userId":"user-0000004"`, `"customer":{"id":"user-0000004"}`, `"messageId":`, `"uuid":`,
		`"properties":`, `"data":`, `"timestamp":`, `"ts":`, `"context":`, `"meta":`).Replace(benchEvent)
	paths := map[string]string{"userId": "value.customer.id", "event": "value.kind", "messageId": "value.uuid", "timestamp": "value.ts",
		"properties": "value.data", "context": "value.meta"}
	computed := maps.Clone(paths)
	computed["event"] = `value.kind == "Order Completed" ? value.kind : "Other"`
	computed["properties"] = `{"total": value.data.total * 1.19, "currency": value.data.currency, "order_id": value.data.order_id}`
	for name, expressions := range map[string]map[string]string{"paths": paths, "computed": computed} {
		b.Run(name, func(b *testing.B) {
			opts := benchDecoder().opts
			d, in := mappedDecoder(b, mapping.Event, opts, expressions), Input{Key: []byte("user-0000004"), Value: []byte(record), Timestamp: testArrival}
			b.SetBytes(int64(len(record)))
			b.ReportAllocs()
			for b.Loop() {
				if _, rejected := d.Decode(Events, in); rejected != nil {
					b.Fatal(rejected)
				}
			}
		})
	}
}

func BenchmarkDecodeDecision(b *testing.B) {
	d := NewDecoder(DecoderOptions{Purposes: []string{"marketing"}})
	in := Input{Key: []byte("u1"), Timestamp: testArrival, Value: []byte(`{"type":"decision","userId":"u1","purpose":"marketing",` +
		`"status":"given","timestamp":"2026-01-02T03:04:05Z","explicit":false,"expiresAt":null,"noticeVersion":"2026-03"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, rejected := d.Decode(Decisions, in); rejected != nil {
			b.Fatal(rejected)
		}
	}
}

func BenchmarkEncodeChange(b *testing.B) {
	for _, format := range []OutputFormat{FormatSegmentd, FormatSegment} {
		b.Run(format.String(), func(b *testing.B) {
			e := NewEncoder(EncoderOptions{Group: "segmentd", Format: format, RuleSet: strings.Repeat("4be1", 16)})
			c := testChange()
			b.ReportAllocs()
			for b.Loop() {
				e.Reset()
				e.Change(&c, Place{Topic: "segmentd-changes"})
				e.Member(&c, Place{Topic: "segmentd-members"})
			}
		})
	}
}
