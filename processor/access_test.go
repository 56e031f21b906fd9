package processor

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/rules/schematest"
	"github.com/segmentd/segmentd/state/subject"
)

// The access document has everything that record and dossier hold, nothing of
// others, and completes the request that it answers.
func TestAccessDocumentIsComplete(t *testing.T) {
	l := newLab(t, labConfig{rules: strings.Replace(movingRules, "segments:", "segments:\n  - {key: german, purpose: marketing, when: 'traits.country == \"DE\"'}", 1), partitions: 1})
	at := ago(time.Hour)
	r := l.start()
	l.produce(proved(given("u1", "marketing", at), "2026-03"), proved(given("u2", "marketing", at), "of-another"), request("u1", "q-1", "access", at.Add(time.Minute)))
	l.produce(record{topic: events, key: "u1", at: at.Add(time.Second), value: `{"type":"identify","userId":"u1","messageId":"i1","timestamp":"` + stamp(at.Add(time.Second)) + `","traits":{"country":"DE"}}`},
		worth("u1", "Viewed", 4711, at.Add(2*time.Second)), worth("u2", "Viewed", 8888, at.Add(2*time.Second)), track("u1", "Order Completed", "m1", at.Add(3*time.Second)))
	r.caughtUp()
	doc, err := r.processor.Access(background(t), subject.ID{Value: "u1"}, "q-1")
	must(t, err)
	b, err := json.Marshal(doc)
	must(t, err)
	text := string(b)
	var rec *subject.Record
	eventually(t, "the record", func() bool {
		return r.inspect(0, func(p *partitionLoop) {
			kept, failed := p.image.Get(subject.ID{Value: "u1"})
			must(t, failed)
			rec = kept.Clone()
		})
	})
	schema, _ := wire.Schema("access")
	if err := schematest.Compile(t, schema).Validate(schematest.JSON(t, b)); err != nil {
		t.Error(err)
	}
	w := walker{T: t, set: l.set}
	w.walk("record", reflect.ValueOf(rec))
	w.walk("dossier", reflect.ValueOf(r.dossier("u1")))
	for _, known := range []string{"4711", "2026-03", "web_form", "r-1", "q-1", "decisions:0:0", "DE", "german"} {
		if !slices.ContainsFunc(w.found, func(f [2]string) bool { return f[1] == known }) {
			t.Errorf("the walk has not come to %s", known)
		}
	}
	for _, f := range w.found {
		escaped, err := json.Marshal(f[1])
		must(t, err)
		if !strings.Contains(text, strings.Trim(string(escaped), `"`)) {
			t.Errorf("%s %s is not in the document", f[0], f[1])
		}
	}
	for _, other := range []string{"u2", "of-another", "8888"} {
		if strings.Contains(text, other) {
			t.Errorf("%s of another subject is in the document", other)
		}
	}
	if len(doc.MessageIDs.Hashes) != len(rec.Messages) || len(rec.Messages) == 0 {
		t.Errorf("%d hashes of %d message ids", len(doc.MessageIDs.Hashes), len(rec.Messages))
	}
	eventually(t, "the request is completed", func() bool {
		return slices.Equal(states(r.dossier("u1")), []string{"q-1 access completed"}) && r.metric(t, "segmentd_requests", "kind", "access", "status", "completed") == 1
	})
	if none, err := r.processor.Access(background(t), subject.ID{Value: "u9"}, ""); err != nil || len(none.Purposes)+len(none.Decisions)+len(none.Requests) > 0 {
		t.Errorf("of nobody there is %+v, %v", none, err)
	}
	r.stop()
	same(t, "results", l.results(), []string{"q-1 received", "q-1 completed"})
}

// walker collects every value in what is kept, as the document must show it. A field
// of a kind that it does not know is an error, so that a new one is thought of.
type walker struct {
	*testing.T
	set   *rules.Set
	found [][2]string // path, text
}

// unsaid are fields that are not stored, or say nothing but which of their siblings
// the document has.
var unsaid = []string{"Armed", "Indexed", "Forgot", "Known", "Lapsed", "Lifted", "Truncated", "Explicit", "Type"}

func (w *walker) walk(path string, v reflect.Value) {
	w.Helper()
	if text, known := w.textOf(path, v); known {
		if text != "" {
			w.found = append(w.found, [2]string{path, text})
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			w.walk(path, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			w.walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; !slices.Contains(unsaid, name) {
				w.walk(path+"."+name, v.Field(i))
			}
		}
	default:
		w.Errorf("%s is a %s: say here how the document shows it", path, v.Type())
	}
}

// textOf is a value that is no whole of others; "" for none.
func (w *walker) textOf(path string, v reflect.Value) (text string, known bool) {
	switch x := v.Interface().(type) {
	case subject.Instant:
		if !x.Valid() || x == 0 {
			return "", true
		}
		return x.String(), true
	case subject.Position:
		return x.String(), true
	case subject.Status:
		if x == subject.NoDecision {
			return "", true
		}
		return x.String(), true
	case subject.Value:
		if x.Kind() == subject.NumberKind {
			return x.Number().String(), true
		}
		return x.Str(), x.Kind() == subject.String
	case subject.RequestKind:
		return x.String(), true
	case subject.RequestStatus:
		return x.String(), true
	case string:
		return x, true
	case uint32: // of a leaf, or of a segment
		if leaf := w.set.LeafByKey(x); leaf != nil && strings.Contains(path, "Leaves") {
			return leaf.Text, true
		}
		i, ok := w.set.SegmentByID(x)
		return w.set.Segments[i].Key, ok
	case uint64:
		if strings.Contains(path, "Messages") {
			return strconv.FormatUint(x, 16), true
		}
		if x == 0 {
			return "", true
		}
		return strconv.FormatUint(x, 10), true
	}
	return "", false
}
