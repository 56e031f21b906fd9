package replay_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// fence is a fenced block of a page: its language and text.
var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// TestRuleReferenceStories replays the stories of rules/README.md: an events
// block, in the lines of TestScripts, under the yaml block before it gives what
// the changes block behind it says of that block's segments. A last line
// `DAY end` moves the clock on. Rules without purposes stand beside the page's
// first file.
func TestRuleReferenceStories(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "rules", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := fence.FindAllStringSubmatch(string(page), -1)
	stories := 0
	for i, b := range blocks {
		if b[1] != "events" {
			continue
		}
		if i == 0 || i+1 == len(blocks) || blocks[i-1][1] != "yaml" || blocks[i+1][1] != "changes" {
			t.Errorf("this story stands not between rules and changes:\n%s", b[2])
			continue
		}
		stories++
		if diff := cmp.Diff(blocks[i+1][2], story(t, blocks[0][2], blocks[i-1][2], b[2])); diff != "" {
			t.Errorf("%s\nin\n%s%s", diff, blocks[i-1][2], b[2])
		}
	}
	if stories == 0 {
		t.Error("the page tells no stories")
	}
}

// story replays events under rules and returns the changes.
func story(t *testing.T, base, text, events string) string {
	t.Helper()
	files := fstest.MapFS{"rules.yaml": {Data: []byte(text)}}
	if !strings.Contains(text, "purposes:") {
		files["base.yaml"] = &fstest.MapFile{Data: []byte(base)}
	}
	set, problems := rules.Load(files)
	if set == nil {
		t.Errorf("%v in\n%s", problems, text)
		return ""
	}
	var out strings.Builder
	cfg := replay.Config{Rules: set, Until: subject.Never, Change: func(c *subject.Change) error {
		if regexp.MustCompile(`key: ` + c.Segment + `\b`).MatchString(text) {
			fmt.Fprintf(&out, "%s %s %s %s (%s)\n", shortTime(c.Time), c.Subject.Value, c.Kind, c.Segment, c.Reason)
		}
		return nil
	}}
	lines := strings.Split(strings.TrimSpace(events), "\n")
	if end, ok := strings.CutSuffix(lines[len(lines)-1], " end"); ok {
		cfg.Until = when(t, end)
		events = strings.Join(lines[:len(lines)-1], "\n")
	}
	if _, _, err := replay.Run(context.Background(), cfg, []replay.Source{{Name: "in", Reader: strings.NewReader(ndjson(t, events))}}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// shortTime writes an instant as the lines of events do.
func shortTime(at subject.Instant) string {
	s := strings.TrimSuffix(strings.TrimPrefix(at.String(), "2026-"), "Z")
	return strings.TrimSuffix(strings.TrimSuffix(s, ":00"), "T00:00")
}
