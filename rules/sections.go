package rules

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/segmentd/segmentd/state/subject"
)

// sections is what all files of a rules directory say, merged.
type sections struct {
	revision   int64
	revisionAt spot
	purposes   []purposeDecl
	data       []dataDecl
	lists      []listDecl
	lets       []letText
	segments   []segmentDecl

	seen map[string]spot // "purpose x" → where it is defined
}

// purposeDecl is a purpose as written.
type purposeDecl struct {
	Purpose
	at          spot
	ageAt       spot // of min_age
	birthdateAt spot
}

// dataDecl is an entry of the data section as written.
type dataDecl struct {
	dataField
	keys       []string // the path, from "properties", "context" or "traits" on
	at         spot
	considered bool // whether it is special is written
}

// listDecl is a static list as written.
type listDecl struct {
	list
	key string
}

// letText is a named expression as written.
type letText struct {
	name string
	at   spot
	expr *ruleText
}

// segmentDecl is a segment as written.
type segmentDecl struct {
	checkedSegment
	at        spot // of its key
	purpose   string
	purposeAt spot
	infersAt  spot
	expr      *ruleText // nil if it cannot be read
	stay      *ruleText // of stay_while; nil: none, or it cannot be read

	considered bool // what it infers is written, be it nothing
}

func newSections() sections { return sections{seen: make(map[string]spot)} }

var sectionNames = []string{"revision", "purposes", "data", "lists", "let", "segments"}

// read adds the sections of one YAML document.
func (s *sections) read(l *loader, v yamlValue) {
	if v.isNull() {
		return
	}
	o, ok := l.object(v, "rule file", sectionNames)
	if !ok {
		l.broken = true
		return
	}
	if o.has("revision") {
		s.readRevision(l, o)
	}
	for _, section := range []struct {
		name string
		read func(*loader, yamlValue)
	}{{"purposes", s.readPurpose}, {"data", s.readData}, {"lists", s.readList}, {"segments", s.readSegment}} {
		if o.has(section.name) {
			for _, item := range l.items(o.fields[section.name], section.name) {
				section.read(l, item)
			}
		}
	}
	if o.has("let") {
		s.readLets(l, o.fields["let"])
	}
}

// complete reports what is missing from all files together.
func (s *sections) complete(l *loader) {
	if l.broken || len(s.segments) > 0 {
		return
	}
	where := l.dir
	if where == "" {
		where = "the rules directory"
	}
	message := "no segments in " + where + ": segmentd needs at least one *.yaml file with a `segments:` section"
	if len(l.problems) == 0 || !HasErrors(l.problems) {
		l.problems = append(l.problems, Problem{File: l.dir, Message: message})
	}
}

// define reports a name defined twice, with both places; it returns false then.
func (s *sections) define(l *loader, what, name string, at spot) bool {
	id := what + " " + name
	if before, again := s.seen[id]; again {
		l.errorf(at, "the %s '%s' is defined twice: first in %s:%d", what, name, before.doc.name, before.line)
		return false
	}
	s.seen[id] = at
	return true
}

func (s *sections) readRevision(l *loader, o object) {
	at := o.at("revision")
	if s.revisionAt.doc != nil {
		l.errorf(at, "'revision' is written twice: first in %s:%d", s.revisionAt.doc.name, s.revisionAt.line)
		return
	}
	n, err := strconv.ParseInt(o.fields["revision"].node.Value, 10, 64)
	if err != nil || n < 0 {
		l.errorf(at, "'revision' must be a whole number, 0 or more")
		return
	}
	s.revision, s.revisionAt = n, at
}

var (
	segmentKey = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	freeKey    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)
	outputKey  = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	letName    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)
	category   = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)
)

// key reads the key of a purpose, list or segment and defines it.
func (s *sections) key(l *loader, o object, shape *regexp.Regexp) (string, bool) {
	key := l.required(o, "key")
	if key == "" {
		return "", false
	}
	if !shape.MatchString(key) {
		rule := "a letter, then letters, digits, _ and -, at most 64"
		if shape == segmentKey {
			rule = "a lower-case letter, then lower-case letters, digits and _, at most 64"
		}
		l.errorf(o.at("key"), "'%s' cannot be the key of %s: write %s", key, article(o.what), rule)
		return key, false
	}
	return key, s.define(l, o.what, key, o.at("key"))
}

// duration reads a field that is a duration longer than none.
func (l *loader) duration(o object, field string) time.Duration {
	text := l.text(o, field)
	if text == "" && !o.has(field) {
		return 0
	}
	if v := o.fields[field]; text == "" && v.node.Kind != yaml.ScalarNode {
		return 0 // l.text tells
	}
	micros, err := parseDuration(text)
	switch {
	case err != nil:
		l.errorf(o.at(field), "'%s' is %v", text, err)
	case micros == 0:
		l.errorf(o.at(field), "'%s' must be longer than nothing", field)
	}
	return time.Duration(micros) * time.Microsecond
}

var purposeFields = []string{"key", "description", "lawful_basis", "direct_marketing", "consent_expires_after", "retention", "min_age", "birthdate_trait", "output",
	"notice_version", "oldest_notice_version", "recipients", "data_use", "legitimate_interest", "legal_reference", "significant_effect", "safeguards"}

