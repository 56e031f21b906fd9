package oracle

import (
	"math/big"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/segmentd/segmentd/state/subject"
)

var functions = withGetters(map[string]function{
	"_&&_": func(sc *scope, n *node) any { return isTrue(sc.eval(n.args[0])) && isTrue(sc.eval(n.args[1])) },
	"_||_": func(sc *scope, n *node) any { return isTrue(sc.eval(n.args[0])) || isTrue(sc.eval(n.args[1])) },
	"!_":   strict(func(a []any) any { return !isTrue(a[0]) }),
	"_?_:_": func(sc *scope, n *node) any {
		if isTrue(sc.eval(n.args[0])) {
			return sc.eval(n.args[1])
		}
		return sc.eval(n.args[2])
	},
	"_==_":  strict(func(a []any) any { return equal(a[0], a[1]) }),
	"_!=_":  strict(func(a []any) any { return !equal(a[0], a[1]) }),
	"_<_":   comparison(func(c int) bool { return c < 0 }),
	"_<=_":  comparison(func(c int) bool { return c <= 0 }),
	"_>_":   comparison(func(c int) bool { return c > 0 }),
	"_>=_":  comparison(func(c int) bool { return c >= 0 }),
	"@in":   strict(func(a []any) any { return contains(a[1], a[0]) }),
	"_[_]":  strict(func(a []any) any { return at(a[0], a[1]) }),
	"_+_":   strict(func(a []any) any { return add(a[0], a[1]) }),
	"_-_":   strict(func(a []any) any { return subtract(a[0], a[1]) }),
	"_*_":   arithmetic(func(x, y *big.Rat) any { return bounded(new(big.Rat).Mul(x, y)) }),
	"_/_":   arithmetic(quotient),
	"_%_":   arithmetic(remainder),
	"-_":    strict(func(a []any) any { return subtract(number(0), a[0]) }),
	"has":   strict(func(a []any) any { return a[0] != nil }),
	"size":  strict(func(a []any) any { return size(a[0]) }),
	"split": strict(split),

	"startsWith": texts(strings.HasPrefix),
	"endsWith":   texts(strings.HasSuffix),
	"contains":   texts(strings.Contains),
	"matches":    texts(matches),
	"lowerAscii": text(lowerASCII),
	"upperAscii": text(upperASCII),
	"trim":       text(strings.TrimSpace),

	"timestamp": strict(func(a []any) any { return toTimestamp(a[0]) }),
	"double":    strict(func(a []any) any { return toNumber(a[0]) }),
	"int":       strict(func(a []any) any { return toWhole(a[0]) }),
	"string":    strict(func(a []any) any { return toText(a[0]) }),

	"segment": func(sc *scope, n *node) any { return sc.published(n.args[0].value.(string)) },
	"list":    func(sc *scope, n *node) any { return sc.listed(n.args[0].value.(string)) },
	"bucket":  func(sc *scope, n *node) any { return sc.bucket(n.args[0].value.(string)) },
	"ago":     func(sc *scope, n *node) any { return minus(sc.at, n.value.(span)) },
	"ahead":   func(sc *scope, n *node) any { return plus(sc.at, n.value.(span)) },

	"anniversary":   anniversary,
	"local_hour":    localHour,
	"local_weekday": localWeekday,
})

// strict evaluates all arguments first.
func strict(f func([]any) any) function {
	return func(sc *scope, n *node) any {
		args := make([]any, len(n.args))
		for i, a := range n.args {
			args[i] = sc.eval(a)
		}
		return f(args)
	}
}

// comparison compares two values; where T is on one side it also notes when
// the answer will turn.
func comparison(holds func(int) bool) function {
	return func(sc *scope, n *node) any {
		x, y := sc.eval(n.args[0]), sc.eval(n.args[1])
		sc.turnsAt(n.args[0], y)
		sc.turnsAt(n.args[1], x)
		c, ok := compare(x, y)
		return ok && holds(c)
	}
}

// turnsAt wakes the simulation when ago or ahead reaches the fixed instant.
func (sc *scope) turnsAt(moving *node, fixed any) {
	t, ok := fixed.(subject.Instant)
	if !ok || moving.kind != callNode || (moving.name != "ago" && moving.name != "ahead") {
		return
	}
	d := moving.value.(span)
	if moving.name == "ahead" {
		d = -d
	}
	sc.wake(t + subject.Instant(d))
	sc.wake(t + subject.Instant(d) + 1)
}

