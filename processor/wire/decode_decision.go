package wire

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/segmentd/segmentd/processor/wire/scan"
	"github.com/segmentd/segmentd/rules/nearest"
	"github.com/segmentd/segmentd/state/subject"
)

// consentUpdated is Segment's track call that carries decisions.
const consentUpdated = "Segment Consent Preference Updated"

// fromDecisions decodes a record of a decisions input. There, what says nothing
// else is taken for a decision.
func (d *Decoder) fromDecisions(in Input) (Item, *Reject) {
	t, rejected := d.recordType()
	switch {
	case rejected != nil, t == typeMissing, t == typeUnknown:
		return d.misunderstoodType(in, rejected)
	case t == typeDecision:
		return d.decision(in)
	case t == typeTrack && d.isConsentCall():
		return d.consentCall(in)
	}
	return Item{}, unsupported(t, "a decision topic")
}

// misunderstoodType refuses for the purpose named, if the subject is certain.
func (d *Decoder) misunderstoodType(in Input, wrong *Reject) (Item, *Reject) {
	detail := "type is not decision"
	if wrong != nil {
		detail = wrong.Detail
	}
	return d.misunderstood(in, detail)
}

// misunderstood refuses, if the subject is certain, for the purposes that the
// record names.
func (d *Decoder) misunderstood(in Input, wrong string) (Item, *Reject) {
	id, rejected := d.subject(in)
	if rejected != nil {
		return Item{}, rejected
	}
	return d.refuse(in, id, wrong)
}

// decision decodes a decision record. A stop holds whatever else the record
// says; anything that is not understood counts as refused.
func (d *Decoder) decision(in Input) (Item, *Reject) {
	id, rejected := d.subject(in)
	if rejected != nil {
		return Item{}, rejected
	}
	decided, wrong := d.readDecision(in)
	if wrong != "" {
		return d.refuse(in, id, wrong)
	}
	purpose, rejected := d.text(fieldPurpose)
	switch {
	case rejected != nil:
		return d.refuse(in, id, rejected.Detail)
	case purpose == nil:
		return d.refuse(in, id, "purpose is missing")
	}
	decided.Subject = id
	if decided.Purpose = d.declared(purpose); decided.Purpose == "" {
		return Item{}, d.undeclared(string(purpose))
	}
	d.decisions = append(d.decisions[:0], decided)
	return Item{Content: HasDecisions, Subject: id, Decisions: d.decisions}, nil
}

// declared returns the declared purpose of exactly that key, or "".
func (d *Decoder) declared(key []byte) string {
	if p := d.purposes[strings.ToLower(string(key))]; p == string(key) {
		return p
	}
	return ""
}

// maxDeclared bounds how many purposes the detail of a reject names.
const maxDeclared = 20

// undeclared rejects a decision about a purpose that is none, and says which there
// are; named is what the record says, "" where that is more than one.
func (d *Decoder) undeclared(named string) *Reject {
	declared := slices.Sorted(maps.Values(d.purposes))
	detail := "the rules declare no such purpose"
	if near := nearest.To(named, declared); near != "" {
		detail += " (nearest: " + near + ")"
	}
	if len(declared) > 0 && len(declared) <= maxDeclared {
		detail += "; they declare " + strings.Join(declared, ", ")
	}
	return &Reject{UnknownPurpose, detail}
}

// readDecision reads what a decision says beside its subject and purpose; wrong
// says what cannot be understood.
func (d *Decoder) readDecision(in Input) (decided subject.Decision, wrong string) {
	decided = d.proved(subject.Decision{Arrival: arrival(in), Expires: subject.Never, Source: in.Source})
	status, rejected := d.text(fieldStatus)
	if rejected != nil {
		return decided, rejected.Detail
	}
	decided.Status, wrong = statusOf(status)
	if wrong != "" {
		return decided, wrong
	}
	at, wrong := d.decisionTime(in, fieldTimestamp)
	decided.Time = at
	if decided.Status.Stops() {
		return decided, ""
	}
	if wrong != "" {
		return decided, wrong
	}
	if decided.Explicit, wrong = d.explicit(); wrong != "" {
		return decided, wrong
	}
	decided.Expires, wrong = d.expires()
	return decided, wrong
}

