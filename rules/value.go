package rules

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/segmentd/segmentd/state/subject"
)

// null is the value of everything that cannot be computed.
var null = subject.Value{}

func number(n subject.Number, ok bool) subject.Value {
	if !ok {
		return null
	}
	return subject.OfNumber(n)
}

func bothNumbers(a, b subject.Value) bool {
	return a.Kind() == subject.NumberKind && b.Kind() == subject.NumberKind
}

func add(a, b subject.Value) subject.Value {
	switch {
	case bothNumbers(a, b):
		return number(a.Number().Add(b.Number()))
	case a.Kind() == subject.String && b.Kind() == subject.String:
		return subject.OfString(a.Str() + b.Str())
	case a.Kind() == subject.List && b.Kind() == subject.List:
		return subject.OfList(append(append([]subject.Value(nil), a.List()...), b.List()...))
	case a.Kind() == subject.Time && b.Kind() == subject.Duration:
		return timeOf(int64(a.Instant()), b.Micros())
	case a.Kind() == subject.Duration && b.Kind() == subject.Time:
		return timeOf(int64(b.Instant()), a.Micros())
	case a.Kind() == subject.Duration && b.Kind() == subject.Duration:
		return durationOf(a.Micros(), b.Micros())
	}
	return null
}

func subtract(a, b subject.Value) subject.Value {
	switch {
	case bothNumbers(a, b):
		return number(a.Number().Sub(b.Number()))
	case a.Kind() == subject.Time && b.Kind() == subject.Time:
		return subject.OfDuration(int64(a.Instant()) - int64(b.Instant()))
	case a.Kind() == subject.Time && b.Kind() == subject.Duration:
		return timeOf(int64(a.Instant()), -b.Micros())
	case a.Kind() == subject.Duration && b.Kind() == subject.Duration:
		return durationOf(a.Micros(), -b.Micros())
	}
	return null
}

// timeOf returns t + d if that is a timestamp of the years 0 to 9999.
func timeOf(t, d int64) subject.Value {
	sum, ok := addMicros(t, d)
	if at := subject.Instant(sum); ok && at.Valid() {
		return subject.OfTime(at)
	}
	return null
}

func durationOf(a, b int64) subject.Value {
	sum, ok := addMicros(a, b)
	if !ok || sum > maxDurationMicros || sum < -maxDurationMicros {
		return null
	}
	return subject.OfDuration(sum)
}

func addMicros(a, b int64) (sum int64, ok bool) {
	sum = a + b
	return sum, (sum > a) == (b > 0)
}

func multiply(a, b subject.Value) subject.Value {
	if !bothNumbers(a, b) {
		return null
	}
	return number(a.Number().Mul(b.Number()))
}

func divide(a, b subject.Value) subject.Value {
	if !bothNumbers(a, b) {
		return null
	}
	return number(a.Number().Quo(b.Number()))
}

func remainder(a, b subject.Value) subject.Value {
	if !bothNumbers(a, b) {
		return null
	}
	return number(a.Number().Rem(b.Number()))
}

func negate(a subject.Value) subject.Value {
	if a.Kind() != subject.NumberKind {
		return null
	}
	return subject.OfNumber(a.Number().Neg())
}

// elementOf is x[i] of lists and m["k"] of maps.
func elementOf(x, key subject.Value) subject.Value {
	switch x.Kind() {
	case subject.Map:
		if key.Kind() == subject.String {
			return x.Get(key.Str())
		}
	case subject.List:
		if key.Kind() != subject.NumberKind {
			return null
		}
		i, ok := key.Number().Int64()
		if l := x.List(); ok && i >= 0 && i < int64(len(l)) {
			return l[i]
		}
	}
	return null
}

// contained is x in y: of a list's elements or a map's keys.
func contained(x, y subject.Value) bool {
	switch y.Kind() {
	case subject.List:
		for _, e := range y.List() {
			if e.Equal(x) {
				return true
			}
		}
	case subject.Map:
		return x.Kind() == subject.String && hasKey(y, x.Str())
	}
	return false
}

func hasKey(m subject.Value, key string) bool {
	for _, f := range m.Fields() {
		if f.Key == key {
			return true
		}
	}
	return false
}

// members returns how many elements macros see of a collection, -1 if v is none.
func members(v subject.Value) int {
	switch v.Kind() {
	case subject.List:
		return len(v.List())
	case subject.Map:
		return len(v.Fields())
	}
	return -1
}

// member returns the i-th of them: a list's element, a map's key.
func member(v subject.Value, i int) subject.Value {
	if v.Kind() == subject.Map {
		return subject.OfString(v.Fields()[i].Key)
	}
	return v.List()[i]
}

