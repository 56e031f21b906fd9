package rules

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// YAML traps: a rule written as a plain scalar whose punctuation means
// something to YAML.

// trap is what YAML makes of a rule's punctuation.
type trap string

const (
	trapColon   trap = "a rule that holds ': ' means something else to YAML"
	trapComment trap = "YAML takes ' #' as the beginning of a comment and drops the rest of the rule"
	trapSlashes trap = "a // comment outside a block written with | swallows the rest of the rule"
)

func startTrap(begin string) trap {
	return trap("a rule that begins with '" + begin + "' means something else to YAML")
}

// advice says what to write instead.
func (t trap) advice(field string) string {
	return string(t) + ": write `" + field + ": |` and the rule indented on the next line"
}

// fieldLine is a line that writes a value beside its field.
var fieldLine = regexp.MustCompile(`^(\s*(?:- +)?([A-Za-z0-9_]+)\s*:[ \t]+)(\S.*)$`)

// findTrap looks for a trap near a line that the YAML parser refused: in rules,
// and in fields unknown to other sections, which are lets.
func findTrap(doc *document, line int) (spot, string) {
	for n := line; n >= max(1, line-1); n-- {
		m := fieldLine.FindStringSubmatch(doc.line(n))
		if m == nil {
			continue
		}
		offset, trap := trapIn(m[3])
		if trap == "" {
			continue
		}
		at := spot{doc, n, utf8.RuneCountInString(m[1]) + utf8.RuneCountInString(m[3][:offset]) + 1}
		if slices.Contains(textFields, m[2]) {
			return at, "this text means something else to YAML: put it in quotes"
		}
		return at, trap.advice(m[2])
	}
	return spot{}, ""
}

// trapIn finds what YAML trips over in a rule that is written on one line.
func trapIn(rule string) (offset int, t trap) {
	switch rule[0] {
	case '"', '\'':
		if last := len(rule) - 1; last > 0 && rule[last] == rule[0] && !strings.ContainsRune(rule[1:last], rune(rule[0])) {
			return 0, ""
		}
		return 0, startTrap(rule[:1])
	case '!', '[', '{', '&', '*', '@', '`', '%':
		return 0, startTrap(rule[:1])
	case '|', '>':
		return 0, ""
	}
	if i := strings.Index(rule, ": "); i >= 0 {
		return i, trapColon
	}
	if strings.HasSuffix(rule, ":") {
		return len(rule) - 1, trapColon
	}
	return 0, ""
}

// textFields are fields that hold words for people.
var textFields = []string{"description", "name"}

// expression takes a scalar as the text of an expression, after a look for traps.
func (l *loader) expression(v yamlValue, field string) (*ruleText, bool) {
	switch v.node.Kind {
	case yaml.SequenceNode:
		l.errorf(v.spot(), "%s", startTrap("[").advice(field))
		return nil, false
	case yaml.MappingNode:
		trap := trapColon
		if v.node.Style&yaml.FlowStyle != 0 {
			trap = startTrap("{")
		}
		l.errorf(v.spot(), "%s", trap.advice(field))
		return nil, false
	}
	if strings.HasPrefix(v.node.Tag, "!") && !strings.HasPrefix(v.node.Tag, "!!") {
		l.errorf(v.spot(), "%s", startTrap("!").advice(field))
		return nil, false
	}
	text := newRuleText(v)
	if v.isNull() || strings.TrimSpace(text.text()) == "" {
		l.errorf(v.spot(), "'%s' is empty", field)
		return nil, false
	}
	return text, l.commentTraps(text, field)
}

const quotedOrBlock = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

// commentTraps reports comments that swallow more, or are swallowed by more,
// than meets the eye.
func (l *loader) commentTraps(t *ruleText, field string) bool {
	if t.node.Style&yaml.LiteralStyle != 0 {
		return true
	}
	for _, token := range lexRule(t.runes) {
		if token.kind == commentToken {
			l.errorf(t.at(token.start), "%s", trapSlashes.advice(field))
			return false
		}
	}
	if t.node.Style&quotedOrBlock != 0 {
		return true
	}
	if at, ok := t.trailingComment(); ok {
		l.errorf(at, "%s; a comment in a rule begins with //", trapComment.advice(field))
		return false
	}
	return true
}

// trailingComment finds a YAML comment behind a plain scalar, on its last line.
func (t *ruleText) trailingComment() (spot, bool) {
	end := t.at(len(t.runes))
	runes := []rune(t.doc.line(end.line))
	for i := max(0, end.column-1); i < len(runes); i++ {
		if runes[i] == '#' {
			end.column = i + 1
			return end, true
		}
		if !isBlank(runes[i]) {
			break
		}
	}
	return spot{}, false
}
