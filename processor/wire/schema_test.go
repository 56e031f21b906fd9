package wire

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/rules/schematest"
	"github.com/segmentd/segmentd/state/subject"
)

func schemaOf(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	text, ok := Schema(name)
	if !ok {
		t.Fatalf("no schema %s", name)
	}
	return schematest.Compile(t, text)
}

func TestSchemaNames(t *testing.T) {
	entries, err := schemas.ReadDir("schema")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, e := range entries {
		files = append(files, strings.TrimSuffix(e.Name(), ".json"))
	}
	names := SchemaNames()
	slices.Sort(names)
	slices.Sort(files)
	diff(t, names, files)
	for _, name := range names {
		schemaOf(t, name)
	}
	for _, name := range []string{"", "nothing", "../wire", "event.json"} {
		if _, ok := Schema(name); ok {
			t.Errorf("there is a schema %q", name)
		}
	}
}

// TestSchemasDescribeAllMembers walks every properties keyword.
func TestSchemasDescribeAllMembers(t *testing.T) {
	for _, name := range SchemaNames() {
		text, _ := Schema(name)
		var s struct {
			Schema, Title, Description string
			Properties                 map[string]map[string]any
		}
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		if s.Title == "" || s.Description == "" {
			t.Errorf("%s has no title or description", name)
		}
		for member, p := range s.Properties {
			if p["description"] == nil && p["const"] == nil && p["properties"] == nil {
				t.Errorf("%s.%s has no description", name, member)
			}
		}
	}
}

func TestOutputsHoldToTheirSchemas(t *testing.T) {
	for format, name := range map[OutputFormat]string{FormatSegmentd: "change", FormatSegment: "change-segment"} {
		s := schemaOf(t, name)
		e := NewEncoder(EncoderOptions{Group: "segmentd", Format: format, RuleSet: "4be1"})
		for r := range subject.Reasons {
			c := testChange()
			c.Kind, c.Reason = subject.ChangeKind(r%2), r
			c.Subject.Type = subject.IDType(r % 2)
			gone := erasure()
			for _, change := range []*subject.Change{&c, &gone} {
				if err := s.Validate(schematest.JSON(t, e.AppendChange(nil, change))); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestRowsHoldToTheirSchemas(t *testing.T) {
	e := NewEncoder(EncoderOptions{Group: "segmentd"})
	check := func(name string, m stream.Message) {
		t.Helper()
		if err := schemaOf(t, name).Validate(schematest.JSON(t, m.Value)); err != nil {
			t.Error(err)
		}
	}
	c := testChange()
	row, _ := e.Member(&c, Place{})
	check("member", row)
	for r := range Reasons {
		check("rejected", e.Rejected(&Rejected{Source: subject.Position{Topic: "t"}, Reject: Reject{r, "why"}, Time: testArrival}, Place{}))
	}
	for s := range subject.RequestStatuses {
		check("request-result", e.RequestResult(&RequestResult{RequestID: "r", Status: s, Time: testArrival}, Place{}))
	}
}

// inputCases are inputs with the schema of their kind; the decoder and the
// schema must agree on them.
var inputCases = []struct {
	schema string
	kind   Kind
	value  string
	taken  bool
}{
	{"event", Events, track(`"messageId":"m","properties":{"a":1},"context":{"consent":{"categoryPreferences":{"A":true}}}`), true},
	{"event", Events, `{"type":"track","userId":"","anonymousId":"a","event":"E","properties":null}`, true},
	{"event", Events, `{"type":"identify","userId":"u","traits":{"a":null}}`, true},
	{"event", Events, `{"type":"page","userId":"u","name":"Home","originalTimestamp":"2026-01-01T00:00:00Z"}`, true},
	{"event", Events, `{"type":"screen","anonymousId":"a","userId":null,"timestamp":null}`, true},
	{"event", Events, `{"type":"track","userId":"u"}`, false},
	{"event", Events, `{"type":"track","event":"E"}`, false},
	{"event", Events, `{"type":"track","userId":"u","event":""}`, false},
	{"event", Events, `{"type":"alias","userId":"u"}`, false},
	{"event", Events, `{"type":"page","userId":"u\u0001"}`, false},
	{"event", Events, track(`"context":{"consentManagement":{"deniedConsentIds":[1]}}`), false},
	{"decision", Mixed, `{"type":"decision","userId":"u","purpose":"marketing","status":"given","timestamp":"2026-01-01T00:00:00Z","explicit":true,"expiresAt":null,"noticeVersion":"1","method":"web_form","recordId":"x"}`, true},
	{"decision", Mixed, `{"type":"decision","anonymousId":"a","purpose":"marketing","status":"objected"}`, true},
	{"decision", Mixed, `{"type":"decision","userId":"u","purpose":"marketing","status":"agreed"}`, false},
	{"decision", Mixed, `{"type":"decision","userId":"u","status":"given"}`, false},
	{"decision", Mixed, `{"type":"decision","purpose":"marketing","status":"given"}`, false},
	{"request", Requests, `{"type":"request","requestId":"r","userId":"u","request":"rectify","traits":{"a":1},"timestamp":"2026-01-01T00:00:00Z"}`, true},
	{"request", Requests, `{"type":"request","requestId":"r","userId":"u","request":"forget"}`, false},
	{"request", Requests, `{"type":"request","userId":"u","request":"erase"}`, false},
}

func TestInputsAgreeWithTheirSchemas(t *testing.T) {
	d := NewDecoder(DecoderOptions{Purposes: []string{"marketing"}})
	for _, c := range inputCases {
		item, rejected := d.Decode(c.kind, Input{Value: []byte(c.value), Timestamp: testArrival})
		if taken := rejected == nil && item.Misunderstood == ""; taken != c.taken {
			t.Errorf("%s: taken is %v", c.value, taken)
		}
		if err := schemaOf(t, c.schema).Validate(schematest.JSON(t, []byte(c.value))); (err == nil) != c.taken {
			t.Errorf("%s: %v", c.value, err)
		}
	}
}
