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
// TS 27560, and by the context the meaning of the Data Privacy Vocabulary (JSON-LD),
// as its guide to 27560 maps them. Instants are RFC 3339 in UTC.
type Receipt struct {
	Context       map[string]any  `json:"@context"`
	Type          string          `json:"@type"`
	SchemaVersion string          `json:"schema_version"`
	ReceiptID     string          `json:"receipt_id"` // hex SHA-256 of the rest without created: the same decisions have the same
	Created       string          `json:"created"`
	Language      string          `json:"language"` // of the words in it
	PrincipalID   string          `json:"pii_principal_id"`
	PrincipalType string          `json:"pii_principal_id_type"` // userId or anonymousId
	Controllers   []Party         `json:"pii_controllers"`
	Authority     string          `json:"authority_party,omitempty"`
	Records       []ConsentRecord `json:"records"`                // one a purpose that was decided on
	Older         uint64          `json:"older_events,omitempty"` // that only the decisions topic has
}

// Party is who is responsible.
type Party struct {
	ID      string `json:"party_id"` // in this receipt
	Name    string `json:"party_name"`
	Role    string `json:"party_role"`
	Contact string `json:"party_contact"`
	Address string `json:"party_address,omitempty"`
}

// ConsentRecord is what was decided about one purpose.
type ConsentRecord struct {
	Type          string             `json:"@type"`
	SchemaVersion string             `json:"schema_version"`
	RecordID      string             `json:"record_id"`
	PrincipalID   string             `json:"pii_principal_id"`
	Jurisdiction  string             `json:"jurisdiction"`
	Purposes      []ReceiptPurpose   `json:"purposes"`
	Basis         string             `json:"lawful_basis,omitempty"`   // absent where the rules do not declare the purpose any more
	Notice        string             `json:"privacy_notice,omitempty"` // version in force
	PII           []PIIType          `json:"pii_information"`
	Locations     []StorageCondition `json:"storage_locations"`
	Retention     []StorageCondition `json:"retention_period"`
	Recipients    []string           `json:"recipient_third_parties"`
	Withdrawal    *ReceiptControl    `json:"withdrawal_method,omitempty"`
	Rights        []ReceiptControl   `json:"privacy_rights"`
	Status        string             `json:"consent_status,omitempty"`        // absent where the basis is not consent
	Reason        string             `json:"consent_status_reason,omitempty"` // why a consent that was given does not count
	Events        []ConsentEvent     `json:"events"`                          // consent that was given, refused, withdrawn or ended by an objection, in the order in which it was read
	Objections    []ConsentEvent     `json:"objections,omitempty"`            // likewise, whatever the basis
}

// ReceiptPurpose is what data are used for.
type ReceiptPurpose struct {
	Type        string `json:"@type"`
	Purpose     string `json:"purpose"`
	Kind        string `json:"purpose_type,omitempty"` // the use of data
	Description string `json:"description,omitempty"`
}

// PIIType is a category of data that is used.
type PIIType struct {
	Class   string `json:"@type"`
	Type    string `json:"pii_type"`
	Special bool   `json:"special_pii_category,omitempty"`
}

// StorageCondition is where data are, or for how long.
type StorageCondition struct {
	Type        string `json:"@type"`
	Location    string `json:"location,omitempty"`
	Duration    string `json:"duration,omitempty"` // ISO 8601
	Description string `json:"description,omitempty"`
}

// ReceiptControl is what the subject can do, and where.
type ReceiptControl struct {
	Type string `json:"@type"`
	At   string `json:"exercised_at,omitempty"`
}

// ConsentEvent is one decision.
type ConsentEvent struct {
	Time     string    `json:"event_time"`
	State    string    `json:"event_state,omitempty"`     // of consent
	Right    string    `json:"right_exercised,omitempty"` // of an objection, in its place
	Type     string    `json:"event_type,omitempty"`      // of consent that is given: how it was expressed
	Entity   string    `json:"entity_id"`
	Received string    `json:"received,omitempty"`
	Validity *Validity `json:"validity_duration,omitempty"` // of consent that is given
	Notice   string    `json:"privacy_notice,omitempty"`
	Method   string    `json:"expression_method,omitempty"`
	RecordID string    `json:"record_id,omitempty"` // the controller's
	Source   string    `json:"source"`              // topic:partition:offset
}

