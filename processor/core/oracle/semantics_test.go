package oracle

import (
	"io"
	"strings"
	"testing"
)

// sample is what the expressions of TestSemantics see.
const sample = `{"type":"decision","userId":"u1","purpose":"p","status":"given","timestamp":"2026-01-01T00:00:00Z"}
{"type":"identify","userId":"u1","timestamp":"2026-01-01T00:00:00Z","traits":{"n":10,"d":10.0,"s":"10","z":0,"big":9007199254740993,"huge":9e308,"t":true,"f":false,"l":[1,"a",null],"items":[{"key":"a","value":2},{"key":"b","value":1}],"m":{"k":1},"name":" Ann ","at":"2026-01-02","sec":1767312000,"ms":1767312000000,"half":0.5}}
{"type":"track","userId":"u1","event":"E","timestamp":"2026-01-01T00:00:00Z","properties":{"x":1,"y":0.1,"l":[1,1,"b"],"w":"a","d":"2026-03-01"}}
{"type":"track","userId":"u1","event":"E","timestamp":"2026-01-02T00:00:00Z","properties":{"x":1.0,"y":0.2,"l":[2],"w":"b"}}
{"type":"track","userId":"u1","event":"E","timestamp":"2026-01-02T00:00:00Z","properties":{"x":"1","w":true}}
{"type":"page","userId":"u1","name":"Home","category":"Docs","timestamp":"2026-01-02T00:00:00Z"}`

