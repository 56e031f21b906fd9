package oracle

import "fmt"

// vocabularies are names of events for the rules and the records of a case;
// some names are the beginnings of others.
var vocabularies = [][]string{{"A", "B"}, {"A", "A", "Ab", "B"}, {"A", "A", "A", "Ab", "B", "B", "C", "Page Viewed"}}

func (g *generator) letSource() string {
	return fmt.Sprintf("%s.where(%s)", g.events(), g.predicate(1))
}

func (g *generator) letPair(method string) string {
	return fmt.Sprintf("%s.%s(%s, %q)", g.events(), method, g.events(), g.window())
}

func (g *generator) events() string {
	if g.chance(10) {
		return fmt.Sprintf("events(%q)", pick(g, []string{"A*", "A*", "Page*", "*"}))
	}
	return fmt.Sprintf("events(%q)", pick(g, g.names))
}

func (g *generator) source() string {
	src := g.events()
	if g.chance(15) {
		src = pick(g, []string{"some", "some", "pair", "lone"})
	}
	if g.chance(30) {
		src += ".where(" + g.predicate(1) + ")"
	}
	if g.chance(10) {
		src += g.sequence()
	}
	src += g.randomWindow()
	if g.chance(15) {
		src += g.sequence()
	}
	if g.chance(10) {
		src += ".where(" + g.predicate(0) + ")"
	}
	return src
}

// randomWindow is one window, none, or two.
func (g *generator) randomWindow() string {
	windows := g.scale.windows
	switch g.IntN(13) {
	case 0, 1, 2, 3:
		return fmt.Sprintf(".within(%q)", g.window())
	case 4, 5:
		near := g.IntN(len(windows) - 1)
		return fmt.Sprintf(".between(%q, %q)", windows[near+1+g.IntN(len(windows)-near-1)], windows[near])
	case 6:
		return fmt.Sprintf(".since(%s)", g.fixed())
	case 7:
		return fmt.Sprintf(".until(%s)", g.fixed())
	case 8, 9:
		return g.sinceMidnight()
	case 10:
		return g.sinceMidnight() + fmt.Sprintf(".within(%q)", g.window())
	}
	return ""
}

func (g *generator) sinceMidnight() string {
	return fmt.Sprintf(".since_midnight(%d, %q)", g.IntN(g.scale.midnights+1), g.zone())
}

// sequence is what must, or must not, follow: one step, a funnel, or both.
func (g *generator) sequence() string {
	switch g.IntN(10) {
	case 0, 1, 2:
		return g.notFollowed(1)
	case 3, 4, 5:
		steps := g.step(1, true)
		for range 1 + g.IntN(2) {
			steps += ", " + g.step(0, true)
		}
		return ".followed_by(" + steps + ")"
	case 6:
		return ".followed_by(" + g.step(0, true) + ")" + g.notFollowed(0)
	}
	return ".followed_by(" + g.step(1, true) + ")"
}

func (g *generator) notFollowed(depth int) string {
	return ".not_followed_by(" + g.step(depth, false) + ")"
}

// step is a follower and how soon it must come. One that must not come has none
// of its own that must not.
func (g *generator) step(depth int, negatable bool) string {
	return fmt.Sprintf("%s, %q", g.follower(depth, negatable), g.window())
}

func (g *generator) follower(depth int, negatable bool) string {
	src := g.events()
	if g.chance(15) {
		src = pick(g, []string{"some", "pair"})
	}
	if g.chance(5) && negatable {
		src = "lone"
	}
	if g.chance(45) {
		src += ".where(" + g.correlation() + ")"
	}
	switch n := g.IntN(100); {
	case depth > 0 && n < 15:
		src += ".followed_by(" + g.step(depth-1, negatable) + ")"
	case depth > 0 && n < 25 && negatable:
		src += g.notFollowed(depth - 1)
	}
	return src
}

// correlation is a random condition on a follower, mostly one that compares it
// with the event before.
func (g *generator) correlation() string {
	if g.chance(30) {
		return g.predicate(1)
	}
	c := pick(g, []string{`properties.plan == previous.properties.plan`, `properties.n == previous.properties.n`, `properties.n > previous.properties.n`,
		`context.device != previous.context.device`, `previous.name != name`, `has(previous.properties.n)`, `timestamp > previous.timestamp`,
		`timestamp == previous.timestamp`, `timestamp(properties.at) >= previous.timestamp`, `properties.tags.exists(t, t in previous.properties.tags)`,
		`previous.properties.n + 1 == properties.n`, fmt.Sprintf(`timestamp.getDate(%q) == previous.timestamp.getDate(%q)`, g.zone(), g.zone()),
		fmt.Sprintf(`previous.timestamp.getHours(%q) >= 12`, g.zone())})
	if g.chance(20) {
		return pick(g, []string{"!(" + c + ")", c + " && " + g.predicate(0), c + " || " + g.predicate(0)})
	}
	return c
}

// predicate is a random condition on one event.
func (g *generator) predicate(depth int) string {
	if depth > 0 && g.chance(25) {
		return pick(g, []string{"!(" + g.predicate(0) + ")", g.predicate(0) + " && " + g.predicate(0), g.predicate(0) + " || " + g.predicate(0)})
	}
	return pick(g, []string{`properties.n > 1`, `properties.n <= 2`, `properties.plan == "a"`, `properties.plan != "b"`, `has(properties.n)`,
		`properties.plan in ["a", "c"]`, `properties.plan.startsWith("a")`, `size(properties.tags) >= 2`, `"x" in properties.tags`,
		`context.device == "ios"`, `properties.n % 2 == 0`, `timestamp >= ` + g.fixed(), `properties.items.exists(i, i.p > 2 && i.q == 1)`,
		`properties.plan.upperAscii() == "A"`, `string(properties.n) == "2"`, `properties.n / 2 == 1`, `name != "A"`, `name.startsWith("A")`,
		`timestamp.` + g.getter()})
}
