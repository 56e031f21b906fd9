package transparency

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Receipt is a receipt of a subject's decisions: members have the names of ISO/IEC
// TS 27560, and by the context the meaning of the Data Privacy Vocabulary (JSON-LD).
// Instants are RFC 3339 in UTC.
type Receipt struct {
	Context       map[string]any  `json:"@context"`
	Type          string          `json:"@type"`
	SchemaVersion string          `json:"schema_version"`
	ReceiptID     string          `json:"receipt_id"` // hex SHA-256 of the rest without created: the same decisions have the same
	Created       string          `json:"created"`
	PrincipalID   string          `json:"pii_principal_id"`
	PrincipalType string          `json:"pii_principal_id_type"` // userId or anonymousId
	Controllers   []Party         `json:"pii_controllers"`
	Records       []ConsentRecord `json:"records"`                // one a purpose that was decided on
	Older         uint64          `json:"older_events,omitempty"` // that only the decisions topic has
}

// Party is who is responsible.
type Party struct {
	Name    string `json:"party_name"`
	Role    string `json:"party_role"`
	Contact string `json:"party_contact"`
	Address string `json:"party_address,omitempty"`
}

// ConsentRecord is what was decided about one purpose.
type ConsentRecord struct {
	Type       string           `json:"@type"`
	RecordID   string           `json:"record_id"`
	Purposes   []ReceiptPurpose `json:"purposes"`
	Basis      string           `json:"lawful_basis,omitempty"`   // absent where the rules do not declare the purpose any more
	Notice     string           `json:"privacy_notice,omitempty"` // version in force
	PII        []PIIType        `json:"pii_information"`
	Retention  string           `json:"retention_period,omitempty"`
	Recipients []string         `json:"recipient_third_parties"`
	Withdrawal string           `json:"withdrawal_method,omitempty"`
	Status     string           `json:"consent_status,omitempty"` // absent where the basis is not consent
	Events     []ConsentEvent   `json:"events"`                   // in the order in which they were read
}

// ReceiptPurpose is what data are used for.
type ReceiptPurpose struct {
	Type        string `json:"@type"`
	Purpose     string `json:"purpose"`
	Description string `json:"description,omitempty"`
}

// PIIType is a category of data that is used.
type PIIType struct {
	Type    string `json:"pii_type"`
	Special bool   `json:"special_pii_category,omitempty"`
}

// ConsentEvent is one decision.
type ConsentEvent struct {
	Time     string `json:"event_time"`
	State    string `json:"event_state"`
	Type     string `json:"event_type,omitempty"` // of consent: explicitly expressed
	Received string `json:"received,omitempty"`
	Until    string `json:"valid_until,omitempty"`
	Notice   string `json:"privacy_notice,omitempty"`
	Method   string `json:"collection_method,omitempty"`
	RecordID string `json:"record_id,omitempty"` // the controller's
	Source   string `json:"source"`              // topic:partition:offset
}

// receiptContext gives the members their meaning.
func receiptContext() map[string]any {
	iri := func(id string) map[string]any { return map[string]any{"@id": id, "@type": "@id"} }
	at := func(id string) map[string]any { return map[string]any{"@id": id, "@type": "xsd:dateTime"} }
	return map[string]any{
		"dpv": "https://w3id.org/dpv#", "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#", "dct": "http://purl.org/dc/terms/",
		"xsd": "http://www.w3.org/2001/XMLSchema#", "schema_version": iri("dct:conformsTo"), "receipt_id": "dct:identifier", "record_id": "dct:identifier",
		"created": at("dct:created"), "pii_principal_id": "dpv:hasDataSubject", "pii_controllers": "dpv:hasDataController", "party_name": "dpv:hasName",
		"party_contact": "dpv:hasContact", "party_address": "dpv:hasAddress", "party_role": iri("dct:type"), "records": "dpv:hasRecordOfActivity",
		"purposes": "dpv:hasPurpose", "purpose": "dct:title", "description": "dct:description", "lawful_basis": iri("dpv:hasLegalBasis"),
		"privacy_notice": "dpv:hasNotice", "pii_information": "dpv:hasPersonalData", "pii_type": "dct:title", "retention_period": map[string]any{"@id": "dpv:hasDuration", "@type": "xsd:duration"},
		"recipient_third_parties": "dpv:hasRecipientThirdParty", "withdrawal_method": "dpv:isExercisedAt", "consent_status": iri("dpv:hasConsentStatus"), "events": "dct:provenance",
		"event_time": at("dct:date"), "event_state": iri("dpv:hasConsentStatus"), "event_type": iri("dct:type"), "received": at("dct:dateAccepted"), "valid_until": at("dct:valid"),
		"collection_method": "dct:description", "source": "dct:source",
	}
}

// receiptProfile is the Data Privacy Vocabulary's profile of receipts for the GDPR.
const receiptProfile = "https://w3id.org/dpv/schema/dpv-27560#receipt-eu-gdpr"

// Decided is what a receipt is of.
type Decided struct {
	Subject subject.ID
	Proofs  []subject.Proof
	Dropped uint64          // older proofs that are not kept
	At      subject.Instant // as of when it is said how consents stand
	Made    time.Time       // when the receipt is made
}

// NewReceipt makes the receipt of what a subject has decided.
func NewReceipt(s Source, d Decided) *Receipt {
	c, id := &s.Config.Controller, d.Subject
	r := &Receipt{
		Context: receiptContext(), Type: "dpv:ConsentReceipt", SchemaVersion: receiptProfile, PrincipalID: id.Value, PrincipalType: id.Type.String(),
		Controllers: []Party{{c.Name, "dpv:DataController", c.Contact, c.Address}}, Records: []ConsentRecord{}, Older: d.Dropped,
	}
	for _, key := range decidedPurposes(s.Rules, d.Proofs) {
		r.Records = append(r.Records, s.consentRecord(id, key, d.Proofs, d.At))
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic("invariant: a receipt is texts: " + err.Error())
	}
	sum := sha256.Sum256(text)
	r.ReceiptID, r.Created = hex.EncodeToString(sum[:]), d.Made.UTC().Format(time.RFC3339)
	return r
}

