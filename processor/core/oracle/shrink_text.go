package oracle

import (
	"regexp"
	"slices"
	"strings"
)

var (
	callStart = regexp.MustCompile(`\.?[a-zA-Z_]*\(`)
	operator  = regexp.MustCompile(` (&&|\|\||\?|:|[-+*/%]|[<>]=?|[!=]=) |, `)
)

// simplerLines are a line of rules with a shorter expression in the place of one
// of those that it holds: an operand for an operation, an argument for a call,
// a source for one with a method, a funnel for a longer one.
func simplerLines(line string) (all []string) {
	indent, body := line[:len(line)-len(strings.TrimLeft(line, " "))], strings.TrimSpace(line)
	if key, value, ok := strings.Cut(body, ": "); ok && !strings.ContainsAny(key, `(" `) {
		indent, body = indent+key+": ", value
	}
	for _, part := range operands(body) {
		all = append(all, indent+part+"\n")
	}
	for _, at := range callStart.FindAllStringIndex(body, -1) {
		end := closing(body, at[1])
		if end < 0 {
			continue
		}
		for _, simpler := range simplerCalls(body[at[0]:at[1]], body[at[1]:end]) {
			all = append(all, indent+body[:at[0]]+simpler+body[end+1:]+"\n")
		}
	}
	if strings.Contains(body, "!") {
		all = append(all, indent+strings.Replace(body, "!(", "(", 1)+"\n")
	}
	return slices.DeleteFunc(all, func(s string) bool { return len(s) >= len(line) })
}

// simplerCalls are what could stand for start, which ends in a bracket, and the
// text up to the closing one.
func simplerCalls(start, inside string) (all []string) {
	parts := operands(inside)
	if strings.HasPrefix(start, ".") {
		all = append(all, "")
	} else {
		all = append(all, parts...)
	}
	if start == "(" {
		all = append(all, inside)
	}
	if len(parts) >= 4 && strings.HasSuffix(start, "followed_by(") {
		for i := 0; i < len(parts); i += 2 {
			all = append(all, start+strings.Join(slices.Concat(parts[:i], parts[i+2:]), ", ")+")")
		}
	}
	return all
}

// operands are the parts of an expression between the operators and commas
// outside of its brackets; none if there is but one part.
func operands(s string) (parts []string) {
	from := 0
	for _, at := range operator.FindAllStringIndex(s, -1) {
		if at[0] < from || depthAt(s, at[0]) != 0 {
			continue
		}
		parts = append(parts, s[from:at[0]])
		from = at[1]
	}
	if from == 0 {
		return nil
	}
	return append(parts, s[from:])
}

// depthAt is how many brackets are open at an index.
func depthAt(s string, index int) int {
	return strings.Count(s[:index], "(") + strings.Count(s[:index], "[") - strings.Count(s[:index], ")") - strings.Count(s[:index], "]")
}

// closing is the index of the bracket that closes the one before an index; -1: none.
func closing(s string, from int) int {
	depth := 1
	for i := from; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
