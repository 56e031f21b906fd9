package wire

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

func TestFields(t *testing.T) {
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots(
		"properties.cart", "properties.cart.total", "properties.cart.items", "properties.deep.er.value", "properties.big", "context.ok"), nil)})
	for _, c := range []struct {
		name, value string
		want        []subject.Value
	}{
		{"nothing", `"x":1`, make([]subject.Value, 6)},
		{"parents and children", `"properties":{"cart":{"total":1.50,"items":[1,"a",null,{"b":true}],"extra":{}}}`, []subject.Value{
			obj(member("total", num(t, "1.5")), member("items", list(subject.OfInt(1), str("a"), subject.Value{}, obj(member("b", subject.True)))), member("extra", obj())),
			num(t, "1.5"), list(subject.OfInt(1), str("a"), subject.Value{}, obj(member("b", subject.True))), {}, {}, {}}},
		{"another kind on the way", `"properties":{"cart":"none","deep":{"er":[{"value":1}]}}`, []subject.Value{str("none"), {}, {}, {}, {}, {}}},
		{"depth", `"properties":{"deep":{"x":{"value":0},"er":{"value":{"a":[[]]}}}}`, []subject.Value{{}, {}, {}, obj(member("a", list(list()))), {}, {}}},
		{"exact numbers", `"properties":{"big":12345678901234567890.123456789,"deep":{"er":{"value":-0.0}}}`, []subject.Value{
			{}, {}, {}, subject.OfInt(0), num(t, "12345678901234567890.123456789"), {}}},
		{"number out of range", `"properties":{"big":1e400}`, make([]subject.Value, 6)},
		{"escapes", `"properties":{"b\u0069g":"\ud83d\ude00\n\"\\\/"},"context":{"ok":false}`, []subject.Value{{}, {}, {}, {}, str("😀\n\"\\/"), subject.False}},
		{"null", `"properties":{"big":null,"cart":{"total":null}}`, []subject.Value{obj(member("total", subject.Value{})), {}, {}, {}, {}, {}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			diff(t, mustDecode(t, d, Events, track(c.value)).Event.Fields, c.want)
		})
	}
}

func TestMinimum(t *testing.T) {
	zero := subject.Int(0)
	s := slots("properties.total", "properties.cart", "properties.cart.sum")
	s[0].Min, s[2].Min = &zero, &zero
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(s, nil)})
	for _, c := range []struct {
		value string
		want  []subject.Value
		below int
	}{
		{`{"total":0}`, []subject.Value{subject.OfInt(0), {}, {}}, 0},
		{`{"total":-0.01}`, []subject.Value{{}, {}, {}}, 1},
		{`{"total":"-1"}`, []subject.Value{str("-1"), {}, {}}, 0},
		{`{"total":[3,-1,"a",-2]}`, []subject.Value{list(subject.OfInt(3), subject.Value{}, str("a"), subject.Value{}), {}, {}}, 2},
		{`{"total":-1,"cart":{"sum":-5,"n":-1}}`, []subject.Value{{}, obj(member("sum", subject.Value{}), member("n", subject.OfInt(-1))), {}}, 2},
	} {
		item := mustDecode(t, d, Events, track(`"properties":`+c.value))
		diff(t, item.Event.Fields, c.want)
		diff(t, item.BelowMin, c.below)
	}
}

func TestManyFields(t *testing.T) {
	var paths []string
	value := `{`
	for c := 'a'; c <= 'z'; c++ {
		paths = append(paths, "properties."+string(c))
		value += `"` + string(c) + `":"` + string(c) + `",`
	}
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots(paths...), nil)})
	for i, v := range mustDecode(t, d, Events, track(`"properties":`+value+`"other":0}`)).Event.Fields {
		diff(t, v, str(string(rune('a'+i))))
	}
}

