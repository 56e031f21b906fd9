package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
)

type checkFlags struct {
	sample  string
	strict  bool
	verbose bool
	output  string
}

func checkCommand() command {
	return command{
		name: "check", args: "DIR", summary: "Report all problems of a rules directory",
		details: `
Prints every problem as file:line:column with the line and a caret. The exit status is 1 if there are errors
(with --strict also if there are warnings).`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			var f checkFlags
			fs.StringVar(&f.sample, "sample", "", "NDJSON file of real events: also report event names and fields that it never has")
			fs.BoolVar(&f.strict, "strict", false, "warnings are errors")
			fs.BoolVar(&f.verbose, "verbose", false, "also print each leaf, what it keeps, and the segments that read it")
			fs.StringVar(&f.output, "output", "text", "text or json")
			return func(_ context.Context, inv *invocation) error { return f.run(inv) }
		},
	}
}

func (f *checkFlags) run(inv *invocation) error {
	if len(inv.args) != 1 {
		return usagef("give one rules directory")
	}
	if f.output != "text" && f.output != "json" {
		return usagef("--output %q: use text or json", f.output)
	}
	set, problems := rules.LoadDir(inv.args[0])
	if set != nil && f.sample != "" {
		more, err := f.compare(inv, set)
		if err != nil {
			return inputError(err)
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

// compare reads the sample and looks for names and fields of the rules that it
// never has.
func (f *checkFlags) compare(inv *invocation, set *rules.Set) ([]rules.Problem, error) {
	source, closer, err := replay.Open(f.sample, inv.in)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	s := sample{names: map[string]int{}, fields: map[string]int{}}
	if err := s.read(source.Reader); err != nil {
		return nil, fmt.Errorf("%s: %w", f.sample, err)
	}
	return set.CompareSample(s.names, s.fields), nil
}

// sample counts the event names and field paths of NDJSON records.
type sample struct{ names, fields map[string]int }

func (s *sample) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 64<<20)
	for lines.Scan() {
		var record map[string]any
		if json.Unmarshal(lines.Bytes(), &record) == nil {
			s.note(record)
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (s *sample) note(record map[string]any) {
	switch name, _ := record["event"].(string); record["type"] {
	case "page":
		s.names["Page Viewed"]++
	case "screen":
		s.names["Screen Viewed"]++
	default:
		if name != "" {
			s.names[name]++
		}
	}
	for _, root := range []string{"properties", "context", "traits"} {
		s.walk(root, record[root])
	}
}

func (s *sample) walk(path string, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	for key, value := range m {
		s.fields[path+"."+key]++
		s.walk(path+"."+key, value)
	}
}
