package ruletest

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// verbs are the fields of which each step has exactly one, and the fields that
// may stand beside each.
var verbs = []struct {
	name   string
	beside []string
	read   func(*reader, rules.YAMLObject, *step)
}{
	{"track", slices.Concat(personFields, callFields, []string{"properties"}), (*reader).track},
	{"page", slices.Concat(personFields, callFields, []string{"properties", "category"}), (*reader).page},
	{"screen", slices.Concat(personFields, callFields, []string{"properties", "category"}), (*reader).screen},
	{"identify", slices.Concat(personFields, callFields), (*reader).identify},
	{"decision", personFields, (*reader).decision},
	{"request", personFields, (*reader).request},
	{"record", []string{"at", "input"}, (*reader).raw},
	{"advance", nil, (*reader).advance},
	{"expect", nil, (*reader).expect},
}

var (
	idFields     = []string{"userId", "anonymousId"}
	personFields = append(idFields[:2:2], "at", "timestamp")
	callFields   = []string{"context", "messageId"}
)

// step reads one step.
func (r *reader) step(v rules.YAMLValue) (step, bool) {
	if v.Node().Kind != yaml.MappingNode {
		v.Errorf("a step must be a map of fields, not %s: write one of %s", v.Kind(), verbList())
		return step{}, false
	}
	var keys []string
	found, more := -1, false
	v.Pairs(func(key string, at rules.Place, _ rules.YAMLValue) {
		keys = append(keys, key)
		for i := range verbs {
			switch {
			case verbs[i].name != key:
			case found >= 0:
				more = true
				at.Errorf("'%s' and '%s' are two steps: begin the second with '- '", verbs[found].name, key)
			default:
				found = i
			}
		}
	})
	if more {
		return step{}, false
	}
	if found < 0 {
		hint := ""
		if len(keys) > 0 {
			hint = rules.Hint(keys[0], verbNames())
		}
		v.Errorf("a step needs one of %s%s", verbList(), hint)
		return step{}, false
	}
	o, ok := v.Object("step", append([]string{verbs[found].name}, verbs[found].beside...))
	if !ok {
		return step{}, false
	}
	s := step{at: v.Place()}
	verbs[found].read(r, o, &s)
	return s, true
}

func verbNames() []string {
	var all []string
	for _, v := range verbs {
		all = append(all, v.name)
	}
	return all
}

func verbList() string { return strings.Join(verbNames(), ", ") }

func (r *reader) track(o rules.YAMLObject, s *step) {
	r.call(o, s, "track")
	name := r.text(o.Get("track"), "name of an event")
	s.record.members["event"], s.record.event = name, name
}

func (r *reader) page(o rules.YAMLObject, s *step)   { r.view(o, s, "page") }
func (r *reader) screen(o rules.YAMLObject, s *step) { r.view(o, s, "screen") }

func (r *reader) view(o rules.YAMLObject, s *step, typ string) {
	r.call(o, s, typ)
	if o.Has(typ) {
		s.record.members["name"] = r.text(o.Get(typ), "name of a "+typ)
	}
	if o.Has("category") {
		s.record.members["category"] = o.Text("category")
	}
}

func (r *reader) identify(o rules.YAMLObject, s *step) {
	r.call(o, s, "identify")
	s.record.members["traits"] = r.object(o, "identify")
}

// call reads what all of Segment's calls have in common.
func (r *reader) call(o rules.YAMLObject, s *step, typ string) {
	s.record = &record{members: map[string]any{"type": typ}, stamp: "timestamp"}
	r.whoAndWhen(o, s.record)
	for _, field := range []string{"properties", "context"} {
		if o.Has(field) {
			s.record.members[field] = r.object(o, field)
		}
	}
	if o.Has("messageId") {
		s.record.members["messageId"] = o.Text("messageId")
	}
}

// whoAndWhen reads whom a step is about and when it happens.
func (r *reader) whoAndWhen(o rules.YAMLObject, rec *record) {
	id := r.subject(o)
	if id.IsZero() {
		id = r.person
	}
	if id.IsZero() {
		o.At("").Errorf("whom is this about: write 'userId' here or at the test")
	}
	rec.members[id.Type.String()] = id.Value
	r.when(o, rec)
}

