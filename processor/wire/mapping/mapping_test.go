package mapping

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/processor/stream"
)

func compiled(t testing.TB, kind Kind, expressions map[string]string) *Mapping {
	t.Helper()
	m, problems := Compile(kind, expressions)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return m
}

func appendMilliseconds(b []byte, t time.Time) []byte {
	return append(b, []byte(t.Format("20060102T150405"))...)
}

// testRecord is what the expressions of the tables read. Its texts hold secret
// where a failure could repeat them.
const (
	secret     = "s3cr3t"
	testRecord = `{"id":"u1","n":42,"big":9007199254740993,"x":12.50,"tiny":0.1,"huge":1e400,"yes":true,"none":null,"text":"` + secret + `",
 "customer":{"id":7,"mail":"A@B.example"},"a b":{"c.d":1},"date":"2026-01-31","items":[{"sku":"a","price":1.10,"n":2},{"sku":"b","price":2,"n":1}],
 "payload":"{\"kind\":\"order\",\"total\":5}","esc\u0041pe":"\u00e9","empty":{}}`
)

// TestResults shows what expressions give for a member of each kind.
func TestResults(t *testing.T) {
	for _, c := range []struct{ key, expression, want string }{
		// Paths keep the record's own text.
		{"userId", `value.id`, `"u1"`},
		{"userId", `value.customer.mail`, `"A@B.example"`},
		{"userId", `value["a b"]["missing"]`, ``},
		{"userId", "value.escApe", `"\u00e9"`},
		{"properties", `value["a b"]`, `{"c.d":1}`},
		{"properties", `value.customer`, `{"id":7,"mail":"A@B.example"}`},
		{"timestamp", `value.x`, `12.50`},
		{"timestamp", `value.big`, `9007199254740993`},
		// What is missing is null, and so is what is asked of null.
		{"userId", `value.missing`, ``},
		{"userId", `value.missing.deeper.still`, ``},
		{"userId", `value.none.deeper`, ``},
		{"userId", `string(value.missing)`, ``},
		{"userId", `null`, ``},
		{"userId", `value.missing == null ? value.id : "other"`, `"u1"`},
		{"userId", `null == value.none && value.none == value.missing ? "both" : "no"`, `"both"`},
		{"userId", `has(value.none) || has(value.missing.x) || has(value.none.x) ? "there" : "none"`, `"none"`},
		{"userId", `has(value.customer.id) ? string(value.customer.id) : null`, `"7"`},
		{"userId", `"none" in value && !("missing" in value) ? "in" : "out"`, `"in"`},
		{"userId", `value.missing.lowerAscii()`, ``},
		{"userId", `value.missing.upperAscii()`, ``},
		{"userId", `value.missing.trim()`, ``},
		{"userId", `value.missing[0]`, ``},
		{"userId", `parse_json(value.missing).a`, ``},
		{"explicit", `value.missing in ["a"]`, `false`},
		{"explicit", `value.missing in [null]`, `true`},
		{"explicit", `value.missing.all(i, i > 0) && !value.missing.exists_one(i, true)`, `true`},
		{"properties", `{"a": value.missing.filter(i, true), "b": value.missing}`, `{"a":[],"b":null}`},
		{"explicit", `value.missing.exists(i, i.sku == "a")`, `false`},
		{"properties", `{"items": value.missing.map(i, i.sku)}`, `{"items":[]}`},
		// Numbers are one exact kind.
		{"userId", `string(value.n) + "/" + string(value.x) + "/" + string(value.big)`, `"42/12.5/9007199254740993"`},
		{"userId", `string(12.0 * 1.0)`, `"12"`},
		{"timestamp", `value.n * 1.5`, `63`},
		{"timestamp", `value.n * value.x`, `525`},
		{"timestamp", `1 + value.tiny + 0.2`, `1.3`},
		{"timestamp", `7 / 2`, `3.5`},
		{"timestamp", `(value.big - 1) % 10`, `2`},
		{"timestamp", `-value.n`, `-42`},
		{"timestamp", `value.huge`, `1e400`}, // the text as it is; a decoder judges it
		{"timestamp", `value.huge == null ? 1 : 2`, `1`},
		{"explicit", `value.n > 41.5 && value.x < 13 && value.n == 42.0 && 42 == value.n`, `true`},
		// Texts.
		{"userId", `value.customer.mail.lowerAscii()`, `"a@b.example"`},
		{"userId", `"  x ".trim() + "y".upperAscii()`, `"xY"`},
		{"userId", `value.customer.mail.split("@")[1]`, `"B.example"`},
		{"userId", `"grüße".substring(2, 4) + "ab".substring(1)`, `"üßb"`},
		{"userId", `value.id.replace("u", "user-")`, `"user-1"`},
		{"userId", `value.id.startsWith("u") && value.id.matches("^u[0-9]+$") ? value.id : ""`, `"u1"`},
		{"userId", `key`, `"k1"`},
		{"userId", `headers["tenant"] + ":" + headers.twice`, `"acme:second"`},
		{"userId", `headers.missing`, ``},
		{"userId", `has(headers.binary) ? "there" : "no text"`, `"no text"`},
		// Times.
		{"timestamp", `timestamp(value.date + "T00:00:00Z")`, `20260131T000000`},
		{"properties", `{"at": timestamp("2026-01-31T10:00:00.5+01:00")}`, `{"at":"2026-01-31T09:00:00.5Z"}`},
		{"timestamp", `timestamp(1769853600)`, `20260131T100000`},
		// Objects.
		{"properties", `{"total": value.x, "z": value.items, "a": value.empty}`,
			`{"a":{},"total":12.5,"z":[{"sku":"a","price":1.10,"n":2},{"sku":"b","price":2,"n":1}]}`},
		{"properties", `{"lines": value.items.map(i, {"sku": i.sku, "sum": i.price * i.n})}`, `{"lines":[{"sku":"a","sum":2.2},{"sku":"b","sum":2}]}`},
		{"properties", `{"cheap": value.items.filter(i, i.price < 2).map(i, i.sku), "n": size(value.items)}`, `{"cheap":["a"],"n":2}`},
		{"properties", `{"names": value.customer.map(k, k), "both": value.items.map(i, i.sku) + ["c"]}`, `{"both":["a","b","c"],"names":["id","mail"]}`},
		{"properties", `parse_json(value.payload)`, `{"kind":"order","total":5}`},
		{"userId", `parse_json(value.payload).kind`, `"order"`},
		{"context", `{"consent": {"categoryPreferences": {"ads": value.yes, "mail": !value.yes}}}`, `{"consent":{"categoryPreferences":{"ads":true,"mail":false}}}`},
		{"properties", `value.customer == parse_json("{\"mail\":\"A@B.example\",\"id\":7.0}") ? {"equal": 1} : {}`, `{"equal":1}`},
		{"properties", `value.missing`, ``},
		{"properties", `value`, testRecord},
	} {
		results, failures := evaluate(t, c.key, c.expression)
		if diff := cmp.Diff(c.want, string(results[0])); diff != "" || failures != nil {
			t.Errorf("%s: %s\n%s%v", c.key, c.expression, diff, failures)
		}
	}
}

