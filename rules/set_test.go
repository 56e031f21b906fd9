package rules

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

func TestDecisionOrder(t *testing.T) {
	set := ruleSource{named: map[string]string{
		"a": `segment("c") && segment("b")`, "b": `segment("z")`, "c": `true`, "d": `true`, "z": `traits.x == 1`,
	}}.compile(t)
	var keys []string
	for _, s := range set.Segments {
		keys = append(keys, s.Key)
	}
	if got := strings.Join(keys, " "); got != "c d z b a" {
		t.Errorf("decided in the order %s", got)
	}
	if got := set.segment(t, "z").Dependents; !slices.Equal(got, []int{3}) {
		t.Errorf("dependents of z: %v", got)
	}
	if got := set.TraitSegments(0, "x"); !slices.Equal(got, []int{2}) {
		t.Errorf("segments of trait x: %v", got)
	}
	if i, ok := set.SegmentByID(set.Segments[3].ID); !ok || i != 3 {
		t.Errorf("segment by id: %d %t", i, ok)
	}
}

func TestSegmentListAndBucket(t *testing.T) {
	set := ruleSource{
		named: map[string]string{"a": `traits.x == 1`, "b": `segment("a")`, "l": `list("vips")`, "half": `bucket("s") < 0.5`, "all": `bucket("s") < 1 && bucket("s") >= 0`},
		lists: map[string]*list{"vips": {members: map[string]struct{}{"u1": {}}}},
	}.compile(t)
	p := &subject.Purpose{Key: "p"}
	v := &View{Purpose: p, At: origin}
	if set.segment(t, "b").Answer(v) {
		t.Error("b holds though a has no member")
	}
	p.SetMember(set.segment(t, "a").ID, true, origin)
	if !set.segment(t, "b").Answer(v) {
		t.Error("b does not see the membership of a")
	}
	half := 0
	for i := range 1000 {
		v.Subject = subject.ID{Value: "u" + string(rune('0'+i))}
		if set.segment(t, "l").Answer(v) != (v.Subject.Value == "u1") {
			t.Errorf("list of %s", v.Subject.Value)
		}
		if !set.segment(t, "all").Answer(v) {
			t.Error("a bucket outside [0, 1)")
		}
		if set.segment(t, "half").Answer(v) {
			half++
		}
	}
	if half < 400 || half > 600 {
		t.Errorf("%d of 1000 in the lower half", half)
	}
}

func TestLeavesAreShared(t *testing.T) {
	set := ruleSource{
		lets: [][2]string{{"eur", `events("O").where("EUR" == properties.currency)`}, {"big", `eur.where(properties.total > 5)`}},
		rules: []string{
			`big.count() >= 2`,
			`events("O").where(properties.total > 5.0 && properties.currency == "EUR").count() > 1`,
			`2 <= big.count()`,
			`big.count() < 2 || eur.within("5d").exists()`,
			`eur.within("7d").within("5d").count() > 0`,
			`eur.within("5d").count() != 0`,
		},
	}.compile(t)
	if len(set.Leaves) != 2 {
		for _, l := range set.Leaves {
			t.Log(l.Text)
		}
		t.Fatalf("%d leaves", len(set.Leaves))
	}
	for _, l := range set.Leaves {
		if set.LeafByKey(l.Key).Text != l.Text {
			t.Errorf("leaf by key of %s", l.Text)
		}
		if len(l.Segments) != 4 && len(l.Segments) != 3 {
			t.Errorf("%s: segments %v", l.Text, l.Segments)
		}
	}
}

func TestPurposesShareNothing(t *testing.T) {
	source := ruleSource{
		purposes: []Purpose{{Key: "a", Retention: 24 * time.Hour}, {Key: "b", Retention: 24 * time.Hour}},
		named:    map[string]string{"x": `events("E").exists() && traits.t.u == 1`, "y": `events("E").exists() && traits.v == 1`},
		of:       map[string]int{"x": 0, "y": 1},
	}
	set := source.compile(t)
	touched := set.Touched(set.event("E", origin, nil), nil)
	if len(touched) != 2 || touched[0].Purpose != 0 || touched[1].Purpose != 1 || touched[0].Key == touched[1].Key {
		t.Errorf("touched %+v", touched)
	}
	if a := set.Purposes[0].Traits; a.Child("t").Child("u") == nil || a.Child("v") != nil || a.Child("t").Whole {
		t.Errorf("traits of a: %+v", a)
	}
	if all := set.Fields.Traits; all.Child("t") == nil || all.Child("v") == nil {
		t.Errorf("traits of both: %+v", all)
	}
	if i, ok := set.PurposeIndex("b"); !ok || i != 1 {
		t.Errorf("purpose index %d %t", i, ok)
	}
	if !set.Reads("E") || set.Reads("F") || !set.ReadFor(1, "E") {
		t.Error("names read")
	}
}

