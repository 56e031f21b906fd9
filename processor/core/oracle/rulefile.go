package oracle

import (
	"fmt"
	"io/fs"
	"math/big"
	"path"
	"slices"
	"strings"

	"cel.dev/cel-go/parser"
	"gopkg.in/yaml.v3"
)

// ruleSet is what a rules directory says.
type ruleSet struct {
	purposes []*purpose // sorted by key
	segments []*segment // in decision order
	lists    map[string]map[string]bool
	minima   []minimum
	zones    map[string]*zone
	parser   *parser.Parser
	memos    int // how many memo slots an event needs
	helds    int // how many helds the rules have
}

type purpose struct {
	key        string
	consent    bool // the basis holds only by a grant
	explicit   bool // only explicit grants count
	objection  bool // an objection ends a basis other than consent
	expires    span // age at which a grant no longer counts; 0: none
	retention  span
	minAge     int    // in years; 0: none
	birthTrait string // with it
	output     string // "" or the word in the names of its topics
	assumed    bool   // every subject has consented before its first input
	reads      reads
	segments   []*segment
}

// reads is what the rules of one purpose look at.
type reads struct {
	names  []*source // every source and follower, for its name
	traits map[string]bool
	spans  map[span]bool // every duration that the rules name
}

type segment struct {
	key      string
	index    int // among all segments
	purpose  *purpose
	when     *node
	stay     *node // nil: none
	dwell    span
	cooldown span
	after    []string // segments it names
	uses     []use
	helds    []*node // one within another first
}

// minimum is a field with a declared smallest value.
type minimum struct {
	path []string
	min  *big.Rat
}

type ruleFile struct {
	Purposes []purposeEntry
	Data     []struct {
		Field string
		Min   yaml.Node
	}
	Lists []struct {
		Key, File string
		Members   []string
	}
	Let      map[string]string
	Segments []segmentEntry
}

type purposeEntry struct {
	Key                 string
	LawfulBasis         string `yaml:"lawful_basis"`
	DirectMarketing     bool   `yaml:"direct_marketing"`
	ConsentExpiresAfter string `yaml:"consent_expires_after"`
	Retention           string
	MinAge              int    `yaml:"min_age"`
	BirthdateTrait      string `yaml:"birthdate_trait"`
	Output              string
}

type segmentEntry struct {
	Key, Purpose, When string
	StayWhile          string `yaml:"stay_while"`
	MinDwell           string `yaml:"min_dwell"`
	Cooldown           string
}

// parseRules reads all rule files at the root of dir.
func parseRules(dir fs.FS) (*ruleSet, error) {
	merged, err := readRuleFiles(dir)
	if err != nil {
		return nil, err
	}
	set := &ruleSet{lists: map[string]map[string]bool{}, zones: map[string]*zone{}}
	if set.parser, err = parser.NewParser(parser.EnableIdentEscapeSyntax(true)); err != nil {
		return nil, err
	}
	if err := set.addPurposes(merged); err != nil {
		return nil, err
	}
	if err := set.addData(dir, merged); err != nil {
		return nil, err
	}
	if err := set.addSegments(merged); err != nil {
		return nil, err
	}
	return set, set.order()
}

func readRuleFiles(dir fs.FS) (*ruleFile, error) {
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return nil, err
	}
	merged := &ruleFile{Let: map[string]string{}}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.yaml") {
			continue
		}
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, err
		}
		var f ruleFile
		if err := yaml.Unmarshal(text, &f); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		merged.merge(&f)
	}
	return merged, nil
}

func (f *ruleFile) merge(g *ruleFile) {
	f.Purposes = append(f.Purposes, g.Purposes...)
	f.Data = append(f.Data, g.Data...)
	f.Lists = append(f.Lists, g.Lists...)
	f.Segments = append(f.Segments, g.Segments...)
	for k, v := range g.Let {
		f.Let[k] = v
	}
}

func (set *ruleSet) addPurposes(f *ruleFile) error {
	for _, e := range f.Purposes {
		p, err := e.purpose()
		if err != nil {
			return fmt.Errorf("purpose %s: %w", e.Key, err)
		}
		set.purposes = append(set.purposes, p)
	}
	slices.SortFunc(set.purposes, func(a, b *purpose) int { return strings.Compare(a.key, b.key) })
	return nil
}

// outputs are what changes topics there are: the default one, then the purposes' own.
func (set *ruleSet) outputs() []string {
	all := []string{""}
	for _, p := range set.purposes {
		if !slices.Contains(all, p.output) {
			all = append(all, p.output)
		}
	}
	return all
}

