package mapping

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzExpression looks for expressions that panic, that give what is not JSON,
// that give two results for one record, or that nothing bounds.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{`value.id`, `string(value.n / 3)`, `{"a": value.items.map(i, i.price * 2)}`, `value.items.filter(i, i.n > 1)[0].sku`,
		`timestamp(value.date + "T00:00:00Z")`, `has(value.x.y) ? headers.a : key`, `parse_json(value.payload).total`, loop(3), `value.text.split("")`,
		`[1, 2.5, "x"].exists(x, x in [value.n])`, `size(value) + value.text.size()`, `value.customer == {"id": 7}`, `type(value.n)`, `b"x"`} {
		f.Add(seed, testRecord)
	}
	f.Fuzz(func(t *testing.T, expression, record string) {
		if !jsontext.Value(record).IsValid() {
			return
		}
		value, _ := valid([]byte(record))
		for _, key := range []string{"userId", "properties", "timestamp"} {
			m, problems := Compile(Event, map[string]string{key: expression})
			if len(problems) > 0 {
				continue
			}
			e := NewEvaluator(m, appendMilliseconds)
			began := time.Now()
			first, failures := e.Eval(Record{Value: value})
			if took := time.Since(began); took > 5*time.Second {
				t.Fatalf("%s took %s", expression, took)
			}
			text := string(first[0])
			if failures != nil && (text != "" || len(failures[0].Detail) > 500) {
				t.Fatal(text, failures)
			}
			if text != "" && key != "timestamp" && !jsontext.Value(text).IsValid() {
				t.Fatalf("%s gives %s", expression, text)
			}
			if again, _ := e.Eval(Record{Value: value}); string(again[0]) != text {
				t.Fatalf("%s gives %s, then %s", expression, text, again[0])
			}
		}
	})
}