func TestFields(t *testing.T) {
	set := ruleSource{
		mins: map[string]int64{"properties.total": 0},
		rules: []string{`events("E").where(properties.items[0].p == context.page.url && properties["order-id"] == 1).sum(properties.total) > 3 &&
			events("E").last().properties.page.title == "x" && events("E").last().properties.page == null`},
	}.compile(t)
	var paths []string
	for _, s := range set.Fields.Slots {
		paths = append(paths, s.Path)
		if (s.Min != nil) != (s.Path == "properties.total") {
			t.Errorf("minimum of %s", s.Path)
		}
	}
	slices.Sort(paths)
	want := []string{"context.page.url", "properties.`order-id`", "properties.items", "properties.page", "properties.page.title", "properties.total"}
	if !slices.Equal(paths, want) {
		t.Errorf("slots %q", paths)
	}
	if page := set.Fields.Properties.Child("page"); !page.Whole || page.Slot < 0 || page.Child("title").Slot < 0 {
		t.Errorf("node of page %+v", page)
	}
}

func TestTouchedUsesEqualities(t *testing.T) {
	set := ruleSource{rules: []string{
		`events("V").where(properties.sku == "a").exists()`, `events("V").where(properties.sku == "b" && properties.n > 1).exists()`,
		`events("V").where(properties.sku in ["a", "c"]).where(properties.n > 2).exists()`, `events("V").count() > 3`, `events("V").where(properties.sku != "a").exists()`,
	}}.compile(t)
	for sku, want := range map[string]int{"a": 4, "b": 3, "c": 3, "d": 2} {
		if got := set.Touched(set.event("V", origin, map[string]subject.Value{"properties.sku": val(sku)}), nil); len(got) != want {
			t.Errorf("%s touches %d leaves", sku, len(got))
		}
	}
	if got := set.Touched(set.event("V", origin, map[string]subject.Value{"properties.sku": val(3)}), nil); len(got) != 2 {
		t.Errorf("a number touches %d leaves", len(got))
	}
}

func TestHashIsOfMeaning(t *testing.T) {
	base := ruleSource{rules: []string{`events("E").where(properties.a == 1 && properties.b == "x").count() > 2 && traits.t == 1`}}.compile(t).Hash
	same := []string{
		`traits.t == 1.0 && events("E").where("x" == properties.b).where(properties.a == 1).count() >= 3`,
		`3 <= events("E").where(properties["b"] == "x" && 1 == properties.a).count() && (traits.t == 1)`,
	}
	for _, text := range same {
		if got := (ruleSource{rules: []string{text}}).compile(t).Hash; got != base {
			t.Errorf("another hash of %s", text)
		}
	}
	lets := ruleSource{lets: [][2]string{{"s", `events("E").where(properties.a == 1 && properties.b == "x")`}}, rules: []string{`s.count() > 2 && traits.t == 1`}}
	if lets.compile(t).Hash != base {
		t.Error("another hash with a let")
	}
	for _, text := range []string{`events("E").where(properties.a == 1 && properties.b == "x").count() > 3 && traits.t == 1`, `true`} {
		if got := (ruleSource{rules: []string{text}}).compile(t).Hash; got == base {
			t.Errorf("the same hash of %s", text)
		}
	}
	if (ruleSource{rules: lets.rules, lets: lets.lets, retention: time.Hour}).compile(t).Hash == base {
		t.Error("the same hash with another retention")
	}
}

