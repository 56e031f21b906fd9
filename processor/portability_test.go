package processor

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/portable"
	"github.com/segmentd/segmentd/rules/schematest"
	"github.com/segmentd/segmentd/state/subject"
)

const portableRules = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
  - {key: security, description: Fraud, lawful_basis: legitimate_interests, retention: 30d}
segments:
  - {key: german, purpose: marketing, when: 'traits.country == "DE"'}
  - {key: buyers, purpose: marketing, when: 'events("Viewed").within("30d").sum(properties.total) >= 100'}
  - {key: suspects, purpose: security, when: 'events("Viewed").within("1d").count() >= 1'}
`

var exportedAt = regexp.MustCompile(`"exported":"[^"]*"`)

// export is the portability document of u1, without the instant of writing.
func (r *running) export(t *testing.T, requestID string) string {
	t.Helper()
	doc, err := r.processor.Portability(background(t), subject.ID{Value: "u1"}, requestID)
	must(t, err)
	b, err := json.Marshal(doc)
	must(t, err)
	var asAny any
	must(t, json.Unmarshal(b, &asAny))
	must(t, schematest.Compile(t, portable.Schema()).Validate(asAny))
	return exportedAt.ReplaceAllString(string(b), `"exported":"2026-01-01T00:00:00Z"`)
}

// What one instance hands over another takes in: it exports the same, decides the
// same, and a repeat, a restart and a document for nobody's consent change nothing.
func TestPortabilityIsTakenInByAnotherInstance(t *testing.T) {
	at := ago(time.Hour)
	source := newLab(t, labConfig{rules: portableRules, partitions: 1})
	from := source.start()
	source.produce(proved(given("u1", "marketing", at), "2026-03"), request("u1", "q-1", "portability", at))
	source.produce(record{topic: events, key: "u1", at: at.Add(time.Second), value: `{"type":"identify","userId":"u1","messageId":"i1","timestamp":"` + stamp(at.Add(time.Second)) + `","traits":{"country":"DE"}}`},
		worth("u1", "Viewed", 70, at.Add(2*time.Second)), worth("u1", "Viewed", 70, at.Add(2*time.Second)))
	from.caughtUp()
	document := from.export(t, "q-1")
	eventually(t, "the request is completed", func() bool {
		return slices.Equal(states(from.dossier("u1")), []string{"q-1 portability completed"})
	})
	from.stop()
	for _, part := range []string{`"provenance":"provided","trait":"country","value":"DE"`, `"provenance":"observed","what":"`, `"values":[70,70]`, `"privacyNotice":"2026-03"`, `"source":"decisions:0:0"`} {
		if !strings.Contains(document, part) {
			t.Errorf("%s is not in the document", part)
		}
	}
	for _, inferred := range []string{"german", "buyers", "suspects", "security"} {
		if strings.Contains(document, inferred) {
			t.Errorf("%s is in the document", inferred)
		}
	}

	other := newLab(t, labConfig{rules: portableRules, partitions: 1, own: true}) // with topics of its own
	to := other.start()
	taken := record{topic: requests, key: "u1", at: ago(time.Minute), value: `{"type":"import","requestId":"i-1","userId":"u1","timestamp":"` + stamp(ago(time.Minute)) + `","document":` + document + `}`}
	other.produce(taken)
	eventually(t, "the import is completed", func() bool { return slices.Contains(states(to.dossier("u1")), "i-1 import completed") })
	asTaken := strings.Replace(document, `"source":"decisions:0:0"`, `"source":"requests:0:0"`, 1) // that other place is none here
	if diff := cmp.Diff(asTaken, to.export(t, "")); diff != "" {
		t.Errorf("exported again (+):\n%s", diff)
	}
	want := other.changes()
	if len(want) != 2 || want[0].Reason != subject.ByBackfill || want[1].Reason != subject.ByBackfill {
		t.Errorf("the import published %v", want)
	}
	to.stop()
	to = other.start()
	again := taken
	again.value = strings.Replace(taken.value, "i-1", "i-2", 1)
	other.produce(taken, again)
	eventually(t, "the repeat is completed", func() bool { return slices.Contains(states(to.dossier("u1")), "i-2 import completed") })
	if diff := cmp.Diff(asTaken, to.export(t, "")); diff != "" {
		t.Errorf("exported after a repeat (+):\n%s", diff)
	}
	if diff := cmp.Diff(want, other.changes()); diff != "" {
		t.Errorf("changes after a repeat (+):\n%s", diff)
	}
	if detail := to.dossier("u1").Requests[0].Detail; detail != "taken in: traits 1, pieces of evidence 2" {
		t.Errorf("the detail is %q", detail)
	}
	to.stop()
}
