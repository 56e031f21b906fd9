package rules

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/state/subject"
)

// TestExpressionsAreWritten has expressions as they are written back.
func TestExpressionsAreWritten(t *testing.T) {
	for _, text := range []string{
		`events("A").within("30d").count() >= 3`,
		`events("A*").where(properties.n > 1 && name != "A1").since(timestamp("2026-01-01")).until(timestamp("2026-02-01")).exists()`,
		`events("A").followed_by(events("B").where(properties.sku == previous.properties.sku), "1h", events("C"), "2d").days("UTC") == 2`,
		`events("A").sum(properties.items.map(i, i.price * i.quantity)) > 1.5`,
		`events("A").last().properties.plan == "a\n\"b\"" || events("A").first().timestamp < ago("3d")`,
		"traits.`post-code` == \"1\" && traits.a[\"b`c\"].d[0] == null",
		`!(traits.a && traits.b) && (traits.c || !traits.d)`,
		`traits.a - (traits.b - traits.c) * -traits.d / (traits.e + 1) % 2 != -1`,
		`(traits.a ? traits.b : traits.c) ? traits.d : traits.e ? traits.f : true`,
		`((traits.a ? 1 : 2) + 3) * 4 in [1, 2.5, "x", false, null]`,
		`has(traits.a) && size({"a": 1, "b": [2]}) == 2`,
		`traits.tags.exists(t, t == "x") && traits.tags.all(t, t.startsWith("x")) && traits.tags.exists_one(t, t in ["y"])`,
		`traits.tags.filter(t, t != "x").map(t, size(t) > 1, t + "!") == []`,
		`held(segment("r000"), "7d") || list("vips") && bucket("s") < 0.1`,
		`anniversary(timestamp(traits.born), "7d", "UTC") && local_hour("UTC") > 8 && timestamp("2026-01-01").getHours("UTC") == 0`,
	} {
		if got := written(checkExpr(t, text).Expr()); got != text {
			t.Errorf("%s is written\n%s", text, got)
		}
	}
}

func TestLongExpressionsAreCutOff(t *testing.T) {
	text := "traits.x in [" + strings.Repeat(`"übersetzt", `, 3000) + `"x"]`
	got := written(checkExpr(t, text).Expr())
	if len(got) > maxWritten+len("…") || !strings.HasPrefix(text, strings.TrimSuffix(got, "…")) || !strings.HasSuffix(got, "…") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

// explainOne explains the one rule of a set.
func explainOne(t *testing.T, rule string, p *subject.Purpose) Explained {
	t.Helper()
	set := ruleSource{rules: []string{rule}}.compile(t)
	return set.Explain(0, &View{Purpose: p, At: second(1)})
}

// parts counts the parts that are shown.
func (p *Part) parts() int {
	n := 1
	for i := range p.Parts {
		n += p.Parts[i].parts()
	}
	return n
}

// TestLargeRulesStaySmall explains rules of very many parts.
func TestLargeRulesStaySmall(t *testing.T) {
	const n, deep = 5000, 200 // CEL's parser refuses what is deeper
	for name, rule := range map[string]string{
		"or":     strings.TrimSuffix(strings.Repeat(`traits.a == "x" || `, n), " || "),
		"sum":    strings.TrimSuffix(strings.Repeat(`traits.a + `, deep), " + ") + ` > 3`,
		"choice": strings.Repeat(`traits.a == "x" ? true : `, deep) + "false",
		"mixed":  strings.TrimSuffix(strings.Repeat(`(traits.a == "x" && !events("A").exists()) || `, n/3), " || "),
	} {
		e := explainOne(t, rule, &subject.Purpose{Key: "p", Traits: []subject.Trait{{Key: "a", Value: val("y")}}})
		text, err := json.Marshal(e.When)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.When.parts(); got > maxParts || len(text) > 2<<20 {
			t.Errorf("%s: %d parts in %d bytes", name, got, len(text))
		}
	}
}

// TestLargeValuesAreCutOff bounds what a value takes in an explanation.
func TestLargeValuesAreCutOff(t *testing.T) {
	for name, v := range map[string]subject.Value{
		"text": val(strings.Repeat("ü", 100_000)),
		"list": val([]any{strings.Repeat("x", 3000), strings.Repeat("y", 3000), 1}),
	} {
		e := explainOne(t, "traits.a == null", &subject.Purpose{Key: "p", Traits: []subject.Trait{{Key: "a", Value: v}}})
		var text string
		if got := e.When.Parts[0].Value; json.Unmarshal(got, &text) != nil || len(text) > 300 || !strings.HasSuffix(text, "…") {
			t.Errorf("%s: %.100s", name, got)
		}
	}
}

// TestValuesAreWrittenAsJSON has a value of each kind.
func TestValuesAreWrittenAsJSON(t *testing.T) {
	m := subject.OfMap([]subject.Field{{Key: "a<b", Value: val(1)}, {Key: "c", Value: val([]any{nil, true, "\x00\u2028"})}})
	for want, v := range map[string]subject.Value{
		`null`: val(nil), `true`: val(true), `0.1`: val(0.1), `"2024-01-01T00:00:01Z"`: val(second(1)), `"90s"`: subject.OfDuration(90_000_000),
		`"a<b&\"ü"`: val("a<b&\"ü"), `[]`: val([]any{}), `{"a<b":1,"c":[null,true,"\u0000\u2028"]}`: m,
	} {
		if got := string(jsonValue(v)); got != want {
			t.Errorf("%s is written %s", want, got)
		}
	}
}

// BenchmarkExplain is what one explanation costs of the rules.
func BenchmarkExplain(b *testing.B) {
	set := benchRules(100).compile(b)
	p := &subject.Purpose{Key: "p"}
	v := &View{Purpose: p}
	for i, ev := range benchEvents(set) {
		ev.Time, v.At = second(i), second(i)
		set.apply(p, ev, v.At, v)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		set.Explain(i%len(set.Segments), v)
	}
}

func ExampleSet_NoSegment() {
	set := &Set{Segments: []Segment{{Key: "big_spenders"}, {Key: "lapsed"}}}
	fmt.Println(set.NoSegment("big_spender"))
	fmt.Println(set.NoSegment("x"))
	// Output:
	// no segment "big_spender" (nearest: big_spenders)
	// no segment "x"
}