// Whatever a purpose says for people is part of what a rule set is.
func TestHashIsOfInformation(t *testing.T) {
	seen := map[string]string{}
	for _, said := range []string{
		"lawful_basis: consent", "lawful_basis: consent, notice_version: 2026-03", "lawful_basis: consent, notice_version: 2026-06",
		"lawful_basis: consent, notice_version: 2026-06, oldest_notice_version: 2026-03", "lawful_basis: consent, recipients: [r]",
		"lawful_basis: consent, recipients: [r, s]", "lawful_basis: consent, recipients: [{name: r, contact: s}]", "lawful_basis: consent, data_use: sales",
		"lawful_basis: contract, significant_effect: true, safeguards: s", "lawful_basis: contract, significant_effect: true, safeguards: t",
		"lawful_basis: legitimate_interests", "lawful_basis: legitimate_interests, legitimate_interest: i",
		"lawful_basis: legal_obligation", "lawful_basis: legal_obligation, legal_reference: l",
	} {
		text := "purposes: [{key: p, description: d, retention: 30d, " + said + "}]\nsegments: [{key: s, purpose: p, when: traits.x == 1}]"
		set, problems := Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
		if set == nil {
			t.Fatalf("%v in %s", problems, text)
		}
		if same, again := seen[set.Hash]; again {
			t.Errorf("one hash of %s and %s", same, said)
		}
		seen[set.Hash] = said
	}
}

func TestWhatCannotBeCompiled(t *testing.T) {
	for text, want := range map[string]string{
		`ago("1d") == timestamp("2024-01-01")`:                                     "stand alone",
		`ago("1d") < ahead("1d")`:                                                  "stand alone",
		`timestamp(traits.x) - ago("1d") > duration("1h")`:                         "stand alone",
		`traits.l.exists(d, timestamp(d) < ago("1d"))`:                             "stand alone",
		`events("E").where(timestamp < ago("1d")).exists()`:                        "stand alone",
		`events("E").within("3 days").exists()`:                                    "not a duration",
		`events("E").followed_by(events("F").within("1d"), "1h").exists()`:         "no window",
		`events("E").since_midnight(0, "Nowhere").exists()`:                        "not a time zone",
		`events("E").days("Nowhere") > 1`:                                          "not a time zone",
		`held(traits.x, "a day")`:                                                  "not a duration",
		`traits.l.exists(d, held(d == 1, "1d"))`:                                   "not known inside",
		`traits.l.exists(d, anniversary(d, "1d", "UTC"))`:                          "not known inside",
		`local_hour("Nowhere") == 3`:                                               "not a time zone",
		`events("E").where(local_hour("UTC") == 3).exists()`:                       "not known inside",
		`events("E").where(previous.properties.x == 1).exists()`:                   "previous",
		`events("E").where(traits.x == 1).exists()`:                                "traits",
		`events("E").where(events("F").exists()).exists()`:                         "events()",
		`properties.x == 1`:                                                        "belongs to an event",
		`timestamp > timestamp("2024-01-01")`:                                      "not known here",
		`traits == null`:                                                           "no value of its own",
		`traits[traits.k] == 1`:                                                    "no value of its own",
		`events("E").last() == events("F").last()`:                                 "no value of its own",
		`events("E").last().properties == null`:                                    "no value of its own",
		`events(traits.n).exists()`:                                                "literal",
		`events("E") == events("E")`:                                               "a source is no value",
		`(traits.x ? events("E") : events("F")) == 1`:                              "a source is no value",
		`events("E").since(timestamp(traits.x)).exists()`:                          "fixed instant",
		`segment("nope")`:                                                          "unknown segment",
		`segment("r000")`:                                                          "depends on itself",
		`list("nope")`:                                                             "unknown list",
		`traits.x.matches("(")`:                                                    "regular expression",
		`{traits.x: 1} == {}`:                                                      "literal strings",
		`traits.l.exists(k, events("E").where(properties.x == k).exists())`:        "not known here",
		`events("E").sum(segment("r000")) > 1`:                                     "not known inside",
		strings.Repeat(`traits.l.exists(a, `, 9) + "true" + strings.Repeat(")", 9): "nested",
	} {
		problems := ruleSource{rules: []string{text}}.problems(t)
		if len(problems) == 0 || !strings.Contains(strings.Join(problems, "\n"), want) {
			t.Errorf("%s: %q", text, problems)
		}
	}
}

func TestLetsThatGrowAreRefused(t *testing.T) {
	source := ruleSource{lets: [][2]string{{"l0", `traits.x`}}, rules: []string{`l20 == 1`}}
	for i := range 20 {
		before, name := source.lets[i][0], "l"+string(rune('0'+(i+1)/10))+string(rune('0'+(i+1)%10))
		if i+1 < 10 {
			name = "l" + string(rune('0'+i+1))
		}
		source.lets = append(source.lets, [2]string{name, before + " + " + before})
	}
	if problems := source.problems(t); len(problems) != 1 || !strings.Contains(problems[0], "too large") {
		t.Errorf("%q", problems)
	}
}
