package wire

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/state/subject"
)

// shared opens a file of the data sets that lie beside the repository, and
// skips the test where they are absent.
func shared(t *testing.T, name ...string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join(append([]string{"..", "..", "..", "shared", "data"}, name...)...))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("the shared data set %s is absent", filepath.Join(name...))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func sharedJSON(t *testing.T, into any, name ...string) {
	t.Helper()
	if err := json.NewDecoder(shared(t, name...)).Decode(into); err != nil {
		t.Fatal(err)
	}
}

type specPayload struct {
	Source  string `json:"source_path"`
	Block   int
	Payload json.RawMessage
}

// expected is what a payload of the Segment spec decodes to by the contract,
// read with the standard library.
func expected(t *testing.T, payload []byte) string {
	t.Helper()
	var p struct{ Type, UserID, AnonymousID, Event string }
	if err := json.Unmarshal(payload, &p); err != nil {
		t.Fatal(err)
	}
	switch p.Type {
	case "":
		return "malformed"
	case "alias", "group":
		return "unsupported_type"
	}
	if !subject.ValidID(cmp.Or(p.UserID, p.AnonymousID)) {
		return "no_subject"
	}
	switch p.Type {
	case "track":
		return p.Event
	case "page":
		return pageViewed
	case "screen":
		return screenViewed
	}
	return "identify"
}

func outcome(item Item, rejected *Reject) string {
	switch {
	case rejected != nil:
		return rejected.Reason.String()
	case item.Event.Identify:
		return "identify"
	}
	return item.Event.Name
}

func TestSegmentSpec(t *testing.T) {
	var payloads []specPayload
	sharedJSON(t, &payloads, "segment-spec", "segment-docs-payloads.json")
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.products", "properties.revenue", "context.page.url"), []string{"email", "plan"})})
	counts := map[string]int{}
	for _, p := range payloads {
		item, rejected := d.Decode(Events, Input{Value: p.Payload, Timestamp: testArrival})
		got := outcome(item, rejected)
		if want := expected(t, p.Payload); got != want {
			t.Errorf("%s block %d: got %s, want %s", p.Source, p.Block, got, want)
		}
		counts[got]++
	}
	t.Log(len(payloads), counts)
}

// TestSegmentSpecAsTracks gives the payloads that show no envelope the one that an SDK adds.
func TestSegmentSpecAsTracks(t *testing.T) {
	var payloads []specPayload
	sharedJSON(t, &payloads, "segment-spec", "segment-docs-payloads.json")
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.products", "properties.total"), nil)})
	read := 0
	for _, p := range payloads {
		var call map[string]any
		if err := json.Unmarshal(p.Payload, &call); err != nil {
			t.Fatal(err)
		}
		if call["type"] != nil || call["event"] == nil {
			continue
		}
		call["type"], call["userId"] = "track", "u1"
		text, _ := json.Marshal(call)
		e := mustDecode(t, d, Events, string(text)).Event
		diff(t, e.Name, call["event"].(string))
		properties, _ := call["properties"].(map[string]any)
		products, _ := properties["products"].([]any)
		diff(t, len(e.Fields[0].List()), len(products))
		diff(t, e.Fields[1].IsNull(), properties["total"] == nil)
		read++
	}
	t.Logf("%d calls", read)
}

func TestSDKs(t *testing.T) {
	for _, file := range []string{"segment-analytics-node-3.1.0.json", "rudder-sdk-node-3.0.13.json"} {
		var requests []struct {
			Body struct{ Batch []json.RawMessage }
		}
		sharedJSON(t, &requests, "segment-sdk-captured", file)
		d := NewDecoder(DecoderOptions{
			Fields:   fieldsOf(slots("properties.revenue", "properties.products"), []string{"plan"}),
			Purposes: []string{"advertising", "datasharing"},
		})
		for _, r := range requests {
			for _, call := range r.Body.Batch {
				item, rejected := d.Decode(Events, Input{Value: call, Timestamp: subject.Never})
				got := outcome(item, rejected)
				if want := expected(t, call); got != want {
					t.Errorf("%s: got %s, want %s", file, got, want)
				}
				if rejected == nil {
					checkSDKEvent(t, item.Event)
				}
			}
		}
	}
}

