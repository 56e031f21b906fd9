package config

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Where string // file:line, variable or flag that gave the value; "" if none did
	Path  string // of the setting, such as inputs[0].kind; "" if it is none
	Text  string // what is wrong and what is allowed; never a secret
}

// String is the problem on one line.
func (p Problem) String() string {
	parts := []string{p.Where, p.Path, p.Text}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
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

// didYouMean is a question with the word that is closest to given, "" if none is close.
func didYouMean(given string, words []string) string {
	if len(given) < 3 {
		return ""
	}
	best, least := "", 1+len(given)/3
	for _, w := range words {
		if d := editDistance(strings.ToLower(given), strings.ToLower(w)); d <= least && (best == "" || d < least) {
			best, least = w, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance counts the letters to insert, delete, replace or swap with the
// next one to make b of a (optimal string alignment).
func editDistance(a, b string) int {
	prev, row := []int(nil), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], prev[j-2]+1)
			}
		}
		prev, row = row, next
	}
	return row[len(b)]
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
