package oracle

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing/fstest"

	"github.com/segmentd/segmentd/state/subject"
)

// Case is a random rules directory and a random input for it.
type Case struct {
	Rules  fstest.MapFS
	Text   string   // of the one rule file
	Inputs []string // NDJSON; one in arrival order with late records, or several in order of time
	Until  subject.Instant
}

// Generate makes a case: one to three purposes of different bases, some
// segments over a grammar of all constructs (but bucket, whose values the
// oracle does not know), and a stream of a few subjects with late, equal-time,
// duplicate and denied events, changing consent, expiry, and inputs placed
// exactly at, and a microsecond beside, the ends of windows. The same state of
// rng gives the same case.
func Generate(rng *rand.Rand) Case {
	g := &generator{Rand: rng, restless: rng.IntN(100) < 40}
	g.purposes = g.randomPurposes()
	text := g.ruleFile()
	s := &streamGenerator{generator: g, now: genesis}
	inputs := s.inputs()
	return Case{Rules: fstest.MapFS{"rules.yaml": {Data: []byte(text)}}, Text: text, Inputs: inputs, Until: s.newest + subject.Instant(rng.IntN(80))*grid}
}

// Instants lie on a grid, so that coincidences are frequent.
const (
	genesis subject.Instant = 1767225600_000_000 // 2026-01-01T00:00:00Z
	grid    subject.Instant = 6 * 3600 * 1_000_000
)

type generator struct {
	*rand.Rand
	restless bool // subjects decide often; otherwise they consent first and seldom decide again
	purposes []generatedPurpose
}

type generatedPurpose struct {
	key, basis, retention string
	expires               string
	direct                bool
	segments              []string // of this purpose, so far
}

// Windows are shorter than every retention.
var (
	windowTexts    = []string{"6h", "12h", "1d", "2d", "5d", "1w", "10d"}
	retentionTexts = []string{"10d", "15d", "30d", "400d"}
	eventNames     = []string{"A", "A", "A", "B", "C", "Page Viewed"}
	comparisons    = []string{"==", "!=", "<", "<=", ">", ">="}
	basisNames     = []string{"consent", "consent", "explicit_consent", "legitimate_interests", "contract"}
)

func pick[T any](g *generator, list []T) T { return list[g.IntN(len(list))] }

// chance is true in n of a hundred cases.
func (g *generator) chance(n int) bool { return g.IntN(100) < n }

func (g *generator) randomPurposes() (all []generatedPurpose) {
	for i := range 1 + g.IntN(3) {
		p := generatedPurpose{key: fmt.Sprintf("p%d", i), basis: pick(g, basisNames), retention: pick(g, retentionTexts), direct: g.chance(20)}
		if i == 0 {
			p.basis = "consent"
		}
		if strings.HasSuffix(p.basis, "consent") && g.restless && g.chance(60) {
			p.expires = pick(g, []string{"5d", "12d", "40d"})
		}
		all = append(all, p)
	}
	return all
}

func (g *generator) ruleFile() string {
	var b strings.Builder
	b.WriteString("purposes:\n")
	for _, p := range g.purposes {
		fmt.Fprintf(&b, "  - key: %s\n    description: Purpose %s\n    lawful_basis: %s\n    retention: %s\n    direct_marketing: %t\n", p.key, p.key, p.basis, p.retention, p.direct)
		if p.expires != "" {
			fmt.Fprintf(&b, "    consent_expires_after: %s\n", p.expires)
		}
	}
	if g.chance(40) {
		b.WriteString("data:\n  - field: properties.n\n    min: 0\n")
	}
	b.WriteString("lists:\n  - key: vips\n    members: [u0, u7]\n")
	b.WriteString("let:\n  some: " + g.letSource() + "\n")
	b.WriteString("segments:\n")
	for i := range 2 + g.IntN(7) {
		p := &g.purposes[g.IntN(len(g.purposes))]
		key := fmt.Sprintf("%c%d", 'a'+rune(g.IntN(26)), i)
		fmt.Fprintf(&b, "  - key: %s\n    name: %s\n    purpose: %s\n    when: |\n      %s\n", key, key, p.key, g.condition(p, 2))
		p.segments = append(p.segments, key)
	}
	return b.String()
}

func (g *generator) letSource() string {
	return fmt.Sprintf("events(%q).where(%s)", pick(g, eventNames), g.predicate(1))
}

// condition is a random boolean expression.
func (g *generator) condition(p *generatedPurpose, depth int) string {
	if depth > 0 && g.chance(50) {
		a, b := g.condition(p, depth-1), g.condition(p, depth-1)
		return pick(g, []string{"(" + a + " && " + b + ")", "(" + a + " || " + b + ")", "!(" + a + ")", "(" + a + " ? 3 : 1) + (" + b + " ? 2 : 0) >= 3"})
	}
	if len(p.segments) > 0 && g.chance(15) {
		return pick(g, []string{"", "!"}) + fmt.Sprintf("segment(%q)", pick(g, p.segments))
	}
	switch g.IntN(10) {
	case 0, 1:
		return g.traitCondition()
	case 2:
		return g.instant() + " " + pick(g, comparisons[2:]) + " " + g.moving()
	case 3:
		return g.moving() + " " + pick(g, comparisons[2:]) + " " + g.instant()
	case 4:
		return g.selected()
	case 5:
		return g.source() + ".exists()"
	}
	return g.number(1) + " " + pick(g, comparisons) + " " + pick(g, []string{"0", "1", "2", "3", "2.5", "0.5"})
}