// Validity is for how long a consent is valid.
type Validity struct {
	Type  string `json:"@type"`
	Value string `json:"value"`
}

// receiptContext gives the members their meaning, by the guide to ISO/IEC TS 27560 of
// the Data Privacy Vocabulary, version 2.2.
func receiptContext() map[string]any {
	iri := func(id string) map[string]any { return map[string]any{"@id": id, "@type": "@id"} }
	at := func(id string) map[string]any { return map[string]any{"@id": id, "@type": "xsd:dateTime"} }
	return map[string]any{
		"dpv": "https://w3id.org/dpv#", "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#", "loc": "https://w3id.org/dpv/loc#", "dct": "http://purl.org/dc/terms/",
		"skos": "http://www.w3.org/2004/02/skos/core#", "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "xsd": "http://www.w3.org/2001/XMLSchema#",
		"schema_version": iri("dct:conformsTo"), "receipt_id": "dct:identifier", "record_id": "dct:identifier", "created": at("dct:created"), "language": "dct:language",
		"pii_principal_id": "dpv:hasDataSubject", "pii_controllers": "dpv:hasDataController", "party_id": "dct:identifier", "party_name": "dpv:hasName",
		"party_contact": "dpv:hasContact", "party_address": "dpv:hasAddress", "party_role": "@type", "authority_party": "dpv:hasAuthority", "records": "dpv:hasRecordOfActivity",
		"jurisdiction": iri("dpv:hasJurisdiction"), "purposes": "dpv:hasPurpose", "purpose": "dct:title", "purpose_type": iri("skos:broader"), "description": "dct:description",
		"lawful_basis": iri("dpv:hasLegalBasis"), "privacy_notice": "dpv:hasNotice", "pii_information": "dpv:hasPersonalData", "pii_type": "dct:title",
		"storage_locations": "dpv:hasStorageCondition", "location": "dpv:hasLocation", "retention_period": "dpv:hasStorageCondition",
		"duration": map[string]any{"@id": "dpv:hasDuration", "@type": "xsd:duration"}, "recipient_third_parties": "dpv:hasRecipient",
		"withdrawal_method": "dpv:hasConsentControl", "privacy_rights": "dpv:hasRight", "exercised_at": "dpv:isExercisedAt",
		"consent_status": iri("dpv:hasConsentStatus"), "consent_status_reason": "dct:description", "events": "dpv:hasConsentStatus", "objections": "dpv:hasRight", "event_time": at("dpv:isIndicatedAtTime"),
		"event_state": "@type", "right_exercised": "@type", "event_type": iri("dpv:hasLegalBasis"), "entity_id": iri("dpv:isIndicatedBy"), "received": at("dct:dateAccepted"),
		"validity_duration": "dpv:hasDuration", "value": "rdf:value", "expression_method": "dpv:hasIndicationMethod", "source": "dct:source",
	}
}

// The Data Privacy Vocabulary's profiles for the GDPR.
const (
	receiptProfile = "https://w3id.org/dpv/schema/dpv-27560#receipt-eu-gdpr"
	recordProfile  = "https://w3id.org/dpv/schema/dpv-27560#record-eu-gdpr"
)

// Decided is what a receipt is of.
type Decided struct {
	Subject subject.ID
	Proofs  []subject.Proof
	Record  *subject.Record // what is kept of the subject, for its age; nil: nothing is
	Dropped uint64          // older proofs that are not kept
	At      subject.Instant // as of when it is said how consents stand
	Made    time.Time       // when the receipt is made
}

