package transparency

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/rules/schematest"
	"github.com/segmentd/segmentd/state/subject"
)

const receipted = `purposes:
  - {key: ads, description: Send offers, lawful_basis: consent, retention: 30d, notice_version: 2026-03, recipients: [Mail House], direct_marketing: true}
  - {key: health, description: Tips, lawful_basis: explicit_consent, retention: 36h}
  - {key: shop, description: Better pages, lawful_basis: legitimate_interests, legitimate_interest: sales, retention: 30d, data_use: personalize.content}
segments:
  - {key: a, purpose: ads, when: 'events("Order").exists()'}
  - {key: h, purpose: health, when: 'events("Tip").exists()'}
  - {key: s, purpose: shop, when: 'events("View").exists()'}
`

// Every receipt validates, says how each consent stands, and has every decision.
func TestReceipts(t *testing.T) {
	text, _ := Schema("receipt")
	schema := schematest.Compile(t, text)
	base := subject.FromTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	proof := func(purpose string, status subject.Status, hours int) subject.Proof {
		at := base.Add(time.Duration(hours) * time.Hour)
		return subject.Proof{Purpose: purpose, Status: status, Time: at, Arrival: at, Expires: subject.Never, NoticeVersion: "2026-03", Method: "web_form", RecordID: "r",
			Source: subject.Position{Topic: "decisions", Partition: 1, Offset: int64(hours)}}
	}
	given, explicit, ended := proof("ads", subject.Given, 1), proof("health", subject.Given, 1), proof("ads", subject.Given, 1)
	explicit.Explicit, ended.Expires = true, base.Add(2*time.Hour)
	for _, c := range []struct {
		name   string
		proofs []subject.Proof
		want   string // purpose=status of each record
		events int
	}{
		{"nothing", nil, "", 0},
		{"given", []subject.Proof{given}, "ads=dpv:ConsentGiven", 1},
		{"given and withdrawn", []subject.Proof{given, proof("ads", subject.Withdrawn, 2)}, "ads=dpv:ConsentWithdrawn", 2},
		{"read in another order", []subject.Proof{proof("ads", subject.Withdrawn, 2), given}, "ads=dpv:ConsentWithdrawn", 2},
		{"given again", []subject.Proof{given, proof("ads", subject.Refused, 2), proof("ads", subject.Given, 3)}, "ads=dpv:ConsentGiven", 3},
		{"given and withdrawn at one instant", []subject.Proof{proof("ads", subject.Withdrawn, 1), given}, "ads=dpv:ConsentWithdrawn", 2},
		{"expired", []subject.Proof{ended}, "ads=dpv:ConsentExpired", 1},
		{"explicit, and not", []subject.Proof{explicit}, "health=dpv:ConsentGiven", 1},
		{"not explicit where that is needed", []subject.Proof{proof("health", subject.Given, 1)}, "health=dpv:ConsentInvalidated", 1},
		{"objected to marketing on consent", []subject.Proof{given, proof("ads", subject.Objected, 2)}, "ads=dpv:ConsentWithdrawn", 3},
		{"objected to an interest", []subject.Proof{proof("shop", subject.Objected, 1)}, "shop=", 1},
		{"refused for all", []subject.Proof{given, proof("", subject.Refused, 2)}, "ads=dpv:ConsentRefused health=dpv:ConsentRefused", 3},
		{"a purpose that is gone", []subject.Proof{proof("old", subject.Given, 1)}, "old=", 1},
	} {
		d := Decided{Subject: subject.ID{Value: "u1"}, Proofs: c.proofs, At: base.Add(24 * time.Hour), Made: base.Time()}
		source := sourceOf(t, receipted, func(c *config.Config) { c.Privacy.Withdrawal = "Write to us." })
		r := NewReceipt(source, d)
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(schematest.JSON(t, b)); err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, b)
		}
		var got []string
		events := 0
		for _, record := range r.Records {
			got = append(got, record.Purposes[0].Purpose+"="+record.Status)
			events += len(record.Events) + len(record.Objections)
		}
		if have := strings.Join(got, " "); have != c.want || events != c.events {
			t.Errorf("%s: %s with %d events, want %s with %d", c.name, have, events, c.want, c.events)
		}
		if again := NewReceipt(source, d); again.ReceiptID != r.ReceiptID {
			t.Errorf("%s: the same decisions have two ids", c.name)
		}
		checkTerms(t, c.name, schematest.JSON(t, b))
		for name := range receiptMembers(schematest.JSON(t, b)) {
			if _, meant := r.Context[name]; !meant && !strings.HasPrefix(name, "@") && name != "pii_principal_id_type" && name != "special_pii_category" && name != "older_events" {
				t.Errorf("%s: the context gives %s no meaning", c.name, name)
			}
		}
	}
}

