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
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

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

var errProblem = errors.New("not understood")

// engineChanges replays inputs through the engine, by subject.
func engineChanges(rulesFS fs.FS, inputs []string, until subject.Instant) (map[string][]oracle.Change, error) {
	set, problems := rules.Load(rulesFS)
	if set == nil {
		return nil, fmt.Errorf("rules: %v: %w", problems, errProblem)
	}
	var sources []replay.Source
	for _, text := range inputs {
		sources = append(sources, replay.Source{Name: "in", Reader: strings.NewReader(text)})
	}
	if until == 0 {
		until = subject.Never
	}
	got := map[string][]oracle.Change{}
	var problem error
	_, _, err := replay.Run(context.Background(), replay.Config{Rules: set, Until: until,
		Change: func(c *subject.Change) error {
			id := c.Subject.Type.String() + c.Subject.Value
			got[id] = append(got[id], oracle.Change{UserID: c.Subject.Value, IDType: c.Subject.Type.String(), Segment: c.Segment,
				Change: c.Kind.String(), Time: c.Time, Reason: c.Reason.String(), Purpose: c.Purpose, Output: c.Output, Version: c.Version, CausedBy: c.CausedBy})
			return nil
		},
		Problem: func(_ string, line int64, what string) {
			problem = fmt.Errorf("line %d: %s: %w", line, what, errProblem)
		}}, sources)
	return got, errors.Join(err, problem)
}

func oracleChanges(rulesFS fs.FS, inputs []string, opts oracle.Options) (map[string][]oracle.Change, error) {
	var readers []io.Reader
	for _, text := range inputs {
		readers = append(readers, strings.NewReader(text))
	}
	changes, _, err := oracle.Run(rulesFS, readers, opts)
	want := map[string][]oracle.Change{}
	for _, c := range changes {
		want[c.IDType+c.UserID] = append(want[c.IDType+c.UserID], c)
	}
	return want, err
}

// disagreement is the first difference between engine and oracle on a case.
func disagreement(rulesFS fs.FS, inputs []string, opts oracle.Options) (string, error) {
	got, err := engineChanges(rulesFS, inputs, opts.Until)
	if err != nil {
		return "", err
	}
	want, err := oracleChanges(rulesFS, inputs, opts)
	if err != nil {
		return "", err
	}
	return difference(want, got), nil
}

// same compares a change of the oracle with one of the engine. Where a flip has
// two causes at one instant (Tie) either reason is right.
func same(want, got oracle.Change) bool {
	if want.CausedBy == "" && (got.Reason == "event" || got.Reason == "trait" || got.Reason == "age") {
		got.CausedBy = "" // the oracle names message ids only, and none of events that no rule reads
	}
	if want.Tie || want.Due && got.Reason == "time" {
		want.Reason, want.CausedBy = got.Reason, got.CausedBy
	}
	want.Tie, want.Due = false, false
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
// -first-seed and -seeds choose the cases. One that fails is shrunk.
func TestEngineAgreesWithOracle(t *testing.T) {
	var group errgroup.Group
	var seedsDone, rulesOnStreams atomic.Int64
	workers := uint64(runtime.GOMAXPROCS(0))
	for w := range workers {
		group.Go(func() error {
			for seed := *firstSeed + w; seed < *firstSeed+uint64(*seeds); seed += workers {
				c := oracle.Generate(rand.New(rand.NewPCG(seed, 1)))
				if err := agrees(seed, c); err != nil {
					t.Error(err) // here, as Wait tells of the first worker's only
					return err
				}
				seedsDone.Add(1)
				rulesOnStreams.Add(int64(strings.Count(c.Text, "when:")))
			}
			return nil
		})
	}
	err := group.Wait()
	t.Logf("seeds %d to %d: %d of them, %d rules on streams without difference", *firstSeed, *firstSeed+uint64(*seeds)-1, seedsDone.Load(), rulesOnStreams.Load())
	if err != nil {
		t.FailNow()
	}
}

// agrees compares one case; the error tells the difference, shrunk.
func agrees(seed uint64, c oracle.Case) error {
	disagree := func(c oracle.Case) (string, error) {
		return disagreement(c.Rules, c.Inputs, oracle.Options{Until: c.Until})
	}
	d, err := disagree(c)
	if err != nil {
		return fmt.Errorf("seed %d: %w\nrules:\n%s", seed, err, c.Text)
	}
	if d == "" {
		return nil
	}
	small := oracle.Shrink(c, func(c oracle.Case) bool {
		d, err := disagree(c)
		return err == nil && d != ""
	})
	d, _ = disagree(small)
	return fmt.Errorf("seed %d (run with -first-seed %d -seeds 1), shrunk: %s\nrules:\n%s\ninputs, until %s:\n%s",
		seed, seed, d, small.Text, small.Until, strings.Join(small.Inputs, "\n--\n"))
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
	d, err := disagreement(cdnow.Rules(), inputs, oracle.Options{Until: until, Bucket: definedBucket})
	if err != nil || d != "" {
		t.Error(err, d)
	}
}
