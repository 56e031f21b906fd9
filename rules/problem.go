package rules

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"github.com/segmentd/segmentd/rules/clip"
)

// Severity tells a problem that refuses a rule set from one that does not.
type Severity uint8

// The severities.
const (
	Error Severity = iota
	Warning
)

// String is the severity as check prints it.
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// MarshalText writes the severity for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Severity) UnmarshalText(text []byte) error {
	switch string(text) {
	case "error":
		*s = Error
	case "warning":
		*s = Warning
	default:
		return fmt.Errorf("unknown severity %q", text)
	}
	return nil
}

// Problem is one finding of Load: where it is and what to do about it.
type Problem struct {
	File     string   `json:"file"`             // as the file system given to Load names it, or below LoadDir's directory
	Line     int      `json:"line,omitempty"`   // from 1; 0: the problem has no place in a file
	Column   int      `json:"column,omitempty"` // from 1, in runes
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Source   string   `json:"source,omitempty"` // the line, without its line break; of a very long one the beginning, or nothing
}

// Error is the problem on one line, without the source line: Problem is an error too.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// String is the problem as check prints it: the line that Error returns, the
// source line, and a caret under the place.
func (p Problem) String() string {
	if p.Line == 0 || p.Source == "" {
		return p.Error()
	}
	line, column := clip.Line(p.Source, p.Column)
	return p.Error() + "\n  " + printable(line) + "\n  " + caretIndent(line, column) + "^"
}

// printable replaces what a terminal would act upon.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, line)
}

// caretIndent is blank text as wide on a terminal as the runes before column.
func caretIndent(line string, column int) string {
	var b strings.Builder
	n := 1
	for _, r := range line {
		if n >= column {
			return b.String()
		}
		n++
		switch {
		case r == '\t':
			b.WriteByte('\t')
		case unicode.In(r, unicode.Mn, unicode.Me) || r == '\u200b' || r == '\u200d':
		case wide(r):
			b.WriteString("  ")
		default:
			b.WriteByte(' ')
		}
	}
	return b.String() + strings.Repeat(" ", max(0, column-n))
}

func wide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}

// WriteProblems prints problems as check does, one after the other.
func WriteProblems(w io.Writer, problems []Problem) error {
	for _, p := range problems {
		if _, err := fmt.Fprintln(w, p.String()); err != nil {
			return err
		}
	}
	return nil
}

// HasErrors reports whether one of the problems refuses the rule set.
func HasErrors(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity == Error })
}

// SortProblems puts problems in the order of their places, errors before
// warnings at one place, drops those said twice, and shortens what is quoted at
// great length. It returns the shortened slice.
func SortProblems(problems []Problem) []Problem {
	for i := range problems {
		p := &problems[i]
		p.Message, p.Source = clip.Message(p.Message), clip.Start(p.Source, p.Column)
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(problems)
}
