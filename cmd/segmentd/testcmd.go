package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/rules/ruletest"
	"github.com/segmentd/segmentd/state/subject"
)

type testFlags struct {
	files  fileInputs
	junit  string
	run    string
	output string
}

func testCommand() command {
	return command{
		name: "test", args: "[DIR]", summary: "Run the tests of a rules directory",
		details: `
Runs every *_test.yaml of the directory against its rules, with the decoding, consent and clock of replay. Prints a
line a test, and of those that fail what was expected beside what is so. The exit status is 1 if a test fails.
rules/README.md has the format; a small one, beside rules with a segment big_spenders for the purpose marketing:

  tests:
    - name: an order of 600 makes a big spender for 90 days
      userId: ada
      steps:
        - decision: {purpose: marketing, status: given}
        - track: Order Completed
          properties: {total: 600}
        - expect: {members: {big_spenders: [ada]}}
        - advance: 90d
        - expect: {members: {big_spenders: []}}

Without DIR the rules are those of the configuration (rules, SEGMENTD_RULES).
With --config (or SEGMENTD_CONFIG) a step may be a record as an input has it, and is read with that input's map:

        - {record: {kind: order, customer: {id: ada}, data: {total: 600}}, input: shop.events}`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			var f testFlags
			fs.StringVar(&f.run, "run", "", "only tests whose name matches this regular expression")
			fs.StringVar(&f.junit, "junit", "", "also write the results to this file, as JUnit XML")
			fs.StringVar(&f.output, "output", "text", "text or json")
			f.files.addFlags(fs)
			return func(ctx context.Context, inv *invocation) error { return f.execute(ctx, inv) }
		},
	}
}

func (f *testFlags) execute(ctx context.Context, inv *invocation) error {
	if f.output != "text" && f.output != "json" {
		return usagef("--output %q: use text or json", f.output)
	}
	chosen, err := regexp.Compile(f.run)
	if err != nil {
		return usagef("--run %q: %w", f.run, err)
	}
	if err := f.files.load(inv); err != nil {
		return err
	}
	dir, err := f.files.rulesDir(inv.args)
	if err != nil {
		return err
	}
	set, tests, problems := loadTests(dir)
	if rules.HasErrors(problems) {
		return f.refuse(inv, dir, problems)
	}
	all := len(tests)
	tests = slices.DeleteFunc(tests, func(t ruletest.Test) bool { return !chosen.MatchString(t.Name) })
	if len(tests) == 0 {
		return inputError(noTests(dir, all, f.run))
	}
	return f.report(ctx, inv, set, tests)
}

// loadTests loads the rules, and the tests if the rules have no errors.
func loadTests(dir string) (*rules.Set, []ruletest.Test, []rules.Problem) {
	set, problems := rules.LoadDir(dir)
	if set == nil {
		return nil, nil, problems
	}
	tests, problems := ruletest.LoadDir(dir, set)
	return set, tests, problems
}

func noTests(dir string, all int, pattern string) error {
	if all > 0 {
		return fmt.Errorf("none of %s matches --run %q", count(all, "test"), pattern)
	}
	return fmt.Errorf("no tests in %s: write them beside the rules, in files whose names end in %s ('segmentd help test' shows one)", dir, ruletest.Suffix)
}

// refuse prints what is wrong with the files.
func (f *testFlags) refuse(inv *invocation, dir string, problems []rules.Problem) error {
	if err := f.writeJUnit(nil, problems); err != nil {
		return err
	}
	var err error
	if f.output == "json" {
		err = ruletest.WriteJSON(inv.out, nil, problems)
	} else {
		err = rules.WriteProblems(inv.out, problems)
	}
	if err != nil {
		return inputError(err)
	}
	return inputError(fmt.Errorf("no test was run: the files in %s have errors", dir))
}

