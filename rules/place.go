package rules

import (
	"strconv"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// ruleText is the text of an expression and where each of its runes stands in
// the rule file, whatever style of YAML scalar it is written in.
type ruleText struct {
	yamlValue
	runes  []rune
	places []spot // by rune; computed when the first problem needs it
}

func newRuleText(v yamlValue) *ruleText { return &ruleText{yamlValue: v, runes: []rune(v.node.Value)} }

// text is the expression.
func (t *ruleText) text() string { return t.node.Value }

// at returns the place of the rune at an offset; past the end, the place after
// the last rune that is no blank.
func (t *ruleText) at(offset int) spot {
	if t.places == nil {
		t.places = placesOf(t.yamlValue, t.runes)
	}
	if offset >= 0 && offset < len(t.runes) && !isBlank(t.runes[offset]) {
		return t.places[offset]
	}
	for i := min(max(offset, 0), len(t.runes)) - 1; i >= 0; i-- {
		if !isBlank(t.runes[i]) {
			m := t.places[i]
			m.column++
			return m
		}
	}
	return t.start()
}

// start is the place of the first rune that is no blank.
func (t *ruleText) start() spot {
	for i, r := range t.runes {
		if !isBlank(r) {
			return t.at(i)
		}
	}
	return t.spot()
}

// placesOf matches the runes of a scalar that are no blanks with the file's
// text from the scalar's beginning on; blanks get no place. A rune that cannot
// be matched has the scalar's place.
func placesOf(v yamlValue, runes []rune) []spot {
	places := make([]spot, len(runes))
	s := newScalarScanner(v)
	for i, r := range runes {
		places[i] = v.spot()
		if isBlank(r) {
			continue
		}
		if at, raw, ok := s.next(); ok && raw == r {
			places[i] = at
		}
	}
	return places
}

// scalarScanner reads a scalar's runes from the lines of a file.
type scalarScanner struct {
	doc    *document
	style  yaml.Style
	line   int // from 1
	column int // from 0, into runes
	runes  []rune
}

func newScalarScanner(v yamlValue) *scalarScanner {
	s := &scalarScanner{doc: v.doc, style: v.node.Style, line: v.node.Line, column: v.node.Column - 1}
	s.runes = []rune(s.doc.line(s.line))
	s.skipProperties()
	switch {
	case s.style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		s.newline()
	case s.style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		s.column++
	}
	return s
}

// skipProperties passes tags and anchors before the scalar.
func (s *scalarScanner) skipProperties() {
	for s.skipBlanks() && (s.runes[s.column] == '!' || s.runes[s.column] == '&' || s.runes[s.column] == '#') {
		if s.runes[s.column] == '#' {
			s.newline()
			continue
		}
		for s.column < len(s.runes) && !isBlank(s.runes[s.column]) {
			s.column++
		}
	}
}

func (s *scalarScanner) newline() {
	s.line++
	s.column, s.runes = 0, []rune(s.doc.line(s.line))
}

// skipBlanks goes to the next rune that is no blank; false at the end of the file.
func (s *scalarScanner) skipBlanks() bool {
	for {
		for s.column < len(s.runes) && isBlank(s.runes[s.column]) {
			s.column++
		}
		if s.column < len(s.runes) {
			return true
		}
		if s.line >= len(s.doc.lines) {
			return false
		}
		s.newline()
	}
}

// next returns the next rune that is no blank, as the scalar's value has it, and its place.
func (s *scalarScanner) next() (at spot, r rune, ok bool) {
	for s.skipBlanks() {
		at = spot{s.doc, s.line, s.column + 1}
		r = s.runes[s.column]
		s.column++
		switch {
		case s.style&yaml.SingleQuotedStyle != 0 && r == '\'':
			s.column++
		case s.style&yaml.DoubleQuotedStyle != 0 && r == '\\':
			r = s.escape()
		}
		if !isBlank(r) {
			return at, r, true
		}
	}
	return at, 0, false
}

// escape reads what follows the backslash of a double-quoted scalar; a blank
// stands for an escaped blank or line break. (YAML 1.2, section 5.7.)
func (s *scalarScanner) escape() rune {
	if s.column >= len(s.runes) {
		return ' '
	}
	c := s.runes[s.column]
	s.column++
	switch c {
	case 'x':
		return s.hex(2)
	case 'u':
		return s.hex(4)
	case 'U':
		return s.hex(8)
	}
	if r, ok := yamlEscapes[c]; ok {
		return r
	}
	return c
}

var yamlEscapes = map[rune]rune{'0': 0, 'a': '\a', 'b': '\b', 't': '\t', 'n': '\n', 'v': '\v', 'f': '\f', 'r': '\r',
	'e': 0x1b, 'N': '\u0085', '_': '\u00a0', 'L': '\u2028', 'P': '\u2029'}

func (s *scalarScanner) hex(digits int) rune {
	end := min(s.column+digits, len(s.runes))
	n, err := strconv.ParseUint(string(s.runes[s.column:end]), 16, 32)
	s.column = end
	if err != nil {
		return utf8.RuneError
	}
	return rune(n)
}
