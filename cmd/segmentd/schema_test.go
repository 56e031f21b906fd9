package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/rules/schematest"
	"github.com/segmentd/segmentd/state/subject"
)

// schemaFile writes a schema to a file, as people do for their editors, and
// compiles the file.
func schemaFile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".schema.json")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t.Context(), []string{"schema", name}, streams{out: file, err: io.Discard}); got != exitOK {
		t.Fatalf("segmentd schema %s exits with %d", name, got)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.NewCompiler().Compile(path)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$(\n```text\n.*?^```$)?")

// TestSchemasHoldForDocuments validates every rule file and rule test that the
// documents show, and those that are shipped, against the schemas.
func TestSchemasHoldForDocuments(t *testing.T) {
	rulesSchema, testSchema := schemaFile(t, "rules"), schemaFile(t, "rule-test")
	validated := map[*jsonschema.Schema]int{}
	validate := func(where, text string) {
		schema := rulesSchema
		if strings.Contains("\n"+text, "\ntests:") {
			schema = testSchema
		}
		validated[schema]++
		if err := schema.Validate(schematest.YAML(t, text)); err != nil {
			t.Errorf("%s: %v\n%s", where, err, text)
		}
	}
	for _, page := range []string{"../../rules/README.md", "../../README.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			isRules := regexp.MustCompile(`(?m)^(segments|purposes|tests):`).MatchString(m[1])
			if isNotYAML := strings.Contains(m[2], "means something else to YAML"); isRules && !isNotYAML {
				validate(page, m[1])
			}
		}
	}
	for _, path := range []string{"demo/shop.yaml", "../../deployments/example/rules/shop.yaml", "../../deployments/example/rules/shop_test.yaml"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		validate(path, string(text))
	}
	if validated[rulesSchema] < 8 || validated[testSchema] < 4 {
		t.Errorf("only %d rule files and %d test files were found", validated[rulesSchema], validated[testSchema])
	}
}

// TestReadmeNamesItsRuleSet compares the hash in README.md's outputs with that of
// the rules it shows first.
func TestReadmeNamesItsRuleSet(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	set, problems := rules.Load(fstest.MapFS{"shop.yaml": {Data: []byte(yamlBlock.FindStringSubmatch(string(text))[1])}})
	if set == nil {
		t.Fatal(problems)
	}
	for _, said := range []string{"(rule set " + set.Hash[:12] + ")", "rule_set=" + set.Hash[:12] + " ", `"ruleSet":"` + set.Hash + `"`} {
		if !strings.Contains(string(text), said) {
			t.Errorf("README.md does not say %s", said)
		}
	}
}

// TestReadmeNamesTopicsAndReasons holds that README.md leaves nothing out of what
// is made and what comes out.
func TestReadmeNamesTopicsAndReasons(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	for _, spec := range (processor.Topics{Group: "segmentd"}).Specs(new(rules.Set)) {
		made = append(made, spec.Name)
		if name := "\n" + strings.Replace(spec.Name, "segmentd", "shop", 1) + " "; !strings.Contains(string(text), name) {
			t.Errorf("README.md does not show the topic%s", name)
		}
	}
	if said := "topics=events,decisions,requests," + strings.Join(made, ",") + " "; !strings.Contains(string(text), said) {
		t.Errorf("README.md does not say %s", said)
	}
	_, out, _ := strings.Cut(string(text), "\n## What comes out")
	for reason := range subject.Reasons {
		if !strings.Contains(out, "`"+reason.String()+"`") {
			t.Errorf("README.md does not name the reason %s", reason)
		}
	}
}
