// Package portable is the document in which a subject takes its data along (GDPR
// article 20): what it provided and what was observed of it, for the purposes whose
// lawful basis is consent or a contract, and nothing that was inferred. What is read
// back is what was written, so that another instance can go on with it. It is pure.
package portable

import (
	"slices"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// Format names the document and its version.
const Format = "segmentd/portability/1"

// MaxBytes bounds a document that can be read back: with what names its subject it is
// one record of Kafka, whose batches may have 1 MiB (message.max.bytes).
const MaxBytes = 1_000_000

// Provenance says where a piece of data is from (WP 242 rev.01, page 9).
type Provenance string

// The provenances of what is handed over.
const (
	Provided Provenance = "provided" // by the subject, knowingly
	Observed Provenance = "observed" // of what it did
)

// Document is what is handed over. Instants are RFC 3339 in UTC, absent where there
// is none.
type Document struct {
	Format         string        `json:"format"`
	UserID         string        `json:"userId"`
	IDType         string        `json:"idType"`
	Exported       string        `json:"exported"`
	RuleSet        string        `json:"ruleSet"`
	UpTo           string        `json:"upTo,omitempty"` // the newest input it holds, or what changed by itself since
	Decisions      []Decision    `json:"decisions"`
	OlderDecisions uint64        `json:"olderDecisions,omitempty"` // number of those that are not kept
	Restrictions   []Restriction `json:"restrictions,omitempty"`
	Corrections    []Trait       `json:"corrections,omitempty"` // rectifications that are not in force yet
	Purposes       []Purpose     `json:"purposes"`
}

// Decision is a decision as it was read, named as in the access document.
type Decision struct {
	Provenance Provenance `json:"provenance"`
	Purpose    string     `json:"purpose,omitempty"` // absent: all
	Status     string     `json:"status"`
	Explicit   bool       `json:"explicit"`
	Time       string     `json:"eventTime,omitempty"`
	Received   string     `json:"received,omitempty"`
	Expires    string     `json:"expires,omitempty"`
	Notice     string     `json:"privacyNotice,omitempty"`
	Method     string     `json:"collectionMethod,omitempty"`
	RecordID   string     `json:"recordId,omitempty"`
	Source     string     `json:"source"` // topic:partition:offset
}

// Restriction is a demand to restrict processing, or the end of one.
type Restriction struct {
	Provenance Provenance `json:"provenance"`
	At         string     `json:"at"`
	Lifted     bool       `json:"lifted"`
}

// Purpose is what is kept for one purpose.
type Purpose struct {
	Purpose     string     `json:"purpose"`
	Description string     `json:"description,omitempty"`
	LawfulBasis string     `json:"lawfulBasis"`
	Holds       bool       `json:"holds"`
	Since       string     `json:"since,omitempty"`
	Until       string     `json:"until,omitempty"`
	Stopped     string     `json:"stopped,omitempty"` // by what the newest stop is
	StoppedAt   string     `json:"stoppedAt,omitempty"`
	Grants      []Grant    `json:"grants,omitempty"`
	Traits      []Trait    `json:"traits,omitempty"`
	Evidence    []Evidence `json:"observed,omitempty"`
}

// Grant is a consent that nothing has stopped.
type Grant struct {
	At      string `json:"at"`
	Expires string `json:"expires,omitempty"`
}

// Trait is a trait; null says that it was removed.
type Trait struct {
	Provenance Provenance `json:"provenance"`
	Trait      string     `json:"trait"`
	Value      Value      `json:"value"`
	Time       string     `json:"time"`
}

// Evidence is behaviour that a rule counts or remembers, named by its meaning in the
// rules' language.
type Evidence struct {
	Provenance Provenance `json:"provenance"`
	What       string     `json:"what"`
	Incomplete bool       `json:"incomplete,omitempty"` // older evidence was dropped for lack of room
	Times      []string   `json:"times"`
	Values     []Value    `json:"values,omitempty"` // each of the time at its place
}

// Covers reports whether article 20 covers what is kept for a purpose: its lawful
// basis is consent or a contract.
func Covers(p *rules.Purpose) bool { return p.Basis.NeedsConsent() || p.Basis == rules.Contract }

// Of writes what is kept of a subject by a rule set. at is the instant of writing.
// Evidence that can count no longer is left out. Neither record nor dossier is changed.
func Of(set *rules.Set, r *subject.Record, d *subject.Dossier, at subject.Instant) Document {
	doc := Document{Format: Format, UserID: r.ID.Value, IDType: r.ID.Type.String(), Exported: text(at), RuleSet: set.Hash, UpTo: text(r.Clock),
		Decisions: []Decision{}, OlderDecisions: d.Dropped, Corrections: traitsOf(r.Corrections), Purposes: []Purpose{}}
	for _, x := range r.Restrictions {
		doc.Restrictions = append(doc.Restrictions, Restriction{Provided, text(x.At), x.Lifted})
	}
	for i := range d.Proofs {
		if x := &d.Proofs[i]; x.Purpose == "" || covered(set, x.Purpose) != nil {
			doc.Decisions = append(doc.Decisions, decisionOf(x))
		}
	}
	for i := range r.Purposes {
		if declared := covered(set, r.Purposes[i].Key); declared != nil && isKnown(&r.Purposes[i]) {
			doc.Purposes = append(doc.Purposes, purposeOf(set, declared, &r.Purposes[i], r.Clock))
		}
	}
	return doc
}

// covered finds a purpose that is handed over; nil: it is not.
func covered(set *rules.Set, key string) *rules.Purpose {
	if i, ok := set.PurposeIndex(key); ok && Covers(&set.Purposes[i]) {
		return &set.Purposes[i]
	}
	return nil
}

// isKnown reports whether anything is kept for a purpose.
func isKnown(p *subject.Purpose) bool {
	return p.Basis.Known || p.Basis.Stop.Status != subject.NoDecision || len(p.Basis.Grants)+len(p.Traits) > 0
}

func decisionOf(x *subject.Proof) Decision {
	return Decision{Provided, x.Purpose, x.Status.String(), x.Explicit, text(x.Time), text(x.Arrival), text(x.Expires), x.NoticeVersion, x.Method, x.RecordID, x.Source.String()}
}

func purposeOf(set *rules.Set, declared *rules.Purpose, p *subject.Purpose, clock subject.Instant) Purpose {
	b := &p.Basis
	all := Purpose{Purpose: p.Key, Description: declared.Description, LawfulBasis: declared.Basis.String(), Holds: b.Known, Until: text(b.Until), Traits: traitsOf(p.Traits)}
	if b.Known {
		all.Since = text(b.Since)
	}
	if b.Stop.Status != subject.NoDecision {
		all.Stopped, all.StoppedAt = b.Stop.Status.String(), text(b.Stop.At)
	}
	for _, g := range b.Grants {
		all.Grants = append(all.Grants, Grant{text(g.At), text(g.Expires)})
	}
	for i := range p.Leaves {
		leaf := set.LeafByKey(p.Leaves[i].Key)
		if leaf == nil || leaf.Remembers() { // an answer that was given is inferred
			continue
		}
		kept := subject.Purpose{Leaves: []subject.Leaf{p.Leaves[i].Clone()}}
		if leaf.Prune(&kept, clock); len(kept.Leaves) > 0 {
			all.Evidence = append(all.Evidence, evidenceOf(leaf.Text, &kept.Leaves[0]))
		}
	}
	slices.SortFunc(all.Evidence, func(a, b Evidence) int {
		if a.What < b.What {
			return -1
		}
		return 1
	})
	return all
}

func evidenceOf(what string, l *subject.Leaf) Evidence {
	e := Evidence{Provenance: Observed, What: what, Incomplete: l.Truncated, Times: []string{}}
	for _, at := range l.Times {
		e.Times = append(e.Times, text(at))
	}
	for _, v := range l.Values {
		e.Values = append(e.Values, Value{v})
	}
	return e
}

func traitsOf(traits []subject.Trait) (all []Trait) {
	for i := range traits {
		all = append(all, Trait{Provided, traits[i].Key, Value{traits[i].Value}, text(traits[i].Time)})
	}
	return all
}

// text is an instant as RFC 3339; "" where there is none.
func text(t subject.Instant) string {
	if !t.Valid() {
		return ""
	}
	return t.String()
}
