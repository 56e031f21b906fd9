package core_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/core/oracle"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// TestRestartsChangeNothing replays random cases, and again with every record
// written and read back after each input, as a restart does, and with the clock
// told in between where it stands: the changes and the records are the same.
func TestRestartsChangeNothing(t *testing.T) {
	for seed := uint64(0); seed < uint64(*seeds)/2; seed++ {
		c := oracle.Generate(rand.New(rand.NewPCG(seed, 2)))
		set, problems := rules.Load(c.Rules)
		if set == nil {
			t.Fatalf("seed %d: %v", seed, problems)
		}
		plain := newLife(t, set)
		restarted := newLife(t, set)
		for i, line := range strings.Split(strings.TrimSpace(strings.Join(c.Inputs, "")), "\n") {
			plain.step(line, i)
			restarted.step(line, i)
			restarted.restart()
		}
		plain.end(c.Until)
		restarted.end(c.Until)
		if d := difference(plain.changes, restarted.changes); d != "" {
			t.Fatalf("seed %d (the engine was restarted, the oracle was not): %s\nrules:\n%s\ninputs:\n%s", seed, d, c.Text, strings.Join(c.Inputs, "\n--\n"))
		}
		if !bytes.Equal(restarted.image(), plain.image()) {
			t.Fatalf("seed %d: the records differ after restarts\nrules:\n%s\ninputs:\n%s", seed, c.Text, strings.Join(c.Inputs, "\n--\n"))
		}
	}
}

// life is a replay under way and the changes it brought.
type life struct {
	t       *testing.T
	stepper *replay.Stepper
	changes map[string][]oracle.Change // by subject
}

func newLife(t *testing.T, set *rules.Set) *life {
	l := &life{t: t, changes: map[string][]oracle.Change{}}
	s, err := replay.NewStepper(replay.Config{Rules: set, Change: func(c *subject.Change) error {
		id := c.Subject.Type.String() + c.Subject.Value
		l.changes[id] = append(l.changes[id], oracle.Change{Segment: c.Segment, Change: c.Kind.String(), Time: c.Time,
			Reason: c.Reason.String(), Version: c.Version, CausedBy: c.CausedBy})
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	l.stepper = s
	return l
}

func (l *life) step(line string, at int) {
	l.t.Helper()
	if _, err := l.stepper.Step([]byte(line), subject.Position{Topic: "in", Offset: int64(at)}); err != nil {
		l.t.Fatal(err)
	}
}

// restart replaces every record by what is read of it as it is written.
func (l *life) restart() {
	l.t.Helper()
	err := l.stepper.Records().Each(readAgain)
	if err == nil {
		err = l.stepper.Advance(l.stepper.Clock())
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) end(until subject.Instant) {
	l.t.Helper()
	if err := l.stepper.Advance(until); err != nil {
		l.t.Fatal(err)
	}
}

// image is all records as they are written.
func (l *life) image() (b []byte) {
	_ = l.stepper.Records().Each(func(r *subject.Record) error {
		b = state.AppendRecord(b, r)
		return nil
	})
	return b
}
