package mapping

import (
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/interpreter"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire/scan"
)

// Record is what expressions read.
type Record struct {
	Key     []byte // nil: none
	Value   []byte // JSON that has been validated, without space around it
	Headers []stream.Header
}

// Failure says why an expression gave nothing for a record, in words without
// any content of it.
type Failure struct {
	Key    string // of the expression
	Detail string
}

// Evaluator evaluates a mapping record by record. It reuses its memory, so it
// is not safe for concurrent use.
type Evaluator struct {
	mapping    *Mapping
	appendTime func([]byte, time.Time) []byte
	record     Record
	variables  variables
	text       []byte // what results that are not part of the record are written to
	spans      []span
	results    [][]byte
	failures   []Failure
}

// span is a result: part of the record, or from start to end of the evaluator's text.
type span struct {
	raw        []byte
	start, end int
}

// NewEvaluator returns an evaluator. appendTime appends, as JSON, a CEL
// timestamp that is the result for a member that is an instant.
func NewEvaluator(m *Mapping, appendTime func([]byte, time.Time) []byte) *Evaluator {
	return &Evaluator{mapping: m, appendTime: appendTime, spans: make([]span, len(m.entries)), results: make([][]byte, len(m.entries))}
}

// Eval returns the JSON of each of the mapping's Keys, nil for null, and what
// failed, whose result is nil. Both are valid until the next call; results may
// be parts of the record.
func (e *Evaluator) Eval(r Record) (results [][]byte, failures []Failure) {
	e.record, e.text, e.failures = r, e.text[:0], e.failures[:0]
	e.variables.begin(r)
	for i := range e.mapping.entries {
		x := &e.mapping.entries[i]
		var detail string
		if e.spans[i], detail = e.eval(x); detail != "" {
			e.failures = append(e.failures, Failure{x.name, "map." + x.name + ": " + detail})
			e.spans[i] = span{}
		}
	}
	for i, s := range e.spans {
		if e.results[i] = s.raw; s.end > s.start {
			e.results[i] = e.text[s.start:s.end:s.end]
		}
	}
	return e.results, e.failures
}

func (e *Evaluator) eval(x *entry) (s span, detail string) {
	if x.constant != nil {
		return span{raw: x.constant}, ""
	}
	if x.program == nil {
		s.raw, detail = follow(e.record.Value, x.path)
		if detail != "" || s.raw == nil || s.raw[0] == 'n' {
			return span{}, detail
		}
		return s, unfit(s.raw, x.want)
	}
	if x.readsKey && !utf8.Valid(e.record.Key) {
		return s, "the record's key is not valid UTF-8"
	}
	v, _, err := x.program.Eval(&e.variables)
	if err != nil {
		return s, x.tracer.reason(err, &e.variables)
	}
	w := writer{text: e.text, most: len(e.text) + maxTextBytes}
	if x.want == instant {
		w.appendTime = e.appendTime
	}
	if raw := rawOf(v); raw != nil {
		return span{raw: raw}, unfit(raw, x.want)
	}
	s.start = len(e.text)
	if detail = w.value(v, 0); detail != "" {
		return s, detail
	}
	e.text, s.end = w.text, len(w.text)
	if e.text[s.start] == 'n' {
		return span{}, ""
	}
	return s, unfit(e.text[s.start:s.end], x.want)
}

// follow finds what a path leads to: nil where a member on the way is missing
// or null.
func follow(raw []byte, path []string) (found []byte, detail string) {
	var scratch []byte
	for _, name := range path {
		switch raw[0] {
		case 'n':
			return nil, ""
		case '{':
		default:
			return nil, askedOf(name, scan.KindOf(raw))
		}
		next := []byte(nil)
		for m := scan.MembersOf(raw); next == nil; {
			quoted, value, ok := m.Next()
			if !ok {
				return nil, ""
			}
			var text []byte
			if text, scratch = scan.Unquote(quoted, scratch); string(text) == name {
				next = value
			}
		}
		raw = next
	}
	return raw, ""
}

// unfit says that a result is not of the kind that is wanted.
func unfit(raw []byte, wanted want) string {
	ok := false
	switch first := raw[0]; wanted {
	case text:
		ok = first == '"'
	case object:
		ok = first == '{'
	case instant:
		ok = first == '"' || first == '-' || first >= '0' && first <= '9'
	case boolean:
		ok = first == 't' || first == 'f'
	}
	if ok {
		return ""
	}
	given := scan.KindOf(raw)
	hint := ""
	if wanted == text && given == "a number" {
		hint = "; write string(…)"
	}
	return "gives " + given + ", not " + wantWords[wanted] + hint
}

// The words for CEL's own failures. Its messages hold content of the record.
const (
	errNoMember  = "asks something for a member that is neither an object nor null"
	errOperand   = "a function or operator is given a value of a kind that it does not take"
	errIndex     = "asks a list for an element that it does not have"
	errTooCostly = "takes more steps than an expression may"
	errOther     = "a conversion or calculation fails"
)

func reason(err error) string {
	var own functionError
	var cancelled interpreter.EvalCancelledError
	switch message := err.Error(); {
	case errors.As(err, &own):
		return own.Error()
	case errors.As(err, &cancelled):
		return errTooCostly
	case strings.HasPrefix(message, "no such overload"), strings.HasPrefix(message, "found no matching overload"):
		return errOperand
	case strings.HasPrefix(message, "no such key"):
		return errNoMember
	case strings.HasPrefix(message, "index out of bounds"), strings.HasPrefix(message, "invalid index"):
		return errIndex
	}
	return errOther
}

// variables are what expressions read of one record, made when first asked for.
type variables struct {
	record         Record
	value, headers any
}

func (v *variables) begin(r Record) { *v = variables{record: r} }

// ResolveName implements interpreter.Activation.
func (v *variables) ResolveName(name string) (any, bool) {
	switch name {
	case varValue:
		if v.value == nil {
			v.value = wrap(v.record.Value)
		}
		return v.value, true
	case varKey:
		if v.record.Key == nil {
			return null, true
		}
		return string(v.record.Key), true
	case varHeaders:
		if v.headers == nil {
			v.headers = wrap(headersJSON(v.record.Headers))
		}
		return v.headers, true
	case varNull:
		return null, true
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (*variables) Parent() interpreter.Activation { return nil }

// headersJSON is the headers as an object: of two of one name the last, none
// that is not text.
func headersJSON(headers []stream.Header) []byte {
	last := make(map[string]int, len(headers))
	for i, h := range headers {
		if utf8.ValidString(h.Key) && utf8.Valid(h.Value) {
			last[h.Key] = i
		}
	}
	text := []byte{'{'}
	for i, h := range headers {
		if at, ok := last[h.Key]; !ok || at != i {
			continue
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		text, _ = jsontext.AppendQuote(text, h.Key)
		text = append(text, ':')
		text, _ = jsontext.AppendQuote(text, h.Value)
	}
	return append(text, '}')
}
