package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire/mapping"
	"github.com/segmentd/segmentd/state/subject"
)

var compareValues = cmp.Options{
	cmp.Comparer(func(a, b subject.Value) bool { return a.Equal(b) }),
}

func str(s string) subject.Value                     { return subject.OfString(s) }
func list(v ...subject.Value) subject.Value          { return subject.OfList(v) }
func obj(f ...subject.Field) subject.Value           { return subject.OfMap(f) }
func member(k string, v subject.Value) subject.Field { return subject.Field{Key: k, Value: v} }

func num(t *testing.T, text string) subject.Value {
	t.Helper()
	n, ok := subject.ParseNumber(text)
	if !ok {
		t.Fatalf("%s is no number", text)
	}
	return subject.OfNumber(n)
}

func instant(t *testing.T, text string) subject.Instant {
	t.Helper()
	at, err := subject.ParseInstant(text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func diff(t *testing.T, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, compareValues...); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestTrack(t *testing.T) {
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.total", "context.page.url", "properties.absent"), []string{"plan"})})
	source := subject.Position{Topic: "shop.events", Partition: 3, Offset: 9}
	item, rejected := d.Decode(Events, Input{Key: []byte("u1"), Timestamp: testArrival, Source: source, Value: []byte(
		` {"messageId":"m-1","context":{"page":{"url":"/a"}},"properties":{"total":129.330},"traits":{"plan":"x"},` +
			`"type":"track","userId":"u1","anonymousId":7,"event":"Order Completed","timestamp":"2026-01-02T04:04:05.1234567+01:00"} `)})
	if rejected != nil {
		t.Fatal(rejected)
	}
	diff(t, *item.Event, subject.Event{
		Subject: subject.ID{Value: "u1"}, Name: "Order Completed", MessageID: "m-1", Message: MessageHash([]byte("m-1")),
		Time: instant(t, "2026-01-02T03:04:05.123456Z"), Arrival: testArrival, Source: source,
		Fields: []subject.Value{num(t, "129.33"), str("/a"), {}},
	})
	diff(t, []any{item.Content, item.Subject, item.BelowMin}, []any{HasEvent, subject.ID{Value: "u1"}, 0})
}

func TestMembersThatCountAsAbsent(t *testing.T) {
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.a"), nil)})
	item := mustDecode(t, d, Events, `{"type":"track","userId":null,"anonymousId":"a1","messageId":"","event":"E",`+
		`"timestamp":null,"originalTimestamp":"2026-01-02T03:04:05Z","properties":null,"context":null,"traits":null}`)
	diff(t, *item.Event, subject.Event{Subject: subject.ID{Type: subject.AnonymousID, Value: "a1"}, Name: "E",
		Time: instant(t, "2026-01-02T03:04:05Z"), Arrival: testArrival, Fields: make([]subject.Value, 1)})
}

func TestChronology(t *testing.T) {
	for _, c := range []struct {
		name, members string
		unit          TimestampUnit
		arrival       subject.Instant
		want          string
	}{
		{"timestamp first", `"timestamp":"2026-01-01T00:00:00Z","originalTimestamp":"x"`, RFC3339, testArrival, "2026-01-01T00:00:00Z"},
		{"Kafka's last", `"sentAt":"2026-01-01T00:00:00Z"`, RFC3339, testArrival, "2026-02-01T00:00:00Z"},
		{"skew that is allowed", `"timestamp":"2026-02-01T00:05:00Z"`, RFC3339, testArrival, "2026-02-01T00:05:00Z"},
		{"2099 in a file", `"timestamp":"2099-01-01T00:00:00Z"`, RFC3339, subject.Never, "2099-01-01T00:00:00Z"},
		{"epoch", `"timestamp":"1970-01-01T00:00:00Z"`, RFC3339, testArrival, "1970-01-01T00:00:00Z"},
		{"lower case", `"timestamp":"2026-01-01t00:00:00z"`, RFC3339, testArrival, "2026-01-01T00:00:00Z"},
		{"leap day and zone", `"timestamp":"2024-02-29T23:30:00-01:00"`, RFC3339, testArrival, "2024-03-01T00:30:00Z"},
		{"seconds", `"timestamp":1767225600`, Seconds, testArrival, "2026-01-01T00:00:00Z"},
		{"fractions of seconds are cut off", `"timestamp":1767225600.1234569`, Seconds, testArrival, "2026-01-01T00:00:00.123456Z"},
		{"milliseconds as text", `"timestamp":"1767225600001"`, Milliseconds, testArrival, "2026-01-01T00:00:00.001Z"},
		{"milliseconds with exponent", `"timestamp":1.7672256e12`, Milliseconds, testArrival, "2026-01-01T00:00:00Z"},
		{"microseconds", `"timestamp":1767225600000001`, Microseconds, testArrival, "2026-01-01T00:00:00.000001Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(DecoderOptions{TimestampUnit: c.unit})
			item, rejected := d.Decode(Events, Input{Timestamp: c.arrival, Value: []byte(`{"type":"page","userId":"u1",` + c.members + `}`)})
			if rejected != nil {
				t.Fatal(rejected)
			}
			diff(t, item.Event.Time.String(), c.want)
			diff(t, item.Event.Arrival, c.arrival)
		})
	}
}

func TestPagesAndScreens(t *testing.T) {
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.name", "properties.category", "properties.url"), nil)})
	for _, c := range []struct {
		name, value, event string
		want               []subject.Value
	}{
		{"from the call", `"type":"page","name":"Home","category":"Shop"`, "Page Viewed", []subject.Value{str("Home"), str("Shop"), {}}},
		{"properties win", `"type":"screen","name":"Home","properties":{"name":"Cart","url":"/"}`, "Screen Viewed", []subject.Value{str("Cart"), {}, str("/")}},
		{"null is lacking", `"type":"page","properties":{"name":null},"name":"Home"`, "Page Viewed", []subject.Value{str("Home"), {}, {}}},
		{"track has none", `"type":"track","event":"E","name":"Home"`, "E", []subject.Value{{}, {}, {}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			item := mustDecode(t, d, Events, `{"userId":"u1",`+c.value+`}`)
			diff(t, item.Event.Name, c.event)
			diff(t, item.Event.Fields, c.want)
		})
	}
}

func TestConsentContext(t *testing.T) {
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("context.consent.categoryPreferences.Ads"), nil)})
	for context, want := range map[string][]string{
		`{"consent":{"categoryPreferences":{"Ads":false,"Analytics":true,"\u0041uto":false}}}`:           {"ads", "auto"},
		`{"consent":{"categoryPreferences":{"Ads":null,"Maybe":"yes","N":1}}}`:                           {"ads", "maybe", "n"},
		`{"consent":{"categoryPreferences":null}}`:                                                       {},
		`{"consent":null,"consentManagement":null}`:                                                      {},
		`{"consentManagement":{"allowedConsentIds":["x"],"deniedConsentIds":["C0002","ADS"]}}`:           {"c0002", "ads"},
		`{"consent":{"categoryPreferences":{"A":false}},"consentManagement":{"deniedConsentIds":["B"]}}`: {"a", "b"},
	} {
		for _, call := range []string{`"type":"track","event":"E"`, `"type":"identify"`, `"type":"page"`} {
			item := mustDecode(t, d, Events, `{"userId":"u1",`+call+`,"context":`+context+`}`)
			diff(t, append([]string{}, item.Event.Denied...), want)
		}
	}
	item := mustDecode(t, d, Events, track(`"context":{"consent":{"categoryPreferences":{"Ads":false}}}`))
	diff(t, item.Event.Fields, []subject.Value{subject.False})
	if denied := mustDecode(t, d, Events, track(`"x":1`)).Event.Denied; len(denied) != 0 {
		t.Errorf("denials of the event before: %v", denied)
	}
}

