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
// duplicate and denied events, changing consent, requests of data subjects, expiry, birthdates, and inputs
// placed exactly at, and a microsecond beside, the ends of windows, deadlines,
// local midnights and changes of clocks. The same state of rng gives the same case.
func Generate(rng *rand.Rand) Case {
	g := &generator{Rand: rng, restless: rng.IntN(100) < 40, asking: rng.IntN(100) < 40}
	g.world, g.scale, g.names = pick(g, worlds), pick(g, scales), pick(g, vocabularies)
	g.purposes = g.randomPurposes()
	text := g.ruleFile()
	s := &streamGenerator{generator: g, now: g.world.start()}
	inputs := s.inputs()
	return Case{Rules: directoryOf(text), Text: text, Inputs: inputs, Until: s.newest + g.steps(longSteps)}
}

func directoryOf(text string) fstest.MapFS { return fstest.MapFS{"rules.yaml": {Data: []byte(text)}} }

type generator struct {
	*rand.Rand
	world    world
	scale    scale
	names    []string
	restless bool // subjects decide often; otherwise they consent first and seldom decide again
	asking   bool // subjects make requests
	purposes []generatedPurpose
}

type generatedPurpose struct {
	key, basis, retention string
	expires               string
	direct                bool
	output                string
	minAge                int
	segments              []string // of this purpose, so far
}

var (
	comparisons = []string{"==", "!=", "<", "<=", ">", ">="}
	basisNames  = []string{"consent", "consent", "consent", "explicit_consent", "explicit_consent", "legitimate_interests",
		"contract", "public_task", "legal_obligation", "vital_interests"}
)

func pick[T any](g *generator, list []T) T { return list[g.IntN(len(list))] }

// chance is true in n of a hundred cases.
func (g *generator) chance(n int) bool { return g.IntN(100) < n }

func (g *generator) randomPurposes() (all []generatedPurpose) {
	for i := range 1 + g.IntN(3) {
		p := generatedPurpose{key: fmt.Sprintf("p%d", i), basis: pick(g, basisNames), retention: pick(g, g.scale.retentions), direct: g.chance(20)}
		if i == 0 && g.chance(80) {
			p.basis = "consent"
		}
		if strings.HasSuffix(p.basis, "consent") && g.restless && g.chance(60) {
			p.expires = pick(g, g.scale.expiries)
		}
		if g.chance(20) {
			p.minAge = 16
		}
		if g.chance(10) {
			p.output = "other"
		}
		all = append(all, p)
	}
	return all
}

func (g *generator) ruleFile() string {
	var b strings.Builder
	b.WriteString("purposes:\n")
	for _, p := range g.purposes {
		p.write(&b)
	}
	if g.chance(40) {
		b.WriteString("data:\n  - field: properties.n\n    min: 0\n")
	}
	b.WriteString("lists:\n  - key: vips\n    members: [u0, u7]\n")
	segments := g.segments()
	g.lets(&b, segments)
	return b.String() + segments
}

// lets defines the names that segments use.
func (g *generator) lets(b *strings.Builder, segments string) {
	b.WriteString("let:\n  two: 2\n")
	for _, l := range [][2]string{{"some", g.letSource()}, {"pair", g.letPair("followed_by")}, {"lone", g.letPair("not_followed_by")}} {
		if strings.Contains(segments, l[0]) {
			fmt.Fprintf(b, "  %s: %s\n", l[0], l[1])
		}
	}
}

func (g *generator) segments() string {
	var b strings.Builder
	b.WriteString("segments:\n")
	for i := range 2 + g.IntN(7) {
		p := &g.purposes[g.IntN(len(g.purposes))]
		key := fmt.Sprintf("%c%d", 'a'+rune(g.IntN(26)), i)
		g.segment(&b, key, p)
		p.segments = append(p.segments, key)
	}
	return b.String()
}

func (p generatedPurpose) write(b *strings.Builder) {
	fmt.Fprintf(b, "  - key: %s\n    description: Purpose %s\n    lawful_basis: %s\n    retention: %s\n    direct_marketing: %t\n", p.key, p.key, p.basis, p.retention, p.direct)
	if p.expires != "" {
		fmt.Fprintf(b, "    consent_expires_after: %s\n", p.expires)
	}
	if p.output != "" {
		fmt.Fprintf(b, "    output: %s\n", p.output)
	}
	if p.minAge > 0 {
		fmt.Fprintf(b, "    min_age: %d\n    birthdate_trait: birthdate\n", p.minAge)
	}
}

// segment writes a segment of a purpose, one in some with hysteresis.
func (g *generator) segment(b *strings.Builder, key string, p *generatedPurpose) {
	fmt.Fprintf(b, "  - key: %s\n    name: %s\n    purpose: %s\n    when: |\n      %s\n", key, key, p.key, g.condition(p, 2))
	if g.chance(20) {
		fmt.Fprintf(b, "    stay_while: |\n      %s\n", g.condition(p, 1))
	}
	if g.chance(20) {
		fmt.Fprintf(b, "    min_dwell: %s\n", g.window())
	}
	if g.chance(20) {
		fmt.Fprintf(b, "    cooldown: %s\n", g.window())
	}
}