func arithmetic(f func(x, y *big.Rat) any) function {
	return strict(func(a []any) any {
		x, ok1 := a[0].(*big.Rat)
		y, ok2 := a[1].(*big.Rat)
		if !ok1 || !ok2 {
			return nil
		}
		return f(x, y)
	})
}

func add(a, b any) any {
	switch x := a.(type) {
	case *big.Rat:
		if y, ok := b.(*big.Rat); ok {
			return bounded(new(big.Rat).Add(x, y))
		}
	case string:
		if y, ok := b.(string); ok {
			return x + y
		}
	case []any:
		if y, ok := b.([]any); ok {
			return append(append([]any{}, x...), y...)
		}
	case subject.Instant:
		if y, ok := b.(span); ok {
			return x + subject.Instant(y)
		}
	case span:
		switch y := b.(type) {
		case span:
			return x + y
		case subject.Instant:
			return y + subject.Instant(x)
		}
	}
	return nil
}

func subtract(a, b any) any {
	switch x := a.(type) {
	case *big.Rat:
		if y, ok := b.(*big.Rat); ok {
			return bounded(new(big.Rat).Sub(x, y))
		}
	case subject.Instant:
		switch y := b.(type) {
		case subject.Instant:
			return span(x - y)
		case span:
			return x - subject.Instant(y)
		}
	case span:
		if y, ok := b.(span); ok {
			return x - y
		}
	}
	return nil
}

func size(v any) any {
	switch x := v.(type) {
	case string:
		return number(int64(utf8.RuneCountInString(x)))
	case []any:
		return number(int64(len(x)))
	case map[string]any:
		return number(int64(len(x)))
	}
	return nil
}

// text is a function from a string to a string; null for all else.
func text(f func(string) string) function {
	return strict(func(a []any) any {
		if s, ok := a[0].(string); ok {
			return f(s)
		}
		return nil
	})
}

// texts is a question about two strings; false for all else.
func texts(f func(s, t string) bool) function {
	return strict(func(a []any) any {
		s, ok1 := a[0].(string)
		t, ok2 := a[1].(string)
		return ok1 && ok2 && f(s, t)
	})
}

func matches(s, pattern string) bool {
	re, err := regexp.Compile(pattern)
	return err == nil && re.MatchString(s)
}

func lowerASCII(s string) string { return mapASCII(s, 'A', 'Z', 'a'-'A') }
func upperASCII(s string) string { return mapASCII(s, 'a', 'z', 'A'-'a') }

func mapASCII(s string, from, to, shift rune) string {
	return strings.Map(func(r rune) rune {
		if r >= from && r <= to {
			return r + shift
		}
		return r
	}, s)
}

func split(a []any) any {
	s, ok1 := a[0].(string)
	sep, ok2 := a[1].(string)
	if !ok1 || !ok2 {
		return nil
	}
	limit := -1
	if len(a) > 2 {
		r, ok := a[2].(*big.Rat)
		if !ok || !r.IsInt() {
			return nil
		}
		limit = int(r.Num().Int64())
	}
	parts := []any{}
	for _, p := range strings.SplitN(s, sep, limit) {
		parts = append(parts, p)
	}
	return parts
}

func toNumber(v any) any {
	switch x := v.(type) {
	case *big.Rat:
		return x
	case string:
		return parseNumber(x)
	}
	return nil
}

func toWhole(v any) any {
	switch x := v.(type) {
	case *big.Rat:
		return truncated(x)
	case string:
		if r, ok := parseNumber(x).(*big.Rat); ok && !strings.ContainsAny(x, ".eE") {
			return r
		}
	case subject.Instant:
		return new(big.Rat).SetInt(new(big.Int).Div(big.NewInt(int64(x)), big.NewInt(1_000_000)))
	}
	return nil
}

func toText(v any) any {
	switch x := v.(type) {
	case string:
		return x
	case bool:
		if x {
			return "true"
		}
		return "false"
	case *big.Rat:
		return plainText(x)
	case subject.Instant:
		return timeText(x)
	case span:
		return plainText(big.NewRat(int64(x), 1_000_000)) + "s"
	}
	return nil
}

func (sc *scope) listed(key string) bool {
	return sc.sim.id.Type == subject.UserID && sc.sim.set.lists[key][sc.sim.id.Value]
}

func (sc *scope) bucket(salt string) any {
	if sc.sim.opts.Bucket == nil {
		return number(0)
	}
	return sc.sim.opts.Bucket(sc.sim.id, salt)
}
