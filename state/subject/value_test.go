package subject

import (
	"testing"
)

func sampleValues(t *testing.T) []Value {
	return []Value{{}, False, True, OfInt(-1), OfInt(0), OfNumber(mustParse(t, "0.5")), OfNumber(mustParse(t, "123456789012345678901234567890")),
		OfString(""), OfString("a"), OfString("b"), OfTime(0), OfTime(5), OfDuration(0), OfDuration(5),
		OfList(nil), OfList([]Value{OfInt(1)}), OfList([]Value{OfInt(1), {}}), OfMap(nil), OfMap([]Field{{"a", OfInt(1)}}), OfMap([]Field{{"a", OfInt(2)}}), OfMap([]Field{{"b", OfInt(1)}})}
}

func TestEachValueEqualsItselfOnly(t *testing.T) {
	for i, v := range sampleValues(t) {
		for j, w := range sampleValues(t) {
			if got := v.Equal(w); got != (i == j) {
				t.Errorf("value %d equals value %d: %v", i, j, got)
			}
		}
	}
}

func TestEqualityLooksAtMeaning(t *testing.T) {
	for name, pair := range map[string][2]Value{
		"1 and 1.0":        {OfInt(1), OfNumber(mustParse(t, "1.0"))},
		"order of members": {OfMap([]Field{{"a", True}, {"b", False}}), OfMap([]Field{{"b", False}, {"a", True}})},
		"bool":             {OfBool(true), True},
	} {
		if !pair[0].Equal(pair[1]) || !pair[1].Equal(pair[0]) {
			t.Errorf("%s differ", name)
		}
	}
	if OfMap([]Field{{"a", True}, {"b", True}}).Equal(OfMap([]Field{{"a", True}, {"c", True}})) {
		t.Error("maps with other keys are equal")
	}
}

func TestValuesOfOneKindAreOrdered(t *testing.T) {
	ordered := []Value{False, True, OfInt(-1), OfInt(0), OfNumber(mustParse(t, "0.5")), OfString(""), OfString("a"), OfString("b"), OfTime(-1), OfTime(5), OfDuration(0), OfDuration(5)}
	for i, v := range ordered {
		for j, w := range ordered {
			c, ok := v.Compare(w)
			if ok != (v.Kind() == w.Kind()) {
				t.Errorf("%v and %v are comparable: %v", v.Kind(), w.Kind(), ok)
			}
			if want := min(max(i-j, -1), 1); ok && c != want {
				t.Errorf("value %d against value %d: %d, want %d", i, j, c, want)
			}
		}
	}
	for _, v := range []Value{{}, OfList(nil), OfMap(nil)} {
		if _, ok := v.Compare(v); ok {
			t.Errorf("%v has an order", v.Kind())
		}
	}
}

func TestAccessorsOfOtherKindsAreEmpty(t *testing.T) {
	for _, v := range sampleValues(t) {
		if v.Kind() != List && v.List() != nil || v.Kind() != Map && v.Fields() != nil || v.Kind() != NumberKind && v.Number().Sign() != 0 ||
			v.Kind() != String && v.Str() != "" || v.IsNull() != (v.Kind() == Null) || v.IsTrue() != v.Equal(True) {
			t.Errorf("a %v has parts of another kind", v.Kind())
		}
		if v.Kind().String() == "" || v.SizeBytes() < 40 {
			t.Errorf("a %v has no name or no size", v.Kind())
		}
	}
	m := OfMap([]Field{{"a", OfInt(1)}})
	if !m.Get("a").Equal(OfInt(1)) || !m.Get("b").IsNull() || !OfInt(1).Get("a").IsNull() {
		t.Error("Get is wrong")
	}
	if OfTime(7).Instant() != 7 || OfDuration(8).Micros() != 8 || OfString("x").Str() != "x" {
		t.Error("a value does not give back what it was made of")
	}
	wide := mustParse(t, "123456789012345678901234567890")
	if OfNumber(wide).Number().Cmp(wide) != 0 {
		t.Error("a wide number changed in a value")
	}
}
