package config

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/segmentd/segmentd/rules/clip"
	"github.com/segmentd/segmentd/rules/nearest"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Where string // file:line, variable or flag that gave the value; "" if none did
	Path  string // of the setting, such as inputs[0].kind; "" if it is none
	Text  string // what is wrong and what is allowed; never a secret
}

// String is the problem on one line, without the middle of what is very long.
func (p Problem) String() string {
	parts := []string{p.Where, p.Path, p.Text}
	return clip.Message(strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": "))
}

// Error holds all problems of a configuration, at least one.
type Error struct {
	Problems []Problem
}

// Error is one line a problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sortByLine puts the problems of a file first, in the order of its lines.
func sortByLine(problems []Problem, file string) {
	line := func(p Problem) int {
		text, ok := strings.CutPrefix(p.Where, file+":")
		if n, err := strconv.Atoi(text); ok && err == nil {
			return n
		}
		return math.MaxInt
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(line(a), line(b)) })
}

// asError returns the problems as an error, nil if there are none.
func asError(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Error{Problems: problems}
}

// didYouMean is a question with the word that is nearest to given, "" if none is near.
func didYouMean(given string, words []string) string {
	if word := nearest.To(given, words); word != "" {
		return "; did you mean " + word + "?"
	}
	return ""
}

// orList writes words as "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func indexPath(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
