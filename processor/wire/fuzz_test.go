package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire/mapping"
	"github.com/segmentd/segmentd/state/subject"
)

func fuzzDecoder() *Decoder {
	zero := subject.Int(0)
	s := slots("properties.a", "properties.a.b", "context.page.url", "properties.name")
	s[1].Min = &zero
	return NewDecoder(DecoderOptions{Fields: fieldsOf(s, []string{"plan", "a.b"}), Purposes: []string{"marketing", "ads"}})
}

// FuzzDecode looks for panics, for details that hold payload, and for
// disagreement with encoding/json on what is JSON, beyond the stricter rules:
// unique names, valid UTF-8, no lone surrogates, one value.
func FuzzDecode(f *testing.F) {
	for _, table := range [][]rejectCase{jsonRejects, typeRejects, memberRejects} {
		for _, c := range table {
			if len(c.value) < 4096 {
				f.Add([]byte(c.value))
			}
		}
	}
	for _, c := range inputCases {
		f.Add([]byte(c.value))
	}
	f.Add([]byte(benchEvent))
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"E","partitionkey":"x","data":{"a":{"b":-1}}}`))
	d := fuzzDecoder()
	f.Fuzz(func(t *testing.T, value []byte) {
		before := bytes.Clone(value)
		for kind := Events; kind <= Mixed; kind++ {
			item, rejected := d.Decode(kind, Input{Value: value, Timestamp: testArrival})
			checkFuzzed(t, value, item, rejected)
		}
		binary := Input{Key: []byte("k"), Value: value, Headers: []stream.Header{{Key: "ce_specversion", Value: []byte("1.0")},
			{Key: "ce_id", Value: value}, {Key: "ce_source", Value: value}, {Key: "ce_type", Value: value}, {Key: "ce_time", Value: value}}}
		d.Decode(Events, binary)
		if !bytes.Equal(before, value) {
			t.Fatal("the decoder wrote to its input")
		}
		checkValidity(t, d, value)
	})
}

// FuzzDecodeMapped looks for panics, and for details that hold payload, where
// expressions of all kinds read what others wrote; and for what is taken in
// another shape than its rewritten record would be.
func FuzzDecodeMapped(f *testing.F) {
	for _, seed := range []string{`{"u":"u1","e":"E","t":1767323045,"d":{"a":{"b":-1}},"l":[{"n":1,"p":2.5}]}`, `{"u":7,"s":"withdrawn","p":"ads"}`,
		`["u1",null,1e400]`, `{"u":"u1","j":"{\"a\":[1]}","e":"x@y"}`, `{"specversion":"1.0","id":"1","source":"/s","type":"E","data":{"u":"x"}}`, benchEvent} {
		f.Add([]byte(seed), []byte("u1"), []byte("h"))
	}
	decoders := map[Kind][]*Decoder{}
	for _, m := range fuzzMappings {
		zero := subject.Int(0)
		s := slots("properties.a", "properties.a.b", "context.page.url", "properties.name")
		s[1].Min = &zero
		kind := map[mapping.Kind]Kind{mapping.Event: Events, mapping.Decision: Decisions, mapping.Request: Requests}[m.kind]
		for _, unit := range []TimestampUnit{RFC3339, Seconds} {
			decoders[kind] = append(decoders[kind], mappedDecoder(f, m.kind, DecoderOptions{Fields: fieldsOf(s, []string{"plan", "a.b"}),
				Purposes: []string{"marketing", "ads"}, TimestampUnit: unit}, m.expressions))
		}
	}
	plain := fuzzDecoder()
	f.Fuzz(func(t *testing.T, value, key, header []byte) {
		before := bytes.Clone(value)
		in := Input{Key: key, Value: value, Timestamp: testArrival, Headers: []stream.Header{{Key: "h", Value: header}}}
		binary := in
		binary.Headers = []stream.Header{{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: header},
			{Key: "ce_source", Value: header}, {Key: "ce_type", Value: header}, {Key: "ce_time", Value: header}}
		for kind, all := range decoders {
			for _, d := range all {
				item, rejected := d.Decode(kind, in)
				checkFuzzed(t, value, item, rejected)
				item, rejected = d.Decode(kind, binary)
				checkFuzzed(t, value, item, rejected)
				text, rejected := d.Rewritten(kind, in)
				if rejected != nil {
					continue
				}
				if _, err := plain.validate(bytes.Clone(text)); err != nil && syntaxReject(err).Detail[:6] != "nested" {
					t.Fatalf("%q is rewritten as %q: %v", value, text, err)
				}
			}
		}
		if !bytes.Equal(before, value) {
			t.Fatal("the decoder wrote to its input")
		}
	})
}

var fuzzMappings = []struct {
	kind        mapping.Kind
	expressions map[string]string
}{
	{mapping.Event, map[string]string{"userId": "value.u", "event": "value.e", "timestamp": "value.t", "properties": "value.d", "context": "value.c"}},
	{mapping.Event, map[string]string{"userId": "string(value.u)", "anonymousId": "key", "event": `value.e + headers.h`, "timestamp": "value.t * 1.5 + 1",
		"properties": `{"a": {"b": value.l.map(l, l.n * l.p)}, "name": value.l.filter(l, l.n > 1)}`, "messageId": `value.e.split("@")[1]`}},
	{mapping.Event, map[string]string{"userId": "key", "event": `"E"`, "type": `value.u == value.e ? "identify" : "page"`, "traits": `parse_json(value.j)`,
		"timestamp": `timestamp(value.e)`, "properties": `{"a": value, "name": headers}`}},
	{mapping.Decision, map[string]string{"userId": "value.u", "purpose": "value.p.lowerAscii()", "status": `has(value.s) ? value.s : "given"`,
		"timestamp": "int(value.t) / 7", "explicit": "value.x == value.d", "expiresAt": `timestamp("2026-01-01T00:00:00Z") + duration(value.e)`}},
	{mapping.Decision, map[string]string{"anonymousId": "value[0]", "type": `"track"`, "event": `"Segment Consent Preference Updated"`,
		"context": `{"consent": {"categoryPreferences": value.d}}`}},
	{mapping.Request, map[string]string{"userId": "value.u.substring(1)", "requestId": `value.e.replace("", value.u)`, "request": `value.l.exists(l, l.n in value.l) ? "erase" : "rectify"`,
		"traits": `{"plan": value.d, "a.b": -value.t}`}},
}

func checkFuzzed(t *testing.T, value []byte, item Item, rejected *Reject) {
	t.Helper()
	if rejected != nil {
		if rejected.Detail == "" || len(rejected.Detail) > 120 {
			t.Fatalf("detail %q", rejected.Detail)
		}
		return
	}
	if !subject.ValidID(item.Subject.Value) || !utf8.ValidString(item.Subject.Value) {
		t.Fatalf("taken with an invalid id: %q", value)
	}
	if item.Content == HasEvent && (item.Event.Time < 0 || !item.Event.Time.Valid() || item.Event.Name == "" && !item.Event.Identify) {
		t.Fatalf("taken with an invalid event: %q", value)
	}
	for _, c := range item.Decisions {
		if c.Status == subject.NoDecision || c.Purpose != "" && c.Purpose != "marketing" && c.Purpose != "ads" {
			t.Fatalf("taken with an invalid decision: %q", value)
		}
	}
}

func checkValidity(t *testing.T, d *Decoder, value []byte) {
	t.Helper()
	_, err := d.validate(value)
	std := json.Valid(value)
	if err == nil && !std {
		t.Fatalf("%q is not JSON", value)
	}
	if err != nil && err != io.EOF && std {
		switch detail := syntaxReject(err).Detail; {
		case strings.HasPrefix(detail, "duplicate name"), strings.HasPrefix(detail, "invalid UTF-8"),
			strings.HasPrefix(detail, "nested too deeply"), bytes.Contains(value, []byte(`\u`)):
		default:
			t.Fatalf("%q is JSON: %s", value, detail)
		}
	}
}

// FuzzParseChange looks for panics, and for changes that do not survive a round trip.
func FuzzParseChange(f *testing.F) {
	for _, format := range []OutputFormat{FormatSegmentd, FormatSegment} {
		e := NewEncoder(EncoderOptions{Group: "g", Format: format, RuleSet: "r"})
		c, gone := testChange(), erasure()
		f.Add(e.AppendChange(nil, &c))
		f.Add(e.AppendChange(nil, &gone))
	}
	e := NewEncoder(EncoderOptions{Group: "g", RuleSet: "r"})
	f.Fuzz(func(t *testing.T, value []byte) {
		p, err := ParseChange(value)
		if err != nil {
			return
		}
		if p.Change.Kind == subject.Erased {
			p.Change.Segment = ""
		}
		again, err := ParseChange(e.AppendChange(nil, &p.Change))
		if err != nil || again.Change != p.Change {
			t.Fatalf("%q: %v, %v", value, again.Change, err)
		}
	})
}