func TestMessageIDs(t *testing.T) {
	d := NewDecoder(DecoderOptions{})
	long := strings.Repeat("é", 300)
	e := mustDecode(t, d, Events, track(`"messageId":"`+long+`"`)).Event
	diff(t, e.MessageID, strings.Repeat("é", 256))
	sum := sha256.Sum256([]byte(long))
	diff(t, e.Message, binary.BigEndian.Uint64(sum[:8]))
	odd := mustDecode(t, d, Events, track(`"messageId":"x`+long+`"`)).Event
	diff(t, odd.MessageID, "x"+strings.Repeat("é", 255))
	diff(t, mustDecode(t, d, Events, track(`"messageId":null`)).Event.Message, uint64(0))
}

func TestNothingIsKeptOfTheInput(t *testing.T) {
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.a", "properties.b"), nil)})
	value := []byte(track(`"messageId":"m","properties":{"a":"text","b":{"k":["v"]}}`))
	item, rejected := d.Decode(Events, Input{Value: value, Timestamp: testArrival})
	if rejected != nil {
		t.Fatal(rejected)
	}
	first := *item.Event
	first.Fields = append([]subject.Value(nil), first.Fields...)
	copy(value, bytes.Repeat([]byte("#"), len(value)))
	mustDecode(t, d, Events, `{"type":"page","userId":"zz","messageId":"n"}`)
	diff(t, []string{first.Subject.Value, first.Name, first.MessageID}, []string{"u1", "E", "m"})
	diff(t, first.Fields, []subject.Value{str("text"), obj(member("k", list(str("v"))))})
}

