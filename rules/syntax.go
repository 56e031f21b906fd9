package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
)

// maxNesting bounds brackets within brackets and signs before values; CEL's own bound is higher.
const maxNesting = 60

// parse parses a formula and refuses what needs no types to be refused.
func (c *checker) parse(env *cel.Env, f *formula) bool {
	if offset, message := diagnose(f.text.runes); message != "" {
		c.fail(f, f.text.at(offset), "%s", message)
		return false
	}
	parsed, issues := env.Parse(f.text.text())
	if issues.Err() != nil {
		e := issues.Errors()[0]
		offset := offsetOf(f.text.runes, e)
		c.fail(f, f.text.at(offset), "%s", syntaxMessage(f.text.runes, offset, e.Message))
		return false
	}
	f.parsed, f.tree = parsed, parsed.NativeRep()
	c.refuse(f)
	return true
}

// offsetOf is the rune offset of a CEL error's line and column.
func offsetOf(runes []rune, e *common.Error) int {
	line, i := 1, 0
	for i < len(runes) && line < e.Location.Line() {
		if runes[i] == '\n' {
			line++
		}
		i++
	}
	return min(i+max(0, e.Location.Column()), len(runes))
}

// diagnose finds the common mistakes of writing, before CEL's parser reports
// what follows from them.
func diagnose(r []rune) (offset int, message string) {
	tokens := lexRule(r)
	if !slices.ContainsFunc(tokens, func(t token) bool { return t.kind != commentToken }) {
		return 0, "the rule is empty"
	}
	for i, t := range tokens {
		text := string(r[t.start:t.end])
		switch {
		case t.kind == openTextToken:
			return t.start, "this text never ends: its closing quote is missing"
		case t.kind == signToken:
			message = strangeSign(r, t)
		case t.kind == wordToken:
			if message = strangeWord(text, tokens, i); message == bareDuration {
				return tokens[i-1].start, message
			}
			if message == "" && isUnquoted(r, tokens, i) {
				message = fmt.Sprintf("'%s' is not expected here: text is written in quotes, as in events(\"Order Completed\")", text)
			}
		case t.kind == textToken:
			message = strangeText(text)
		}
		if message != "" {
			return t.start, message
		}
	}
	return brackets(r, tokens)
}

func strangeSign(r []rune, t token) string {
	c := r[t.start]
	next := rune(0)
	if t.end < len(r) {
		next = r[t.end]
	}
	before := rune(0)
	if t.start > 0 {
		before = r[t.start-1]
	}
	switch {
	case strings.ContainsRune("“”„«»‘’", c):
		return "typographic quotes mean nothing here: write \" or '"
	case c == '=' && next == '=' && before != '=' && t.end+1 < len(r) && r[t.end+1] == '=':
		return "'===' is no operator: write =="
	case c == '=' && next != '=' && !strings.ContainsRune("=!<>", before):
		return "'=' is no operator: write == to compare"
	case c == '<' && next == '>':
		return "'<>' is no operator: write !="
	case (c == '&' || c == '|') && next != c && before != c:
		return fmt.Sprintf("'%c' is no operator: write %c%c", c, c, c)
	case c == ';':
		return "';' means nothing here: join conditions with && or ||"
	case c == '#':
		return "'#' means nothing here: a comment in a rule begins with //"
	case c > unicode.MaxASCII && unicode.IsLetter(c):
		return "a name with other letters than a to z is written in brackets, as in traits[\"größe\"]"
	case c == 0 || unicode.IsControl(c):
		return "a control character in a rule"
	}
	return ""
}

const bareDuration = "a duration is written as text, in quotes, as in \"30d\""

var wordOperators = map[string]string{"and": "&&", "or": "||", "not": "!"}

func strangeWord(word string, tokens []token, i int) string {
	after := i+1 < len(tokens) && tokens[i+1].kind != signToken
	before := i > 0 && tokens[i-1].kind != signToken
	if op, ok := wordOperators[strings.ToLower(word)]; ok && (after || before) {
		return fmt.Sprintf("'%s' is no operator: write %s", word, op)
	}
	if i > 0 && tokens[i-1].kind == numberToken && tokens[i-1].end == tokens[i].start && strings.ContainsAny(word[:1], "smhdw") && len(word) == 1 {
		return bareDuration
	}
	return ""
}

