package core

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// AccessDocument is everything that is kept about one subject, and what it is kept
// for (GDPR article 15): for the subject, so in words where numbers are kept.
// Instants are RFC 3339 in UTC, and absent where there is none.
type AccessDocument struct {
	UserID      string            `json:"userId"`
	IDType      string            `json:"idType"`
	At          string            `json:"at,omitempty"` // the partition's clock
	RuleSet     string            `json:"ruleSet"`
	Erased      string            `json:"erased,omitempty"` // effective instant of the newest erasure
	Restricted  []RestrictionJSON `json:"restrictions,omitempty"`
	Corrections []ProvidedJSON    `json:"corrections,omitempty"` // rectifications that are not in force yet
	Decisions   []DecisionJSON    `json:"decisions"`
	Dropped     uint64            `json:"olderDecisions,omitempty"` // number of those that only the decisions topic has
	Requests    []SubjectRequest  `json:"requests"`
	Purposes    []AccessPurpose   `json:"purposes"`
	Sources     []string          `json:"sources"` // input topics
	Changes     uint64            `json:"changes"` // published so far
	LastInput   string            `json:"lastInput,omitempty"`
	NextChange  string            `json:"nextChange,omitempty"` // when an answer can change by itself
	OldInputs   *OldInputs        `json:"oldInputs,omitempty"`
	MessageIDs  MessageIDs        `json:"messageIds"`
	New         []AccessPurpose   `json:"underNewRules,omitempty"` // while rules change, the same once more
}

// RestrictionJSON is a restriction, or the end of one.
type RestrictionJSON struct {
	At     string `json:"at"`
	Lifted bool   `json:"lifted"`
}

// DecisionJSON is a decision as it was read.
type DecisionJSON struct {
	Purpose  string `json:"purpose,omitempty"` // absent: all
	Status   string `json:"status"`
	State    string `json:"eventState,omitempty"` // of consent: dpv:ConsentGiven and the like
	Explicit bool   `json:"explicit"`
	Time     string `json:"eventTime,omitempty"`
	Received string `json:"received,omitempty"`
	Expires  string `json:"expires,omitempty"`
	Notice   string `json:"privacyNotice,omitempty"`
	Method   string `json:"collectionMethod,omitempty"`
	RecordID string `json:"recordId,omitempty"`
	Source   string `json:"source"` // topic:partition:offset
}

