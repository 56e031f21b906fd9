package processor

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

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
	want := []string{`"4711"`, "4711", "2026-03", "web_form", "r-1", "q-1", "decisions:0:0", "DE", "german", rec.Clock.String()}[1:]
	for _, p := range rec.Purposes {
		want = append(want, p.Key, p.Basis.Since.String())
		for _, tr := range p.Traits {
			want = append(want, tr.Key, tr.Time.String())
		}
		for _, leaf := range p.Leaves {
			for _, at := range leaf.Times {
				want = append(want, at.String())
			}
		}
		for _, m := range p.Members {
			i, _ := l.set.SegmentByID(m.Segment)
			want = append(want, `"segment":"`+l.set.Segments[i].Key+`"`, m.Since.String())
		}
	}
	for _, part := range want {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in the document", part)
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