// isUnquoted reports whether a word follows another one, as nowhere in a rule.
func isUnquoted(r []rune, tokens []token, i int) bool {
	return i > 0 && tokens[i-1].kind == wordToken && string(r[tokens[i].start:tokens[i].end]) != "in" &&
		string(r[tokens[i-1].start:tokens[i-1].end]) != "in"
}

var wrongEscape = regexp.MustCompile(`\\[^abfnrtvxXuU0-3"'` + "`" + `?\\]`)

func strangeText(text string) string {
	if quote := strings.IndexAny(text, "\"'`"); strings.ContainsAny(text[:quote], "rR") || text[0] == '`' {
		return ""
	}
	if e := wrongEscape.FindString(strings.ReplaceAll(text, `\\`, "  ")); e != "" {
		return fmt.Sprintf("%s is no escape: write \\%s, or r before the quote for text without escapes, as in r\"\\d+\"", e, e)
	}
	return ""
}

var closing = map[rune]rune{'(': ')', '[': ']', '{': '}'}

// brackets finds a bracket without its counterpart.
func brackets(r []rune, tokens []token) (offset int, message string) {
	var open []int
	for _, t := range tokens {
		if t.kind != signToken {
			continue
		}
		switch c := r[t.start]; c {
		case '(', '[', '{':
			if open = append(open, t.start); len(open) > maxNesting {
				return t.start, fmt.Sprintf("brackets are nested more than %d deep", maxNesting)
			}
		case ')', ']', '}':
			if len(open) == 0 {
				return t.start, fmt.Sprintf("this '%c' closes nothing", c)
			}
			last := open[len(open)-1]
			if closing[r[last]] != c {
				return t.start, fmt.Sprintf("'%c' is expected here, to close the '%c' before", closing[r[last]], r[last])
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		last := open[len(open)-1]
		return last, fmt.Sprintf("this '%c' is never closed", r[last])
	}
	return 0, ""
}

var syntaxInput = regexp.MustCompile(`(?s)^Syntax error: (?:mismatched input|extraneous input|no viable alternative at input|token recognition error at:) '(.*?)'(?: expecting .*)?$`)

// syntaxMessage puts an error of CEL's parser in words.
func syntaxMessage(runes []rune, offset int, message string) string {
	if m := syntaxInput.FindStringSubmatch(message); m != nil {
		if m[1] == "<EOF>" {
			return "the rule ends too early: something is missing after this"
		}
		word := strings.TrimSpace(m[1])
		if key := strings.TrimPrefix(word, "."); key != word && slices.Contains(celWords, key) {
			return fmt.Sprintf("'%s' is a word of the language: write .`%s`", key, key)
		}
		if t := tokenAt(runes, offset); t != "" {
			word = t
		}
		return fmt.Sprintf("'%s' is not expected here", word)
	}
	switch {
	case message == "argument is not an identifier":
		return "the first argument names a variable and must be a simple name"
	case strings.HasPrefix(message, "Syntax error: missing "):
		return "something is missing here: " + strings.TrimPrefix(message, "Syntax error: ")
	case strings.HasPrefix(message, "invalid int literal"), strings.HasPrefix(message, "invalid double literal"), strings.HasPrefix(message, "invalid uint literal"):
		return "the number is too large to be written here"
	case strings.Contains(message, "recursion") || strings.Contains(message, "code point"):
		return "the rule is too large or too deeply nested"
	}
	return strings.TrimPrefix(message, "Syntax error: ")
}

// tokenAt returns the token that begins at an offset, "" if none does.
func tokenAt(runes []rune, offset int) string {
	for _, t := range lexRule(runes) {
		if t.start == offset {
			if t.end < len(runes) && t.kind == signToken && strings.ContainsRune("&|=", runes[t.end]) {
				t.end++
			}
			return string(runes[t.start:t.end])
		}
	}
	return ""
}
