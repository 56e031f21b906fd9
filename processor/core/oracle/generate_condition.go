package oracle

import "fmt"

// condition is a random boolean expression.
func (g *generator) condition(p *generatedPurpose, depth int) string {
	if depth > 0 && g.chance(50) {
		a, b := g.condition(p, depth-1), g.condition(p, depth-1)
		return pick(g, []string{"(" + a + " && " + b + ")", "(" + a + " || " + b + ")", "!(" + a + ")", "(" + a + " ? 3 : 1) + (" + b + " ? 2 : 0) >= 3",
			"(" + a + " ? " + b + " : !(" + b + "))"})
	}
	if len(p.segments) > 0 && g.chance(15) {
		return pick(g, []string{"", "!"}) + fmt.Sprintf("segment(%q)", pick(g, p.segments))
	}
	switch g.IntN(14) {
	case 0, 1:
		return g.traitCondition()
	case 2:
		return g.instant() + " " + pick(g, comparisons[2:]) + " " + g.moving()
	case 3:
		return g.moving() + " " + pick(g, comparisons[2:]) + " " + g.instant()
	case 4:
		return g.selected()
	case 5, 6:
		return g.source() + ".exists()"
	case 7:
		return g.calendar()
	case 8, 9:
		return fmt.Sprintf("held(%s, %q)", g.condition(p, max(0, depth-1)), g.window())
	}
	return g.number(1) + " " + g.compared()
}

// compared is an operator and a constant that no count decides by itself: of a
// source that cannot matter no message id is remembered, which the oracle does
// not know.
func (g *generator) compared() string {
	for {
		op, c := pick(g, comparisons), pick(g, []string{"0", "1", "2", "3", "2.5", "0.5", "two"})
		whole, ordered := c != "2.5" && c != "0.5", op != "==" && op != "!="
		if (whole || ordered) && (c != "0" || op != ">=" && op != "<") {
			return op + " " + c
		}
	}
}

func (g *generator) moving() string {
	return fmt.Sprintf("%s(%q)", pick(g, []string{"ago", "ahead"}), g.window())
}

func (g *generator) instant() string {
	switch g.IntN(5) {
	case 0:
		return g.source() + ".last().timestamp"
	case 1:
		return g.source() + ".first().timestamp"
	case 2:
		return g.source() + ".max(timestamp(properties.at))"
	case 3:
		return g.source() + ".min(timestamp)"
	}
	return "timestamp(traits.at)"
}

// selected is a condition on one event, or one value, of a source.
func (g *generator) selected() string {
	if g.chance(35) {
		return g.source() + pick(g, []string{`.most_frequent(properties.plan) == "a"`, `.most_frequent(properties.n) >= 2`, `.most_frequent(properties.tags) != "x"`,
			`.most_frequent(name) == "A"`, `.most_frequent(properties.n) == null`})
	}
	e := g.source() + pick(g, []string{".first()", ".last()"})
	return pick(g, []string{e + `.properties.plan == "a"`, "has(" + e + ".properties.n)", e + ".properties.n >= 2", e + ` == null`, e + `.context.device != "ios"`,
		e + ".timestamp." + g.getter()})
}

// calendar is a condition on T's place in the calendar, or on an anniversary.
func (g *generator) calendar() string {
	zone := g.zone()
	switch g.IntN(6) {
	case 0:
		return fmt.Sprintf("local_hour(%q) %s %s", zone, pick(g, comparisons), pick(g, []string{"0", "1", "2", "3", "9", "23"}))
	case 1, 2:
		return fmt.Sprintf("local_weekday(%q) %s", zone, pick(g, []string{"== 0", "in [1, 5]", "> 3", "!= 6"}))
	case 3:
		return "timestamp(traits.at)." + g.getter()
	}
	return fmt.Sprintf("anniversary(%s, %q, %q)", pick(g, []string{"traits.at", "timestamp(traits.at)", "traits.birthdate", g.source() + ".last().timestamp", g.fixed()}),
		pick(g, []string{"0d", "1d", "3d", "1w", "30d", "364d"}), zone)
}

// getter is a condition on a part of a timestamp.
func (g *generator) getter() string {
	return pick(g, []string{
		fmt.Sprintf("getHours(%q) < %d", g.zone(), 1+g.IntN(23)), fmt.Sprintf("getDayOfWeek(%q) in [0, 6]", g.zone()), "getDayOfWeek() == 3", "getHours() >= 12",
		fmt.Sprintf("getDate(%q) %% 2 == 0", g.zone()), "getDayOfMonth() < 15", fmt.Sprintf("getMonth(%q) in [1, 2, 10]", g.zone()), "getFullYear() == 2026",
		fmt.Sprintf("getDayOfYear(%q) > 85", g.zone()), fmt.Sprintf("getMinutes(%q) == 0", g.zone()), "getSeconds() > 0", "getMilliseconds() == 999",
	})
}

func (g *generator) traitCondition() string {
	return pick(g, []string{`traits.plan == "a"`, `traits.plan != "b"`, `traits.level > 1`, `has(traits.plan)`, `"x" in traits.tags`,
		`traits.tags.exists(t, t == "x")`, `traits.tags.all(t, t != "y")`, `traits.m.k == 1`, `size(traits.tags) >= 2`, `traits.level in [1, 2]`,
		`traits.plan.startsWith("a")`, `list("vips")`, `traits.level + 1 >= 3`, `double(traits.level) == 2`, `(traits.plan == null ? true : false)`,
		`has(traits.birthdate)`, `traits.items.exists(i, i.p > 1 && i.q == 2)`})
}

// number is a random numeric expression over sources.
func (g *generator) number(depth int) string {
	if depth > 0 && g.chance(25) {
		return "(" + g.number(depth-1) + " " + pick(g, []string{"+", "-", "*", "/"}) + " " + g.number(depth-1) + ")"
	}
	src := g.source()
	switch g.IntN(11) {
	case 0:
		return src + ".sum(" + g.argument() + ")"
	case 1:
		return src + ".avg(" + g.argument() + ")"
	case 2:
		return src + ".min(" + g.argument() + ")"
	case 3:
		return src + ".max(" + g.argument() + ")"
	case 4:
		return src + ".distinct(" + pick(g, []string{"properties.n", "properties.plan", "properties.tags", "context.device", "name", "timestamp"}) + ")"
	case 5:
		return fmt.Sprintf("%s.days(%q)", src, g.zone())
	case 6:
		return fmt.Sprintf("%s.periods(%q%s)", src, g.window(), pick(g, []string{"", ", 1", ", 2", ", 2", ", 3"}))
	}
	return src + ".count()"
}

func (g *generator) argument() string {
	return pick(g, []string{"properties.n", "properties.n", "properties.n * 2", "double(properties.n)", "properties.items.map(i, i.p * i.q)",
		"(has(properties.n) ? properties.n : 1)", "properties.n % 2", "-properties.n", fmt.Sprintf("timestamp.getDate(%q)", g.zone())})
}
