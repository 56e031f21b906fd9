package rules

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// sampleRules read every kind of thing that a sample has.
const sampleRules = `purposes:
  - {key: ads, description: Ads, lawful_basis: consent, retention: 400d, min_age: 16, birthdate_trait: birthdate}
let:
  orders: events("Order Completed")
segments:
  - key: a
    purpose: ads
    when: |
      orders.exists() && events("Order*").count() > 3 && traits.country == "DE" && traits.address.` + "`post-code`" + ` == "1" &&
      orders.sum(properties.products.filter(p, p.category == "x").map(p, p.price * 2)) > 10 &&
      traits.pets.exists(t, t.kind == "dog" && traits.tags.exists(t, t == "x")) &&
      orders.last().properties.products.exists(q, q.brand.name == "x") &&
      events("Page Viewed").where(properties.name == "Home" && properties.category == "x" && context.page.url != null).exists()
`

const sampleRecords = `{"type":"track","userId":"u","event":"Order Completed","properties":{"products":[{"category":"x","price":3},{"brand":{"name":"y"}}]},"context":{"page":{"url":"/"}}}
{"type":"identify","userId":"u","traits":{"country":"DE","birthdate":"2000-01-01","address":{"post-code":"1"},"tags":["x"],"pets":[{"kind":"dog"}]}}
{"type":"page","userId":"u","name":"Home","category":"x","properties":{"name":null}}
{"type":"group","userId":"u","traits":{"plan":"x"}}

{"type":"decision","userId":"u","purpose":"ads","status":"given"}
nonsense
[1]
`

func compared(t *testing.T, rules, records string) (*Sample, []string) {
	t.Helper()
	set, problems := Load(fstest.MapFS{"a.yaml": {Data: []byte(rules)}})
	if set == nil {
		t.Fatal(problems)
	}
	s := NewSample()
	for line := range strings.Lines(records) {
		s.Add([]byte(line))
	}
	var got []string
	for _, p := range set.CompareSample(s.Names, s.Fields) {
		got = append(got, p.Error())
	}
	return s, got
}

func TestSampleHasWhatRulesRead(t *testing.T) {
	s, got := compared(t, sampleRules, sampleRecords)
	if got != nil {
		t.Errorf("nothing is missing: %q", got)
	}
	if s.Events != 3 || s.Others != 2 || s.Broken != 2 {
		t.Errorf("%d events, %d others, %d broken", s.Events, s.Others, s.Broken)
	}
}

// TestSampleLacks takes what rules read out of the sample, word by word.
func TestSampleLacks(t *testing.T) {
	for taken, want := range map[string]string{
		`"Order Completed"`:        "a.yaml:4:18: warning: the sample has no event 'Order Completed'",
		`"country"`:                "a.yaml:9:58: warning: the sample has no field 'traits.country'",
		`"birthdate"`:              "a.yaml:2:104: warning: the sample has no field 'traits.birthdate'",
		`"post-code"`:              "a.yaml:9:84: warning: the sample has no field 'traits.address.`post-code`'",
		`"category":"x","price"`:   "a.yaml:10:48: warning: the sample has no field 'properties.products[].category'",
		`"price"`:                  "a.yaml:10:74: warning: the sample has no field 'properties.products[].price'",
		`"kind"`:                   "a.yaml:11:29: warning: the sample has no field 'traits.pets[].kind'",
		`"brand"`:                  "a.yaml:12:51: warning: the sample has no field 'properties.products[].brand.name'",
		`"url"`:                    "a.yaml:13:94: warning: the sample has no field 'context.page.url'",
		`"page","userId"`:          "a.yaml:13:14: warning: the sample has no event 'Page Viewed'",
		`"name":"Home"`:            "a.yaml:13:35: warning: the sample has no field 'properties.name'",
		`"category":"x","properti`: "a.yaml:13:64: warning: the sample has no field 'properties.category'",
	} {
		if !strings.Contains(sampleRecords, taken) {
			t.Fatalf("the sample has no %s", taken)
		}
		_, got := compared(t, sampleRules, strings.Replace(sampleRecords, taken, `"zz`+taken[1:], 1))
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("without %s: want %s, got\n%s", taken, want, strings.Join(got, "\n"))
		}
	}
}

func TestSampleOfCloudEvents(t *testing.T) {
	_, got := compared(t, `purposes:
  - {key: ads, description: Ads, lawful_basis: consent, retention: 400d}
segments:
  - key: a
    purpose: ads
    when: |
      events("com.example.order").where(properties.total > 3 && properties.totals > 3).exists() && events("com.other*").exists()
`, `{"specversion":"1.0","type":"com.example.order","source":"/","id":"1","data":{"total":5}}`)
	want := []string{
		"a.yaml:7:65: warning: the sample has no field 'properties.totals' (nearest: properties.total)",
		"a.yaml:7:107: warning: the sample has no event 'com.other*'",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestSmellsOfElements looks into lists too.
func TestSmellsOfElements(t *testing.T) {
	const rules = `purposes:
  - {key: ads, description: Ads, lawful_basis: consent, retention: 400d}
data:
  - {field: traits.visits.therapy, special: false}
segments:
  - key: a
    purpose: ads
    when: traits.visits.exists(v, v.diagnosis == "x" || v.therapy == "y")
`
	var got []string
	for _, p := range loadText(rules) {
		got = append(got, p.Error())
	}
	if len(got) != 1 || !strings.HasPrefix(got[0], "a.yaml:8:35: warning: 'diagnosis' in traits.visits.diagnosis suggests") {
		t.Errorf("%q", got)
	}
}