func (s *sections) readPurpose(l *loader, v yamlValue) {
	o, ok := l.object(v, "purpose", purposeFields)
	if !ok {
		return
	}
	p := purposeDecl{at: o.at("key")}
	key, ok := s.key(l, o, freeKey)
	p.Key = key
	p.Description = l.required(o, "description")
	p.Basis = l.basis(o)
	p.DirectMarketing = l.flag(o, "direct_marketing")
	p.ConsentExpiresAfter = l.duration(o, "consent_expires_after")
	if o.has("consent_expires_after") && !p.Basis.NeedsConsent() {
		l.errorf(o.keys["consent_expires_after"], "'consent_expires_after' needs the lawful basis consent or explicit_consent")
	}
	if l.required(o, "retention") != "" {
		p.Retention = l.duration(o, "retention")
	}
	l.age(o, &p)
	if p.Output = l.text(o, "output"); p.Output != "" && !outputKey.MatchString(p.Output) {
		l.errorf(o.at("output"), "'%s' cannot be part of a topic's name: write a lower-case letter, then lower-case letters, digits, _ and -, at most 32", p.Output)
	}
	l.information(o, &p)
	if ok && s.uniqueFold(l, p) {
		s.purposes = append(s.purposes, p)
	}
}

// maxAge bounds min_age.
const maxAge = 150

// age reads min_age and birthdate_trait, which belong together.
func (l *loader) age(o object, p *purposeDecl) {
	p.BirthdateTrait, p.birthdateAt = l.text(o, "birthdate_trait"), o.at("birthdate_trait")
	switch {
	case o.has("min_age") && !o.has("birthdate_trait"):
		l.errorf(o.keys["min_age"], "'min_age' needs 'birthdate_trait': the name of the trait that holds the birthdate, as in birthdate_trait: birthdate")
		return
	case !o.has("min_age"):
		if o.has("birthdate_trait") {
			l.errorf(o.keys["birthdate_trait"], "'birthdate_trait' is for 'min_age', which is not written")
		}
		return
	}
	years, err := strconv.Atoi(o.fields["min_age"].node.Value)
	if err != nil || years < 1 || years > maxAge {
		l.errorf(o.at("min_age"), "'min_age' must be a whole number of years, 1 to %d", maxAge)
		return
	}
	p.MinAge, p.ageAt = years, o.at("min_age")
}

// uniqueFold refuses two purposes that differ only by case: an event's consent
// context names purposes whatever the case.
func (s *sections) uniqueFold(l *loader, p purposeDecl) bool {
	for _, other := range s.purposes {
		if strings.EqualFold(other.Key, p.Key) {
			l.errorf(p.at, "the purpose '%s' differs from '%s' (%s:%d) only by case", p.Key, other.Key, other.at.doc.name, other.at.line)
			return false
		}
	}
	return true
}

func (l *loader) basis(o object) LawfulBasis {
	name := l.required(o, "lawful_basis")
	for i, n := range basisNames {
		if n == name {
			return LawfulBasis(i)
		}
	}
	if name != "" {
		l.errorf(o.at("lawful_basis"), "unknown lawful basis '%s'%s: one of %s", name, hint(name, basisNames[:]), strings.Join(basisNames[:], ", "))
	}
	return ExplicitConsent // so that no other problem follows from it
}

var dataFields = []string{"field", "category", "special", "min"}

func (s *sections) readData(l *loader, v yamlValue) {
	o, ok := l.object(v, "data field", dataFields)
	if !ok {
		return
	}
	text := l.required(o, "field")
	if text == "" {
		return
	}
	d := dataDecl{at: o.at("field")}
	keys, err := parsePath(text)
	if err != "" {
		l.errorf(d.at, "'%s' is no field: %s", text, err)
		return
	}
	d.keys, d.path = keys, pathText(keys[0], keys[1:])
	d.category = l.category(o, "category")
	d.special, d.considered = l.flag(o, "special"), o.has("special")
	if o.has("min") {
		d.min = l.minimum(o)
	}
	if s.define(l, "field", d.path, d.at) {
		s.data = append(s.data, d)
	}
}

func (l *loader) category(o object, field string) string {
	text := l.text(o, field)
	if text != "" && !category.MatchString(text) {
		l.errorf(o.at(field), "'%s' is no category: write a fideslang key such as user.health_and_medical", text)
	} else if text != "" {
		l.warnUnknownKey(o.at(field), "category", text, dataCategories)
	}
	return text
}

func (l *loader) minimum(o object) *subject.Number {
	v := o.fields["min"]
	n, ok := subject.ParseNumber(v.node.Value)
	if !ok || v.node.Tag != "!!int" && v.node.Tag != "!!float" {
		l.errorf(v.spot(), "'min' must be a number")
		return nil
	}
	if strings.HasPrefix(l.text(o, "field"), "traits.") {
		l.errorf(o.keys["min"], "'min' is for fields of events, below properties or context")
		return nil
	}
	return &n
}

// readLets reads the let section: names and expressions.
func (s *sections) readLets(l *loader, v yamlValue) {
	if v.node.Kind != yaml.MappingNode {
		l.errorf(v.spot(), "'let' must be a map of names and sources, not %s", v.kind())
		return
	}
	l.pairs(v, func(name string, at spot, field yamlValue) {
		let := letText{name: name, at: at}
		ok := s.letName(l, let)
		text, readable := l.expression(field, name)
		if !readable {
			l.broken = true
		}
		if ok && readable {
			let.expr = text
			s.lets = append(s.lets, let)
		}
	})
}

func (s *sections) letName(l *loader, let letText) bool {
	switch {
	case !letName.MatchString(let.name):
		l.errorf(let.at, "'%s' cannot be the name of a let: write a letter, then letters, digits and _, at most 64", let.name)
	case isReserved(let.name):
		l.errorf(let.at, "'%s' cannot be the name of a let: the rule language uses it", let.name)
	default:
		return s.define(l, "let", let.name, let.at)
	}
	l.broken = true
	return false
}
