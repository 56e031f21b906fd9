package rules

import "unicode"

// tokenKind is a kind of token as far as messages need to tell them apart.
type tokenKind uint8

const (
	wordToken tokenKind = iota
	numberToken
	textToken
	openTextToken // a text that never ends
	commentToken
	signToken // one rune
)

// token is a piece of a rule's text, as rune offsets.
type token struct {
	kind       tokenKind
	start, end int
}

// lexRule cuts a rule into tokens. It accepts any text: CEL's own parser judges.
func lexRule(r []rune) []token {
	var tokens []token
	for i := 0; i < len(r); {
		if unicode.IsSpace(r[i]) {
			i++
			continue
		}
		t := lexToken(r, i)
		tokens = append(tokens, t)
		i = t.end
	}
	return tokens
}

func lexToken(r []rune, i int) token {
	switch {
	case startsText(r, i):
		return lexText(r, i)
	case r[i] == '/' && i+1 < len(r) && r[i+1] == '/':
		end := i
		for end < len(r) && r[end] != '\n' {
			end++
		}
		return token{commentToken, i, end}
	case r[i] >= '0' && r[i] <= '9':
		return token{numberToken, i, runEnd(r, i, func(c rune) bool { return c == '.' || c >= '0' && c <= '9' })}
	case isWordRune(r[i]):
		return token{wordToken, i, runEnd(r, i, isWordRune)}
	}
	return token{signToken, i, i + 1}
}

func runEnd(r []rune, i int, in func(rune) bool) int {
	for i < len(r) && in(r[i]) {
		i++
	}
	return i
}

func isWordRune(c rune) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// startsText reports whether a quoted text or name, with prefixes like r, begins at i.
func startsText(r []rune, i int) bool {
	for n := 0; n < 2 && i < len(r) && (r[i] == 'r' || r[i] == 'R' || r[i] == 'b' || r[i] == 'B'); n++ {
		i++
	}
	return i < len(r) && (r[i] == '"' || r[i] == '\'' || r[i] == '`')
}

// lexText reads a quoted text: plain, raw or tripled (CEL language definition, String values).
func lexText(r []rune, start int) token {
	i, raw := start, false
	for r[i] != '"' && r[i] != '\'' && r[i] != '`' {
		raw = raw || r[i] == 'r' || r[i] == 'R'
		i++
	}
	quote, width := r[i], 1
	if quote != '`' && i+2 < len(r) && r[i+1] == quote && r[i+2] == quote {
		width = 3
	}
	for i += width; i < len(r); i++ {
		switch {
		case r[i] == '\\' && !raw && quote != '`':
			i++
		case r[i] == '\n' && width == 1:
			return token{openTextToken, start, i}
		case closes(r[i:], quote, width):
			return token{textToken, start, i + width}
		}
	}
	return token{openTextToken, start, len(r)}
}

func closes(r []rune, quote rune, width int) bool {
	if len(r) < width {
		return false
	}
	for _, c := range r[:width] {
		if c != quote {
			return false
		}
	}
	return true
}
