package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
)

// Need is what a command cannot do without, beyond values that are right.
type Need uint8

// The needs.
const (
	NeedBroker   Need = 1 << iota // brokers or the embedded one, and the files to reach them
	NeedInputs                    // an event input
	NeedSecret                    // the secret, unless the embedded one makes it
	NeedRules                     // a directory of rules
	NeedData                      // the data directory
	NeedListener                  // the files of the HTTP side
)

// NeedAll is what `segmentd run` needs.
const NeedAll = NeedBroker | NeedInputs | NeedSecret | NeedRules | NeedData | NeedListener

// Validate checks the whole configuration for what a command needs. It reads
// the files that the configuration names for that, but changes nothing: what a
// command does not need may be absent where it runs. The error is an *Error
// with all problems.
func (c *Config) Validate(needs Need) error {
	v := &validator{cfg: c, needs: needs}
	return asError(v.run())
}

// validator checks one configuration.
type validator struct {
	cfg      *Config
	needs    Need
	unread   map[string]bool // blocks in which nothing counts as missing
	problems []Problem
}

func (v *validator) run() []Problem {
	v.values(reflect.ValueOf(v.cfg).Elem(), "")
	v.group()
	v.broker()
	v.inputs()
	v.rules()
	v.data()
	v.secret()
	v.security()
	v.listener()
	v.privacy()
	v.openDSR()
	v.rest()
	return v.problems
}

// uses reports whether the command makes use of something.
func (v *validator) uses(n Need) bool { return v.needs&n != 0 }

// lacks reports whether something that is not there is lacking: the command
// uses it, and it cannot be among what could not be read.
func (v *validator) lacks(n Need) bool { return v.uses(n) && !v.unread[""] }

// missing reports a setting that should be there, unless it may be among what
// could not be read.
func (v *validator) missing(path, format string, args ...any) {
	if !v.unread[parent(path)] {
		v.add(path, format, args...)
	}
}

// add reports a problem of the setting at path.
func (v *validator) add(path, format string, args ...any) {
	where := ""
	if path != "" {
		where = v.cfg.origin(path)
	}
	v.problems = append(v.problems, Problem{Where: where, Path: path, Text: fmt.Sprintf(format, args...)})
}

// values checks every setting against the words and bounds of its tags.
func (v *validator) values(s reflect.Value, path string) {
	for _, f := range fieldsOf(s.Type(), path) {
		fv := s.Field(f.index)
		switch {
		case f.isBlock():
			v.values(fv, f.path)
		case f.isListOfBlocks():
			for i := range fv.Len() {
				v.values(fv.Index(i), indexPath(f.path, i))
			}
		default:
			v.word(fv, f)
			v.bounds(fv, f)
		}
	}
}

func (v *validator) word(fv reflect.Value, f field) {
	words, given := f.allowed(), fv.String()
	_, hasDefault := f.tag.Lookup("default")
	switch {
	case words == nil || slices.Contains(words, given):
		return
	case given == "":
		if hasDefault {
			v.add(f.path, "empty; allowed: %s", orList(words))
		}
		return
	}
	v.add(f.path, "%q is not allowed; allowed: %s", given, orList(words)+didYouMean(given, words))
}

func (v *validator) bounds(fv reflect.Value, f field) {
	least, most := f.tag.Get("min"), f.tag.Get("max")
	if least == "" {
		return
	}
	bound := func(text string) int64 {
		b := reflect.New(f.typ).Elem()
		if err := setText(b, f, text); err != nil {
			panic("config: bound of " + f.path + ": " + err.Error())
		}
		return b.Int()
	}
	if n := fv.Int(); n < bound(least) || n > bound(most) {
		v.add(f.path, "%s is out of bounds; allowed: %s to %s", formatValue(fv, f), least, most)
	}
}

// topicName is what Kafka allows (org.apache.kafka.common.internals.Topic).
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// maxTopicBytes is Kafka's limit of a topic's name.
const maxTopicBytes = 249

func (v *validator) group() {
	group := v.cfg.Group
	longest := 0
	for _, t := range (&Config{}).OwnTopics().All() {
		longest = max(longest, len(t))
	}
	switch most := maxTopicBytes - longest; {
	case group == "":
		v.add("group", "empty; a name is needed")
	case !topicName.MatchString(group):
		v.add("group", "%q cannot begin the name of a topic; allowed: letters, digits, '.', '_' and '-'", group)
	case len(group) > most:
		v.add("group", "%d characters; at most %d are allowed", len(group), most)
	}
}

func (v *validator) rules() {
	path := v.cfg.Rules
	if path == "" {
		if v.lacks(NeedRules) {
			v.add("", "no rules: give their directory with --rules, SEGMENTD_RULES or rules in the configuration file")
		}
		return
	}
	if !v.uses(NeedRules) {
		return
	}
	if info, err := os.Stat(path); err != nil {
		v.add("rules", "%v", err)
	} else if !info.IsDir() {
		v.add("rules", "%s is not a directory", path)
	}
}

// data checks the data directory, which may yet have to be made.
func (v *validator) data() {
	if !v.uses(NeedData) {
		return
	}
	path := v.cfg.Data
	if path == "" {
		v.add("data", "empty; a directory is needed")
	} else if info, err := os.Stat(path); err == nil && !info.IsDir() {
		v.add("data", "%s is not a directory", path)
	}
}

func (v *validator) secret() {
	c := v.cfg
	switch {
	case c.Secret != "" && c.SecretFile != "":
		v.add("secret_file", "SEGMENTD_SECRET is set, too; only one of the two is allowed")
	case !v.uses(NeedSecret):
	case c.SecretFile != "":
		if _, err := c.ReadSecret(); err != nil {
			v.add("secret_file", "%v", err)
		}
	case c.Secret != "":
		if _, err := c.ReadSecret(); err != nil {
			v.add("", "%v", err) // it names the variable
		}
	case v.lacks(NeedSecret) && !c.Embedded && len(c.Kafka.Brokers) > 0:
		v.add("", "%v", errNoSecret)
	}
}

// subjectKey is what fideslang allows for a key.
var subjectKey = regexp.MustCompile(`^[a-zA-Z0-9_.<>-]+$`)

// privacy checks what the record of processing says beyond the rules.
func (v *validator) privacy() {
	for i, key := range v.cfg.Privacy.DataSubjects {
		if !subjectKey.MatchString(key) {
			v.add(indexPath("privacy.data_subjects", i), "%q is no key; allowed: letters, digits, '_', '.', '<', '>' and '-', as in customer", key)
		}
	}
	for i, t := range v.cfg.Privacy.Transfers {
		path := indexPath("privacy.transfers", i)
		for _, part := range []struct{ key, value string }{{"recipient", t.Recipient}, {"country", t.Country}, {"safeguards", t.Safeguards}} {
			if part.value == "" {
				v.missing(path+"."+part.key, "empty; a transfer names its recipient, its country and its safeguards (GDPR article 30(1)(e))")
			}
		}
	}
}

func (v *validator) rest() {
	c := v.cfg
	if c.Topics.ReplicationFactor == 0 {
		v.add("topics.replication_factor", "0 is not allowed; allowed: -1 (the brokers' default) or at least 1")
	}
	if !topicName.MatchString(c.Output.CETypePrefix) {
		v.add("output.ce_type_prefix", "%q is not allowed; allowed: letters, digits, '.', '_' and '-', at least one", c.Output.CETypePrefix)
	}
}