func (e purposeEntry) purpose() (*purpose, error) {
	p := &purpose{key: e.Key, minAge: e.MinAge, output: e.Output, reads: reads{traits: map[string]bool{}, spans: map[span]bool{}}}
	if p.minAge > 0 {
		p.birthTrait = e.BirthdateTrait
	}
	switch e.LawfulBasis {
	case "consent", "explicit_consent":
		p.consent, p.explicit = true, e.LawfulBasis == "explicit_consent"
	case "legitimate_interests", "public_task":
		p.objection = true
	case "contract", "legal_obligation", "vital_interests":
		p.objection = e.DirectMarketing
	default:
		return nil, fmt.Errorf("lawful basis %q: %w", e.LawfulBasis, ErrNotAvailable)
	}
	var err error
	if p.expires, err = optionalDuration(e.ConsentExpiresAfter); err != nil {
		return nil, err
	}
	p.retention, err = parseDuration(e.Retention)
	p.reads.spans[p.retention] = true
	return p, err
}

func (set *ruleSet) addData(dir fs.FS, f *ruleFile) error {
	for _, d := range f.Data {
		if d.Min.Kind != 0 {
			low, ok := parseNumber(d.Min.Value).(*big.Rat)
			if !ok {
				return fmt.Errorf("field %s: min is no number", d.Field)
			}
			set.minima = append(set.minima, minimum{strings.Split(d.Field, "."), low})
		}
	}
	for _, l := range f.Lists {
		ids := l.Members
		if l.File != "" {
			text, err := fs.ReadFile(dir, path.Clean(l.File))
			if err != nil {
				return err
			}
			ids = append(ids, strings.Fields(string(text))...)
		}
		set.lists[l.Key] = map[string]bool{}
		for _, id := range ids {
			set.lists[l.Key][id] = true
		}
	}
	return nil
}

func (set *ruleSet) addSegments(f *ruleFile) error {
	for _, e := range f.Segments {
		s, err := set.parseSegment(e, f.Let)
		if err != nil {
			return fmt.Errorf("segment %s: %w", e.Key, err)
		}
		set.segments = append(set.segments, s)
		s.purpose.segments = append(s.purpose.segments, s)
	}
	return nil
}

func (set *ruleSet) parseSegment(e segmentEntry, lets map[string]string) (s *segment, err error) {
	s = &segment{key: e.Key, index: len(set.segments), purpose: set.purpose(e.Purpose)}
	if s.purpose == nil {
		return nil, fmt.Errorf("purpose %q is not declared", e.Purpose)
	}
	if s.dwell, err = optionalDuration(e.MinDwell); err != nil {
		return nil, err
	}
	if s.cooldown, err = optionalDuration(e.Cooldown); err != nil {
		return nil, err
	}
	return s, set.parseConditions(s, e, lets)
}

func (set *ruleSet) purpose(key string) *purpose {
	for _, p := range set.purposes {
		if p.key == key {
			return p
		}
	}
	return nil
}

// order sorts the segments topologically: of those whose references all come
// before, the smallest key is next.
func (set *ruleSet) order() error {
	waiting := slices.Clone(set.segments)
	slices.SortFunc(waiting, func(a, b *segment) int { return strings.Compare(a.key, b.key) })
	placed := map[string]bool{}
	var ordered []*segment
	for len(waiting) > 0 {
		i := slices.IndexFunc(waiting, func(s *segment) bool {
			return !slices.ContainsFunc(s.after, func(k string) bool { return !placed[k] })
		})
		if i < 0 {
			return fmt.Errorf("segments refer to each other in a cycle, or to none: %s", waiting[0].key)
		}
		placed[waiting[i].key] = true
		ordered = append(ordered, waiting[i])
		waiting = slices.Delete(waiting, i, i+1)
	}
	set.segments = ordered
	return nil
}

func assumeConsent(set *ruleSet, keys []string) {
	for _, p := range set.purposes {
		p.assumed = slices.Contains(keys, p.key)
	}
}

// below reports whether v is a number smaller than the field's minimum.
func (m minimum) below(v any) bool {
	r, ok := v.(*big.Rat)
	return ok && r.Cmp(m.min) < 0
}

// strike removes from root (properties, context) what is below its minimum.
func (m minimum) strike(root string, v any) {
	if m.path[0] != root {
		return
	}
	for i, key := range m.path[1:] {
		fields, ok := v.(map[string]any)
		if !ok {
			return
		}
		if i == len(m.path)-2 && m.below(fields[key]) {
			delete(fields, key)
		}
		v = fields[key]
	}
}
