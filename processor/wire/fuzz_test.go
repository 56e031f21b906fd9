package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/segmentd/segmentd/processor/stream"
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
		switch detail := syntaxReject(err, 0).Detail; {
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
