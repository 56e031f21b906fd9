package rules

import (
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// document is one rule file as text.
type document struct {
	name  string // as problems show it
	path  string // in the file system, slash-separated
	lines []string
}

// spot is a place in a rule file, both from 1; columns count runes.
type spot struct {
	doc    *document
	line   int
	column int
}

// yamlValue is a YAML node of a rule file.
type yamlValue struct {
	doc  *document
	node *yaml.Node
}

func newDocument(name, path, text string) *document {
	return &document{name: name, path: path, lines: splitLines(text)}
}

// splitLines cuts text where YAML does: at CR, LF, CR LF, NEL, LS and PS.
func splitLines(text string) []string {
	var lines []string
	start := 0
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		next := i + size
		if isBreak(r) {
			if r == '\r' && strings.HasPrefix(text[next:], "\n") {
				next++
			}
			lines = append(lines, text[start:i])
			start = next
		}
		i = next
	}
	return append(lines, text[start:])
}

func isBreak(r rune) bool {
	return r == '\n' || r == '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029'
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || isBreak(r) }

// line returns the text of a line counted from 1, "" outside the file.
func (d *document) line(n int) string {
	if n < 1 || n > len(d.lines) {
		return ""
	}
	return d.lines[n-1]
}

// firstWord is the place of a line's first word.
func (d *document) firstWord(line int) spot {
	line = min(max(line, 1), len(d.lines))
	text := d.line(line)
	return spot{d, line, 1 + utf8.RuneCountInString(text) - utf8.RuneCountInString(strings.TrimLeft(text, " \t"))}
}

// problem describes a finding at the mark.
func (m spot) problem(severity Severity, message string) Problem {
	p := Problem{Severity: severity, Message: message}
	if m.doc != nil {
		p.File, p.Line, p.Column, p.Source = m.doc.name, m.line, m.column, m.doc.line(m.line)
	}
	return p
}

// resolved follows aliases.
func (v yamlValue) resolved() yamlValue {
	for v.node.Kind == yaml.AliasNode && v.node.Alias != nil {
		v.node = v.node.Alias
	}
	return v
}

func (v yamlValue) spot() spot { return spot{v.doc, v.node.Line, v.node.Column} }

// isNull reports whether nothing is written.
func (v yamlValue) isNull() bool { return v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!null" }

// kind names what is written, for messages.
func (v yamlValue) kind() string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	switch v.node.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	}
	return "text"
}