// What a receipt says of a consent is what the engine makes of it: it ends when the
// purpose ends it, does not count before the purpose's age, and an objection is its end.
func TestReceiptsSayWhatCounts(t *testing.T) {
	const text = `purposes:
  - {key: ads, description: Send offers, lawful_basis: consent, retention: 30d, consent_expires_after: 395d, min_age: 18, birthdate_trait: birthdate, recipients: [Mail House]}
segments:
  - {key: a, purpose: ads, when: 'events("Order").exists()'}
`
	at := subject.FromTime(time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC))
	later := at.Add(time.Hour)
	given := subject.Proof{Purpose: "ads", Status: subject.Given, Time: at, Arrival: at, Expires: subject.Never, Source: subject.Position{Topic: "decisions"}}
	short := given
	short.Expires = at.Add(24 * time.Hour)
	objected := subject.Proof{Purpose: "ads", Status: subject.Objected, Time: later, Arrival: later, Expires: subject.Never, Source: subject.Position{Topic: "decisions", Offset: 1}}
	born := func(year int) *subject.Record {
		r := subject.NewRecord(subject.ID{Value: "u1"})
		r.EnsurePurpose("ads").Traits = []subject.Trait{{Key: "birthdate", Value: subject.OfString(fmt.Sprintf("%d-01-02", year)), Time: at}}
		return r
	}
	for _, c := range []struct {
		name   string
		proofs []subject.Proof
		record *subject.Record
		want   string
	}{
		{"of age", []subject.Proof{given}, born(1990), "dpv:ConsentGiven, 2026-11-26T00:00:00Z dpv:ConsentGiven until 2027-12-26T00:00:00Z"},
		{"its own end is earlier", []subject.Proof{short}, born(1990), "dpv:ConsentGiven, 2026-11-26T00:00:00Z dpv:ConsentGiven until 2026-11-27T00:00:00Z"},
		{"underage", []subject.Proof{given}, born(2010), "dpv:ConsentInvalidated (it does not count before 2028-01-02T00:00:00Z: the purpose has a minimum age of 18), 2026-11-26T00:00:00Z dpv:ConsentGiven until 2027-12-26T00:00:00Z"},
		{"of no known age", []subject.Proof{given}, nil, "dpv:ConsentInvalidated (it does not count: the purpose has a minimum age of 18, and no birthdate is known), 2026-11-26T00:00:00Z dpv:ConsentGiven until 2027-12-26T00:00:00Z"},
		{"objected", []subject.Proof{given, objected}, born(1990), "dpv:ConsentWithdrawn, 2026-11-26T00:00:00Z dpv:ConsentGiven until 2027-12-26T00:00:00Z, 2026-11-26T01:00:00Z dpv:ConsentWithdrawn, 2026-11-26T01:00:00Z eu-gdpr:A21"},
	} {
		r := NewReceipt(sourceOf(t, text, nil), Decided{Subject: subject.ID{Value: "u1"}, Proofs: c.proofs, Record: c.record, At: at.Add(2 * time.Hour)}).Records[0]
		got := r.Status
		if r.Reason != "" {
			got += " (" + r.Reason + ")"
		}
		for _, e := range slices.Concat(r.Events, r.Objections) {
			got += ", " + e.Time + " " + e.State + e.Right
			if e.Validity != nil {
				got += " until " + e.Validity.Value
			}
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// dpvTerms are the terms of the Data Privacy Vocabulary (version 2.2, and its extensions
// eu-gdpr and loc) that receipts use, by what they are there.
var dpvTerms = map[string]string{
	"dpv:ConsentReceipt": "record", "dpv:ConsentRecord": "record", "dpv:DataController": "entity", "dpv:DataSubject": "entity", "dpv:Purpose": "purpose",
	"dpv:DirectMarketing": "purpose", "dpv:Personalisation": "purpose", "dpv:Marketing": "purpose", "dpv:Advertising": "purpose", "dpv:PersonalisedAdvertising": "purpose",
	"dpv:ServiceProvision": "purpose", "dpv:PersonalData": "data", "dpv:SpecialCategoryPersonalData": "data",
	"dpv:StorageLocation": "storage", "dpv:StorageDuration": "storage", "dpv:StorageDeletion": "storage", "dpv:WithdrawConsent": "control",
	"dpv:ConsentGiven": "status", "dpv:ConsentRefused": "status", "dpv:ConsentWithdrawn": "status", "dpv:ConsentExpired": "status", "dpv:ConsentInvalidated": "status",
	"dpv:ExpressedConsent": "basis", "dpv:ExplicitlyExpressedConsent": "basis", "dpv:UntilTimeDuration": "duration", "dpv:UntilEventDuration": "duration",
	"eu-gdpr:A6-1-a": "basis", "eu-gdpr:A6-1-a-explicit-consent": "basis", "eu-gdpr:A6-1-b": "basis", "eu-gdpr:A6-1-c": "basis", "eu-gdpr:A6-1-d": "basis", "eu-gdpr:A6-1-e": "basis", "eu-gdpr:A6-1-f": "basis",
	"eu-gdpr:A7-3": "right", "eu-gdpr:A15": "right", "eu-gdpr:A16": "right", "eu-gdpr:A17": "right", "eu-gdpr:A18": "right", "eu-gdpr:A20": "right", "eu-gdpr:A21": "right", "eu-gdpr:A22": "right", "eu-gdpr:A77": "right",
	"loc:EU": "place",
}

// dpvMembers are the members whose values are such terms, and what these have to be: a
// right is no status of consent.
var dpvMembers = map[string]string{
	"party_role": "entity", "entity_id": "entity", "purpose_type": "purpose", "consent_status": "status", "event_state": "status", "right_exercised": "right",
	"event_type": "basis", "lawful_basis": "basis", "jurisdiction": "place",
}

// dpvProperties are those that the context may give members, of the vocabulary and of
// the others that its guide to ISO/IEC TS 27560 uses.
var dpvProperties = strings.Fields("dpv:hasDataSubject dpv:hasDataController dpv:hasName dpv:hasContact dpv:hasAddress dpv:hasAuthority dpv:hasRecordOfActivity dpv:hasJurisdiction dpv:hasPurpose " +
	"dpv:hasLegalBasis dpv:hasNotice dpv:hasPersonalData dpv:hasStorageCondition dpv:hasLocation dpv:hasDuration dpv:hasRecipient dpv:hasConsentControl dpv:hasRight dpv:isExercisedAt dpv:hasConsentStatus " +
	"dpv:isIndicatedAtTime dpv:isIndicatedBy dpv:hasIndicationMethod dct:conformsTo dct:identifier dct:created dct:language dct:title dct:description dct:dateAccepted dct:source skos:broader rdf:value @type")

// checkTerms finds terms that the vocabulary has not, or that are not what they stand for.
func checkTerms(t *testing.T, name string, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for member, value := range v {
			if member == "@context" {
				checkContext(t, value.(map[string]any))
				continue
			}
			if text, ok := value.(string); ok && (member == "@type" || dpvMembers[member] != "") {
				if is := dpvTerms[text]; is == "" || dpvMembers[member] != "" && is != dpvMembers[member] {
					t.Errorf("%s: %s is %q, which is %q in the vocabulary", name, member, text, is)
				}
			}
			checkTerms(t, name, value)
		}
	case []any:
		for _, e := range v {
			checkTerms(t, name, e)
		}
	}
}

func checkContext(t *testing.T, context map[string]any) {
	t.Helper()
	for member, meaning := range context {
		if typed, ok := meaning.(map[string]any); ok {
			meaning = typed["@id"]
		}
		if prefix := strings.HasPrefix(meaning.(string), "http"); !prefix && !slices.Contains(dpvProperties, meaning.(string)) {
			t.Errorf("the context gives %s the meaning %s, which is none", member, meaning)
		}
	}
}

// Every use of data, basis and right has a word that the vocabulary has.
func TestReceiptWords(t *testing.T) {
	for _, w := range dpvPurposes {
		if dpvTerms[w.word] != "purpose" {
			t.Errorf("%s is called %s", w.use, w.word)
		}
	}
	for basis, word := range dpvBases {
		if dpvTerms[word] != "basis" && basis >= int(rules.Consent) {
			t.Errorf("basis %d is called %q", basis, word)
		}
	}
	for right, word := range gdprRights {
		if dpvTerms[word] != "right" {
			t.Errorf("%s is called %s", right, word)
		}
	}
	if c := NewReceipt(sourceOf(t, receipted, nil), Decided{Proofs: []subject.Proof{{Purpose: "ads", Status: subject.Given, Expires: subject.Never}}}).Records[0]; len(c.Locations) != 4 || c.Retention[0].Duration != "P30D" ||
		c.Retention[1].Duration != "PT90000S" || len(c.Retention) != 4 {
		t.Errorf("where and for how long: %+v %+v", c.Locations, c.Retention)
	}
}

// receiptMembers are the names of all members of a document but those of its context.
func receiptMembers(v any) map[string]bool {
	all := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, value := range v {
				if all[name] = true; name != "@context" {
					walk(value)
				}
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	return all
}