// NewReceipt makes the receipt of what a subject has decided.
func NewReceipt(s Source, d Decided) *Receipt {
	c, id := &s.Config.Controller, d.Subject
	r := &Receipt{
		Context: receiptContext(), Type: "dpv:ConsentReceipt", SchemaVersion: receiptProfile, Language: "en", PrincipalID: id.Value, PrincipalType: id.Type.String(),
		Controllers: []Party{{"controller", c.Name, "dpv:DataController", c.Contact, c.Address}}, Authority: s.Config.Privacy.Authority, Records: []ConsentRecord{}, Older: d.Dropped,
	}
	for _, key := range decidedPurposes(s.Rules, d.Proofs) {
		r.Records = append(r.Records, s.consentRecord(&d, key))
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

func (s *Source) consentRecord(d *Decided, key string) ConsentRecord {
	id, p := d.Subject, &rules.Purpose{} // which nothing is declared of
	pi, declared := s.Rules.PurposeIndex(key)
	if declared {
		p = &s.Rules.Purposes[pi]
	}
	sum := sha256.Sum256([]byte(s.Config.Group + "\x00" + id.Type.String() + "\x00" + id.Value + "\x00" + key))
	c := ConsentRecord{Type: "dpv:ConsentRecord", SchemaVersion: recordProfile, RecordID: hex.EncodeToString(sum[:16]), PrincipalID: id.Value, Jurisdiction: "loc:EU",
		PII: []PIIType{}, Locations: []StorageCondition{}, Retention: []StorageCondition{}, Recipients: []string{}, Rights: []ReceiptControl{}, Events: []ConsentEvent{}}
	var newest *subject.Proof
	for i := range d.Proofs {
		x := &d.Proofs[i]
		if x.Purpose != "" && x.Purpose != key {
			continue
		}
		if x.Status == subject.Objected {
			c.Objections = append(c.Objections, objectionOf(x))
		}
		if x.Status != subject.Objected || p.Basis.NeedsConsent() {
			c.Events = append(c.Events, eventOf(p, x))
		}
		if newest == nil || effective(x) > effective(newest) || effective(x) == effective(newest) && newest.Status == subject.Given { // on a tie the stop wins
			newest = x
		}
	}
	if !declared {
		c.Purposes = []ReceiptPurpose{{"dpv:Purpose", key, "", ""}}
		return c
	}
	c.Purposes = []ReceiptPurpose{{"dpv:Purpose", key, dpvPurpose(p), p.Description}}
	c.Basis = dpvBases[p.Basis]
	for _, category := range s.declaration(pi).Categories {
		c.PII = append(c.PII, piiType(category))
	}
	for _, r := range p.Recipients {
		c.Recipients = append(c.Recipients, r.Name)
	}
	s.receiptStorage(&c, p)
	s.receiptRights(&c, pi)
	if p.Basis.NeedsConsent() {
		c.Status, c.Notice, c.Reason = d.consentStatus(p, newest)
	}
	return c
}

func piiType(category string) PIIType {
	if rules.SpecialCategory(category) {
		return PIIType{"dpv:SpecialCategoryPersonalData", category, true}
	}
	return PIIType{"dpv:PersonalData", category, false}
}

// receiptStorage says where a purpose's data are, for how long they are used, and by
// when they are gone once that has ended.
func (s *Source) receiptStorage(c *ConsentRecord, p *rules.Purpose) {
	c.Locations = append(c.Locations, StorageCondition{Type: "dpv:StorageLocation", Location: StoreImage})
	for _, topic := range s.topicsOf(p, Changelog, Changes, Members) {
		c.Locations = append(c.Locations, StorageCondition{Type: "dpv:StorageLocation", Location: topic})
	}
	c.Retention = append(c.Retention, StorageCondition{Type: "dpv:StorageDuration", Duration: isoDuration(p.Retention), Description: "what you did is used"})
	for _, role := range []Role{Changelog, Members, Changes} {
		t, ok := s.topicOf(role, p.Output)
		if !ok {
			continue
		}
		d := StorageCondition{Type: "dpv:StorageDeletion", Location: t.Name, Description: t.Keeps.inWords()}
		if t.Keeps.Within != Forever && !t.Keeps.Embedded {
			d.Duration = isoDuration(t.Keeps.Within)
		}
		c.Retention = append(c.Retention, d)
	}
}

// gdprRights are the Data Privacy Vocabulary's words for rights.
var gdprRights = map[string]string{
	"access": "eu-gdpr:A15", rectification: "eu-gdpr:A16", "erasure": "eu-gdpr:A17", "restriction": "eu-gdpr:A18", portability: "eu-gdpr:A20",
	objection: "eu-gdpr:A21", withdrawal: "eu-gdpr:A7-3", humanDecision: "eu-gdpr:A22", "complaint": "eu-gdpr:A77",
}

func (s *Source) receiptRights(c *ConsentRecord, purpose int) {
	for _, name := range s.rightNames(purpose) {
		at := s.Config.Controller.Contact
		if name == "complaint" {
			at = s.Config.Privacy.Authority
		}
		c.Rights = append(c.Rights, ReceiptControl{gdprRights[name], at})
	}
	if s.hasRight(purpose, withdrawal) {
		c.Withdrawal = &ReceiptControl{"dpv:WithdrawConsent", s.Config.Privacy.Withdrawal}
	}
}

func effective(x *subject.Proof) subject.Instant { return min(x.Time, x.Arrival) }

// invalidated is the status of a consent that was given and does not count.
const invalidated = "dpv:ConsentInvalidated"

// consentStatus is how consent to a purpose stands, the version of the notice that it
// was given to, and, of one that was given and does not count, why.
func (d *Decided) consentStatus(p *rules.Purpose, newest *subject.Proof) (status, notice, reason string) {
	notice, until, ok := core.ConsentOf(p, d.Proofs)
	switch {
	case ok && until <= d.At:
		return "dpv:ConsentExpired", notice, ""
	case ok:
		if reason = d.underage(p); reason != "" {
			return invalidated, notice, reason
		}
		return core.DPVState(subject.Given), notice, ""
	case newest.Status == subject.Given:
		return invalidated, newest.NoticeVersion, "it is not explicit, or to a version of the notice that does not count"
	}
	return stateOf(newest.Status), newest.NoticeVersion, ""
}

// underage says why a consent does not count for the subject's age; "": it does.
func (d *Decided) underage(p *rules.Purpose) string {
	kept := &subject.Purpose{}
	if d.Record != nil && d.Record.Purpose(p.Key) != nil {
		kept = d.Record.Purpose(p.Key)
	}
	switch turn := p.ComesOfAge(kept); {
	case turn <= d.At:
		return ""
	case turn == subject.Never:
		return fmt.Sprintf("it does not count: the purpose has a minimum age of %d, and no birthdate is known", p.MinAge)
	default:
		return fmt.Sprintf("it does not count before %s: the purpose has a minimum age of %d", turn, p.MinAge)
	}
}

// stateOf is the state of consent that a decision brings about; an objection ends it.
func stateOf(status subject.Status) string {
	if status == subject.Objected {
		status = subject.Withdrawn
	}
	return core.DPVState(status)
}

// decidedOf is what an event has whatever it is.
func decidedOf(x *subject.Proof) ConsentEvent {
	return ConsentEvent{Time: instantText(effective(x)), Entity: "dpv:DataSubject", Received: instantText(x.Arrival),
		Notice: x.NoticeVersion, Method: x.Method, RecordID: x.RecordID, Source: x.Source.String()}
}

func objectionOf(x *subject.Proof) ConsentEvent {
	e := decidedOf(x)
	e.Right = gdprRights[objection]
	return e
}

func eventOf(p *rules.Purpose, x *subject.Proof) ConsentEvent {
	e := decidedOf(x)
	if e.State = stateOf(x.Status); x.Status == subject.Given {
		e.Type, e.Validity = "dpv:ExpressedConsent", &Validity{"dpv:UntilEventDuration", "it is withdrawn"}
		if x.Explicit {
			e.Type = "dpv:ExplicitlyExpressedConsent"
		}
		if until := instantText(core.EndOf(p, x)); until != "" {
			e.Validity = &Validity{"dpv:UntilTimeDuration", until}
		}
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

// dpvPurposes are its words for uses of data, by the beginning of fideslang's; of
// others there is none.
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
	return ""
}