func sizeOf(v subject.Value) subject.Value {
	if v.Kind() == subject.String {
		return subject.OfInt(int64(utf8.RuneCountInString(v.Str())))
	}
	if n := members(v); n >= 0 {
		return subject.OfInt(int64(n))
	}
	return null
}

func toString(v subject.Value) subject.Value {
	switch v.Kind() {
	case subject.String:
		return v
	case subject.Bool:
		return subject.OfString(strconv.FormatBool(v.IsTrue()))
	case subject.NumberKind:
		return subject.OfString(v.Number().String())
	case subject.Time:
		return subject.OfString(v.Instant().String())
	case subject.Duration:
		return subject.OfString(secondsText(v.Micros()))
	}
	return null
}

// secondsText writes a duration as CEL does: seconds with a fraction as needed, and "s".
func secondsText(micros int64) string {
	n, _ := subject.Decimal(micros, -6)
	return n.String() + "s"
}

func toDouble(v subject.Value) subject.Value {
	switch v.Kind() {
	case subject.NumberKind:
		return v
	case subject.String:
		return number(subject.ParseNumber(v.Str()))
	}
	return null
}

func toInt(v subject.Value) subject.Value {
	switch v.Kind() {
	case subject.NumberKind:
		return subject.OfNumber(v.Number().Trunc())
	case subject.Time:
		return subject.OfInt(v.Instant().Time().Unix())
	case subject.String:
		n, ok := subject.ParseNumber(v.Str())
		return number(n, ok && n.Trunc().Cmp(n) == 0)
	}
	return null
}

// epochMillisFrom is the magnitude from which an epoch number is read as
// milliseconds: in seconds it would be the year 5138, in milliseconds 1973.
const epochMillisFrom = 100_000_000_000

func toTimestamp(v subject.Value) subject.Value {
	switch v.Kind() {
	case subject.Time:
		return v
	case subject.String:
		if at, err := subject.ParseDateOrInstant(v.Str()); err == nil {
			return subject.OfTime(at)
		}
	case subject.NumberKind:
		return fromEpoch(v.Number())
	}
	return null
}

func fromEpoch(n subject.Number) subject.Value {
	unit := int32(6)
	if n.Cmp(subject.Int(epochMillisFrom)) >= 0 || n.Cmp(subject.Int(-epochMillisFrom)) <= 0 {
		unit = 3
	}
	scale, _ := subject.Decimal(1, unit)
	scaled, ok := n.Mul(scale)
	whole := scaled.Trunc()
	if scaled.Cmp(whole) < 0 {
		whole, _ = whole.Sub(subject.Int(1))
	}
	micros, fits := whole.Int64()
	if at := subject.Instant(micros); ok && fits && at.Valid() {
		return subject.OfTime(at)
	}
	return null
}

func toDuration(v subject.Value) subject.Value {
	switch v.Kind() {
	case subject.Duration:
		return v
	case subject.String:
		if us, err := parseDuration(v.Str()); err == nil {
			return subject.OfDuration(us)
		}
		if d, err := time.ParseDuration(v.Str()); err == nil && d != math.MinInt64 {
			return subject.OfDuration(d.Microseconds())
		}
	}
	return null
}

// onString lifts a function of text; null of all else.
func onString(f func(string) string) func(subject.Value) subject.Value {
	return func(v subject.Value) subject.Value {
		if v.Kind() != subject.String {
			return null
		}
		return subject.OfString(f(v.Str()))
	}
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func upperASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, s)
}

// split cuts a text at each separator into at most n parts (-1: all).
func split(text, separator subject.Value, n int) subject.Value {
	if text.Kind() != subject.String || separator.Kind() != subject.String {
		return null
	}
	parts := strings.SplitN(text.Str(), separator.Str(), n)
	list := make([]subject.Value, len(parts))
	for i, p := range parts {
		list[i] = subject.OfString(p)
	}
	return subject.OfList(list)
}

// owned returns v in memory of its own: an event's values last only until the
// decoder's next record.
func owned(v subject.Value) subject.Value {
	switch v.Kind() {
	case subject.String:
		return subject.OfString(strings.Clone(v.Str()))
	case subject.List:
		list := make([]subject.Value, len(v.List()))
		for i, e := range v.List() {
			list[i] = owned(e)
		}
		return subject.OfList(list)
	case subject.Map:
		fields := make([]subject.Field, len(v.Fields()))
		for i, f := range v.Fields() {
			fields[i] = subject.Field{Key: strings.Clone(f.Key), Value: owned(f.Value)}
		}
		return subject.OfMap(fields)
	}
	return v
}