func (g *generator) moving() string {
	return pick(g, []string{"ago", "ahead"}) + fmt.Sprintf("(%q)", pick(g, windowTexts))
}

func (g *generator) instant() string {
	switch g.IntN(4) {
	case 0:
		return g.source() + ".last().timestamp"
	case 1:
		return g.source() + ".first().timestamp"
	case 2:
		return g.source() + ".max(timestamp(properties.at))"
	}
	return "timestamp(traits.at)"
}

// selected is a condition on the first or last event of a source.
func (g *generator) selected() string {
	e := g.source() + pick(g, []string{".first()", ".last()"})
	return pick(g, []string{e + `.properties.plan == "a"`, "has(" + e + ".properties.n)", e + ".properties.n >= 2", e + ` == null`, e + `.context.device != "ios"`})
}

func (g *generator) traitCondition() string {
	return pick(g, []string{`traits.plan == "a"`, `traits.plan != "b"`, `traits.level > 1`, `has(traits.plan)`, `"x" in traits.tags`,
		`traits.tags.exists(t, t == "x")`, `traits.tags.all(t, t != "y")`, `traits.m.k == 1`, `size(traits.tags) >= 2`, `traits.level in [1, 2]`,
		`traits.plan.startsWith("a")`, `list("vips")`, `traits.level + 1 >= 3`, `double(traits.level) == 2`, `(traits.plan == null ? true : false)`})
}

// number is a random numeric expression over sources.
func (g *generator) number(depth int) string {
	if depth > 0 && g.chance(25) {
		return "(" + g.number(depth-1) + " " + pick(g, []string{"+", "-", "*", "/"}) + " " + g.number(depth-1) + ")"
	}
	src := g.source()
	switch g.IntN(8) {
	case 0:
		return src + ".sum(" + g.argument() + ")"
	case 1:
		return src + ".avg(" + g.argument() + ")"
	case 2:
		return src + ".min(" + g.argument() + ")"
	case 3:
		return src + ".max(" + g.argument() + ")"
	case 4:
		return src + ".distinct(" + pick(g, []string{"properties.n", "properties.plan", "properties.tags", "context.device"}) + ")"
	}
	return src + ".count()"
}

func (g *generator) argument() string {
	return pick(g, []string{"properties.n", "properties.n", "properties.n * 2", "double(properties.n)", "properties.items.map(i, i.p * i.q)",
		"(has(properties.n) ? properties.n : 1)", "properties.n % 2", "-properties.n"})
}

func (g *generator) source() string {
	src := fmt.Sprintf("events(%q)", pick(g, eventNames))
	if g.chance(15) {
		src = "some"
	}
	if g.chance(30) {
		src += ".where(" + g.predicate(1) + ")"
	}
	switch g.IntN(10) {
	case 0, 1, 2, 3:
		src += fmt.Sprintf(".within(%q)", pick(g, windowTexts))
	case 4, 5:
		near := g.IntN(len(windowTexts) - 1)
		src += fmt.Sprintf(".between(%q, %q)", windowTexts[near+1+g.IntN(len(windowTexts)-near-1)], windowTexts[near])
	case 6:
		src += fmt.Sprintf(".since(timestamp(%q))", g.fixedDay())
	case 7:
		src += fmt.Sprintf(".until(timestamp(%q))", g.fixedDay())
	}
	if g.chance(10) {
		src += ".where(" + g.predicate(0) + ")"
	}
	return src
}

func (g *generator) fixedDay() string { return fmt.Sprintf("2026-01-%02d", 1+g.IntN(20)) }

// predicate is a random condition on one event.
func (g *generator) predicate(depth int) string {
	if depth > 0 && g.chance(25) {
		return pick(g, []string{"!(" + g.predicate(0) + ")", g.predicate(0) + " && " + g.predicate(0), g.predicate(0) + " || " + g.predicate(0)})
	}
	return pick(g, []string{`properties.n > 1`, `properties.n <= 2`, `properties.plan == "a"`, `properties.plan != "b"`, `has(properties.n)`,
		`properties.plan in ["a", "c"]`, `properties.plan.startsWith("a")`, `size(properties.tags) >= 2`, `"x" in properties.tags`,
		`context.device == "ios"`, `properties.n % 2 == 0`, `timestamp >= timestamp("2026-01-05")`, `properties.items.exists(i, i.p > 2)`,
		`properties.plan.upperAscii() == "A"`, `string(properties.n) == "2"`, `properties.n / 2 == 1`})
}
