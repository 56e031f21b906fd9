package wire

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// The functions here walk JSON that has been validated; they check nothing and
// panic on anything else.

// members iterates over the members of an object.
type members struct{ rest []byte }

func membersOf(object []byte) members { return members{object[1:]} }

// next returns the next member's name, still quoted, and its value.
func (m *members) next() (name, value []byte, ok bool) {
	b := m.rest
	i := skipTo(b, 0, ',')
	if b[i] == '}' {
		return nil, nil, false
	}
	end := skipString(b, i)
	name, i = b[i:end], skipTo(b, end, ':')
	end = skipValue(b, i)
	m.rest = b[end:]
	return name, b[i:end], true
}

// elements iterates over the elements of a list.
type elements struct{ rest []byte }

func elementsOf(list []byte) elements { return elements{list[1:]} }

func (e *elements) next() (value []byte, ok bool) {
	b := e.rest
	i := skipTo(b, 0, ',')
	if b[i] == ']' {
		return nil, false
	}
	end := skipValue(b, i)
	e.rest = b[end:]
	return b[i:end], true
}

func isSpace(c byte) bool { return c <= ' ' }

// skipTo returns the index of what follows space and a separator, if there is one.
func skipTo(b []byte, i int, separator byte) int {
	for isSpace(b[i]) || b[i] == separator {
		i++
	}
	return i
}

// skipValue returns the index behind the value that begins at b[i].
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	for i < len(b) && !isSpace(b[i]) && b[i] != ',' && b[i] != '}' && b[i] != ']' {
		i++
	}
	return i
}

func skipString(b []byte, i int) int {
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
			i = skipString(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// unquote returns the text of a quoted string: part of it where nothing is
// escaped, else in scratch, which is then returned grown.
func unquote(quoted, scratch []byte) (text, grown []byte) {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, scratch
	}
	scratch, _ = jsontext.AppendUnquote(scratch[:0], quoted)
	return scratch, scratch
}

// kindOf names the kind of a value with its article, for details.
func kindOf(value []byte) string {
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
