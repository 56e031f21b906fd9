package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

type diffFlags struct {
	replayInput
	with     string
	examples int
	members  bool
	exitCode bool
	output   string
}

func diffCommand() command {
	return command{
		name: "diff", args: "[TOPIC=]FILE…", summary: "Show who would enter and leave under other rules",
		details: `
Replays files (see 'segmentd help replay'; they are read once) under the rules of --rules (else of the configuration)
and of --with, and prints for each segment how many subjects would enter, leave and stay were the second to replace
the first, with examples.
--members writes all who would enter or leave as NDJSON instead. The exit status is 0, with --exit-code 1 if there
are any.

  segmentd diff --rules rules --with proposed --until 2026-02-01T00:00:00Z decisions.ndjson events.ndjson.gz`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			var f diffFlags
			config.AddFlags(fs, "rules")
			fs.StringVar(&f.with, "with", "", "directory of the rules to compare with (required)")
			fs.IntVar(&f.examples, "examples", 5, "how many subjects are named a segment and direction")
			fs.BoolVar(&f.members, "members", false, "write all who would enter or leave, as NDJSON")
			fs.BoolVar(&f.exitCode, "exit-code", false, "exit 1 if anybody would enter or leave")
			fs.StringVar(&f.output, "output", "text", "text or json")
			f.addFlags(fs)
			return func(ctx context.Context, inv *invocation) error { return f.run(ctx, inv) }
		},
	}
}

func (f *diffFlags) run(ctx context.Context, inv *invocation) error {
	switch {
	case f.output != "text" && f.output != "json":
		return usagef("--output %q: use text or json", f.output)
	case f.examples < 0:
		return usagef("--examples %d: use 0 or more", f.examples)
	}
	cfg, err := f.config(inv)
	if err != nil {
		return err
	}
	if f.files.rules == "" || f.with == "" || len(inv.args) == 0 {
		return usagef("give --rules DIR, --with DIR and at least one FILE")
	}
	sets, err := loadBoth(inv, f.files.rules, f.with)
	if err != nil {
		return err
	}
	if err := f.checkAssumed(sets[:]...); err != nil {
		return err
	}
	results, err := f.replayBoth(ctx, inv, cfg, sets)
	if err != nil {
		return err
	}
	d := compareMembers(sets, [2]*core.Memory{results[0].Records, results[1].Records})
	out := bufio.NewWriter(inv.out)
	if err := errors.Join(f.print(out, d), out.Flush()); err != nil {
		return inputError(err)
	}
	read := results[0].Summary
	fmt.Fprintf(inv.err, "%s (%d skipped); %s\n", count(read.Lines, "line"), read.Skipped, d.inWords())
	if read.Skipped+read.Refusals > 0 && !f.lenient || f.exitCode && d.differs() {
		return inputError(errPrinted)
	}
	return nil
}

// loadBoth loads two rules directories and prints the problems of both.
func loadBoth(inv *invocation, dirs ...string) (sets [2]*rules.Set, err error) {
	var errs []error
	for i, dir := range dirs {
		var failed error
		sets[i], failed = loadRules(inv, dir)
		errs = append(errs, failed)
	}
	return sets, errors.Join(errs...)
}

func (f *diffFlags) replayBoth(ctx context.Context, inv *invocation, cfg replay.Config, sets [2]*rules.Set) ([]replay.Result, error) {
	sources, closeAll, err := f.openSources(inv)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	cfgs := make([]replay.Config, len(sets))
	for i, set := range sets {
		cfgs[i] = cfg
		cfgs[i].Rules, cfgs[i].AssumeConsent = set, nil
		for _, purpose := range f.assume {
			if _, ok := set.PurposeIndex(purpose); ok {
				cfgs[i].AssumeConsent = append(cfgs[i].AssumeConsent, purpose)
			}
		}
	}
	results, err := replay.RunTogether(ctx, cfgs, sources)
	if err != nil {
		return nil, inputError(err)
	}
	return results, nil
}

// difference is what one rule set in place of another changes.
type difference struct {
	hashes   [2]string
	segments []segmentDifference // by key
}

// segmentDifference is who enters and leaves one segment, sorted.
type segmentDifference struct {
	key, purpose string
	state        string // "new", "removed" or ""
	before, now  int
	enter, leave []subject.ID
}

func (s *segmentDifference) stay() int { return s.now - len(s.enter) }

func compareMembers(sets [2]*rules.Set, records [2]*core.Memory) difference {
	bySegment := map[string]*segmentDifference{}
	for i, state := range []string{"removed", "new"} {
		for j := range sets[i].Segments {
			s := &sets[i].Segments[j]
			d := bySegment[s.Key]
			if d == nil {
				d = &segmentDifference{key: s.Key, state: state}
				bySegment[s.Key] = d
			} else {
				d.state = ""
			}
			d.purpose = sets[i].Purposes[s.Purpose].Key
		}
	}
	before := map[replay.Member]bool{}
	for _, m := range replay.Members(sets[0], records[0]) {
		bySegment[m.Segment].before++
		m.Since = 0
		before[m] = true
	}
	for _, m := range replay.Members(sets[1], records[1]) {
		d := bySegment[m.Segment]
		d.now++
		if m.Since = 0; !before[m] {
			d.enter = append(d.enter, m.Subject)
		}
		delete(before, m)
	}
	for m := range before {
		bySegment[m.Segment].leave = append(bySegment[m.Segment].leave, m.Subject)
	}
	d := difference{hashes: [2]string{sets[0].Hash, sets[1].Hash}}
	for _, key := range slices.Sorted(maps.Keys(bySegment)) {
		slices.SortFunc(bySegment[key].leave, compareIDs)
		d.segments = append(d.segments, *bySegment[key])
	}
	return d
}

