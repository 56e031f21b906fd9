package replay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/datadriven"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// TestScripts runs testdata/*.txt: `rules` sets the rule set (`segments` one of
// a purpose m, a line `KEY: RULE` for each and further fields indented), `run` replays
// inputs under it and prints every change with the message id that caused it
// (with places, also the line of an event without one), the skipped lines, the
// outcomes that are not plain admissions, and (with members) the memberships at
// the end; with explain=SUBJECT only the explanations of that subject.
//
// Inputs are lines of
//
//	DAY[THH:MM[:SS]] SUBJECT EVENT NAME {properties}      an event; #id after the name gives it a messageId
//	DAY[THH:MM[:SS]] SUBJECT traits {traits}              an identify call
//	DAY[THH:MM[:SS]] SUBJECT given|refused|withdrawn|objected PURPOSE {more}
//	DAY[THH:MM[:SS]] SUBJECT requests erase|restrict|unrestrict|rectify|access|portability {traits}
//
// where DAY is MM-DD of 2026, or YYYY-MM-DD; a subject that begins with ? is anonymous.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var set *rules.Set
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "rules":
				set = load(t, d, d.Input)
				return ""
			case "segments":
				set = load(t, d, segmentsOf(d.Input))
				return ""
			case "run":
				return runScript(t, set, d)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func load(t *testing.T, d *datadriven.TestData, text string) *rules.Set {
	t.Helper()
	set, problems := rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
	if set == nil {
		t.Fatalf("%s: %v", d.Pos, problems)
	}
	return set
}

// segmentsOf is a rule file with the segments of a `segments` case.
func segmentsOf(script string) string {
	var b strings.Builder
	b.WriteString("purposes:\n  - {key: m, description: d, lawful_basis: consent, retention: 400d}\nsegments:\n")
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, " ") {
			b.WriteString("  " + line)
			continue
		}
		key, rule, _ := strings.Cut(line, ": ")
		fmt.Fprintf(&b, "  - key: %s\n    purpose: m\n    when: |\n      %s\n", key, strings.TrimSpace(rule))
	}
	return b.String()
}

func runScript(t *testing.T, set *rules.Set, d *datadriven.TestData) string {
	var out strings.Builder
	cfg := replay.Config{Rules: set, Until: subject.Never,
		Change: func(c *subject.Change) error {
			fmt.Fprintf(&out, "%s %s %s", c.Time, c.Subject.Value, c.Kind)
			if c.Kind != subject.Erased {
				out.WriteString(" " + c.Segment)
			}
			fmt.Fprintf(&out, " (%s) v%d", c.Reason, c.Version)
			if c.Output != "" {
				fmt.Fprintf(&out, " for %s", c.Output)
			}
			if c.CausedBy != "" && (!strings.HasPrefix(c.CausedBy, "in:") || d.HasArg("places")) {
				fmt.Fprintf(&out, " by %s", c.CausedBy)
			}
			out.WriteByte('\n')
			return nil
		},
		Problem: func(_ string, line int64, what string) { fmt.Fprintf(&out, "line %d: %s\n", line, what) },
	}
	if d.HasArg("assume") {
		var purpose string
		d.ScanArgs(t, "assume", &purpose)
		cfg.AssumeConsent = []string{purpose}
	}
	if d.HasArg("until") {
		var until string
		d.ScanArgs(t, "until", &until)
		cfg.Until = when(t, until)
	}
	input := strings.NewReader(ndjson(t, d.Input))
	records, summary, err := replay.Run(context.Background(), cfg, []replay.Source{{Name: "in", Reader: input}})
	if err != nil {
		t.Fatalf("%s: %v", d.Pos, err)
	}
	if d.HasArg("explain") {
		return explanations(t, d, cfg, records, summary.Clock)
	}
	for o, n := range summary.Events {
		if n > 0 && subject.Outcome(o) != subject.Admitted {
			fmt.Fprintf(&out, "%s: %d\n", subject.Outcome(o), n)
		}
	}
	if d.HasArg("members") {
		for _, m := range replay.Members(set, records) {
			fmt.Fprintf(&out, "%s in %s since %s\n", m.Subject.Value, m.Segment, m.Since)
		}
	}
	return out.String()
}

// explanations are those of a subject at the end of a script.
func explanations(t *testing.T, d *datadriven.TestData, cfg replay.Config, records *core.Memory, clock subject.Instant) string {
	id := subject.ID{}
	d.ScanArgs(t, "explain", &id.Value)
	r, err := records.Get(id)
	if r == nil || err != nil {
		r = subject.NewRecord(id)
	}
	engine := core.New(cfg.Rules, cfg.Core)
	if err := engine.Assume(cfg.AssumeConsent); err != nil {
		t.Fatal(err)
	}
	all := engine.Explainer().ExplainAll(r, clock)
	for i := range all.Explanations {
		for line := range strings.Lines(all.Explanations[i].Text()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
				t.Errorf("%s: a line of %d columns: %s", d.Pos, n, line)
			}
		}
	}
	// datadriven ends an expectation at an empty line
	return strings.ReplaceAll(all.Text(), "\n\n", "\n")
}

func when(t *testing.T, s string) subject.Instant {
	t.Helper()
	layout, clock := "2006-01-02", strings.Count(s, ":")
	switch {
	case clock == 1:
		layout += "T15:04"
	case clock == 2:
		layout += "T15:04:05" // and a fraction
	}
	if strings.IndexByte(s, '-') == 2 {
		s = "2026-" + s
	}
	at, err := time.Parse(layout, s)
	if err != nil {
		t.Fatal(err)
	}
	return subject.FromTime(at)
}

func ndjson(t *testing.T, script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line != "" {
			record, err := json.Marshal(record(t, line))
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(record, '\n'))
		}
	}
	return b.String()
}

func record(t *testing.T, line string) map[string]any {
	t.Helper()
	words, body, hasBody := strings.Cut(line, " {")
	part := strings.SplitN(words, " ", 4)
	if len(part) < 3 {
		t.Fatalf("script line %q", line)
	}
	fields := map[string]any{}
	if hasBody {
		if err := json.Unmarshal([]byte("{"+body), &fields); err != nil {
			t.Fatalf("script line %q: %v", line, err)
		}
	}
	r := map[string]any{"timestamp": when(t, part[0]).String()}
	if id, anonymous := strings.CutPrefix(part[1], "?"); anonymous {
		r["anonymousId"] = id
	} else {
		r["userId"] = id
	}
	switch part[2] {
	case "traits":
		r["type"], r["traits"] = "identify", fields
	case "requests":
		r["type"], r["request"], r["requestId"] = "request", part[3], "r1"
		if hasBody {
			r["traits"] = fields
		}
	case "given", "refused", "withdrawn", "objected":
		r["type"], r["status"], r["purpose"] = "decision", part[2], part[3]
		for k, v := range fields {
			r[k] = v
		}
	default:
		name := strings.Join(part[2:], " ")
		if name, id, ok := strings.Cut(name, " #"); ok {
			r["event"], r["messageId"] = name, id
		} else {
			r["event"] = name
		}
		if c, ok := fields["context"]; ok {
			r["context"] = c
			delete(fields, "context")
		}
		r["type"], r["properties"] = "track", fields
	}
	return r
}