func checkSDKEvent(t *testing.T, e *subject.Event) {
	t.Helper()
	if e.MessageID == "" || e.Time == subject.Never {
		t.Error("no message id or time")
	}
	switch {
	case e.Identify && e.Subject.Value == "00004":
		diff(t, e.Traits, []subject.TraitUpdate{{Key: "plan", Value: str("premium")}})
	case e.Name == "Order Completed":
		diff(t, e.Fields[0], num(t, "29.33"))
		diff(t, e.Subject, subject.ID{Value: "00004"})
	case e.Name == "Product Viewed":
		diff(t, e.Subject, subject.ID{Type: subject.AnonymousID, Value: "anon-2"})
	}
}

// TestSDKConsent reads the consent context of the captured calls as events and
// as decisions.
func TestSDKConsent(t *testing.T) {
	var requests []struct {
		Body struct{ Batch []json.RawMessage }
	}
	sharedJSON(t, &requests, "segment-sdk-captured", "segment-analytics-node-3.1.0.json")
	d := NewDecoder(DecoderOptions{Purposes: []string{"advertising", "datasharing"}})
	item := mustDecode(t, d, Events, string(requests[0].Body.Batch[0]))
	diff(t, item.Event.Denied, []string{"datasharing"})
	calls := requests[0].Body.Batch
	item = mustDecode(t, d, Decisions, string(calls[len(calls)-1]))
	var got []string
	for _, c := range item.Decisions {
		got = append(got, c.Purpose+" "+c.Status.String())
	}
	diff(t, got, []string{"advertising withdrawn"})
}

func TestJSONTestSuite(t *testing.T) {
	zipped, err := gzip.NewReader(shared(t, "JSONTestSuite.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.value"), nil)})
	cases := map[byte]int{}
	for archive := tar.NewReader(zipped); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := path.Base(h.Name)
		if !strings.HasSuffix(name, ".json") || name[1] != '_' {
			continue
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		cases[name[0]]++
		checkSuiteCase(t, d, name, text)
	}
	t.Logf("y %d, n %d, i %d", cases['y'], cases['n'], cases['i'])
}

// stricter are the cases that RFC 8259 allows and RFC 7493 does not: equal names.
var stricter = map[string]bool{"y_object_duplicated_key.json": true, "y_object_duplicated_key_and_value.json": true}

func checkSuiteCase(t *testing.T, d *Decoder, name string, text []byte) {
	t.Helper()
	alone := strictJSON(text)
	_, rejected := d.Decode(Events, Input{Value: []byte(track(`"properties":{"value":` + string(text) + `}`)), Timestamp: testArrival})
	switch {
	case name[0] == 'y' && !stricter[name]:
		if !alone || rejected != nil {
			t.Errorf("%s is not taken: %v", name, rejected)
		}
	case name[0] == 'n' || stricter[name]:
		if alone {
			t.Errorf("%s is taken", name)
		}
		if rejected == nil || rejected.Reason != Malformed {
			t.Errorf("%s is taken within a record", name)
		}
	case rejected != nil && rejected.Reason != Malformed:
		t.Errorf("%s: %s", name, rejected)
	}
}

func TestNaughtyStrings(t *testing.T) {
	var texts []string
	sharedJSON(t, &texts, "blns", "blns.json")
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.value"), nil)})
	e := NewEncoder(EncoderOptions{Group: "segmentd", RuleSet: "x"})
	refused := 0
	for _, s := range texts {
		quoted, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		q := string(quoted)
		item, rejected := d.Decode(Events, Input{Key: []byte(s), Timestamp: testArrival, Value: []byte(
			`{"type":"track","userId":` + q + `,"event":` + q + `,"messageId":` + q + `,"properties":{"value":` + q + `,"` + "k" + `":{` + q + `:` + q + `}}}`)})
		if !subject.ValidID(s) {
			if refused++; rejected == nil || rejected.Reason != NoSubject {
				t.Errorf("%q is taken as an id", s)
			}
			continue
		}
		if rejected != nil {
			t.Errorf("%q: %s", s, rejected)
			continue
		}
		ev := item.Event
		diff(t, []string{ev.Subject.Value, ev.Name, ev.MessageID, ev.Fields[0].Str()}, []string{s, s, s, s})
		c := testChange()
		c.Subject, c.CausedBy = ev.Subject, ev.MessageID
		back, err := ParseChange(e.AppendChange(nil, &c))
		if err != nil {
			t.Error(err)
		}
		diff(t, back.Change, c)
	}
	t.Logf("%d strings, %d no ids", len(texts), refused)
}
