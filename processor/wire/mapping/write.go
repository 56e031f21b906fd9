package mapping

import (
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/go-json-experiment/json/jsontext"
)

// writer writes results as JSON.
type writer struct {
	text       []byte
	most       int                            // bytes that text may have
	appendTime func([]byte, time.Time) []byte // of a result that is a timestamp; nil: RFC 3339
}

// Failures of writing.
const (
	errResultSize = "gives more than 1 MiB"
	errResultKind = "gives something that JSON does not have"
	errResultKeys = "gives a map with a key that is no text"
)

// rawOf returns the text of a value that is part of the record, else nil.
func rawOf(v ref.Val) []byte {
	switch v := v.(type) {
	case *jsonObject:
		return v.raw
	case *jsonList:
		return v.raw
	}
	return nil
}

// value appends a value; detail says why it cannot. Depth is bounded by the
// nesting of the expression.
func (w *writer) value(v ref.Val, depth int) (detail string) {
	if raw := rawOf(v); raw != nil {
		w.text = append(w.text, raw...)
		return w.full()
	}
	if n, ok := numberOf(v); ok {
		w.text = append(w.text, n.String()...)
		return ""
	}
	switch v := v.(type) {
	case types.String:
		var err error
		if w.text, err = jsontext.AppendQuote(w.text, string(v)); err != nil {
			return errResultKind
		}
		return w.full()
	case types.Bool:
		if v {
			w.text = append(w.text, "true"...)
		} else {
			w.text = append(w.text, "false"...)
		}
		return ""
	case types.Timestamp:
		w.time(v.Time, depth)
		return ""
	case traits.Lister:
		return w.list(v, depth)
	}
	if v.Type() == types.NullType {
		w.text = append(w.text, "null"...)
		return ""
	}
	if m, ok := v.(traits.Mapper); ok {
		return w.object(m, depth)
	}
	return errResultKind
}

func (w *writer) full() string {
	if len(w.text) > w.most {
		return errResultSize
	}
	return ""
}

func (w *writer) time(t time.Time, depth int) {
	if depth == 0 && w.appendTime != nil {
		w.text = w.appendTime(w.text, t)
		return
	}
	w.text = append(t.UTC().AppendFormat(append(w.text, '"'), time.RFC3339Nano), '"')
}

func (w *writer) list(l traits.Lister, depth int) (detail string) {
	w.text = append(w.text, '[')
	n, _ := l.Size().(types.Int)
	for i := range n {
		if i > 0 {
			w.text = append(w.text, ',')
		}
		if detail = w.value(l.Get(i), depth+1); detail != "" {
			return detail
		}
	}
	w.text = append(w.text, ']')
	return w.full()
}

// object writes a map of the expression's making, sorted by key.
func (w *writer) object(m traits.Mapper, depth int) (detail string) {
	var keys []string
	for it := m.Iterator(); it.HasNext() == types.True; {
		key, ok := it.Next().(types.String)
		if !ok {
			return errResultKeys
		}
		keys = append(keys, string(key))
	}
	slices.SortFunc(keys, strings.Compare)
	w.text = append(w.text, '{')
	for i, key := range keys {
		if i > 0 {
			w.text = append(w.text, ',')
		}
		var err error
		if w.text, err = jsontext.AppendQuote(w.text, key); err != nil {
			return errResultKeys
		}
		w.text = append(w.text, ':')
		if detail = w.value(m.Get(types.String(key)), depth+1); detail != "" {
			return detail
		}
	}
	w.text = append(w.text, '}')
	return w.full()
}
