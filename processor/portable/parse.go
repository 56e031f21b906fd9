package portable

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/segmentd/segmentd/state/subject"
)

// The bounds of lists that a document may hold, as they are kept.
const (
	maxRestrictions = 64
	maxCorrections  = 64
)

// Head is who a document is of, and what it is.
type Head struct {
	Format string `json:"format"`
	UserID string `json:"userId"`
	IDType string `json:"idType"`
}

// Subject returns whose document it is; ok is false where it names nobody.
func (h *Head) Subject() (id subject.ID, ok bool) {
	id.Value = h.UserID
	if h.IDType == subject.AnonymousID.String() {
		id.Type = subject.AnonymousID
	}
	return id, h.IDType == id.Type.String() && subject.ValidID(h.UserID)
}

// ParseHead reads who a document is of.
func ParseHead(document []byte) (Head, error) {
	var h Head
	if json.Unmarshal(document, &h) != nil || h.Format != Format {
		return h, fmt.Errorf("not a document of the format %s", Format)
	}
	return h, nil
}

// Parse reads a document back. Errors say what is wrong where, and hold nothing of it.
func Parse(document []byte) (subject.ID, *subject.Portable, error) {
	h, err := ParseHead(document)
	if err != nil {
		return subject.ID{}, nil, err
	}
	id, ok := h.Subject()
	if !ok {
		return id, nil, errors.New("userId and idType name no subject")
	}
	var doc Document
	if err := json.Unmarshal(document, &doc); err != nil { // its words may quote the document
		return id, nil, errors.New(`a member is not of the kind that the schema "portability" says`)
	}
	p := &subject.Portable{RuleSet: doc.RuleSet, Dropped: doc.OlderDecisions}
	r := &reader{}
	p.UpTo = r.instant("upTo", doc.UpTo, subject.LongAgo)
	r.bound("decisions", len(doc.Decisions), subject.MaxProofs)
	for i := range doc.Decisions {
		r.at = "decisions[" + strconv.Itoa(i) + "]."
		p.Decisions = append(p.Decisions, r.decision(&doc.Decisions[i]))
	}
	r.at = ""
	r.bound("restrictions", len(doc.Restrictions), maxRestrictions)
	for _, x := range doc.Restrictions {
		p.Restrictions = append(p.Restrictions, subject.Restriction{At: r.required("restrictions", x.At), Lifted: x.Lifted})
	}
	r.bound("corrections", len(doc.Corrections), maxCorrections)
	p.Corrections = r.traits("corrections", doc.Corrections)
	for i := range doc.Purposes {
		r.at = "purposes[" + strconv.Itoa(i) + "]."
		p.Purposes = append(p.Purposes, r.purpose(&doc.Purposes[i]))
	}
	return id, p, r.err
}

// reader remembers the first thing that is wrong.
type reader struct {
	at  string
	err error
}

func (r *reader) fail(what, why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s%s %s", r.at, what, why)
	}
}

func (r *reader) bound(what string, n, most int) {
	if n > most {
		r.fail(what, fmt.Sprintf("has %d entries, at most %d are taken", n, most))
	}
}

// instant reads an instant that may be absent.
func (r *reader) instant(what, s string, absent subject.Instant) subject.Instant {
	if s == "" {
		return absent
	}
	return r.required(what, s)
}

func (r *reader) required(what, s string) subject.Instant {
	at, err := subject.ParseInstant(s)
	if err != nil {
		r.fail(what, "is not an RFC 3339 timestamp")
	}
	return at
}

func (r *reader) short(what, s string) string {
	if len(s) > subject.MaxIDBytes {
		r.fail(what, fmt.Sprintf("has %d bytes, at most %d are taken", len(s), subject.MaxIDBytes))
	}
	return s
}

func (r *reader) decision(d *Decision) subject.Proof {
	p := subject.Proof{Purpose: r.short("purpose", d.Purpose), Explicit: d.Explicit, Time: r.instant("eventTime", d.Time, subject.Never),
		Arrival: r.instant("received", d.Received, subject.Never), Expires: r.instant("expires", d.Expires, subject.Never),
		NoticeVersion: r.short("privacyNotice", d.Notice), Method: r.short("collectionMethod", d.Method), RecordID: r.short("recordId", d.RecordID),
		Source: r.source(r.short("source", d.Source))}
	if p.Status = statusOf(d.Status, subject.Objected); p.Status == subject.NoDecision {
		r.fail("status", "is none of given, refused, withdrawn, objected")
	}
	if min(p.Time, p.Arrival) == subject.Never {
		r.fail("eventTime", "and received are both absent")
	}
	return p
}

// statusOf finds a status by its name, up to one of them; NoDecision: there is none.
func statusOf(name string, last subject.Status) subject.Status {
	for s := subject.Given; s <= last; s++ {
		if s.String() == name {
			return s
		}
	}
	return subject.NoDecision
}

// source reads topic:partition:offset; a topic's name has no colon, a file's may.
func (r *reader) source(s string) subject.Position {
	rest, offset, hasOffset := cutLast(s)
	topic, partition, hasPartition := cutLast(rest)
	o, failed := strconv.ParseInt(offset, 10, 64)
	n, failedToo := strconv.ParseInt(partition, 10, 32)
	if !hasOffset || !hasPartition || failed != nil || failedToo != nil || o < 0 || n < 0 {
		r.fail("source", "is not topic:partition:offset")
	}
	return subject.Position{Topic: topic, Partition: int32(n), Offset: o}
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

func (r *reader) traits(what string, all []Trait) (traits []subject.Trait) {
	for i := range all {
		traits = append(traits, subject.Trait{Key: all[i].Trait, Time: r.required(what, all[i].Time), Value: all[i].Value.Value})
	}
	return traits
}

func (r *reader) purpose(p *Purpose) (all subject.PortablePurpose) {
	all.Key = p.Purpose
	all.Basis.Known = p.Holds
	if p.Stopped != "" {
		all.Basis.Stop = subject.Stop{At: r.required("stoppedAt", p.StoppedAt), Status: statusOf(p.Stopped, subject.Forgotten)}
		if !all.Basis.Stop.Status.Stops() {
			r.fail("stopped", "is none of refused, withdrawn, objected, erased")
		}
	}
	for _, g := range p.Grants {
		all.Basis.Grants = append(all.Basis.Grants, subject.Grant{At: r.required("grants", g.At), Expires: r.instant("grants", g.Expires, subject.Never)})
	}
	all.Traits = r.traits("traits", p.Traits)
	for i := range p.Evidence {
		all.Evidence = append(all.Evidence, r.evidence(&p.Evidence[i]))
	}
	return all
}

func (r *reader) evidence(e *Evidence) subject.PortableLeaf {
	l := subject.PortableLeaf{Meaning: e.What, Leaf: subject.Leaf{Truncated: e.Incomplete}}
	for i := range e.Times {
		l.Times = append(l.Times, r.required("observed", e.Times[i]))
		if i > 0 && l.Times[i] < l.Times[i-1] {
			r.fail("observed", "has times that are not in order")
		}
	}
	if len(e.Values) > 0 && len(e.Values) != len(e.Times) {
		r.fail("observed", "has not as many values as times")
	}
	for i := range e.Values {
		l.Values = append(l.Values, e.Values[i].Value)
	}
	return l
}