// kindOf finds a kind that knows the key.
func kindOf(key string) Kind {
	if key == "explicit" {
		return Decision
	}
	return Event
}

func evaluate(t *testing.T, key, expression string) ([][]byte, []Failure) {
	t.Helper()
	m, problems := Compile(kindOf(key), map[string]string{key: expression})
	if len(problems) > 0 {
		t.Fatalf("%s: %s: %v", key, expression, problems)
	}
	return NewEvaluator(m, appendMilliseconds).Eval(Record{Key: []byte("k1"), Value: []byte(testRecord), Headers: []stream.Header{
		{Key: "tenant", Value: []byte("acme")}, {Key: "twice", Value: []byte("first")}, {Key: "twice", Value: []byte("second")},
		{Key: "binary", Value: []byte{0xff}},
	}})
}

// TestFailures shows what a failure says, and that it says nothing of the record.
func TestFailures(t *testing.T) {
	for _, c := range []struct{ key, expression, want string }{
		{"userId", `value.n`, "gives a number, not text; write string(…)"},
		{"userId", `value.customer`, "gives an object, not text"},
		{"userId", `value.yes || value.text == "" ? value.yes : "x"`, "gives a boolean, not text"},
		{"properties", `value.text`, "gives a string, not an object"},
		{"properties", `value.items`, "gives a list, not an object"},
		{"timestamp", `value.yes`, "gives a boolean, not a timestamp, text or a number"},
		{"explicit", `value.text`, "gives a string, not true or false"},
		{"userId", `value.text.deeper`, `a string is asked for its member "deeper"`},
		{"userId", `string(value.text.deeper)`, `column 18: a string is asked for its member "deeper"`},
		{"userId", `value.items[9].sku`, "column 12: " + errIndex},
		{"userId", `value.text + value.n`, "column 12: + does not take a string and a number"},
		{"timestamp", `value.text * 2`, "column 12: * does not take a string and a number"},
		{"timestamp", `value.text/ 5`, "column 11: / does not take a string and a number"},
		{"timestamp", `value.n / 0`, "column 9: " + string(errNoNumber)},
		{"timestamp", `int(value.text)`, "column 4: int() of a string fails"},
		{"timestamp", `timestamp(value.text)`, "column 10: timestamp() of a string fails"},
		{"timestamp", `value.missing + 1`, "column 15: + does not take null and a number"},
		{"explicit", `value.missing > 1`, "column 15: > does not take null and a number"},
		{"explicit", `value.missing && true`, "column 15: && does not take null and a boolean"},
		{"explicit", `"a" in value.missing`, "column 5: in does not take a string and null"},
		{"timestamp", `size(value.missing)`, "column 5: size() does not take null"},
		{"userId", `value.missing + "x"`, "column 15: + does not take null and a string"},
		{"userId", `value.missing.replace("a", "b")`, "column 22: replace() does not take null and a string and a string"},
		{"userId", `value.missing.substring(1)`, "column 24: substring() does not take null and a number"},
		{"userId", `value.missing.matches("x") ? "a" : "b"`, "column 22: matches() does not take null and a string"},
		{"timestamp", `int(value.missing)`, "column 4: int() does not take null"},
		{"timestamp", `timestamp(value.missing)`, "column 10: timestamp() does not take null"},
		{"timestamp", `[1, 2].map(i, i)[value.missing]`, "column 17: […] of a list and null fails"},
		{"userId", `parse_json(value.text)`, "column 11: " + string(errNotJSON)},
		{"userId", `value.text.substring(3, 99)`, "column 21: " + string(errPosition)},
		{"userId", `value.text.split(value.n)[0]`, "column 17: split() does not take a string and a number"},
		{"userId", `value.text ? "a" : "b"`, "column 12: ?: does not take a string"},
		{"userId", `value.yes.lowerAscii()`, "column 21: lowerAscii() does not take a boolean"},
		{"userId", `value.missing.startsWith("x") ? "a" : "b"`, "column 25: startsWith() does not take null and a string"},
		{"userId", `value.text[value.text]`, "column 11: […] does not take a string and a string"},
		{"userId", `value.items[value.missing]`, "column 12: […] of a list and null fails"},
		{"userId", `value.missing.split(",")[0]`, "column 20: split() does not take null and a string"},
		{"explicit", `!value.missing`, "column 1: ! does not take null"},
		{"timestamp", `-value.missing`, "column 1: - does not take null"},
		{"explicit", `value.missing || value.n > "x"`, "column 26: > does not take a number and a string"},
		{"userId", "\"a\" +\n  value.n", "column 5: + does not take a string and a number"},
		{"properties", `{"a": value.items.map(i, i.sku * i.n)}`, "column 22: " + errOperand},
		{"explicit", `value.items.exists(i, i.sku > 5)`, "column 19: " + errOperand},
		{"userId", `has(value.text.deeper) ? "a" : "b"`, "column 15: a string is asked for its member \"deeper\""},
		{"timestamp", `value.missing.n + size(value.n)`, "column 23: size() does not take a number"},
		{"properties", `{value.text: 1, "x": duration("1s")}`, errResultKind},
		{"properties", `{"x": 0.0 / 1.0 == 0.0 ? double("NaN") : 1.0}`, errResultKind},
		{"userId", doubled(20), "column 164: " + string(errTooLarge)},
		{"userId", replaced(12), "column 169: " + string(errTooLarge)},
		{"explicit", loop(6), errTooCostly},
	} {
		results, failures := evaluate(t, c.key, c.expression)
		if len(failures) != 1 || results[0] != nil {
			t.Errorf("%s: %s gives %.100s, %v", c.key, c.expression, results[0], failures)
			continue
		}
		if diff := cmp.Diff(Failure{c.key, "map." + c.key + ": " + c.want}, failures[0]); diff != "" {
			t.Errorf("%s\n%s", c.expression, diff)
		}
		if strings.Contains(failures[0].Detail, secret) || len(failures[0].Detail) > 120 {
			t.Errorf("%s: %q", c.expression, failures[0].Detail)
		}
	}
}

