package replay_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/state/subject"
)

// A replay ends soon after its context, also in the midst of the timers that one
// record, or the end, lets pass.
func TestRunEndsWithItsContext(t *testing.T) {
	set := loaded(t, segmentsOf(`flips: local_hour("UTC") % 2 == 0`))
	const given = `{"type":"decision","userId":"u","purpose":"m","status":"given","timestamp":"2026-01-01T00:00:00Z"}` + "\n"
	until, err := subject.ParseInstant("2036-01-01T00:00:00Z") // 87,648 flips later
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, input string
		until       subject.Instant
	}{
		{"a record", given + strings.ReplaceAll(given, "2026", "2036"), subject.Never},
		{"the end", given, until},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		changes := 0
		_, _, err := replay.Run(ctx, replay.Config{Rules: set, Until: c.until, Change: func(*subject.Change) error {
			if changes++; changes == 10 {
				cancel()
			}
			return nil
		}}, []replay.Source{{Name: "in", Reader: strings.NewReader(c.input)}})
		cancel()
		if !errors.Is(err, context.Canceled) || changes < 10 || changes > 1000 {
			t.Errorf("%s: %d changes (%v), want the end soon after ten", c.name, changes, err)
		}
	}
}
