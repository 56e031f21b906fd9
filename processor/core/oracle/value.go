package oracle

import (
	"sort"
	"strings"

	"math/big"

	"github.com/segmentd/segmentd/state/subject"
)

// Values are plain Go values: nil (null, missing), bool, *big.Rat, string,
// subject.Instant, span, []any, map[string]any, *event.

// span is a duration in microseconds.
type span int64

func isTrue(v any) bool { b, ok := v.(bool); return ok && b }

// equal is the rule language's ==.
func equal(a, b any) bool {
	switch x := a.(type) {
	case *big.Rat:
		y, ok := b.(*big.Rat)
		return ok && x.Cmp(y) == 0
	case []any:
		y, ok := b.([]any)
		return ok && equalLists(x, y)
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && equalMaps(x, y)
	}
	switch b.(type) {
	case []any, map[string]any:
		return false
	}
	return a == b
}

func equalLists(a, b []any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func equalMaps(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || !equal(v, w) {
			return false
		}
	}
	return true
}

// compare orders two values of one ordered kind.
func compare(a, b any) (c int, ok bool) {
	switch x := a.(type) {
	case *big.Rat:
		if y, ok := b.(*big.Rat); ok {
			return x.Cmp(y), true
		}
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y), true
		}
	case bool:
		if y, ok := b.(bool); ok {
			return sign(rank(x) - rank(y)), true
		}
	case subject.Instant:
		if y, ok := b.(subject.Instant); ok {
			return sign(int64(x) - int64(y)), true
		}
	case span:
		if y, ok := b.(span); ok {
			return sign(int64(x) - int64(y)), true
		}
	}
	return 0, false
}

func rank(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func sign(d int64) int {
	switch {
	case d < 0:
		return -1
	case d > 0:
		return 1
	}
	return 0
}

// elements are the elements of a list or the keys of a map, in order.
func elements(v any) (list []any, ok bool) {
	switch x := v.(type) {
	case []any:
		return x, true
	case map[string]any:
		keys := make([]string, 0, len(x))
		for k := range x {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			list = append(list, k)
		}
		return list, true
	}
	return nil, false
}

// member is v.key, null if v is no map or has none.
func member(v any, key string) any {
	m, _ := v.(map[string]any)
	return m[key]
}

// at is v[index].
func at(v, index any) any {
	switch x := v.(type) {
	case map[string]any:
		if k, ok := index.(string); ok {
			return x[k]
		}
	case []any:
		r, ok := index.(*big.Rat)
		if !ok || !r.IsInt() || !r.Num().IsInt64() {
			return nil
		}
		if i := r.Num().Int64(); i >= 0 && i < int64(len(x)) {
			return x[i]
		}
	}
	return nil
}

// contains is the rule language's "in".
func contains(collection, v any) bool {
	switch x := collection.(type) {
	case map[string]any:
		k, ok := v.(string)
		_, found := x[k]
		return ok && found
	case []any:
		for _, e := range x {
			if equal(e, v) {
				return true
			}
		}
	}
	return false
}