// loop is nested loops over ten elements.
func loop(depth int) string {
	if depth == 0 {
		return "true"
	}
	return "[1,2,3,4,5,6,7,8,9,10].all(x" + strings.Repeat("x", depth) + ", " + loop(depth-1) + ")"
}

// replaced is a text that grows eightfold with each step.
func replaced(depth int) string {
	if depth == 0 {
		return `value.text`
	}
	return replaced(depth-1) + `.replace("3", "` + strings.Repeat("3", 8) + `")`
}

// doubled is a text that doubles with each step, as far as an expression's size lets it.
func doubled(depth int) string {
	big := `value.text` + strings.Repeat(`.replace("3", "33333333")`, 6)
	return `(` + big + `)` + strings.Repeat(` + (`+big+`)`, depth)
}

// TestProblems shows what is refused before any record is read.
func TestProblems(t *testing.T) {
	for _, c := range []struct{ key, expression, want string }{
		{"userId", `vlaue.id`, "unknown name 'vlaue': an expression reads key, value and headers, as in value.customer.id\n  vlaue.id\n  ^"},
		{"userId", `value.`, "'.' cannot stand here\n  value.\n        ^"},
		{"userId", "value.id +\n  custmer.id", "unknown name 'custmer': an expression reads key, value and headers, as in value.customer.id\n    custmer.id\n    ^"},
		{"userId", `value.scope.toLower()`, "unknown function 'toLower' (nearest: lowerAscii)\n  value.scope.toLower()\n              ^"},
		{"userId", `value["ü"] + stringg (value.id)`, "unknown function 'stringg' (nearest: string)\n  value[\"ü\"] + stringg (value.id)\n               ^"},
		{"userId", `value.scope.startWith("x") ? "a" : "b"`, "unknown function 'startWith' (nearest: startsWith)\n  value.scope.startWith(\"x\") ? \"a\" : \"b\"\n              ^"},
		{"userId", `events("x").count()`, "unknown function 'events'; there are " + strings.Join(functionNames(), ", ") + "\n  events(\"x\").count()\n  ^"},
		{"userId", `1 + 2`, "gives a number, not text; write string(…)"},
		{"userId", `value.a + value.b`, ""},
		{"userId", `value.a * "x"`, "'*' does not take (dyn, string); dyn is a field of the record\n  value.a * \"x\"\n          ^"},
		{"userId", `value.a + `, "the expression ends too early\n  value.a + \n            ^"},
		{"userId", `7`, "gives a number, not text; write string(…)"},
		{"properties", `"x"`, "gives text, not an object"},
		{"explicit", `value.a && true ? "x" : "y"`, "gives text, not true or false"},
		{"timestamp", `duration("1s")`, "gives a duration, not a timestamp, text or a number"},
		{"userId", `value.a.matches(value.b) ? "x" : "y"`, "the pattern of matches() must be a text in quotes"},
		{"userId", `value.a.matches("(a{0,30}){0,33}b") ? "x" : "y"`, "the pattern of matches() has 2082 steps, and at most 250 are allowed: repeat less, as in {0,30}"},
		{"properties", `{"x": {"a": 1, "b": 2}.map(k, k)}`, "a loop over a map literal has no order"},
		{"name", `value.x`, "unknown key; known for kind event: userId, anonymousId, type, event, messageId, timestamp, properties, traits, context"},
		{"userId", strings.Repeat("(", 200) + "value" + strings.Repeat(")", 200), "expression recursion limit exceeded: 100"},
	} {
		_, problems := Compile(kindOf(c.key), map[string]string{c.key: c.expression})
		var got []Problem
		if c.want != "" {
			got = []Problem{{c.key, c.want}}
		}
		if diff := cmp.Diff(got, problems); diff != "" {
			t.Errorf("%s\n%s", c.expression, diff)
		}
	}
}

