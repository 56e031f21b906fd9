package rules

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"gopkg.in/yaml.v3"
)

// loadText returns the problems of one rule file.
func loadText(text string) []Problem {
	_, problems := Load(fstest.MapFS{"a.yaml": {Data: []byte(text)}})
	return problems
}

// TestPlacesInEveryStyle writes random rules as YAML scalars of every style and
// looks up where each rune stands.
func TestPlacesInEveryStyle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	words := []string{"traits.x", "==", `"a b"`, `'it'`, "&&", "é", "名前", "(", ")", `\n`, "//", "0", "|", ">", "\\", "a  b", "👍"}
	styles := []yaml.Style{0, yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle, yaml.LiteralStyle, yaml.FoldedStyle, yaml.TaggedStyle}
	for range 500 {
		var text strings.Builder
		for range 1 + r.IntN(8) {
			text.WriteString(words[r.IntN(len(words))] + []string{" ", "\n", "", "  "}[r.IntN(4)])
		}
		for _, style := range styles {
			checkPlaces(t, style, text.String())
		}
	}
}

func checkPlaces(t *testing.T, style yaml.Style, text string) {
	t.Helper()
	root := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Value: "when"}, {Kind: yaml.ScalarNode, Tag: "!!str", Style: style, Value: text},
	}}
	written, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(written, &node); err != nil {
		t.Skipf("the YAML library cannot read what it wrote: %v", err)
	}
	doc := newDocument("a", "a", string(written))
	rule := newRuleText(yamlValue{doc, node.Content[0].Content[1]})
	for i, c := range rule.runes {
		if isBlank(c) {
			continue
		}
		at := rule.at(i)
		if got := []rune(doc.line(at.line))[at.column-1]; got != c && got != '\\' {
			t.Fatalf("style %d, rune %d, %q: at %d:%d stands %q in\n%s", style, i, c, at.line, at.column, got, written)
		}
	}
}

func TestPlacesOfWords(t *testing.T) {
	for _, c := range []struct {
		yaml string
		want string // of the word "foo"
	}{
		{"when: traits.x && foo", "1:19"},
		{"when: \"traits[\\\"a\\\"] && foo\"", "1:25"},
		{"when: 'it''s && foo'", "1:17"},
		{"when: |\n\n  traits.x // ü\n    && foo", "4:8"},
		{"when: >-\n  traits.x\n  && foo", "3:6"},
		{"when: traits.x\n  && foo", "2:6"},
		{"when: |2\n    traits.x\n  && foo", "3:6"},
		{"when: |+\n  é && foo\n\n", "2:8"},
		{"when: !!str traits.x &&\n  foo", "2:3"},
		{"when: &a |\n  foo", "2:3"},
		{"when: &a !!str # c\n  'foo'", "2:4"},
		{"when: \"\\u00e9\\x41\\t\\n foo\"", "1:23"},
		{"when: \"a \\\n   foo\"", "2:4"},
		{"{when: foo}", "1:8"},
		{"when: |\r\n  a\r\n  foo\r\n", "3:3"},
		{"when: |\n  a\tfoo", "2:5"},
	} {
		var node yaml.Node
		if err := yaml.Unmarshal([]byte(c.yaml), &node); err != nil {
			t.Errorf("%q: %v", c.yaml, err)
			continue
		}
		rule := newRuleText(yamlValue{newDocument("a", "a", c.yaml), node.Content[0].Content[1]})
		at := rule.at(len([]rune(rule.text()[:strings.Index(rule.text(), "foo")])))
		if got := fmt.Sprintf("%d:%d", at.line, at.column); got != c.want {
			t.Errorf("%q: foo at %s, want %s", c.yaml, got, c.want)
		}
	}
}