// The expressions follow RULES.md, "Total semantics", line by line.
var trueExpressions = []string{
	`!traits.none`, `!traits.n`, `!traits.f`, `(traits.none ? 1 : 2) == 2`, `traits.none || traits.t`,
	`traits.none == null`, `traits.n != null`, `traits.none != 1`, `traits.none == traits.gone`,
	`traits.d == 10`, `1 == 1.0`, `traits.s != 10`, `double(traits.s) == 10`, `int("12") == 12`, `int(-2.7) == -2`,
	`string(traits.d) == "10"`, `string(1 / 4) == "0.25"`, `string(traits.big) == "9007199254740993"`, `traits.big != 9007199254740992`,
	`1 / 2 == 0.5`, `7 % 4 == 3`, `-7 % 4 == -3`, `string(1 / 3) == "0.333333333333333333"`, `string(-2 / 3) == "-0.666666666666666667"`,
	`1 / 0 == null`, `traits.none + 1 == null`, `traits.huge + traits.huge == null`, `traits.s + 1 == null`,
	`traits.l[0] == 1`, `traits.l[7] == null`, `traits.l[-1] == null`, `traits.m["k"] == 1`, `traits.m.k == 1`,
	`"a" in traits.l`, `1.0 in traits.l`, `"k" in traits.m`, `null in traits.l`, `!(1 in traits.n)`, `traits.n in [1, 10]`,
	`traits.l.exists(e, e == "a")`, `!traits.n.exists(e, true)`, `!traits.none.all(e, true)`, `[].all(e, false)`,
	`traits.l.exists_one(e, e == 1)`, `traits.none.filter(e, true) == []`, `traits.l.filter(e, e == 1) == [1.0]`,
	`[1, 2].map(e, e * 2) == [2, 4]`, `[1, 2].map(e, e > 1, e * 2) == [4]`, `traits.n.map(e, e) == []`, `traits.m.exists(k, k == "k")`,
	`size(traits.l) == 3`, `"äb".size() == 2`, `size(traits.n) == null`,
	`traits.name.trim() == "Ann"`, `traits.name.lowerAscii() == " ann "`, `traits.none.trim() == null`, `!traits.n.startsWith("1")`,
	`"a,b".split(",") == ["a", "b"]`, `"ÄB".lowerAscii() == "Äb"`, `"abc".matches("^a.c$")`, `"abc".contains("b") && "abc".endsWith("c")`,
	`timestamp(traits.at) == timestamp("2026-01-02T00:00:00Z")`, `timestamp(traits.sec) == timestamp(traits.at)`,
	`timestamp(traits.ms) == timestamp(traits.at)`, `timestamp("nonsense") == null`, `timestamp(traits.at) < timestamp("2026-01-03")`,
	`has(traits.n)`, `!has(traits.none)`, `has(traits.m.k) && !has(traits.m.x)`, `{"k": 1} == traits.m`,
	`!(traits.none < 1)`, `!(traits.none >= 1)`, `!(traits.s < 11)`, `"b" > "a"`, `true > false`,
	`events("E").count() == 3`, `events("E").sum(properties.x) == 2`, `events("E").sum(properties.y) == 0.3`, `events("E").avg(properties.y) == 0.15`,
	`events("E").min(properties.y) == 0.1 && events("E").max(properties.y) == 0.2`, `events("E").distinct(properties.x) == 2`,
	`events("E").sum(properties.l) == 4`, `events("E").distinct(properties.l) == 3`, `events("E").sum(properties.l.map(e, e)) == 4`,
	`events("Z").sum(properties.x) == 0`, `events("Z").avg(properties.x) == null`, `events("Z").min(properties.x) == null`, `events("Z").last() == null`,
	`events("E").first().properties.w == "a"`, `events("E").last().properties.w`, `events("E").last().timestamp == timestamp("2026-01-02")`,
	`events("E").max(timestamp) == timestamp("2026-01-02")`, `events("E").max(timestamp(properties.d)) == timestamp("2026-03-01")`,
	`events("E").where(properties.x == 1).count() == 2`, `events("E").where(timestamp > timestamp("2026-01-01")).count() == 2`,
	`events("E").where(name == "E").where(properties.w == "a").exists()`, `events("E").within("1d").count() == 2`,
	`events("Page Viewed").where(properties.name == "Home" && properties.category == "Docs").exists()`,
	`events("E").between("2d", "1d").count() == 1`, `list("l") && !list("m")`, `bucket("x") < 1`, `home.exists()`,
	`traits.items.exists(i, i.key == "a" && i.value > 1)`, `!traits.items.exists(i, i.key == "a" && i.value == 1)`, `traits.items.filter(i, i.value == 1).map(i, i.key) == ["b"]`,
	`traits.items.all(i, has(i.key)) && traits.items.exists_one(i, i.value == 1)`, `events("E").where(properties.l.exists(e, e == "b")).count() == 1`,

	`events("*").count() == 4`, `events("Page*").exists()`, `events("*").distinct(name) == 2`, `events("P*").last().name == "Page Viewed"`, `events("e*").count() == 0`,
	`events("E").most_frequent(properties.x) == 1`, `events("E").most_frequent(properties.l) == 1`, `events("E").most_frequent(properties.w) == true`, `events("E").most_frequent(properties.none) == null`,
	`events("Z").most_frequent(properties.x) == null`, `!(events("Z").most_frequent(properties.x) > 0)`,
	`events("E").days("UTC") == 2`, `events("E").days("America/New_York") == 2`, `events("*").days("Asia/Tokyo") == 2`, `events("Z").days("UTC") == 0`,
	`events("E").periods("1d") == 2`, `events("E").periods("2d") == 1`, `events("E").periods("1d", 2) == 1`, `events("E").periods("1d", 3) == 0`, `events("E").within("1d").periods("1d") == 1`,
	`events("E").since_midnight(0, "UTC").count() == 2`, `events("E").since_midnight(1, "UTC").count() == 3`, `events("E").since_midnight(0, "America/New_York").count() == 2`,
	`events("E").since_midnight(1, "UTC").within("1d").count() == 2`,

	`events("E").followed_by(events("E"), "1d").count() == 2`, `events("E").followed_by(events("E"), "23h").count() == 1`, `events("E").followed_by(events("Page Viewed"), "0s").count() == 2`,
	`events("Page Viewed").followed_by(events("E"), "1d").count() == 0`, `events("E").followed_by(events("E"), "1d", home, "0s").count() == 2`,
	`events("E").followed_by(events("E").followed_by(home, "0s"), "1d").count() == 2`, `events("E").followed_by(home, "1d").last().properties.w == true`,
	`events("E").followed_by(events("E").where(properties.x == previous.properties.x), "1d").count() == 1`,
	`events("E").followed_by(events("E").where(previous.properties.w == "b" && previous.name == name && previous.timestamp == timestamp), "1d").first().properties.w == "b"`,
	`events("E").followed_by(events("E").where(properties.y - previous.properties.y == 0.1), "1d").sum(properties.x) == 1`,
	`events("E").followed_by(home.where(previous.properties.l.exists(e, e == 2)), "1d").count() == 1`, `events("E").followed_by(home.where(previous.context.device == null), "1d").exists()`,
	`events("E").not_followed_by(events("Z"), "1d").count() == 1`, `events("E").not_followed_by(events("Z"), "1d").not_followed_by(events("Z"), "0s").count() == 1`,
	`events("E").not_followed_by(events("Z"), "0s").count() == 3`, `events("E").not_followed_by(home, "0s").count() == 1`, `events("E").followed_by(home.not_followed_by(events("E"), "0s"), "1d").count() == 3`,
	`events("E").within("1d").followed_by(home, "1d").count() == 2`, `events("E").followed_by(home, "1d").avg(properties.x) == 1`, `events("E").followed_by(events("Z"), "1d").avg(properties.x) == null`,

	`local_hour("UTC") == 0 && local_weekday("UTC") == 5`, `local_hour("Asia/Kathmandu") == 5`, `local_hour("America/New_York") == 19 && local_weekday("America/New_York") == 4`,
	`timestamp(traits.at).getFullYear() == 2026`, `timestamp(traits.at).getMonth() == 0`, `timestamp(traits.at).getDate() == 2 && timestamp(traits.at).getDayOfMonth() == 1`,
	`timestamp(traits.at).getDayOfWeek() == 5`, `timestamp(traits.at).getDayOfYear() == 1`, `timestamp(traits.at).getDayOfYear("America/New_York") == 0`, `timestamp(traits.at).getFullYear("UTC") == 2026`,
	`timestamp("1999-12-31T23:59:58.987Z").getHours() == 23`, `timestamp("1999-12-31T23:59:58.987Z").getMinutes("Asia/Kathmandu") == 44`,
	`timestamp("1999-12-31T23:59:58.987Z").getSeconds() == 58 && timestamp("1999-12-31T23:59:58.987Z").getMilliseconds() == 987`, `timestamp("1969-12-31T23:59:59.999Z").getMilliseconds() == 999`,
	`timestamp(traits.none).getHours() == null`, `events("Z").last().timestamp.getHours("UTC") == null`, `events("E").last().timestamp.getDayOfWeek() == 5`, `events("E").sum(timestamp.getDate()) == 5`,
	`anniversary(traits.at, "0d", "UTC")`, `anniversary("1999-01-02", "0d", "UTC")`, `!anniversary("1999-01-03", "0d", "UTC")`, `anniversary("1999-01-03", "1d", "UTC")`, `anniversary("1999-01-09", "1w", "UTC")`,
	`!anniversary("1999-01-01", "30d", "UTC")`, `anniversary("1999-01-01", "364d", "UTC")`, `anniversary("2030-01-02", "0d", "UTC")`, `anniversary(1767312000, "0d", "UTC")`, `anniversary(timestamp(traits.ms), "0d", "UTC")`,
	`!anniversary(traits.none, "364d", "UTC")`, `!anniversary(traits.t, "364d", "UTC")`, `!anniversary(traits.at, "0d", "America/New_York")`, `anniversary(traits.at, "1d", "America/New_York")`,

	`held(true, "0s")`, `held(traits.n == 10, "1d")`, `!held(traits.n == 10, "25h")`, `!held(traits.n, "0s")`, `held(held(traits.n == 10, "0s"), "1d")`, `!held(events("E").count() == 3, "1h")`,

	"traits.`half` == 0.5", `(traits.t ? 10 : 0) + (traits.f ? 5 : 0) >= 10`, `events("E").where(properties.w in ["a", "b"]).count() / events("E").count() > 0.6`,
}

func TestSemantics(t *testing.T) {
	for _, expression := range trueExpressions {
		if !holdsFor(t, expression) {
			t.Errorf("not true: %s", expression)
		}
	}
}

func holdsFor(t *testing.T, expression string) bool {
	t.Helper()
	rules := "purposes:\n  - {key: p, lawful_basis: consent, retention: 100d}\nlists:\n  - {key: l, members: [u1]}\n" +
		"let:\n  home: events(\"Page Viewed\")\nsegments:\n  - key: s\n    purpose: p\n    when: |\n      " + expression + "\n"
	until, _ := parseInstant("2026-01-02T00:00:00.000001Z") // so that what comes by time at the last event has come
	_, members, err := Run(directory(rules), []io.Reader{strings.NewReader(sample)}, Options{Until: until})
	if err != nil {
		t.Errorf("%s: %v", expression, err)
	}
	return len(members) == 1
}
