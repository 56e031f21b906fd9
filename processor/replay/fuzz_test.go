package replay_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/core/oracle"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// FuzzReplay replays any input under any rule that check accepts: no panic, no
// end of the memory, versions without a gap, entries and exits in turn.
func FuzzReplay(f *testing.F) {
	for seed := range uint64(200) {
		c := oracle.Generate(rand.New(rand.NewPCG(seed, 3)))
		for _, when := range conditions(c.Text) {
			f.Add(when, `events("A").exists()`, strings.Join(c.Inputs, ""))
		}
	}
	f.Fuzz(func(t *testing.T, when, stay, input string) {
		set := fuzzedRules(when, stay)
		if set == nil || len(input) > 64<<10 || !ourTimes(input) {
			return
		}
		done := make(chan error, 1)
		go func() { done <- replayAndCheck(set, input) }()
		select {
		case err := <-done:
			if err != nil && !strings.Contains(err.Error(), "line") {
				t.Fatalf("%v\nwhen: %s\nstay_while: %s\n%s", err, when, stay, input)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("it does not end\nwhen: %s\nstay_while: %s\n%s", when, stay, input)
		}
	})
}

func replayAndCheck(set *rules.Set, input string) error {
	last := map[string]subject.ChangeKind{}
	versions := map[subject.ID]uint64{}
	check := func(c *subject.Change) error {
		key := fmt.Sprint(c.Subject, c.Segment)
		if before, ok := last[key]; ok && before == c.Kind || !ok && c.Kind != subject.Entered {
			return fmt.Errorf("%s %s out of turn", c.Kind, c.Segment)
		}
		if versions[c.Subject]++; versions[c.Subject] != c.Version {
			return fmt.Errorf("version %d after %d", c.Version, versions[c.Subject]-1)
		}
		last[key] = c.Kind
		return nil
	}
	_, _, err := replay.Run(context.Background(), replay.Config{Rules: set, Until: subject.Never, Core: core.Config{MaxSubjectBytes: 8 << 10}, Change: check},
		[]replay.Source{{Name: "in", Reader: strings.NewReader(input)}})
	return err
}

var year = regexp.MustCompile(`[0-9]+-[0-9]+-`)

// ourTimes reports whether all dates of an input lie within a few years: replay
// goes through every hour of the time between if a rule asks for the hour.
func ourTimes(input string) bool {
	for _, y := range year.FindAllString(input, -1) {
		if y < "2011" || y > "2029" {
			return false
		}
	}
	return true
}

// conditions takes the rules out of a generated rule file.
func conditions(text string) (all []string) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasSuffix(line, "when: |") && i+1 < len(lines) {
			all = append(all, strings.TrimSpace(lines[i+1]))
		}
	}
	return all
}

func fuzzedRules(when, stay string) *rules.Set {
	indented := func(s string) string { return strings.ReplaceAll(s, "\n", "\n      ") }
	text := `purposes:
  - {key: p0, description: d, lawful_basis: consent, retention: 30d, min_age: 16, birthdate_trait: birthdate}
  - {key: p1, description: d, lawful_basis: contract, retention: 30d}
lists:
  - {key: vips, members: [u0]}
let:
  two: 2
  some: events("A").where(properties.n > 1)
  pair: events("A").followed_by(events("B"), "1d")
  lone: events("A").not_followed_by(events("B"), "1d")
segments:
  - key: a0
    purpose: p0
    when: |
      ` + indented(when) + `
    stay_while: |
      ` + indented(stay) + `
    min_dwell: 1h
    cooldown: 6h
  - key: b0
    purpose: p1
    when: |
      ` + indented(when) + `
`
	set, _ := rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
	return set
}
