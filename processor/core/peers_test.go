package core_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// peer is a behaviour that another segmentation system's own tests assert.
type peer struct {
	ID, Rules, Segment string
	Input              []json.RawMessage
	Checks             []struct {
		Until   string
		Records int
		Member  bool
	}
}

// TestPeers replays what other segmentation systems' own tests assert, where
// the scenarios are beside the repository.
func TestPeers(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "scenarios", "peers.jsonl"))
	if err != nil {
		t.Skip("../shared/scenarios/peers.jsonl is not beside the repository")
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	scenarios := 0
	for lines.Scan() {
		var p peer
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		scenarios++
		t.Run(p.ID, p.check)
	}
	if err := lines.Err(); err != nil || scenarios == 0 {
		t.Fatalf("%d scenarios: %v", scenarios, err)
	}
	t.Logf("%d scenarios", scenarios)
}

func (p *peer) check(t *testing.T) {
	set, problems := rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(p.Rules)}})
	if set == nil {
		t.Fatal(problems)
	}
	for _, c := range p.Checks {
		until, err := subject.ParseInstant(c.Until)
		if err != nil {
			t.Fatal(err)
		}
		var input strings.Builder
		for _, r := range p.Input[:c.Records] {
			input.Write(append(r, '\n'))
		}
		records, summary, err := replay.Run(context.Background(), replay.Config{Rules: set, Until: until},
			[]replay.Source{{Name: "input", Reader: strings.NewReader(input.String())}})
		if err != nil || summary.Skipped > 0 {
			t.Fatalf("%d lines skipped: %v", summary.Skipped, err)
		}
		in := slices.ContainsFunc(replay.Members(set, records), func(m replay.Member) bool { return m.Segment == p.Segment })
		if in != c.Member {
			t.Errorf("at %s after %d records: member %t, want %t", c.Until, c.Records, in, c.Member)
		}
	}
}