func TestCloudEvents(t *testing.T) {
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.total"), nil), TimestampUnit: Milliseconds})
	want := subject.Event{Subject: subject.ID{Value: "u1"}, Name: "shop.order", MessageID: "/shop 42", Message: MessageHash([]byte("/shop 42")),
		Time: instant(t, "2026-01-02T03:04:05Z"), Arrival: testArrival, Fields: []subject.Value{subject.OfInt(5)}}
	structured := `{"specversion":"1.0","id":"42","source":"/shop","type":"shop.order","time":"2026-01-02T03:04:05Z",` +
		`"partitionkey":"u1","datacontenttype":"application/json; charset=utf-8","data":{"total":5},"subject":"o-1"}`
	for _, kind := range []Kind{Events, Mixed} {
		diff(t, *mustDecode(t, d, kind, structured).Event, want)
		item, rejected := d.Decode(kind, binaryCloudEventInput())
		if rejected != nil {
			t.Fatal(rejected)
		}
		diff(t, *item.Event, want)
	}
	byContent := Input{Key: []byte("u1"), Value: []byte(structured), Timestamp: testArrival,
		Headers: []stream.Header{{Key: "content-type", Value: []byte("application/cloudevents+json")}, {Key: "ce_specversion", Value: []byte("1.0")}}}
	item, rejected := d.Decode(Events, byContent)
	if rejected != nil {
		t.Fatal(rejected)
	}
	diff(t, *item.Event, want)
}

func binaryCloudEventInput() Input {
	return Input{Key: []byte("u1"), Value: []byte(`{"total":5}`), Timestamp: testArrival, Headers: []stream.Header{
		{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte("42")}, {Key: "ce_source", Value: []byte("/shop")},
		{Key: "ce_type", Value: []byte("shop.order")}, {Key: "ce_time", Value: []byte("2026-01-02T03:04:05Z")},
		{Key: "content-type", Value: []byte("application/vnd.shop+json")},
	}}
}

func TestCloudEventWithoutData(t *testing.T) {
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.total"), nil)})
	in := binaryCloudEventInput()
	in.Value = nil
	item, rejected := d.Decode(Events, in)
	if rejected != nil {
		t.Fatal(rejected)
	}
	diff(t, item.Event.Fields, make([]subject.Value, 1))
	for _, data := range []string{`"text"`, `[1]`, `null`} {
		item := mustDecode(t, d, Events, `{"specversion":"1.0","id":"1","source":"/s","type":"E","partitionkey":"u1","data":`+data+`}`)
		diff(t, item.Event.Fields, make([]subject.Value, 1))
		diff(t, item.Event.Time, testArrival)
	}
}

// TestRegistryPrefix takes the prefix off in every format, with a mapping too.
func TestRegistryPrefix(t *testing.T) {
	const prefix = "\x00\x00\x00\x00\x2a"
	const cloud = `{"specversion":"1.0","id":"1","source":"/s","type":"E","partitionkey":"u1"}`
	binary := binaryCloudEventInput()
	binary.Value = append([]byte(prefix), binary.Value...)
	for _, format := range []InputFormat{FormatAuto, FormatJSON, FormatCloudEvents} {
		for name, d := range map[string]*Decoder{
			"plain":  NewDecoder(DecoderOptions{Format: format}),
			"mapped": mappedDecoder(t, mapping.Event, DecoderOptions{Format: format}, map[string]string{"userId": `"u1"`, "event": `"E"`}),
		} {
			if format != FormatCloudEvents {
				diff(t, mustDecode(t, d, Events, prefix+track(`"x":1`)).Event.Name, "E")
			}
			if format != FormatJSON {
				diff(t, mustDecode(t, d, Events, prefix+cloud).Event.Name, "E")
				if _, rejected := d.Decode(Events, binary); rejected != nil {
					t.Errorf("%s %s: %v", format, name, rejected)
				}
			}
		}
	}
	diff(t, mustDecode(t, NewDecoder(DecoderOptions{}), Requests, prefix+`{"type":"request","userId":"u1","requestId":"r","request":"erase"}`).Request.RequestID, "r")
}