// proved adds what proves a decision. None is misunderstood for it: what is no text
// is left out, and a text that is too long is cut.
func (d *Decoder) proved(decided subject.Decision) subject.Decision {
	decided.NoticeVersion, decided.Method, decided.RecordID = d.note(fieldNoticeVersion), d.note(fieldMethod), d.note(fieldRecordID)
	return decided
}

// maxNoteBytes bounds what is kept of a text that nothing is decided by.
const maxNoteBytes = 128

func (d *Decoder) note(f field) string {
	text, rejected := d.text(f)
	if rejected != nil {
		return ""
	}
	if len(text) > maxNoteBytes {
		text = text[:maxNoteBytes]
		for len(text) > 0 && !utf8.Valid(text) {
			text = text[:len(text)-1]
		}
	}
	return string(text)
}

func statusOf(text []byte) (status subject.Status, wrong string) {
	if text == nil {
		return subject.NoDecision, "status is missing"
	}
	for s := subject.Given; s <= subject.Objected; s++ {
		if string(text) == s.String() {
			return s, ""
		}
	}
	return subject.NoDecision, "status is none of given, refused, withdrawn, objected"
}

// decisionTime is the first of the members that is there, else the record's
// arrival; Never, and what is wrong, where that cannot be read.
func (d *Decoder) decisionTime(in Input, candidates ...field) (at subject.Instant, wrong string) {
	for _, f := range candidates {
		if d.env[f] == nil {
			continue
		}
		at, wrong = d.instant(d.env[f])
		if wrong == "" && at == 0 {
			wrong = "is that of no date, the start of 1970"
		}
		if wrong != "" {
			return subject.Never, f.String() + " " + wrong
		}
		return at, ""
	}
	if !known(in.Timestamp) {
		return subject.Never, "no timestamp"
	}
	return in.Timestamp, ""
}

func (d *Decoder) explicit() (explicit bool, wrong string) {
	raw := d.env[fieldExplicit]
	if raw == nil {
		return false, ""
	}
	if raw[0] != 't' && raw[0] != 'f' {
		return false, wrongKind(fieldExplicit.String(), raw, "a boolean").Detail
	}
	return raw[0] == 't', ""
}

func (d *Decoder) expires() (at subject.Instant, wrong string) {
	raw := d.env[fieldExpiresAt]
	if raw == nil {
		return subject.Never, ""
	}
	if at, wrong = d.instant(raw); wrong != "" {
		return subject.Never, fieldExpiresAt.String() + " " + wrong
	}
	return at, ""
}

// refuse makes refusals of a decision that cannot be understood: for the
// purposes it names, else for all. Arrival orders them.
func (d *Decoder) refuse(in Input, id subject.ID, wrong string) (Item, *Reject) {
	refusal := d.proved(subject.Decision{Subject: id, Status: subject.Refused, Time: subject.Never, Arrival: arrival(in),
		Expires: subject.Never, Source: in.Source})
	d.decisions = d.decisions[:0]
	named, all := d.namedPurposes()
	if all {
		d.decisions = append(d.decisions, refusal)
	}
	for _, purpose := range named {
		refusal.Purpose = purpose
		d.decisions = append(d.decisions, refusal)
	}
	if len(d.decisions) == 0 {
		return Item{}, d.undeclared("")
	}
	return Item{Content: HasDecisions, Subject: id, Decisions: d.decisions, Misunderstood: wrong}, nil
}