// TestFunctionNames holds the document's lists to what there is.
func TestFunctionNames(t *testing.T) {
	names := strings.Join(functionNames(), " ")
	for _, name := range strings.Fields("all has exists exists_one filter map size contains startsWith endsWith matches lowerAscii upperAscii trim split substring replace parse_json string int double timestamp getFullYear") {
		if !strings.Contains(" "+names+" ", " "+name+" ") {
			t.Errorf("%s is not in: %s", name, names)
		}
	}
	for _, meant := range otherNames {
		if !strings.Contains(" "+names+" ", " "+meant+" ") {
			t.Errorf("%s is no function", meant)
		}
	}
}

func TestKeys(t *testing.T) {
	if diff := cmp.Diff([]string{"userId", "anonymousId", "type", "purpose", "status", "timestamp", "explicit", "expiresAt", "noticeVersion", "method", "recordId", "event", "context"}, Keys(Decision)); diff != "" {
		t.Error(diff)
	}
	if Keys("other") != nil {
		t.Error("an unknown kind has keys")
	}
	m := compiled(t, Request, map[string]string{"request": "value.r", "requestId": "value.id", "userId": "key"})
	if diff := cmp.Diff([]string{"userId", "requestId", "request"}, m.Keys()); diff != "" || m.Kind() != Request {
		t.Error(diff)
	}
}

