package rules

import (
	"strings"
	"testing"

	"github.com/segmentd/segmentd/state/subject"
)

// totalFields are the fields that the table's expressions call x.<name>: they
// are read once as traits and once as properties of an event.
var totalFields = map[string]any{
	"n": 10, "f": 2.5, "zero": 0, "s": "Hello", "num": "10", "yes": true, "no": false, "text": "true",
	"l": []any{1, 2.0, "x", nil}, "empty": []any{}, "m": map[string]any{"k": 1, "deep": map[string]any{"y": "z"}},
	"items": []any{map[string]any{"p": 2, "q": 3}, map[string]any{"p": 0.5, "q": 4}, map[string]any{"q": 1}},
	"date":  "2024-01-31", "rfc": "2024-01-31T12:00:00+01:00", "sec": 1706659200, "ms": 1706659200000, "odd key": 7,
	"words": "  A b  ", "wide": "äöü",
	"few": numbersTo(900), "many": numbersTo(1100),
}

// numbersTo lists whole numbers: as many, nested, are within maxTurns or not.
func numbersTo(n int) (list []any) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

var totalTests = map[string]bool{
	// booleans: only true is true
	`x.yes`: true, `x.no`: false, `x.none`: false, `x.n`: false, `x.text`: false, `x.s`: false,
	`!x.none`: true, `!x.s`: true, `!x.yes`: false, `!!x.n`: false, `x.none || x.yes`: true, `x.none && x.yes`: false, `x.yes && x.s`: false,
	`x.none ? false : true`: true, `x.s ? false : true`: true, `(x.yes ? x.s : 1) == "Hello"`: true, `(x.none ? 1 : 2) == 2`: true,
	// null
	`x.none == null`: true, `null == x.none`: true, `x.n == null`: false, `x.no == null`: false, `x.none != null`: false, `x.n != null`: true, `x.none == x.nothing`: true,
	`x.none != x.nothing`: false, `x.none == false`: false, `x.none != false`: true, `x.none == 0`: false, `x.none == ""`: false, `x.none != "a"`: true,
	`x.none < 1`: false, `x.none >= 1`: false, `x.none <= null`: false, `x.none <= x.nothing`: false, `!(x.none < 1)`: true, `null == null`: true,
	`x.none + 1 == null`: true, `x.n / 0 == null`: true, `x.n % 0 == null`: true, `x.n / x.none == null`: true, `-x.none == null`: true, `x.n / x.zero > 1`: false,
	`x.n / x.zero <= 1`: false, `has(x.none)`: false, `has(x.no)`: true, `has(x.zero)`: true, `has(x.m.k)`: true, `has(x.m.z)`: false, `has(x.n.z)`: false, `has(x.n / 0)`: false,
	// kinds do not mix
	`x.num == 10`: false, `10 == x.num`: false, `x.num != 10`: true, `"10" == 10`: false, `double("10") == 10`: true, `double(x.num) == x.n`: true, `x.num < 11`: false,
	`x.num >= 1`: false, `x.yes == 1`: false, `x.text == true`: false, `x.yes == true`: true, `x.l == 1`: false, `x.n < x.s`: false, `x.n >= x.s`: false, `x.yes > x.no`: true,
	// numbers are one kind
	`x.n == 10.0`: true, `1 == 1.0`: true, `1 / 2 == 0.5`: true, `x.n / 4 == 2.5`: true, `x.f * 2 == 5`: true, `x.n % 3 == 1`: true, `-7 % 3 == -1`: true, `0.1 + 0.2 == 0.3`: true,
	`x.n - 12.5 == -x.f`: true, `9007199254740993 == 9007199254740992.0`: false, `9007199254740993 - 1 == 9007199254740992`: true,
	`string(10.0) == "10"`: true, `string(x.f) == "2.5"`: true, `1e308 * 10 == null`: true, `1e308 * 10 > 1`: false, `7 / 2 == 3.5`: true, `1/3 < 0.34`: true,
	// conversions
	`int(2.9) == 2`: true, `int(-2.9) == -2`: true, `int("3") == 3`: true, `int("3.5") == null`: true, `int("x") == null`: true, `double("x") == null`: true, `double(x.l) == null`: true,
	`string(x.yes) == "true"`: true, `string(x.none) == null`: true, `string(x.l) == null`: true, `double("1e3") == 1000`: true, `int(x.yes) == null`: true, `string(x.s) == "Hello"`: true,
	// timestamps and durations
	`timestamp(x.date) == timestamp("2024-01-31T00:00:00Z")`: true, `timestamp(x.rfc) == timestamp("2024-01-31T11:00:00Z")`: true, `timestamp(x.sec) == timestamp(x.ms)`: true,
	`timestamp(x.sec) == timestamp("2024-01-31")`: true, `timestamp(x.s) == null`: true, `timestamp("31.1.2024") == null`: true, `timestamp(x.none) < timestamp("2024-01-01")`: false,
	`timestamp(x.rfc) - timestamp(x.date) == duration("11h")`: true, `timestamp(x.date) + duration("1d") == timestamp("2024-02-01")`: true, `duration("1d") + timestamp(x.date) > timestamp(x.date)`: true,
	`timestamp(x.date) - duration("24h") == timestamp("2024-01-30")`: true, `duration("90m") == duration("1h30m")`: true, `duration("1h") < duration("1d")`: true, `duration("x") == null`: true,
	`string(timestamp(x.date)) == "2024-01-31T00:00:00Z"`: true, `int(timestamp(x.date)) == 1706659200`: true, `string(duration("90s")) == "90s"`: true, `timestamp(x.date) == x.date`: false,
	`timestamp("9999-12-31") + duration("2d") == null`: true, `duration("1h") - duration("30m") == duration("30m")`: true, `timestamp(1.5) == timestamp("1970-01-01T00:00:01.5Z")`: true,
	// lists and maps
	`x.l[0] == 1`: true, `x.l[1] == 2`: true, `x.l[9] == null`: true, `x.l[-1] == null`: true, `x.l[x.none] == null`: true, `x.l[0.5] == null`: true, `x.m["k"] == 1`: true, `x.m.k == 1`: true,
	`x.m["z"] == null`: true, `x.m.deep.y == "z"`: true, `x.m[x.none] == null`: true, `x.n[0] == null`: true, `x.none[0] == null`: true, "x.`odd key` == 7": true, `x["odd key"] == 7`: true,
	`x.items[1].p == 0.5`: true, `x.items[2].p == null`: true, `[1, 2] == [1.0, 2]`: true, `[1, 2] == [2, 1]`: false, `{"a": 1, "b": 2} == {"b": 2, "a": 1}`: true, `{"a": 1}["a"] == 1`: true,
	`{"a": x.n}.a == 10`: true, `x.m == {"deep": {"y": "z"}, "k": 1.0}`: true, `[x.n][0] == 10`: true, `[1] + [x.n] == [1, 10]`: true, `x.s[0] == null`: true,
	`1 in x.l`: true, `2 in x.l`: true, `"x" in x.l`: true, `"1" in x.l`: false, `x.none in x.l`: true, `x.n in x.none`: false, `x.n in x.s`: false, `"k" in x.m`: true, `"z" in x.m`: false,
	`1 in x.m`: false, `x.s in ["a", "Hello"]`: true, `x.none in ["a"]`: false, `x.s in []`: false, `x.s in ["1","2","3","4","5","6","7","8","9","Hello"]`: true, `x.n in ["1","2","3","4","5","6","7","8","9","10"]`: false,
	`x.n in [1, 10.0]`: true, `!(x.none in ["a"])`: true, `"a" in {"a": 1}`: true,
	`x.l.exists(i, i == "x")`: true, `x.l.exists(i, i > 5)`: false, `x.none.exists(i, true)`: false, `x.s.exists(i, true)`: false, `x.empty.exists(i, true)`: false, `x.m.exists(k, k == "deep")`: true,
	`x.l.all(i, i != 9)`: true, `x.l.all(i, i > 0)`: false, `x.empty.all(i, false)`: true, `x.none.all(i, true)`: false, `x.n.all(i, true)`: false, `x.m.all(k, x.m[k] != null)`: true,
	`x.l.exists_one(i, i == 2)`: true, `x.l.exists_one(i, i != "x")`: false, `x.none.exists_one(i, true)`: false, `x.l.existsOne(i, i == 2)`: true,
	`x.l.filter(i, i < 3) == [1, 2]`: true, `x.none.filter(i, true) == []`: true, `x.n.filter(i, true).size() == 0`: true, `x.m.filter(k, k == "k") == ["k"]`: true,
	`x.items.map(i, i.p * i.q) == [6, 2, null]`: true, `x.items.map(i, i.q > 1, i.q) == [3, 4]`: true, `x.none.map(i, i) == []`: true, `x.s.map(i, i) == []`: true,
	`x.items.exists(i, x.l.exists(j, j == i.p))`: true, `x.items.exists(i, x.l.exists(i, i == 0.5))`: false, `x.l.map(i, x.empty.all(j, j == i)).size() == 4`: true,
	// macros within macros take a bounded number of turns
	`x.few.all(i, x.few.exists_one(j, j == i))`: true, `x.many.all(i, x.many.exists_one(j, j == i))`: false, `x.many.exists(i, !x.many.exists_one(j, j == i + 0.5))`: true,
	`x.many.exists(i, i > 1000 && !x.many.exists_one(j, j == i))`: false, `x.many.all(i, i == i)`: true, `x.few.all(i, i in x.few)`: true, `x.many.all(i, i in x.many)`: false,
	`x.few.map(i, x.few.map(j, j)).size() == 900`: true, `x.many.map(i, x.many.map(j, j)) == []`: true, `x.many.filter(i, x.many.all(j, j >= 0)) == []`: true,
	`x.few.all(i, x.few.exists_one(j, j == i)) && x.few.exists(i, x.few.all(j, j <= i))`: true,
	// text
	`x.s.startsWith("He")`: true, `x.s.endsWith("lo")`: true, `x.s.contains("ell")`: true, `x.s.matches("^H.*o$")`: true, `x.s.matches("^h")`: false, `x.n.startsWith("1")`: false,
	`x.none.contains("")`: false, `x.none.matches(".*")`: false, `x.l.endsWith("x")`: false, `x.s.startsWith(x.none)`: false, `x.s.contains(x.s)`: true, `x.s.matches(x.num)`: false, `!x.n.contains("1")`: true,
	`x.s.matches(x.s + "[")`: false, `x.s.lowerAscii() == "hello"`: true, `x.s.upperAscii() == "HELLO"`: true, `x.wide.upperAscii() == "äöü"`: true, `x.n.lowerAscii() == null`: true, `x.words.trim() == "A b"`: true,
	`x.none.trim() == null`: true, `x.words.trim().split(" ") == ["A", "b"]`: true, `x.words.trim().split(" ")[1] == "b"`: true, `x.none.split(",") == null`: true, `"a,b,c".split(",", 2) == ["a", "b,c"]`: true,
	`x.s.size() == 5`: true, `size(x.wide) == 3`: true, `x.l.size() == 4`: true, `size(x.m) == 2`: true, `size(x.none) == null`: true, `x.n.size() >= 0`: false, `x.s + " you" == "Hello you"`: true, `x.s + x.n == null`: true,
	`x.s < "Help"`: true, `"b" > "a"`: true, `x.s == "Hello"`: true, `x.s != "Hello"`: false, `x.s >= x.s`: true,
	// scores
	`(x.yes ? 10 : 0) + (x.no ? 5 : 0) >= 10`: true, `(x.yes ? 10 : 0) + (x.none ? 5 : 0) >= 12`: false,
}