// when reads at or timestamp, which are one.
func (r *reader) when(o rules.YAMLObject, rec *record) {
	for _, field := range []string{"at", "timestamp"} {
		if !o.Has(field) {
			continue
		}
		rec.at = r.moment(o.At(field), o.Text(field), true)
		if field == "timestamp" && o.Has("at") {
			o.Key(field).Errorf("'at' and 'timestamp' are one: write one of them")
		}
	}
}

var (
	decisionFields = []string{"userId", "anonymousId", "purpose", "status", "timestamp", "at", "explicit", "expiresAt", "noticeVersion", "method", "recordId"}
	requestFields  = []string{"userId", "anonymousId", "request", "requestId", "traits", "timestamp", "at"}
	requests       = []string{"access", "portability", "erase", "rectify", "restrict", "unrestrict"}
	statuses       = []string{subject.Given.String(), subject.Refused.String(), subject.Withdrawn.String(), subject.Objected.String()}
)

func (r *reader) decision(o rules.YAMLObject, s *step) {
	d, ok := r.inner(o, s, "decision", decisionFields)
	if !ok {
		return
	}
	for _, f := range []struct {
		name  string
		among []string
	}{{"purpose", r.names.purposes}, {"status", statuses}} {
		if d.Required(f.name) != "" {
			s.record.members[f.name] = r.known(d.Get(f.name), f.name, f.among)
		}
	}
	if d.Has("explicit") && d.Get("explicit").Node().Tag != "!!bool" {
		d.At("explicit").Errorf("'explicit' must be true or false")
	}
	for _, field := range []string{"explicit", "noticeVersion", "method", "recordId"} {
		if d.Has(field) {
			s.record.members[field] = r.json(d.Get(field), 0)
		}
	}
	if d.Has("expiresAt") {
		s.record.members["expiresAt"] = r.instant(d.At("expiresAt"), d.Text("expiresAt")).String()
	}
}

func (r *reader) request(o rules.YAMLObject, s *step) {
	q, ok := r.inner(o, s, "request", requestFields)
	if !ok {
		return
	}
	if s.record.members["requestId"] = "request"; q.Required("request") != "" {
		s.record.members["request"] = r.known(q.Get("request"), "request", requests)
	}
	if q.Has("requestId") {
		s.record.members["requestId"] = q.Text("requestId")
	}
	if q.Has("traits") {
		s.record.members["traits"] = r.object(q, "traits")
	}
}

// inner reads a verb whose value is the record: who and when may stand in it
// or beside it.
func (r *reader) inner(o rules.YAMLObject, s *step, verb string, fields []string) (rules.YAMLObject, bool) {
	s.record = &record{members: map[string]any{"type": verb}, stamp: "timestamp"}
	in, ok := o.Get(verb).Object(verb, fields)
	if !ok {
		return in, false
	}
	id := r.subject(in)
	if id.IsZero() {
		r.whoAndWhen(o, s.record)
	} else {
		s.record.members[id.Type.String()] = id.Value
		r.when(o, s.record)
	}
	r.when(in, s.record)
	for _, field := range personFields {
		if o.Has(field) && in.Has(field) {
			o.Key(field).Errorf("'%s' stands in the %s too", field, verb)
		}
	}
	return in, true
}

// raw reads a record as inputs have it. As that of a named input it stays as it
// is written: what its members mean is the input's affair.
func (r *reader) raw(o rules.YAMLObject, s *step) {
	s.record = &record{members: r.object(o, "record"), stamp: "timestamp", input: o.Text("input")}
	if s.record.members == nil {
		s.record.members = map[string]any{}
	}
	if s.record.input != "" {
		s.record.written = true
		r.when(o, s.record)
		return
	}
	if _, cloud := s.record.members["specversion"]; cloud {
		s.record.stamp = "time"
	}
	s.record.event, _ = s.record.members["event"].(string)
	for _, member := range []string{s.record.stamp, "originalTimestamp"} {
		if _, has := s.record.members[member]; has {
			s.record.written = true
		}
	}
	r.when(o, s.record)
	if s.record.written && o.Has("at") {
		o.Key("at").Errorf("the record has its own timestamp")
	}
}

func (r *reader) advance(o rules.YAMLObject, s *step) {
	s.advance = &moment{}
	if text := o.Required("advance"); text != "" {
		*s.advance = r.moment(o.At("advance"), text, false)
	}
}
