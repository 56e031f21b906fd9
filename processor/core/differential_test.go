package core_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/core/cdnow"
	"github.com/segmentd/segmentd/processor/core/oracle"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

var (
	seeds     = flag.Int("seeds", 400, "random cases that TestEngineAgreesWithOracle runs")
	firstSeed = flag.Uint64("first-seed", 0, "of TestEngineAgreesWithOracle")
)

// engineChanges replays inputs through the engine, by subject.
func engineChanges(t *testing.T, rulesFS fs.FS, inputs []string, until subject.Instant) map[string][]oracle.Change {
	t.Helper()
	set, problems := rules.Load(rulesFS)
	if set == nil {
		t.Fatalf("rules: %v", problems)
	}
	var sources []replay.Source
	for _, text := range inputs {
		sources = append(sources, replay.Source{Name: "in", Reader: strings.NewReader(text)})
	}
	if until == 0 {
		until = subject.Never
	}
	got := map[string][]oracle.Change{}
	_, _, err := replay.Run(context.Background(), replay.Config{Rules: set, Until: until,
		Change: func(c *subject.Change) error {
			id := c.Subject.Type.String() + c.Subject.Value
			got[id] = append(got[id], oracle.Change{UserID: c.Subject.Value, IDType: c.Subject.Type.String(), Segment: c.Segment,
				Change: c.Kind.String(), Time: c.Time, Reason: c.Reason.String(), Purpose: c.Purpose, Version: c.Version, CausedBy: c.CausedBy})
			return nil
		},
		Problem: func(_ string, line int64, what string) { t.Errorf("line %d: %s", line, what) }}, sources)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func oracleChanges(t *testing.T, rulesFS fs.FS, inputs []string, opts oracle.Options) map[string][]oracle.Change {
	t.Helper()
	var readers []io.Reader
	for _, text := range inputs {
		readers = append(readers, strings.NewReader(text))
	}
	changes, _, err := oracle.Run(rulesFS, readers, opts)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]oracle.Change{}
	for _, c := range changes {
		want[c.IDType+c.UserID] = append(want[c.IDType+c.UserID], c)
	}
	return want
}

// same compares a change of the oracle with one of the engine. Where a flip has
// two causes at one instant (Tie) either reason is right.
func same(want, got oracle.Change) bool {
	if want.CausedBy == "" && (got.Reason == "event" || got.Reason == "trait" || got.Reason == "age") {
		got.CausedBy = "" // the oracle names message ids only, and none of events that no rule reads
	}
	if want.Tie {
		want.Reason, want.CausedBy = got.Reason, got.CausedBy
	}
	want.Tie = false
	return want == got
}

// difference describes the first difference of a subject's changes, "" if there is none.
func difference(want, got map[string][]oracle.Change) string {
	for id := range merged(want, got) {
		w, g := want[id], got[id]
		for i := range max(len(w), len(g)) {
			if i < len(w) && i < len(g) && same(w[i], g[i]) {
				continue
			}
			var b strings.Builder
			fmt.Fprintf(&b, "%s: change %d differs\noracle:\n", id, i)
			describe(&b, w)
			b.WriteString("engine:\n")
			describe(&b, g)
			return b.String()
		}
	}
	return ""
}

func merged(a, b map[string][]oracle.Change) map[string]bool {
	ids := map[string]bool{}
	for id := range a {
		ids[id] = true
	}
	for id := range b {
		ids[id] = true
	}
	return ids
}

func describe(b *strings.Builder, changes []oracle.Change) {
	for _, c := range changes {
		fmt.Fprintf(b, "  %s %s %s (%s) v%d by %q\n", c.Time, c.Change, c.Segment, c.Reason, c.Version, c.CausedBy)
	}
}

// TestEngineAgreesWithOracle compares the engine with the naive evaluator on
// random rules and streams: every change, its instant, reason, cause and version.
// -first-seed and -seeds choose the cases.
func TestEngineAgreesWithOracle(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		c := oracle.Generate(rand.New(rand.NewPCG(seed, 1)))
		want := oracleChanges(t, c.Rules, c.Inputs, oracle.Options{Until: c.Until})
		if d := difference(want, engineChanges(t, c.Rules, c.Inputs, c.Until)); d != "" {
			t.Errorf("seed %d (run with -first-seed %d -seeds 1): %s\nrules:\n%s\ninputs:\n%s", seed, seed, d, c.Text, strings.Join(c.Inputs, "\n--\n"))
			return
		}
	}
}

// TestEngineAgreesWithOracleOnCDNOW compares every change on a real history.
func TestEngineAgreesWithOracleOnCDNOW(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute of brute force")
	}
	var events, decisions bytes.Buffer
	if err := errors.Join(cdnow.Events(&events), cdnow.Decisions(&decisions)); errors.Is(err, cdnow.ErrAbsent) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	until, err := subject.ParseInstant("2026-11-24T00:00:00Z")
	if err != nil {
		t.Fatal(err)
	}
	inputs := []string{decisions.String(), events.String()}
	got := engineChanges(t, cdnow.Rules(), inputs, until)
	want := oracleChanges(t, cdnow.Rules(), inputs, oracle.Options{Until: until, Bucket: definedBucket})
	total := 0
	for _, c := range got {
		total += len(c)
	}
	t.Logf("%d changes of %d subjects", total, len(got))
	if d := difference(want, got); d != "" {
		t.Error(d)
	}
}