func TestTotalSemanticsOfTraits(t *testing.T) {
	p := subject.Purpose{Key: "p"}
	for k, v := range totalFields {
		p.Traits = append(p.Traits, subject.Trait{Key: k, Value: val(v)})
	}
	for text, want := range totalTests {
		rule := inScope(text, "traits")
		set := ruleSource{rules: []string{rule}}.compile(t)
		if got := set.Segments[0].Answer(&View{Purpose: &p, At: origin}); got != want {
			t.Errorf("%s = %t", rule, got)
		}
		if next := set.Segments[0].Next(&View{Purpose: &p, At: origin}); next != subject.Never {
			t.Errorf("%s: next %s", rule, next)
		}
	}
}

func TestTotalSemanticsOfEvents(t *testing.T) {
	for text, want := range totalTests {
		rule := `events("E").where(` + inScope(text, "properties") + `).exists()`
		set := ruleSource{rules: []string{rule}}.compile(t)
		properties := make(map[string]subject.Value)
		for _, slot := range set.Fields.Slots {
			v := val(map[string]any(totalFields))
			for _, key := range strings.Split(strings.TrimPrefix(slot.Path, "properties."), ".") {
				v = v.Get(strings.Trim(key, "`"))
			}
			properties[slot.Path] = v
		}
		p, view := subject.Purpose{Key: "p"}, View{At: origin}
		view.Purpose = &p
		set.apply(&p, set.event("E", origin, properties), origin, &view)
		if got := set.Segments[0].Answer(&view); got != want {
			t.Errorf("%s = %t", rule, got)
		}
	}
}

// inScope writes the table's x as a scope's variable.
func inScope(text, scope string) string {
	return strings.NewReplacer("x.", scope+".", `x["`, scope+`["`).Replace(text)
}
