package rules

import (
	"strconv"
	"strings"
)

// pattern is what events() names: one name of events, or all with a beginning.
type pattern struct {
	text   string // the name, or the beginning
	prefix bool
}

// patternOf reads the argument of events().
func patternOf(name string) pattern {
	text, prefix := strings.CutSuffix(name, "*")
	return pattern{text, prefix}
}

func (p pattern) matches(name string) bool {
	if p.prefix {
		return strings.HasPrefix(name, p.text)
	}
	return name == p.text
}

// argument is the pattern as events() takes it.
func (p pattern) argument() string {
	if p.prefix {
		return p.text + "*"
	}
	return p.text
}

// String writes the pattern as the language does, in quotes.
func (p pattern) String() string { return strconv.Quote(p.argument()) }
