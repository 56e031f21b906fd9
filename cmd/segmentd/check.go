package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/rules"
)

type checkFlags struct {
	files   fileInputs
	sample  []string
	strict  bool
	verbose bool
	output  string
}

func checkCommand() command {
	return command{
		name: "check", args: "[DIR]", summary: "Report all problems of a rules directory",
		details: `
Prints every problem as file:line:column with the line and a caret. The exit status is 1 if there are errors
(with --strict also if there are warnings).
` + fileInputsHelp + `

  segmentd check rules --config segmentd.yaml --sample shop.events=events.ndjson`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			var f checkFlags
			fs.StringArrayVar(&f.sample, "sample", nil, "NDJSON file of real events (\"-\" is stdin; .gz and .zst are decompressed; may be repeated): also report event names and fields that it never has, and what a map reads and no record has")
			fs.BoolVar(&f.strict, "strict", false, "warnings are errors")
			fs.BoolVar(&f.verbose, "verbose", false, "also print each leaf, what it keeps, and the segments that read it")
			fs.StringVar(&f.output, "output", "text", "text or json")
			f.files.addFlags(fs)
			return func(_ context.Context, inv *invocation) error { return f.run(inv) }
		},
	}
}

func (f *checkFlags) run(inv *invocation) error {
	if f.output != "text" && f.output != "json" {
		return usagef("--output %q: use text or json", f.output)
	}
	if err := f.files.load(inv); err != nil {
		return err
	}
	dir, err := f.files.rulesDir(inv.args)
	if err != nil {
		return err
	}
	set, problems := rules.LoadDir(dir)
	if set != nil && len(f.sample) > 0 {
		more, err := f.compareSample(inv, set)
		if err != nil {
			return err
		}
		problems = rules.SortProblems(append(problems, more...))
	}
	if err := f.print(inv, set, problems); err != nil {
		return inputError(err)
	}
	if rules.HasErrors(problems) || f.strict && len(problems) > 0 {
		return inputError(errPrinted)
	}
	return nil
}

func (f *checkFlags) print(inv *invocation, set *rules.Set, problems []rules.Problem) error {
	if f.output == "json" {
		e := json.NewEncoder(inv.out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if problems == nil {
			problems = []rules.Problem{}
		}
		return e.Encode(struct {
			Problems []rules.Problem `json:"problems"`
			Leaves   []leafJSON      `json:"leaves,omitempty"`
		}{problems, f.leaves(set)})
	}
	if err := rules.WriteProblems(inv.out, problems); err != nil {
		return err
	}
	for _, l := range f.leaves(set) {
		fmt.Fprintf(inv.out, "%s: %s\n  keeps %s\n  for %s\n", l.Purpose, l.Leaf, l.Keeps, strings.Join(l.Segments, ", "))
	}
	errs := 0
	for _, p := range problems {
		if p.Severity == rules.Error {
			errs++
		}
	}
	if set == nil {
		fmt.Fprintf(inv.err, "%s, %s\n", count(errs, "error"), count(len(problems)-errs, "warning"))
		return nil
	}
	leaves := "leaves"
	if len(set.Leaves) == 1 {
		leaves = "leaf"
	}
	fmt.Fprintf(inv.err, "%s for %s from %d %s: %s, %s (rule set %.12s)\n", count(len(set.Segments), "segment"), count(len(set.Purposes), "purpose"),
		len(set.Leaves), leaves, count(errs, "error"), count(len(problems)-errs, "warning"), set.Hash)
	return nil
}

type leafJSON struct {
	Purpose  string   `json:"purpose"`
	Leaf     string   `json:"leaf"`
	Keeps    string   `json:"keeps"`
	Segments []string `json:"segments"`
}

func (f *checkFlags) leaves(set *rules.Set) []leafJSON {
	if set == nil || !f.verbose {
		return nil
	}
	var all []leafJSON
	for i := range set.Leaves {
		l := &set.Leaves[i]
		j := leafJSON{Purpose: set.Purposes[l.Purpose].Key, Leaf: l.Text, Keeps: l.Bound}
		for _, s := range l.Segments {
			j.Segments = append(j.Segments, set.Segments[s].Key)
		}
		all = append(all, j)
	}
	return all
}