// namedPurposes returns the declared purposes among those the purpose member
// names, as text or as a list of texts; all if it names none legibly.
func (d *Decoder) namedPurposes() (named []string, all bool) {
	raw := d.env[fieldPurpose]
	switch {
	case raw == nil:
		return nil, true
	case raw[0] == '"':
		return d.appendDeclared(nil, raw)
	case raw[0] != '[':
		return nil, true
	}
	some := false
	for e := scan.ElementsOf(raw); ; {
		value, ok := e.Next()
		if !ok {
			return named, !some
		}
		if some = true; value[0] != '"' {
			return nil, true
		}
		if named, all = d.appendDeclared(named, value); all {
			return nil, true
		}
	}
}

// appendDeclared appends the purpose that a quoted text names, if it is
// declared; empty is set where it names nothing at all.
func (d *Decoder) appendDeclared(named []string, quoted []byte) (appended []string, empty bool) {
	text := d.unquote(quoted)
	if p := d.declared(text); p != "" {
		named = append(named, p)
	}
	return named, len(text) == 0
}

func (d *Decoder) isConsentCall() bool {
	raw := d.env[fieldEvent]
	return raw != nil && raw[0] == '"' && string(d.unquote(raw)) == consentUpdated
}

// consentCall makes one decision of each category that is a declared purpose.
func (d *Decoder) consentCall(in Input) (Item, *Reject) {
	id, rejected := d.subject(in)
	if rejected != nil {
		return Item{}, rejected
	}
	preferences, wrong := d.preferences()
	if wrong != "" {
		return d.refuse(in, id, wrong)
	}
	at, wrong := d.decisionTime(in, fieldTimestamp, fieldOriginalTimestamp)
	base := d.proved(subject.Decision{Subject: id, Time: at, Arrival: arrival(in), Expires: subject.Never, Source: in.Source})
	item := Item{Content: HasDecisions, Subject: id}
	item.Misunderstood = d.decideCategories(base, preferences, wrong)
	item.Decisions = d.decisions
	return item, nil
}

// preferences returns the consent call's categories.
func (d *Decoder) preferences() (raw []byte, wrong string) {
	const path = "context.consent"
	context, rejected := d.object(fieldContext)
	if rejected != nil {
		return nil, rejected.Detail
	}
	if context == nil {
		return nil, "context is missing"
	}
	consent, rejected := d.inside(context, "context", "consent")
	if rejected == nil && consent != nil {
		raw, rejected = d.inside(consent, path, "categoryPreferences")
	}
	switch {
	case rejected != nil:
		return nil, rejected.Detail
	case raw == nil:
		return nil, path + ".categoryPreferences is missing"
	case raw[0] != '{':
		return nil, wrongKind(path+".categoryPreferences", raw, "an object").Detail
	}
	return raw, ""
}

// decideCategories fills the decisions: true gives, false withdraws, anything
// else, or true at an unreadable time, refuses. An empty object withdraws all,
// as Segment defines it. It returns what was not understood.
func (d *Decoder) decideCategories(base subject.Decision, preferences []byte, wrongTime string) (wrong string) {
	d.decisions = d.decisions[:0]
	categories := 0
	for m := scan.MembersOf(preferences); ; categories++ {
		name, value, ok := m.Next()
		if !ok {
			break
		}
		base.Purpose = d.purposes[strings.ToLower(string(d.unquote(name)))]
		if base.Purpose == "" {
			continue
		}
		switch {
		case value[0] == 'f':
			base.Status = subject.Withdrawn
		case value[0] == 't' && wrongTime == "":
			base.Status = subject.Given
		case value[0] == 't':
			base.Status, wrong = subject.Refused, wrongTime
		default:
			base.Status, wrong = subject.Refused, wrongKind("a category's preference", value, "a boolean").Detail
		}
		d.decisions = append(d.decisions, base)
	}
	if categories == 0 {
		base.Status, base.Purpose = subject.Withdrawn, ""
		d.decisions = append(d.decisions, base)
	}
	return wrong
}