func compareIDs(a, b subject.ID) int {
	if c := strings.Compare(a.Value, b.Value); c != 0 {
		return c
	}
	return int(a.Type) - int(b.Type)
}

func (d *difference) differs() bool {
	return slices.ContainsFunc(d.segments, func(s segmentDifference) bool { return len(s.enter)+len(s.leave) > 0 })
}

// inWords sums up, without any id.
func (d *difference) inWords() string {
	enter, leave := 0, 0
	for i := range d.segments {
		enter, leave = enter+len(d.segments[i].enter), leave+len(d.segments[i].leave)
	}
	if enter+leave == 0 {
		return fmt.Sprintf("no membership differs (rule sets %.12s, %.12s)", d.hashes[0], d.hashes[1])
	}
	return fmt.Sprintf("%s would begin and %d end (rule sets %.12s, %.12s)", count(enter, "membership"), leave, d.hashes[0], d.hashes[1])
}

func (f *diffFlags) print(w io.Writer, d difference) error {
	switch {
	case f.members:
		return d.writeMembers(w)
	case f.output == "json":
		return d.writeJSON(w, f.examples)
	}
	return d.writeTable(w, f.examples)
}

// writeTable prints a line a segment and below it examples of who enters (+)
// and leaves (-).
func (d *difference) writeTable(w io.Writer, examples int) error {
	width := len("SEGMENT")
	for i := range d.segments {
		width = max(width, utf8.RuneCountInString(d.segments[i].label()))
	}
	_, err := fmt.Fprintf(w, "%-*s  %8s  %8s  %8s  %8s  %8s\n", width, "SEGMENT", "OLD", "NEW", "ENTER", "LEAVE", "STAY")
	for i := range d.segments {
		s := &d.segments[i]
		_, line := fmt.Fprintf(w, "%-*s  %8d  %8d  %8d  %8d  %8d\n", width, s.label(), s.before, s.now, len(s.enter), len(s.leave), s.stay())
		err = errors.Join(err, line, writeExamples(w, "+", s.enter, examples), writeExamples(w, "-", s.leave, examples))
	}
	return err
}

func (s *segmentDifference) label() string {
	if s.state == "" {
		return s.key
	}
	return s.key + " (" + s.state + ")"
}

func writeExamples(w io.Writer, sign string, ids []subject.ID, most int) error {
	if len(ids) == 0 || most == 0 {
		return nil
	}
	var names []string
	for _, id := range ids[:min(most, len(ids))] {
		name := id.Value
		if id.Type != subject.UserID {
			name += " (anonymous)"
		}
		names = append(names, name)
	}
	more := ""
	if n := len(ids) - len(names); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	_, err := fmt.Fprintf(w, "  %s %s%s\n", sign, strings.Join(names, ", "), more)
	return err
}

// idJSON is a subject as results name it.
type idJSON struct {
	UserID string `json:"userId"`
	IDType string `json:"idType,omitempty"` // of anonymous ids only
}

func idsJSON(ids []subject.ID) []idJSON {
	all := []idJSON{}
	for _, id := range ids {
		j := idJSON{UserID: id.Value}
		if id.Type != subject.UserID {
			j.IDType = id.Type.String()
		}
		all = append(all, j)
	}
	return all
}

// segmentDifferenceJSON is a segment as --output json writes it.
type segmentDifferenceJSON struct {
	Segment       string   `json:"segment"`
	Purpose       string   `json:"purpose"`
	State         string   `json:"state,omitempty"`
	Old           int      `json:"old"`
	New           int      `json:"new"`
	Enter         int      `json:"enter"`
	Leave         int      `json:"leave"`
	Stay          int      `json:"stay"`
	EnterExamples []idJSON `json:"enterExamples"`
	LeaveExamples []idJSON `json:"leaveExamples"`
}

func (d *difference) writeJSON(w io.Writer, examples int) error {
	doc := struct {
		Old      string                  `json:"old"` // hash of the rule set
		New      string                  `json:"new"`
		Segments []segmentDifferenceJSON `json:"segments"`
	}{d.hashes[0], d.hashes[1], []segmentDifferenceJSON{}}
	for i := range d.segments {
		s := &d.segments[i]
		doc.Segments = append(doc.Segments, segmentDifferenceJSON{
			Segment: s.key, Purpose: s.purpose, State: s.state, Old: s.before, New: s.now, Enter: len(s.enter), Leave: len(s.leave), Stay: s.stay(),
			EnterExamples: idsJSON(s.enter[:min(examples, len(s.enter))]), LeaveExamples: idsJSON(s.leave[:min(examples, len(s.leave))]),
		})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(doc)
}

// writeMembers writes a line for each membership that would begin or end, in
// the words of changes.
func (d *difference) writeMembers(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for i := range d.segments {
		s := &d.segments[i]
		for _, side := range []struct {
			kind subject.ChangeKind
			ids  []subject.ID
		}{{subject.Entered, s.enter}, {subject.Exited, s.leave}} {
			for _, id := range idsJSON(side.ids) {
				line := struct {
					Segment string `json:"segment"`
					idJSON
					Change string `json:"change"`
				}{s.key, id, side.kind.String()}
				if err := e.Encode(line); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
