// Package scan walks JSON that has been validated (one value, valid UTF-8),
// without decoding it. Its functions check nothing, panic on anything else, and
// return parts of what they are given, never copies of it. All are safe for
// concurrent use.
package scan

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// Members iterates over the members of an object. It is made by MembersOf.
type Members struct{ rest []byte }

// MembersOf begins at the first member of an object.
func MembersOf(object []byte) Members { return Members{object[1:]} }

// Next returns the next member's name, still quoted, and its value.
func (m *Members) Next() (name, value []byte, ok bool) {
	b := m.rest
	i := SkipTo(b, 0, ',')
	if b[i] == '}' {
		return nil, nil, false
	}
	end := SkipString(b, i)
	name, i = b[i:end], SkipTo(b, end, ':')
	end = SkipValue(b, i)
	m.rest = b[end:]
	return name, b[i:end], true
}

// Elements iterates over the elements of a list. It is made by ElementsOf.
type Elements struct{ rest []byte }

// ElementsOf begins at the first element of a list.
func ElementsOf(list []byte) Elements { return Elements{list[1:]} }

// Next returns the next element.
func (e *Elements) Next() (value []byte, ok bool) {
	b := e.rest
	i := SkipTo(b, 0, ',')
	if b[i] == ']' {
		return nil, false
	}
	end := SkipValue(b, i)
	e.rest = b[end:]
	return b[i:end], true
}

func isSpace(c byte) bool { return c <= ' ' }

// SkipTo returns the index of what follows space and a separator, if there is one.
func SkipTo(b []byte, i int, separator byte) int {
	for isSpace(b[i]) || b[i] == separator {
		i++
	}
	return i
}

// SkipValue returns the index behind the value that begins at b[i].
func SkipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return SkipString(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	for i < len(b) && !isSpace(b[i]) && b[i] != ',' && b[i] != '}' && b[i] != ']' {
		i++
	}
	return i
}

// SkipString returns the index behind the string that begins at b[i].
func SkipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func skipNested(b []byte, i int) int {
	for depth := 0; ; i++ {
		switch b[i] {
		case '"':
			i = SkipString(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// Unquote returns the text of a quoted string: part of it where nothing is
// escaped, else in scratch, which is then returned grown.
func Unquote(quoted, scratch []byte) (text, grown []byte) {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, scratch
	}
	scratch, _ = jsontext.AppendUnquote(scratch[:0], quoted)
	return scratch, scratch
}

// KindOf names the kind of a value with its article, for details.
func KindOf(value []byte) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
