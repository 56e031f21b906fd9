package replay_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

const (
	oldRules = `purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 60d}
segments:
  - {key: buyer, purpose: marketing, when: 'events("Order").within("9d").exists()'}
`
	newRules = `purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 60d}
  - {key: care, description: Care, lawful_basis: consent, retention: 60d}
segments:
  - {key: buyer, purpose: marketing, when: 'events("Order").within("9d").count() >= 2'}
  - {key: called, purpose: care, when: 'events("Call").exists()'}
`
	togetherDecisions = `{"type":"decision","userId":"u1","purpose":"marketing","status":"given","timestamp":"2026-01-01T00:00:00Z"}
{"type":"decision","userId":"u1","purpose":"care","status":"given","timestamp":"2026-01-01T00:00:00Z"}
{"type":"decision","userId":"u1","purpose":"other","status":"given","timestamp":"2026-01-01T00:00:00Z"}
`
	togetherEvents = `{"type":"track","userId":"u1","event":"Order","timestamp":"2026-01-02T00:00:00Z"}
{"type":"track","userId":"u1","event":"Call","timestamp":"2026-01-03T00:00:00Z"}
{"type":"track","userId":"u1","event":"Order","timestamp":"2026-01-04T00:00:00Z"}
nonsense
`
)

func loaded(t *testing.T, text string) *rules.Set {
	t.Helper()
	set, problems := rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
	if set == nil {
		t.Fatal(problems)
	}
	return set
}

func togetherSources() []replay.Source {
	return []replay.Source{{Name: "d", Reader: strings.NewReader(togetherDecisions)}, {Name: "e", Reader: strings.NewReader(togetherEvents)}}
}

// TestTogetherIsAsApart compares one reading for two rule sets with a replay of each.
func TestTogetherIsAsApart(t *testing.T) {
	var apart, together [2]bytes.Buffer
	var problems []string
	var cfgs []replay.Config
	for i, text := range []string{oldRules, newRules} {
		cfg := replay.Config{Rules: loaded(t, text), Until: subject.Never}
		cfg.Change = func(c *subject.Change) error { fmt.Fprintf(&apart[i], "%+v\n", *c); return nil }
		if _, _, err := replay.Run(context.Background(), cfg, togetherSources()); err != nil {
			t.Fatal(err)
		}
		cfg.Change = func(c *subject.Change) error { fmt.Fprintf(&together[i], "%+v\n", *c); return nil }
		cfg.Problem = func(file string, line int64, what string) {
			problems = append(problems, fmt.Sprintf("%s:%d: %s", file, line, what))
		}
		cfgs = append(cfgs, cfg)
	}
	results, err := replay.RunTogether(context.Background(), cfgs, togetherSources())
	if err != nil {
		t.Fatal(err)
	}
	for i := range cfgs {
		if apart[i].String() != together[i].String() || apart[i].Len() == 0 {
			t.Errorf("%d: apart\n%stogether\n%s", i, &apart[i], &together[i])
		}
		if s := results[i].Summary; s.Lines != 7 || s.Skipped != 2 {
			t.Errorf("%d: %+v", i, s)
		}
	}
	// A decision on a purpose that one of them declares is no problem.
	if want := "d:3: unknown_purpose"; len(problems) != 2 || !strings.HasPrefix(problems[0], want) && !strings.HasPrefix(problems[1], want) {
		t.Errorf("problems %q", problems)
	}
}

// TestStepperIsRun gives the same records one by one.
func TestStepperIsRun(t *testing.T) {
	var run, steps bytes.Buffer
	note := func(b *bytes.Buffer) func(*subject.Change) error {
		return func(c *subject.Change) error { fmt.Fprintf(b, "%+v\n", *c); return nil }
	}
	set := loaded(t, newRules)
	text := togetherDecisions + togetherEvents
	_, ran, err := replay.Run(context.Background(), replay.Config{Rules: set, Until: subject.Never, Change: note(&run)},
		[]replay.Source{{Name: "in", Reader: strings.NewReader(text)}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := replay.NewStepper(replay.Config{Rules: set, Change: note(&steps)})
	if err != nil {
		t.Fatal(err)
	}
	problems := 0
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		step, err := s.Step([]byte(line), subject.Position{Topic: "in", Offset: int64(i + 1)})
		if err != nil {
			t.Fatal(err)
		}
		if step.Problem != "" {
			problems++
		}
		if step.Event && step.Outcome != subject.Admitted {
			t.Errorf("line %d: %s", i+1, step.Outcome)
		}
	}
	if run.String() != steps.String() || run.Len() == 0 || problems != 2 {
		t.Errorf("run\n%ssteps\n%s%d problems", &run, &steps, problems)
	}
	if got := s.Summary(); got.Decisions != ran.Decisions || got.Changes != ran.Changes || got.Skipped != ran.Skipped || got.Clock != ran.Clock {
		t.Errorf("%+v, want %+v", got, ran)
	}
	if members := s.Members(); len(members) != 2 || s.Clock() != members[0].Since {
		t.Errorf("members %v at %v", members, s.Clock())
	}
	if _, err := replay.NewStepper(replay.Config{Rules: set, AssumeConsent: []string{"none"}}); err == nil {
		t.Error("an undeclared purpose may be assumed")
	}
}