// TestKeyIsText refuses a key that is no text where it is read, and only there.
func TestKeyIsText(t *testing.T) {
	m := compiled(t, Event, map[string]string{"userId": "key", "event": "value.e"})
	results, failures := NewEvaluator(m, nil).Eval(Record{Key: []byte{0xff}, Value: []byte(`{"e":"E"}`)})
	if len(failures) != 1 || failures[0].Key != "userId" || string(results[1]) != `"E"` {
		t.Error(results, failures)
	}
	results, failures = NewEvaluator(m, nil).Eval(Record{Value: []byte(`{}`)})
	if failures != nil || results[0] != nil {
		t.Error(results, failures)
	}
}

// TestManyMembers asks an object that is found by a map.
func TestManyMembers(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"m":{"a0":0`)
	for i := range 40 {
		b.WriteString(`,"b` + strings.Repeat("x", i) + `":` + "1")
	}
	b.WriteString(`}}`)
	m := compiled(t, Event, map[string]string{"event": `string(value.m.bxxx + value.m.a0) + string(value.m.missing)`, "userId": `string(value.m.bxx)`})
	results, failures := NewEvaluator(m, nil).Eval(Record{Value: []byte(b.String())})
	if len(failures) != 1 || string(results[0]) != `"1"` {
		t.Error(string(results[0]), failures)
	}
}

// TestConcurrentEvaluators evaluates one mapping in several goroutines, also
// where it fails: the race detector sees what they share.
func TestConcurrentEvaluators(t *testing.T) {
	m := compiled(t, Event, map[string]string{"userId": `value.text + value.n`, "event": `value.text.deeper`, "timestamp": "value.n / 0",
		"context": `{"x": timestamp("9999-12-31T23:59:59Z") + duration("9000h")}`, "traits": `{"x": timestamp(value.n) - timestamp("9999-12-31T23:59:59Z")}`,
		"anonymousId": `value.id.split(value.n)[0]`, "type": `value.items < 3 ? "x" : "y"`, "messageId": `value.missing + 1 > 2 ? "a" : "b"`, "properties": `{"a": value.items.map(i, i.price * i.n)}`})
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			e := NewEvaluator(m, appendMilliseconds)
			for range 50 {
				results, failures := e.Eval(Record{Value: []byte(testRecord)})
				if len(failures) != 8 || string(results[6]) != `{"a":[2.2,2]}` {
					return fmt.Errorf("%s %v", results, failures)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
