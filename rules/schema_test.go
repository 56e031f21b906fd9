package rules

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/segmentd/segmentd/rules/schematest"
)

// fullExample has every field of a rule file.
const fullExample = `revision: 42
purposes:
  - key: marketing
    description: Send offers that fit what you bought
    lawful_basis: consent
    direct_marketing: true
    consent_expires_after: 395d
    retention: 400d
    min_age: 16
    birthdate_trait: birthdate
    output: health
    notice_version: "2026-06"
    oldest_notice_version: 2026-03
    recipients:
      - Mail House
      - {name: Print Ltd, contact: privacy@print.example}
    data_use: marketing.communications.email
  - key: credit
    description: Decide how you may pay
    lawful_basis: contract
    significant_effect: true
    safeguards: Write to appeals@shop.example and a person decides
    retention: 30d
  - key: fraud
    description: Keep fraud away from you
    lawful_basis: legitimate_interests
    legitimate_interest: Keeping fraud away from the shop
    retention: 30d
  - key: recalls
    description: Tell you when a product is recalled
    lawful_basis: legal_obligation
    legal_reference: Regulation (EU) 2023/988, article 35
    retention: 30d
data:
  - field: properties.diagnosis
    category: user.health_and_medical
    special: true
  - field: properties.total
    min: 0
lists:
  - key: vips
    members: [u1, u2]
let:
  orders: events("Order Completed").where(properties.currency == "EUR")
segments:
  - key: big_spenders
    name: Big spenders
    description: Spent 500 or more in the last 90 days
    purpose: marketing
    when: |
      orders.within("90d").sum(properties.total) >= 500
    stay_while: |
      orders.within("90d").sum(properties.total) >= 400
    min_dwell: 1h
    cooldown: 7d
    infers: []
`

func TestSchemaAcceptsWhatLoads(t *testing.T) {
	schema := schematest.Compile(t, SchemaJSON())
	for _, text := range []string{fullExample, goodRules, frameRule("traits.x == 1")} {
		if err := schema.Validate(schematest.YAML(t, text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
		if problems := loadText(text); HasErrors(problems) {
			t.Errorf("%v\n%s", problems, text)
		}
	}
}

func TestSchemaRefusesWhatCheckRefuses(t *testing.T) {
	schema := schematest.Compile(t, SchemaJSON())
	for _, text := range []string{
		"segment: []",
		"revision: -1",
		"purposes: [{key: a}]",
		"purposes: [{key: a, description: d, lawful_basis: none, retention: 30d}]",
		"purposes: [{key: a, description: d, lawful_basis: consent, retention: 30 days}]",
		"lists: [{key: a, members: [], file: x}]",
		"data: [{field: total}]",
		"segments: [{key: A, purpose: a, when: x}]",
		"segments: [{key: a, purpose: a, when: x, cooldown: soon}]",
		"segments: [{key: a, purpose: a, when: x, min_dwell: 3 days}]",
		"segments: [{key: a, purpose: a, when: x, dwell: 3d}]",
		"purposes: [{key: a, description: d, lawful_basis: consent, retention: 30d, notice_version: two words}]",
		"purposes: [{key: a, description: d, lawful_basis: consent, retention: 30d, oldest_notice_version: 2026-03}]",
		"purposes: [{key: a, description: d, lawful_basis: consent, retention: 30d, recipients: [{contact: x}]}]",
		"purposes: [{key: a, description: d, lawful_basis: consent, retention: 30d, data_use: selling}]",
		"purposes: [{key: a, description: d, lawful_basis: consent, retention: 30d, significant_effect: maybe}]",
		"purposes: [{key: a, description: d, lawful_basis: consent, retention: 30d, safeguards: s}]",
		"purposes: [{key: a, description: d, lawful_basis: consent, retention: 30d, default: granted}]",
		"purposes: [{key: a, description: d, lawful_basis: consent, retention: 30d, min_age: 16}]",
		"purposes: [{key: a, description: d, lawful_basis: consent, retention: 30d, birthdate_trait: b}]",
		"purposes: [{key: a, description: d, lawful_basis: consent, retention: 30d, min_age: sixteen, birthdate_trait: b}]",
	} {
		if schema.Validate(schematest.YAML(t, text)) == nil {
			t.Errorf("the schema accepts %s", text)
		}
		if !HasErrors(loadText(text)) {
			t.Errorf("check accepts %s", text)
		}
	}
}

// TestSchemaHasTheFields holds the schema to the fields that Load knows.
func TestSchemaHasTheFields(t *testing.T) {
	type object struct{ Properties map[string]any }
	var doc struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal(SchemaJSON(), &doc); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		got  map[string]any
		want []string
	}{
		{doc.Properties, sectionNames}, {doc.Defs["purpose"].Properties, purposeFields}, {doc.Defs["segment"].Properties, segmentFields},
		{doc.Defs["field"].Properties, dataFields}, {doc.Defs["list"].Properties, listFields},
	} {
		if got := keysOf(c.got); !slices.Equal(got, slices.Sorted(slices.Values(c.want))) {
			t.Errorf("the schema has %v, Load %v", got, c.want)
		}
	}
}
