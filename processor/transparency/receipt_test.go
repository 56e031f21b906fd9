package transparency

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/config"
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
		{"expired", []subject.Proof{ended}, "ads=dpv:ConsentExpired", 1},
		{"explicit, and not", []subject.Proof{explicit}, "health=dpv:ConsentGiven", 1},
		{"not explicit where that is needed", []subject.Proof{proof("health", subject.Given, 1)}, "health=dpv:ConsentInvalidated", 1},
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
			events += len(record.Events)
		}
		if have := strings.Join(got, " "); have != c.want || events != c.events {
			t.Errorf("%s: %s with %d events, want %s with %d", c.name, have, events, c.want, c.events)
		}
		if again := NewReceipt(source, d); again.ReceiptID != r.ReceiptID {
			t.Errorf("%s: the same decisions have two ids", c.name)
		}
		for name := range receiptMembers(schematest.JSON(t, b)) {
			if _, meant := r.Context[name]; !meant && !strings.HasPrefix(name, "@") && name != "pii_principal_id_type" && name != "special_pii_category" && name != "older_events" {
				t.Errorf("%s: the context gives %s no meaning", c.name, name)
			}
		}
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
