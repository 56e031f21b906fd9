package ruletest_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cockroachdb/datadriven"

	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/rules/ruletest"
	"github.com/segmentd/segmentd/state/subject"
)

// TestCorpus runs testdata: `rules` sets the rules, `tests` reads a test file
// beside them and prints its problems, or what `segmentd test` prints.
// `tests explained` has answers explained by explain, below.
func TestCorpus(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var set *rules.Set
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "rules":
				set = loaded(t, d.Input)
				return ""
			case "tests":
				return runTests(t, set, d.Input, d.HasArg("explained"))
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func loaded(t testing.TB, text string) *rules.Set {
	t.Helper()
	set, problems := rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
	if set == nil {
		t.Fatal(problems)
	}
	return set
}

func runTests(t testing.TB, set *rules.Set, text string, explained bool) string {
	t.Helper()
	var out strings.Builder
	tests, problems := ruletest.Load(fstest.MapFS{"rules_test.yaml": {Data: []byte(text + "\n")}}, set)
	if err := rules.WriteProblems(&out, problems); err != nil {
		t.Fatal(err)
	}
	if problems != nil {
		return out.String()
	}
	err := ruletest.Run(context.Background(), set, tests, begin(set, explained), func(r ruletest.Result) {
		if err := r.WriteText(&out); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		fmt.Fprintf(&out, "error: %v\n", err)
	}
	return out.String()
}

// machine is a replay as tests drive it.
type machine struct {
	*replay.Stepper
	changes []subject.Change
}

// testInputs are the inputs that tests of the scripts may name.
var testInputs = map[string]*replay.Input{
	"epochs": {Kind: wire.Events, Decoder: wire.DecoderOptions{TimestampUnit: wire.Seconds}},
}

func begin(set *rules.Set, explained bool) ruletest.Begin {
	return func(assumed []string) (ruletest.Machine, ruletest.Explainer, error) {
		m := &machine{}
		var err error
		m.Stepper, err = replay.NewStepper(replay.Config{Rules: set, AssumeConsent: assumed,
			Change: func(c *subject.Change) error { m.changes = append(m.changes, *c); return nil }})
		if explained {
			return m, m, err
		}
		return m, nil, err
	}
}

func (m *machine) Step(r ruletest.Record) (ruletest.Step, error) {
	in := testInputs[r.Input]
	if in == nil && r.Input != "" {
		return ruletest.Step{Problem: "no input " + r.Input}, nil
	}
	did, err := m.Stepper.StepInput(in, r.JSON, subject.Position{Topic: "test", Offset: int64(r.Line)}, r.Arrival)
	return ruletest.Step{Problem: did.Problem, Event: did.Event, Outcome: did.Outcome}, err
}

func (m *machine) Changes() []subject.Change {
	changes := m.changes
	m.changes = nil
	return changes
}

func (m *machine) Members() (all []ruletest.Member) {
	for _, member := range m.Stepper.Members() {
		all = append(all, ruletest.Member{Segment: member.Segment, Subject: member.Subject})
	}
	return all
}

// Explain explains nothing but the membership; a member leaves a day later.
func (m *machine) Explain(id subject.ID, segment string, at subject.Instant) (any, string, error) {
	document := map[string]any{"member": false, "since": nil, "nextChange": nil}
	text := id.Value + " is not in " + segment + "\nas of " + at.String()
	for _, member := range m.Stepper.Members() {
		if member.Segment == segment && member.Subject == id {
			document["member"], document["since"] = true, member.Since.String()
			document["nextChange"] = map[string]any{"at": at.Add(24 * 3600e9).String(), "change": "exited"}
			text = id.Value + " is in " + segment + "\nsince " + member.Since.String()
		}
	}
	return document, text, nil
}

const shopRules = `purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
segments:
  - {key: buyers, purpose: marketing, when: 'events("Order").within("30d").exists()'}
`

// TestJUnit reads back what is written.
func TestJUnit(t *testing.T) {
	set := loaded(t, shopRules)
	files := fstest.MapFS{
		"a_test.yaml": {Data: []byte("tests:\n  - {name: passes, steps: [{expect: {members: {buyers: []}}}]}\n" +
			"  - {name: 'fails <&>', steps: [{expect: {members: {buyers: [ada]}}}]}\n")},
		"sub/b_test.yaml": {Data: []byte("tests: [{name: passes, steps: [{advance: 1d}]}]\n")},
		".c_test.yaml":    {Data: []byte("nonsense\n")},
	}
	tests, problems := ruletest.Load(files, set)
	if problems != nil || len(tests) != 3 {
		t.Fatal(tests, problems)
	}
	var results []ruletest.Result
	if err := ruletest.Run(context.Background(), set, tests, begin(set, false), func(r ruletest.Result) { results = append(results, r) }); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := ruletest.WriteJUnit(&out, results, []rules.Problem{{File: "d.yaml", Line: 3, Column: 1, Message: "odd"}}); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string  `xml:"name,attr"`
				Failure *string `xml:"failure"`
				Error   *string `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(out.String()), &doc); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if doc.Tests != 4 || doc.Failures != 1 || doc.Errors != 1 || len(doc.Suites) != 3 || doc.Suites[1].Name != "sub/b_test.yaml" {
		t.Errorf("%+v", doc)
	}
	if c := doc.Suites[0].Cases[1]; c.Name != "fails <&>" || c.Failure == nil || !strings.Contains(*c.Failure, "! ada       -") {
		t.Errorf("%+v", c)
	}
}

// FuzzLoad looks for test files that make reading or running them panic.
func FuzzLoad(f *testing.F) {
	f.Add("tests:\n  - name: a\n    userId: u\n    steps:\n      - decision: {purpose: marketing, status: given}\n      - track: Order\n      - advance: 30d\n      - expect: {members: {buyers: [u]}, changes: []}\n")
	f.Add("tests: &a\n  - *a\n")
	f.Add("tests: [{name: a, steps: [{identify: &x {y: *x}, userId: u}]}]")
	f.Add("tests: [{name: a, steps: [{record: {specversion: '1.0'}}, {advance: 9999-12-31}, {advance: 9999999d}, {expect: {}}]}]")
	f.Add("tests:\n  - name: \"\n0")
	set := loaded(f, shopRules)
	f.Fuzz(func(t *testing.T, text string) { runTests(t, set, text, true) })
}