// report runs tests and prints each as it ends.
func (f *testFlags) report(ctx context.Context, inv *invocation, set *rules.Set, tests []ruletest.Test) error {
	var results []ruletest.Result
	var printing error
	failed := 0
	err := ruletest.Run(ctx, set, tests, f.begin(set), func(r ruletest.Result) {
		results = append(results, r)
		if r.Failed() {
			failed++
		}
		if f.output == "text" {
			printing = errors.Join(printing, r.WriteText(inv.out))
		}
	})
	if f.output == "json" && err == nil {
		err = ruletest.WriteJSON(inv.out, results, nil)
	}
	if err = errors.Join(err, printing); err != nil {
		return inputError(err)
	}
	if err := f.writeJUnit(results, nil); err != nil {
		return err
	}
	fmt.Fprintf(inv.err, "%s, %d failed\n", count(len(results), "test"), failed)
	if failed > 0 {
		return inputError(errPrinted)
	}
	return nil
}

func (f *testFlags) writeJUnit(results []ruletest.Result, problems []rules.Problem) error {
	if f.junit == "" {
		return nil
	}
	file, err := os.Create(f.junit)
	if err != nil {
		return environmentError(err)
	}
	if err := errors.Join(ruletest.WriteJUnit(file, results, problems), file.Close()); err != nil {
		return environmentError(fmt.Errorf("write %s: %w", f.junit, err))
	}
	return nil
}

// begin makes the machine of each test: replay, step by step.
func (f *testFlags) begin(set *rules.Set) ruletest.Begin {
	return func(assumed []string) (ruletest.Machine, ruletest.Explainer, error) {
		m := &testMachine{files: &f.files}
		stepper, err := replay.NewStepper(replay.Config{Rules: set, AssumeConsent: assumed,
			Change: func(c *subject.Change) error { m.changes = append(m.changes, *c); return nil }})
		m.Stepper = stepper
		if err != nil {
			return nil, nil, err
		}
		engine := core.New(set, core.Config{})
		return m, &testExplainer{engine, stepper}, engine.Assume(assumed)
	}
}

// testExplainer explains the answers of a test's machine.
type testExplainer struct {
	engine  *core.Engine
	stepper *replay.Stepper
}

// Explain explains a membership as it stands.
func (x *testExplainer) Explain(id subject.ID, segment string, at subject.Instant) (document any, text string, err error) {
	i, ok := x.engine.Set().SegmentByKey(segment)
	if !ok {
		return nil, "", errors.New(x.engine.Set().NoSegment(segment))
	}
	r, err := x.stepper.Records().Get(id)
	if err != nil {
		return nil, "", err
	}
	if r == nil {
		r = subject.NewRecord(id)
	}
	e := x.engine.Explain(r, i, at)
	return e, e.Text(), nil
}

// testMachine is a replay as tests drive it.
type testMachine struct {
	*replay.Stepper
	files   *fileInputs
	changes []subject.Change
}

// Step applies one record.
func (m *testMachine) Step(r ruletest.Record) (ruletest.Step, error) {
	in := m.files.byName[r.Input]
	if in == nil && r.Input != "" {
		return ruletest.Step{Problem: "no input of the configuration is named '" + r.Input + "'" + rules.Hint(r.Input, m.files.topics) + ": give the file with --config"}, nil
	}
	did, err := m.Stepper.StepInput(in, r.JSON, subject.Position{Topic: "test", Offset: int64(r.Line)}, r.Arrival)
	return ruletest.Step{Problem: did.Problem, Event: did.Event, Outcome: did.Outcome}, err
}

// Changes returns what was published since the last call.
func (m *testMachine) Changes() []subject.Change {
	changes := m.changes
	m.changes = nil
	return changes
}

// Members returns all memberships.
func (m *testMachine) Members() []ruletest.Member {
	var all []ruletest.Member
	for _, member := range m.Stepper.Members() {
		all = append(all, ruletest.Member{Segment: member.Segment, Subject: member.Subject})
	}
	return all
}
