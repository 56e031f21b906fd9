// Package clip bounds what messages quote: a file may hold a number of 400,000
// digits, and a message that has it whole is read by nobody.
package clip

import (
	"fmt"
	"strings"
	"unicode"
)

// Bounds of a message, in runes.
const (
	maxWord    = 300 // without a space in it; longer ones keep headRunes and tailRunes
	headRunes  = 60
	tailRunes  = 20
	maxMessage = 8000
)

// Message shortens very long words, and what goes on for too long.
func Message(text string) string {
	if len(text) <= maxWord {
		return text
	}
	var b strings.Builder
	for rest := []rune(text); len(rest) > 0; {
		n := 0
		for n < len(rest) && !unicode.IsSpace(rest[n]) {
			n++
		}
		b.WriteString(word(rest[:n]))
		if n < len(rest) {
			b.WriteRune(rest[n])
			n++
		}
		rest = rest[n:]
	}
	all := []rune(b.String())
	if len(all) <= maxMessage {
		return string(all)
	}
	return string(all[:maxMessage]) + "…"
}

func word(w []rune) string {
	if len(w) <= maxWord {
		return string(w)
	}
	return fmt.Sprintf("%s…(%d characters)…%s", string(w[:headRunes]), len(w)-headRunes-tailRunes, string(w[len(w)-tailRunes:]))
}

// Start is the beginning of a long line, with a column in it, in runes; "" where
// that is far into it.
func Start(line string, column int) string {
	if len(line) <= maxMessage {
		return line
	}
	if column > maxMessage-maxLine {
		return ""
	}
	all := []rune(line)
	return string(all[:min(len(all), maxMessage)])
}

// Bounds of a line that is shown around a place, in runes.
const (
	maxLine = 400
	before  = 200
)

// Line is the part of a long line around a column, both from 1 in runes, and the
// column in it. Others are returned as they are.
func Line(line string, column int) (part string, at int) {
	if len(line) <= maxLine {
		return line, column
	}
	all := []rune(line)
	if len(all) <= maxLine {
		return line, column
	}
	from := min(max(0, column-1-before), len(all)-maxLine)
	to := from + maxLine
	part, at = string(all[from:to]), column-from
	if from > 0 {
		part, at = "…"+part, at+1
	}
	if to < len(all) {
		part += "…"
	}
	return part, at
}