func TestTraits(t *testing.T) {
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.a"), []string{"plan", "address.city", "address.geo", "tags"})})
	item := mustDecode(t, d, Events, `{"type":"identify","userId":"u1","event":7,"properties":{"a":1},"traits":{"email":"x","tags":["a",1],`+
		`"plan":null,"address":{"zip":"1","geo":{"lat":1.5},"city":"Paris"}},"context":{"traits":{"plan":"not this one"}}}`)
	e := item.Event
	diff(t, e.Traits, []subject.TraitUpdate{
		{Key: "tags", Value: list(str("a"), subject.OfInt(1))},
		{Key: "plan"},
		{Key: "address", Value: obj(member("geo", obj(member("lat", num(t, "1.5")))), member("city", str("Paris")))},
	})
	diff(t, []any{e.Identify, e.Name, e.Fields[0].IsNull()}, []any{true, "", true})

	item = mustDecode(t, d, Events, `{"type":"identify","userId":"u1","traits":{"address":"moved"}}`)
	diff(t, item.Event.Traits, []subject.TraitUpdate{{Key: "address"}})
	item = mustDecode(t, d, Events, `{"type":"identify","userId":"u1"}`)
	diff(t, len(item.Event.Traits), 0)
	item = mustDecode(t, d, Events, track(`"traits":{"plan":"x"}`))
	diff(t, len(item.Event.Traits), 0)
}

// TestTraitsAreThePrunedValues holds the decoder to rules.FieldNode.Prune.
func TestTraitsAreThePrunedValues(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	fields := fieldsOf(nil, []string{"a.a", "a.b.c", "b", "c.a.b.c", "c.b"})
	pruning := NewDecoder(DecoderOptions{Fields: fields})
	whole := NewDecoder(DecoderOptions{Fields: fieldsOf(nil, []string{"a", "b", "c"})})
	for range 2000 {
		value := `{"type":"identify","userId":"u1","traits":` + randomObject(random, 5) + `}`
		var want []subject.TraitUpdate
		for _, u := range mustDecode(t, whole, Events, value).Event.Traits {
			want = append(want, subject.TraitUpdate{Key: u.Key, Value: fields.Traits.Child(u.Key).Prune(u.Value)})
		}
		got := mustDecode(t, pruning, Events, value).Event.Traits
		diff(t, append([]subject.TraitUpdate(nil), got...), want)
	}
}

func randomObject(random *rand.Rand, depth int) string {
	out := "{"
	for _, key := range []string{"a", "b", "c"} {
		if random.IntN(3) == 0 {
			continue
		}
		if len(out) > 1 {
			out += ","
		}
		out += ` "` + key + `" : ` + randomJSON(random, depth-1)
	}
	return out + " }"
}

func randomJSON(random *rand.Rand, depth int) string {
	scalars := []string{"null", "true", "0", "-1.5e3", `"x"`, `"\"}"`, "[]", "{}"}
	switch i := random.IntN(12); {
	case depth > 0 && i < 7:
		return randomObject(random, depth)
	case depth > 0 && i == 7:
		return "[" + randomJSON(random, depth-1) + "," + randomJSON(random, depth-1) + "]"
	}
	return scalars[random.IntN(len(scalars))]
}

func TestRootsWithoutFieldsAreNotRead(t *testing.T) {
	d := NewDecoder(DecoderOptions{Fields: rules.Fields{Properties: &rules.FieldNode{Slot: -1}}})
	diff(t, len(mustDecode(t, d, Events, track(`"properties":{"a":1}`)).Event.Fields), 0)
}

// TestDeepValuesTakeLinearTime decodes a record that a decoder which skips
// before it descends would pass over thousands of times.
func TestDeepValuesTakeLinearTime(t *testing.T) {
	const depth = 9000
	value := strings.Repeat(`[{"a":`, depth/2) + `"` + strings.Repeat("x", 900_000) + `"` + strings.Repeat("}]", depth/2)
	d := NewDecoder(DecoderOptions{Fields: fieldsOf(slots("properties.deep"), nil)})
	v := mustDecode(t, d, Events, track(`"properties":{"deep":`+value+`}`)).Event.Fields[0]
	for range depth / 2 {
		v = v.List()[0].Get("a")
	}
	diff(t, len(v.Str()), 900_000)
}
