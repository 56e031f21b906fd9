package wire

import (
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire/mapping"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// mappedDecoder returns a decoder for an input of another shape.
func mappedDecoder(t testing.TB, kind mapping.Kind, opts DecoderOptions, expressions map[string]string) *Decoder {
	t.Helper()
	m, problems := mapping.Compile(kind, expressions)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	opts.Map = m
	return NewDecoder(opts)
}

// shopEvent is the configuration's example of events of another shape.
var shopEvent = map[string]string{"userId": "value.customer.id", "event": "value.kind", "messageId": "value.uuid", "timestamp": "value.ts", "properties": "value.data"}

// TestMappedEqualsUnmapped decodes a record of another shape as the equivalent
// call of Segment's is decoded, nothing more of it kept.
func TestMappedEqualsUnmapped(t *testing.T) {
	zero := subject.Int(0)
	fields := fieldsOf([]rules.Slot{{Path: "properties.total", Min: &zero}, {Path: "properties.deep.list"}, {Path: "context.page.url"}}, []string{"plan"})
	for _, c := range []struct {
		name             string
		kind             Kind
		unit             TimestampUnit
		expressions      map[string]string
		mapped, unmapped string
	}{
		{"the configuration's example", Events, Milliseconds, shopEvent,
			`{"kind":"E","uuid":"m1","ts":1767323045000.5,"customer":{"id":"u1"},"data":{"total":12.340,"other":1,"deep":{"list":[1,{"a":9007199254740993}]}}}`,
			`{"type":"track","event":"E","messageId":"m1","timestamp":1767323045000.5,"userId":"u1","properties":{"total":12.34,"deep":{"list":[1,{"a":9007199254740993}]}}}`},
		{"its own names say nothing", Events, RFC3339, map[string]string{"userId": "value.who", "event": "value.what"},
			`{"who":"u1","what":"E","type":"order","userId":"zz","timestamp":7,"properties":3,"messageId":{}}`,
			`{"type":"track","userId":"u1","event":"E"}`},
		{"below the minimum", Events, RFC3339, map[string]string{"userId": "value.u", "event": `"E"`, "properties": `{"total": value.sum - 10}`},
			`{"u":"u1","sum":3}`, `{"type":"track","userId":"u1","event":"E","properties":{"total":-7}}`},
		{"anonymous", Events, RFC3339, map[string]string{"userId": "value.login", "anonymousId": "value.cookie", "event": `"E"`},
			`{"login":null,"cookie":"c9"}`, `{"type":"track","anonymousId":"c9","event":"E"}`},
		{"a date and a time", Events, RFC3339, map[string]string{"userId": "value.u", "event": `"E"`, "timestamp": `timestamp(value.day + "T" + value.time + "Z")`},
			`{"u":"u1","day":"2026-01-02","time":"03:04:05.25"}`, `{"type":"track","userId":"u1","event":"E","timestamp":"2026-01-02T03:04:05.25Z"}`},
		{"a CEL timestamp where numbers are seconds", Events, Seconds, map[string]string{"userId": "value.u", "event": `"E"`, "timestamp": `timestamp(value.at)`},
			`{"u":"u1","at":"2026-01-02T03:04:05.250001Z"}`, `{"type":"track","userId":"u1","event":"E","timestamp":1767323045.250001}`},
		{"identify", Events, RFC3339, map[string]string{"userId": "string(value.id)", "type": `value.op == "upsert" ? "identify" : "track"`, "event": `"Customer " + value.op`, "traits": "value.row"},
			`{"id":7,"op":"upsert","row":{"plan":"pro","secret":"x"}}`, `{"type":"identify","userId":"7","traits":{"plan":"pro"}}`},
		{"page with context", Events, RFC3339, map[string]string{"userId": "value.u", "type": `"page"`, "context": `{"page": {"url": value.href}, "consent": {"categoryPreferences": {"ads": value.ads}}}`},
			`{"u":"u1","href":"/x","ads":false}`,
			`{"type":"page","userId":"u1","context":{"page":{"url":"/x"},"consent":{"categoryPreferences":{"ads":false}}}}`},
		{"a list as the record", Events, RFC3339, map[string]string{"userId": "value[1]", "event": "value[0]"}, `["E","u1"]`, `{"type":"track","userId":"u1","event":"E"}`},
		{"a message in a message", Events, RFC3339, map[string]string{"userId": "parse_json(value.after).user", "event": `"Row"`, "properties": "parse_json(value.after)"},
			`{"after":"{\"user\":\"u1\",\"total\":5}"}`, `{"type":"track","userId":"u1","event":"Row","properties":{"total":5}}`},
		{"a decision", Decisions, Seconds, map[string]string{"userId": "value.sub", "purpose": `value.topic.lowerAscii()`, "status": `value.optin ? "given" : "withdrawn"`,
			"timestamp": "value.at", "explicit": "value.double", "expiresAt": "value.at + 86400"},
			`{"sub":"u1","topic":"ADS","optin":true,"at":1767323045,"double":true}`,
			`{"type":"decision","userId":"u1","purpose":"ads","status":"given","timestamp":1767323045,"explicit":true,"expiresAt":1767409445}`},
		{"a stop", Decisions, Seconds, map[string]string{"userId": "value.sub", "purpose": `"ads"`, "status": `value.optin ? "given" : "withdrawn"`, "timestamp": "value.at"},
			`{"sub":"u1","optin":false,"at":"lunchtime"}`, `{"type":"decision","userId":"u1","purpose":"ads","status":"withdrawn","timestamp":"x"}`},
		{"all purposes at once", Decisions, RFC3339, map[string]string{"userId": "value.u", "type": `"track"`, "event": `"Segment Consent Preference Updated"`,
			"context": `{"consent": {"categoryPreferences": value.choices}}`},
			`{"u":"u1","choices":{"ads":true,"marketing":false,"other":true}}`,
			`{"type":"track","event":"Segment Consent Preference Updated","userId":"u1","context":{"consent":{"categoryPreferences":{"ads":true,"marketing":false}}}}`},
		{"a request", Requests, RFC3339, map[string]string{"userId": "value.u", "requestId": "value.ticket", "request": `value.kind == "forget" ? "erase" : value.kind`},
			`{"u":"u1","ticket":"t-1","kind":"forget"}`, `{"type":"request","userId":"u1","requestId":"t-1","request":"erase"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := DecoderOptions{Fields: fields, TimestampUnit: c.unit, Purposes: []string{"marketing", "ads"}}
			kind := mapping.Kind(c.kind.String())
			got := copied(mustDecode(t, mappedDecoder(t, kind, opts, c.expressions), c.kind, c.mapped))
			diff(t, got, copied(mustDecode(t, NewDecoder(opts), c.kind, c.unmapped)))
			text, rejected := mappedDecoder(t, kind, opts, c.expressions).Rewritten(c.kind, Input{Value: []byte(c.mapped)})
			if rejected != nil {
				t.Fatal(rejected)
			}
			diff(t, copied(mustDecode(t, NewDecoder(opts), c.kind, string(text))), got)
		})
	}
}

// copied is an item whose memory is its own.
func copied(i Item) Item {
	if i.Event != nil {
		e := *i.Event
		e.Fields, e.Traits, e.Denied = append([]subject.Value{}, e.Fields...), append([]subject.TraitUpdate{}, e.Traits...), append([]string{}, e.Denied...)
		i.Event = &e
	}
	if i.Request != nil {
		r := *i.Request
		i.Request = &r
	}
	i.Decisions = append([]subject.Decision{}, i.Decisions...)
	return i
}

// TestMappedRejects shows what becomes of records that a mapping cannot read.
func TestMappedRejects(t *testing.T) {
	for _, c := range []struct {
		name        string
		expressions map[string]string
		value       string
		want        string
	}{
		{"wrong kind", shopEvent, `{"customer":{"id":7},"kind":"E"}`, "bad_mapping: map.userId: gives a number, not text; write string(…)"},
		{"no customer", shopEvent, `{"kind":"E"}`, "no_subject: neither userId nor anonymousId"},
		{"a customer of another shape", shopEvent, `{"customer":"` + secret + `","kind":"E"}`,
			`bad_mapping: map.userId: a string is asked for its member "id"`},
		{"no name", shopEvent, `{"customer":{"id":"u1"}}`, "malformed: event is missing"},
		{"properties are text", shopEvent, `{"customer":{"id":"u1"},"kind":"E","data":"` + secret + `"}`, "bad_mapping: map.properties: gives a string, not an object"},
		{"bad time", shopEvent, `{"customer":{"id":"u1"},"kind":"E","ts":"` + secret + `"}`, "bad_timestamp: timestamp is not RFC 3339"},
		{"a number as time", shopEvent, `{"customer":{"id":"u1"},"kind":"E","ts":1767323045000}`, "bad_timestamp: timestamp is a number; set timestamp_unit: ms"},
		{"future", shopEvent, `{"customer":{"id":"u1"},"kind":"E","ts":"2031-01-02T03:04:05Z"}`, "future: timestamp is more than 5m0s ahead of the record's arrival"},
		{"key", shopEvent, `{"customer":{"id":"u2"},"kind":"E"}`, "key_mismatch: the record's key is not its userId"},
		{"a type that is not taken", map[string]string{"type": "value.t", "userId": "value.u"}, `{"t":"group","u":"u1"}`, "unsupported_type: a group call"},
		{"an evaluation fails", map[string]string{"userId": "value.u", "event": "value.e + value.f"}, `{"u":"u1","e":"` + secret + `","f":1}`,
			"bad_mapping: map.event: column 9: + does not take a string and a number"},
		{"tombstone", shopEvent, ``, "malformed: empty record"},
		{"not JSON", shopEvent, `{"a":` + secret, "malformed: not valid JSON at byte 5"},
		{"Avro", shopEvent, "\x00\x00\x00\x00\x07\x0a" + secret, "unsupported_format: " + noJSONSchema},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := "u1"
			if c.name == "no customer" || strings.HasPrefix(c.name, "a customer") || c.name == "wrong kind" {
				key = secret
			}
			_, rejected := mappedDecoder(t, mapping.Event, DecoderOptions{}, c.expressions).Decode(Events, Input{Key: []byte(key), Value: []byte(c.value), Timestamp: testArrival})
			if rejected == nil {
				t.Fatal("taken")
			}
			diff(t, rejected.String(), c.want)
			if strings.Contains(rejected.Detail, secret) {
				t.Error("the detail holds payload")
			}
		})
	}
}

// TestMappedDecisionsFailClosed refuses where it is certain who said something.
func TestMappedDecisionsFailClosed(t *testing.T) {
	expressions := map[string]string{"userId": "value.u", "purpose": "value.p", "status": `value.s.lowerAscii()`}
	d := mappedDecoder(t, mapping.Decision, DecoderOptions{Purposes: []string{"ads", "marketing"}}, expressions)
	for _, c := range []struct{ value, purpose, wrong string }{
		{`{"u":"u1","p":"ads","s":7}`, "ads", "map.status: column 19: lowerAscii() does not take a number"},
		{`{"u":"u1","p":{"x":1},"s":"GIVEN"}`, "", "map.purpose: gives an object, not text"},
		{`{"u":"u1","s":"GIVEN"}`, "", "purpose is missing"},
		{`{"u":"u1","p":"ads","s":"maybe"}`, "ads", "status is none of given, refused, withdrawn, objected"},
	} {
		item := mustDecode(t, d, Decisions, c.value)
		diff(t, item.Misunderstood, c.wrong)
		diff(t, len(item.Decisions), 1)
		diff(t, []any{item.Decisions[0].Purpose, item.Decisions[0].Status}, []any{c.purpose, subject.Refused})
	}
	for value, want := range map[string]Reason{`{"u":7,"p":"ads","s":"given"}`: BadMapping, `{"p":"ads","s":"given"}`: NoSubject} {
		if _, rejected := d.Decode(Decisions, Input{Value: []byte(value), Timestamp: testArrival}); rejected == nil || rejected.Reason != want {
			t.Errorf("%s: %v", value, rejected)
		}
	}
}

// TestMappedCloudEvents lets a mapping add to what a CloudEvent says.
func TestMappedCloudEvents(t *testing.T) {
	const structured = `{"specversion":"1.0","id":"42","source":"/shop","type":"shop.order","time":"2026-01-02T03:04:05.25Z",` +
		`"partitionkey":"p1","data":{"total":5,"customer":"u1","name":"Order","at":1767323000}}`
	binary := binaryCloudEventInput()
	binary.Key, binary.Value = nil, []byte(`{"total":5,"customer":"u1"}`)
	plain := subject.Event{Subject: subject.ID{Value: "u1"}, Name: "shop.order", MessageID: "/shop 42", Message: MessageHash([]byte("/shop 42")),
		Time: instant(t, "2026-01-02T03:04:05.25Z"), Arrival: testArrival, Fields: []subject.Value{subject.OfInt(5)}}
	for _, c := range []struct {
		name        string
		in          Input
		expressions map[string]string
		change      func(*subject.Event)
	}{
		{"the subject alone", Input{Value: []byte(structured)}, map[string]string{"userId": "value.data.customer"}, func(*subject.Event) {}},
		{"no subject in the map's place", Input{Value: []byte(structured)}, map[string]string{"userId": "value.data.missing"},
			func(e *subject.Event) { e.Subject.Value = "p1" }},
		{"anonymous", Input{Value: []byte(structured)}, map[string]string{"anonymousId": "value.data.customer"},
			func(e *subject.Event) { e.Subject.Type = subject.AnonymousID }},
		{"its name and time too", Input{Value: []byte(structured)},
			map[string]string{"userId": "value.data.customer", "event": "value.data.name", "timestamp": "value.data.at", "messageId": "value.id"},
			func(e *subject.Event) {
				e.Name, e.MessageID, e.Message, e.Time = "Order", "42", MessageHash([]byte("42")), instant(t, "2026-01-02T03:03:20Z")
			}},
		{"properties", Input{Value: []byte(structured)}, map[string]string{"userId": "value.data.customer", "properties": `{"total": value.data.total * 2}`},
			func(e *subject.Event) { e.Fields = []subject.Value{subject.OfInt(10)} }},
		{"binary", binary, map[string]string{"userId": "value.customer", "properties": `{"total": size(headers.ce_id)}`},
			func(e *subject.Event) {
				e.Time, e.Fields = instant(t, "2026-01-02T03:04:05Z"), []subject.Value{subject.OfInt(2)}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := plain
			c.change(&want)
			for _, format := range []InputFormat{FormatAuto, FormatCloudEvents} {
				d := mappedDecoder(t, mapping.Event, DecoderOptions{Fields: fieldsOf(slots("properties.total"), nil), TimestampUnit: Seconds, Format: format}, c.expressions)
				c.in.Timestamp = testArrival
				item, rejected := d.Decode(Events, c.in)
				if rejected != nil {
					t.Fatal(rejected)
				}
				diff(t, *item.Event, want)
			}
		})
	}
	t.Run("rejects", func(t *testing.T) {
		d := mappedDecoder(t, mapping.Event, DecoderOptions{Format: FormatCloudEvents}, map[string]string{"userId": "value.data.customer"})
		for value, want := range map[string]string{
			`{"data":{"customer":"u1"}}`: "unsupported_format: no CloudEvent: specversion is missing",
			`["specversion"]`:            "unsupported_format: no CloudEvent: specversion is missing",
			`{"specversion":"1.0","id":"1","source":"/s","type":"T"}`:                                               "no_subject: neither partitionkey nor a key",
			`{"specversion":"1.0","id":"1","source":"/s","type":"T","time":"x","data":{"customer":"u1"}}`:           "bad_timestamp: time is not RFC 3339",
			`{"specversion":"1.0","id":"1","source":"/s","data":{"customer":"u1"}}`:                                 "malformed: type is missing",
			`{"specversion":"1.0","id":"1","source":"/s","type":"T","data_base64":"AA==","partitionkey":"p"}`:       "unsupported_format: data_base64: the data is not JSON",
			`{"specversion":"1.0","id":"1","source":"/s","type":"T","datacontenttype":"text/xml","data":"<a></a>"}`: "unsupported_format: datacontenttype is not JSON",
		} {
			_, rejected := d.Decode(Events, Input{Value: []byte(value), Timestamp: testArrival})
			if rejected == nil {
				t.Errorf("%s is taken", value)
				continue
			}
			diff(t, rejected.String(), want)
		}
	})
}

// TestMappedHeaders reads headers and key.
func TestMappedHeaders(t *testing.T) {
	d := mappedDecoder(t, mapping.Event, DecoderOptions{Format: FormatJSON}, map[string]string{"userId": "key", "event": "headers.kind"})
	item, rejected := d.Decode(Events, Input{Key: []byte("u1"), Value: []byte(`{}`), Timestamp: testArrival,
		Headers: []stream.Header{{Key: "kind", Value: []byte("E")}, {Key: "ce_specversion", Value: []byte("1.0")}}})
	if rejected != nil {
		t.Fatal(rejected)
	}
	diff(t, []string{item.Event.Name, item.Event.Subject.Value}, []string{"E", "u1"})
}