// decidedPurposes lists the purposes that proofs are about, sorted. One that is about
// all is about those that rest on consent.
func decidedPurposes(set *rules.Set, proofs []subject.Proof) []string {
	keys := map[string]bool{}
	for i := range proofs {
		if proofs[i].Purpose != "" {
			keys[proofs[i].Purpose] = true
			continue
		}
		for j := range set.Purposes {
			if set.Purposes[j].Basis.NeedsConsent() {
				keys[set.Purposes[j].Key] = true
			}
		}
	}
	return sorted(keys)
}

func (s *Source) consentRecord(id subject.ID, key string, proofs []subject.Proof, at subject.Instant) ConsentRecord {
	sum := sha256.Sum256([]byte(s.Config.Group + "\x00" + id.Type.String() + "\x00" + id.Value + "\x00" + key))
	c := ConsentRecord{Type: "dpv:ConsentRecord", RecordID: hex.EncodeToString(sum[:16]), PII: []PIIType{}, Recipients: []string{}, Withdrawal: s.Config.Privacy.Withdrawal}
	var newest *subject.Proof
	for i := range proofs {
		x := &proofs[i]
		if x.Purpose != "" && x.Purpose != key {
			continue
		}
		c.Events = append(c.Events, eventOf(x))
		if newest == nil || effective(x) >= effective(newest) {
			newest = x
		}
	}
	pi, declared := s.Rules.PurposeIndex(key)
	if !declared {
		c.Purposes = []ReceiptPurpose{{"dpv:Purpose", key, ""}}
		return c
	}
	p := &s.Rules.Purposes[pi]
	c.Purposes = []ReceiptPurpose{{dpvPurpose(p), key, p.Description}}
	c.Basis, c.Retention = dpvBases[p.Basis], isoDuration(p.Retention)
	d := s.declaration(pi)
	for _, category := range d.Categories {
		c.PII = append(c.PII, PIIType{category, rules.SpecialCategory(category)})
	}
	for _, r := range p.Recipients {
		c.Recipients = append(c.Recipients, r.Name)
	}
	if p.Basis.NeedsConsent() {
		c.Status, c.Notice = consentStatus(p, proofs, newest, at)
	}
	return c
}

func effective(x *subject.Proof) subject.Instant { return min(x.Time, x.Arrival) }

// consentStatus is how consent to a purpose stands, and the version of the notice
// that it was given to.
func consentStatus(p *rules.Purpose, proofs []subject.Proof, newest *subject.Proof, at subject.Instant) (status, notice string) {
	notice, until, ok := core.ConsentOf(p, proofs)
	switch {
	case ok && until <= at:
		return "dpv:ConsentExpired", notice
	case ok:
		return core.DPVState(subject.Given), notice
	case newest.Status == subject.Given: // not explicit, or to a notice that does not count any more
		return "dpv:ConsentInvalidated", newest.NoticeVersion
	}
	return core.DPVState(newest.Status), newest.NoticeVersion
}

func eventOf(x *subject.Proof) ConsentEvent {
	e := ConsentEvent{Time: instantText(effective(x)), State: core.DPVState(x.Status), Received: instantText(x.Arrival), Until: instantText(x.Expires),
		Notice: x.NoticeVersion, Method: x.Method, RecordID: x.RecordID, Source: x.Source.String()}
	if x.Explicit {
		e.Type = "dpv:ExplicitlyExpressedConsent"
	}
	return e
}

func instantText(t subject.Instant) string {
	if !t.Valid() {
		return ""
	}
	return t.String()
}

// isoDuration is a duration by ISO 8601, in days where it is of whole ones.
func isoDuration(d time.Duration) string {
	if day := 24 * time.Hour; d%day == 0 {
		return fmt.Sprintf("P%dD", d/day)
	}
	return fmt.Sprintf("PT%dS", int64(d.Seconds()))
}

// dpvBases are the Data Privacy Vocabulary's words for lawful bases.
var dpvBases = [...]string{
	rules.Consent: "eu-gdpr:A6-1-a", rules.ExplicitConsent: "eu-gdpr:A6-1-a-explicit-consent", rules.Contract: "eu-gdpr:A6-1-b", rules.LegalObligation: "eu-gdpr:A6-1-c",
	rules.VitalInterests: "eu-gdpr:A6-1-d", rules.PublicTask: "eu-gdpr:A6-1-e", rules.LegitimateInterests: "eu-gdpr:A6-1-f",
}

// dpvPurposes are its words for uses of data, by the beginning of fideslang's.
var dpvPurposes = []struct{ use, word string }{
	{"marketing.advertising.first_party.targeted", "dpv:PersonalisedAdvertising"}, {"marketing.advertising.profiling", "dpv:PersonalisedAdvertising"},
	{"marketing.advertising", "dpv:Advertising"}, {"marketing.communications", "dpv:DirectMarketing"}, {"marketing", "dpv:Marketing"},
	{"personalize", "dpv:Personalisation"}, {"essential.service", "dpv:ServiceProvision"},
}

func dpvPurpose(p *rules.Purpose) string {
	if p.DirectMarketing {
		return "dpv:DirectMarketing"
	}
	for _, w := range dpvPurposes {
		if strings.HasPrefix(dataUse(p), w.use) {
			return w.word
		}
	}
	return "dpv:Purpose"
}
