package ruletest

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

var expectFields = []string{"members", "not_members", "segments", "changes", "outcome", "explain"}

func (r *reader) expect(o rules.YAMLObject, s *step) {
	s.expect = &expectation{}
	e, ok := o.Get("expect").Object("expectation", expectFields)
	if !ok {
		return
	}
	empty := true
	for _, field := range expectFields {
		empty = empty && !e.Written(field)
	}
	if empty {
		o.At("expect").Errorf("the expectation is empty: write one of %s", strings.Join(expectFields, ", "))
	}
	s.expect.members = r.memberSets(e, "members")
	s.expect.notMembers = r.memberSets(e, "not_members")
	s.expect.segments = r.segmentSets(e)
	if e.Written("changes") {
		s.expect.hasChanges, s.expect.changesAt = true, e.At("changes")
		for _, item := range e.Get("changes").Items("changes") {
			s.expect.changes = append(s.expect.changes, r.change(item))
		}
	}
	if e.Has("outcome") {
		s.expect.outcome, s.expect.outcomeAt = r.known(e.Get("outcome"), "outcome", outcomes()), e.At("outcome")
	}
	if e.Has("explain") {
		for _, item := range e.Get("explain").Items("explain") {
			s.expect.explain = append(s.expect.explain, r.explained(item))
		}
	}
}

func outcomes() []string {
	var all []string
	for o := range subject.Outcomes {
		all = append(all, o.String())
	}
	return all
}

// memberSets reads a map of segments and lists of subjects.
func (r *reader) memberSets(e rules.YAMLObject, field string) (sets []memberSet) {
	if !e.Has(field) {
		return nil
	}
	e.Get(field).Pairs(func(key string, at rules.Place, v rules.YAMLValue) {
		if !slices.Contains(r.names.segments, key) {
			at.Errorf("unknown segment '%s'%s", key, rules.Hint(key, r.names.segments))
		}
		set := memberSet{at: at, segment: key}
		if v.IsNull() {
			v.Errorf("write the members of '%s' as a list: [] for none", key)
		}
		for _, item := range v.Items(key) {
			set.subjects = append(set.subjects, r.member(item))
		}
		sets = append(sets, set)
	})
	return sets
}

// member reads a user's id, or {anonymousId: …}.
func (r *reader) member(v rules.YAMLValue) subject.ID {
	if v.Node().Kind == yaml.MappingNode {
		o, _ := v.Object("member", idFields)
		id := r.subject(o)
		if id.IsZero() {
			v.Errorf("the member has no 'anonymousId'")
		}
		return id
	}
	id := subject.ID{Type: subject.UserID, Value: r.text(v, "member")}
	if id.Value != "" && !subject.ValidID(id.Value) {
		v.Errorf("a member must be an id: 1 to %d bytes without control characters", subject.MaxIDBytes)
	}
	return id
}

// segmentSets reads a map of users and lists of segments.
func (r *reader) segmentSets(e rules.YAMLObject) (sets []segmentSet) {
	if !e.Has("segments") {
		return nil
	}
	e.Get("segments").Pairs(func(key string, at rules.Place, v rules.YAMLValue) {
		set := segmentSet{at: at, subject: subject.ID{Type: subject.UserID, Value: key}}
		if v.IsNull() {
			v.Errorf("write the segments of '%s' as a list: [] for none", key)
		}
		for _, item := range v.Items(key) {
			set.segments = append(set.segments, r.known(item, "segment", r.names.segments))
		}
		sets = append(sets, set)
	})
	return sets
}

var changeFields = []string{"at", "userId", "anonymousId", "segment", "change", "reason", "causedBy"}

var changeKinds = []string{subject.Entered.String(), subject.Exited.String()}

func (r *reader) change(v rules.YAMLValue) changeRow {
	row := changeRow{at: v.Place()}
	o, ok := v.Object("change", changeFields)
	if !ok {
		return row
	}
	if o.Required("segment") != "" {
		row.segment = r.known(o.Get("segment"), "segment", r.names.segments)
	}
	if o.Required("change") != "" {
		row.kind = r.known(o.Get("change"), "change", changeKinds)
	}
	if o.Has("reason") {
		row.reason = r.known(o.Get("reason"), "reason", reasons())
	}
	if text := o.Text("at"); text != "" {
		row.time = r.instant(o.At("at"), text).String()
	}
	row.subject, row.causedBy = r.subject(o), o.Text("causedBy")
	if row.subject.IsZero() {
		row.subject = r.person
	}
	return row
}

func reasons() []string {
	var all []string
	for x := range subject.Reasons {
		all = append(all, x.String())
	}
	return all
}

var (
	explainFields = []string{"userId", "anonymousId", "segment", "member", "since", "next", "contains"}
	nextFields    = []string{"at", "change"}
)

func (r *reader) explained(v rules.YAMLValue) explained {
	x := explained{at: v.Place()}
	o, ok := v.Object("expected explanation", explainFields)
	if !ok {
		return x
	}
	if x.subject = r.subject(o); x.subject.IsZero() {
		x.subject = r.person
	}
	if x.subject.IsZero() {
		v.Errorf("whom is this about: write 'userId' here or at the test")
	}
	if o.Required("segment") != "" {
		x.segment = r.known(o.Get("segment"), "segment", r.names.segments)
	}
	if o.Has("member") {
		member := strings.EqualFold(o.Text("member"), "true")
		if o.Get("member").Node().Tag != "!!bool" {
			o.At("member").Errorf("'member' must be true or false")
		}
		x.member = &member
	}
	if text := o.Text("since"); text != "" {
		x.since = r.instant(o.At("since"), text).String()
	}
	if o.Written("next") {
		x.next = r.next(o)
	}
	if o.Has("contains") {
		x.contains = r.texts(o.Get("contains"))
	}
	return x
}

// next reads {at, change}, or nothing for an answer that time does not change.
func (r *reader) next(o rules.YAMLObject) *nextChange {
	next := &nextChange{}
	if !o.Has("next") {
		return next
	}
	n, ok := o.Get("next").Object("next change", nextFields)
	if !ok {
		return next
	}
	if n.Has("change") {
		next.change = r.known(n.Get("change"), "change", changeKinds)
	}
	if text := n.Required("at"); text != "" {
		next.at = r.instant(n.At("at"), text).String()
	}
	return next
}

// texts reads a text or a list of them.
func (r *reader) texts(v rules.YAMLValue) []string {
	if scalar(v) {
		return []string{v.Node().Value}
	}
	var all []string
	for _, item := range v.Items("contains") {
		all = append(all, r.text(item, "text"))
	}
	return all
}
