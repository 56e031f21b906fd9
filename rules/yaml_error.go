package rules

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"
)

// lineReader hands out one line at a time, so that what was read when the YAML
// parser gives up ends near what it gave up on.
type lineReader struct {
	data []byte
	read int // bytes handed out
}

// Read implements io.Reader.
func (r *lineReader) Read(p []byte) (int, error) {
	rest := r.data[r.read:]
	if len(rest) == 0 {
		return 0, io.EOF
	}
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end+1]
	}
	n := copy(p, rest)
	r.read += n
	return n, nil
}

var yamlErrorLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// yamlProblem reports what the YAML parser refused; read is what it had read by
// then. The parser's own line is that of the construct around the mistake.
func (l *loader) yamlProblem(doc *document, read []byte, err error) {
	line, message := 1, err.Error()
	if m := yamlErrorLine.FindStringSubmatch(message); m != nil {
		message = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	if n := failingLine(read); n > 0 {
		line = n
	}
	if at, advice := findTrap(doc, line); advice != "" && !l.noRules {
		l.errorf(at, "%s", advice)
		return
	}
	if plain, ok := yamlWords[message]; ok {
		message = plain
	}
	l.errorf(doc.firstWord(line), "this is not YAML: %s", message)
}

// yamlWords puts messages of the YAML parser in words.
var yamlWords = map[string]string{
	"did not find expected '-' indicator":                          "this line's indentation does not fit the lines before it",
	"did not find expected key":                                    "this line's indentation or punctuation does not fit the lines before it",
	"mapping values are not allowed in this context":               "a second ': ' in one line, or an indentation that does not fit the lines before it",
	"found character that cannot start any token":                  "this begins with a tab or another character that cannot stand here",
	"found a tab character where an indentation space is expected": "lines are indented with spaces, not with tabs",
	"found a tab character that violates indentation":              "lines are indented with spaces, not with tabs",
	"could not find expected ':'":                                  "':' is missing after the name of a field",
	"found unexpected end of stream":                               "a quote is never closed",
	"did not find expected ',' or ']'":                             "',' or ']' is missing",
	"did not find expected ',' or '}'":                             "',' or '}' is missing",
}

// maxLookAhead bounds how many lines the YAML parser is taken to have read
// beyond a mistake.
const maxLookAhead = 20

// failingLine returns the first line with which what was read fails to parse
// and goes on failing; 0 if that is too far back to look for.
func failingLine(read []byte) int {
	for range maxLookAhead {
		shorter := read[:max(0, bytes.LastIndexByte(bytes.TrimSuffix(read, []byte("\n")), '\n')+1)]
		if parses(shorter) {
			return len(splitLines(string(bytes.TrimSuffix(read, []byte("\n")))))
		}
		read = shorter
	}
	return 0
}

func parses(text []byte) bool {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var node yaml.Node
		if err := decodeYAML(decoder, &node); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}
