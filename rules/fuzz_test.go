package rules

import (
	"testing"

	"github.com/segmentd/segmentd/state/subject"
)

// FuzzCompile gives the compiler whatever type-checks, also what the
// front-end's walk would refuse: it must report or compile, never panic, and
// what it compiled must answer.
func FuzzCompile(f *testing.F) {
	for text := range totalTests {
		f.Add(inScope(text, "traits"))
		f.Add(`events("E").where(` + inScope(text, "properties") + `).count() > 1`)
	}
	for _, text := range []string{
		`events("E").within("3d").between("5d", "1d").sum(properties.a.map(p, p.x * p.y)) / 2 >= 3`,
		`events("E").last().properties.x[0].y < ago("3d") || segment("r000") || list("l") && bucket("s") < 0.3`,
		`events("E").first().name == "E" && has(events("E").last()) && events("E").distinct(context.x) in [1, 2]`,
		`events("E").followed_by(events("F").where(previous.timestamp < timestamp), "1h").days("UTC") > 3`,
	} {
		f.Add(text)
	}
	env, err := newEnv(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, issues := env.Compile(text)
		if issues.Err() != nil {
			return
		}
		c := ruleSource{}.checked(t)
		c.segments = []checkedSegment{{key: "r000", ast: a.NativeRep()}}
		set, problems := compileSet(c)
		if len(problems) > 0 {
			return
		}
		p := &subject.Purpose{Key: "p", Traits: []subject.Trait{{Key: "x", Value: val("a")}}}
		v := &View{Purpose: p, At: origin}
		ev := set.event("E", origin, nil)
		for i := range ev.Fields {
			ev.Fields[i] = val([]any{1, "x", map[string]any{"p": 2}})
		}
		set.apply(p, ev, origin, v)
		if next := set.Segments[0].Next(v); next <= v.At {
			t.Errorf("%s: next %s is not later", text, next)
		}
		set.Segments[0].Answer(v)
	})
}