// SubjectRequest is a request of the subject, and how far it is.
type SubjectRequest struct {
	RequestID string `json:"requestId"`
	Request   string `json:"request"`
	Status    string `json:"status"`
	Effective string `json:"effective,omitempty"`
	Received  string `json:"received,omitempty"`
	Done      string `json:"done,omitempty"`
	Extended  string `json:"extendedUntil,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

// OldInputs is the time in which inputs with old dates are arriving.
type OldInputs struct {
	Since string `json:"since"`
	Until string `json:"until"`
}

// MessageIDs are the hashes that are kept of message ids.
type MessageIDs struct {
	Hashes []string `json:"hashes"` // each with when it was applied
}

// AccessPurpose is what is kept for one purpose, and what that is.
type AccessPurpose struct {
	Purpose     string             `json:"purpose"`
	Description string             `json:"description,omitempty"`
	LawfulBasis string             `json:"lawfulBasis,omitempty"`
	Retention   string             `json:"retention,omitempty"`
	Recipients  []rules.Recipient  `json:"recipients,omitempty"`
	Holds       bool               `json:"holds"`
	Since       string             `json:"since,omitempty"`
	Until       string             `json:"until,omitempty"`
	Expired     bool               `json:"expired,omitempty"`
	Stopped     string             `json:"stopped,omitempty"` // by what the newest stop is
	StoppedAt   string             `json:"stoppedAt,omitempty"`
	Grants      []GrantJSON        `json:"grants,omitempty"`
	Traits      []ProvidedJSON     `json:"traits,omitempty"`
	Observed    []ObservedJSON     `json:"observed,omitempty"`
	Memberships []AccessMembership `json:"memberships,omitempty"`
}

// GrantJSON is a consent in force or ahead.
type GrantJSON struct {
	At      string `json:"at"`
	Expires string `json:"expires,omitempty"`
}

// ProvidedJSON is a trait; null says that it was removed.
type ProvidedJSON struct {
	Trait string `json:"trait"`
	Value any    `json:"value"`
	Time  string `json:"time,omitempty"`
}

// ObservedJSON is evidence of behaviour: what a rule counts or remembers.
type ObservedJSON struct {
	What       string   `json:"what"`
	Incomplete bool     `json:"incomplete,omitempty"` // older evidence was dropped for lack of room
	Times      []string `json:"times"`
	Values     []any    `json:"values,omitempty"`
}

// AccessMembership is a segment the subject is in.
type AccessMembership struct {
	Segment     string `json:"segment"`
	Description string `json:"description,omitempty"`
	Since       string `json:"since,omitempty"`
	Why         string `json:"why,omitempty"`
}

// Access writes everything that is kept about a subject. at is the partition's
// clock; sources are the input topics. Neither record nor dossier is changed, and
// nothing of them is shared.
func (x *Explainer) Access(r *subject.Record, d *subject.Dossier, at subject.Instant, sources []string) AccessDocument {
	doc := AccessDocument{UserID: r.ID.Value, IDType: r.ID.Type.String(), At: instantText(at), RuleSet: x.set.Hash, Decisions: []DecisionJSON{}, Dropped: d.Dropped,
		Requests: []SubjectRequest{}, Sources: sources, Changes: r.Version, LastInput: instantText(r.Clock), NextChange: instantText(r.Next)}
	if r.Erased != 0 {
		doc.Erased = instantText(r.Erased)
	}
	for _, y := range r.Restrictions {
		doc.Restricted = append(doc.Restricted, RestrictionJSON{instantText(y.At), y.Lifted})
	}
	doc.Corrections = provided(r.Corrections)
	for i := range d.Proofs {
		doc.Decisions = append(doc.Decisions, decisionJSON(&d.Proofs[i]))
	}
	for _, s := range d.Requests {
		doc.Requests = append(doc.Requests, SubjectRequest{s.RequestID, s.Kind.String(), s.Status.String(), instantText(s.Effective), instantText(s.Received), instantText(s.Done), extended(&s), s.Detail})
	}
	if r.Held != (subject.Held{}) {
		doc.OldInputs = &OldInputs{instantText(r.Held.Since), instantText(r.Held.Until)}
	}
	doc.MessageIDs = messageIDs(r.Messages)
	doc.Purposes = x.accessPurposes(r, at)
	if r.Shadow != nil {
		doc.New = x.accessPurposes(r.Shadow, at)
	}
	return doc
}

// extended is until when a request was given more time; "": it was not.
func extended(s *subject.RequestState) string {
	if s.Extended == 0 {
		return ""
	}
	return instantText(s.Extended)
}

// dpvStates are the Data Privacy Vocabulary's words for statuses of consent.
var dpvStates = [...]string{subject.Given: "dpv:ConsentGiven", subject.Refused: "dpv:ConsentRefused", subject.Withdrawn: "dpv:ConsentWithdrawn", subject.Objected: ""}

// DPVState is the Data Privacy Vocabulary's word for a status; "" for an objection,
// which is none of consent.
func DPVState(s subject.Status) string { return dpvStates[s] }

func decisionJSON(p *subject.Proof) DecisionJSON {
	return DecisionJSON{p.Purpose, p.Status.String(), dpvStates[p.Status], p.Explicit, instantText(p.Time), instantText(p.Arrival), instantText(p.Expires),
		p.NoticeVersion, p.Method, p.RecordID, p.Source.String()}
}

func messageIDs(ms []subject.Message) MessageIDs {
	m := MessageIDs{Hashes: []string{}}
	for i := range ms {
		m.Hashes = append(m.Hashes, strconv.FormatUint(ms[i].Hash, 16)+" "+instantText(ms[i].At))
	}
	return m
}

func provided(traits []subject.Trait) (all []ProvidedJSON) {
	for i := range traits {
		all = append(all, ProvidedJSON{traits[i].Key, valueJSON(traits[i].Value), instantText(traits[i].Time)})
	}
	return all
}

func (x *Explainer) accessPurposes(r *subject.Record, at subject.Instant) (all []AccessPurpose) {
	all = []AccessPurpose{}
	for i := range r.Purposes {
		p := &r.Purposes[i]
		b := &p.Basis
		a := AccessPurpose{Purpose: p.Key, Holds: b.Known, Expired: b.Lapsed, Traits: provided(p.Traits)}
		if b.Known {
			a.Since, a.Until = instantText(b.Since), instantText(b.Until)
		}
		if pi, ok := x.set.PurposeIndex(p.Key); ok {
			declared := &x.set.Purposes[pi]
			a.Description, a.LawfulBasis, a.Retention, a.Recipients = declared.Description, declared.Basis.String(), rules.DurationText(declared.Retention), declared.Recipients
		}
		if b.Stop.Status != subject.NoDecision {
			a.Stopped, a.StoppedAt = b.Stop.Status.String(), instantText(b.Stop.At)
		}
		for _, g := range b.Grants {
			a.Grants = append(a.Grants, GrantJSON{instantText(g.At), instantText(g.Expires)})
		}
		for j := range p.Leaves {
			a.Observed = append(a.Observed, x.observed(&p.Leaves[j]))
		}
		for _, m := range p.Members {
			a.Memberships = append(a.Memberships, x.membershipOf(r, m, at))
		}
		all = append(all, a)
	}
	return all
}

// observed is a leaf in words; one that no rule reads any more is named by its number.
func (x *Explainer) observed(l *subject.Leaf) ObservedJSON {
	o := ObservedJSON{What: "leaf " + strconv.FormatUint(uint64(l.Key), 16), Incomplete: l.Truncated, Times: []string{}}
	if leaf := x.set.LeafByKey(l.Key); leaf != nil {
		o.What = leaf.Text
	}
	for i := range l.Times {
		o.Times = append(o.Times, instantText(l.Times[i]))
	}
	for i := range l.Values {
		o.Values = append(o.Values, valueJSON(l.Values[i]))
	}
	return o
}

func (x *Explainer) membershipOf(r *subject.Record, m subject.Membership, at subject.Instant) AccessMembership {
	i, ok := x.set.SegmentByID(m.Segment)
	if !ok {
		return AccessMembership{Segment: "segment " + strconv.FormatUint(uint64(m.Segment), 16), Since: instantText(m.Since)}
	}
	s := &x.set.Segments[i]
	return AccessMembership{s.Key, s.Description, instantText(m.Since), x.Explain(r, i, at).Why}
}

// valueJSON is a value as encoding/json writes it: instants as RFC 3339, durations as rules write them.
func valueJSON(v subject.Value) any {
	switch v.Kind() {
	case subject.Bool:
		return v.IsTrue()
	case subject.NumberKind:
		return json.Number(v.Number().String())
	case subject.String:
		return v.Str()
	case subject.Time:
		return v.Instant().String()
	case subject.Duration:
		return rules.DurationText(time.Duration(v.Micros()) * time.Microsecond)
	case subject.List:
		all := []any{}
		for _, e := range v.List() {
			all = append(all, valueJSON(e))
		}
		return all
	case subject.Map:
		all := map[string]any{}
		for _, f := range v.Fields() {
			all[f.Key] = valueJSON(f.Value)
		}
		return all
	}
	return nil
}
