package oracle

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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

// TestPeers holds the oracle to what other systems' tests assert, where the
// scenarios are beside the repository.
func TestPeers(t *testing.T) {
	scenarios := readPeers(t)
	passed := 0
	for _, p := range scenarios {
		t.Run(p.ID, func(t *testing.T) {
			p.check(t)
			if !t.Failed() {
				passed++
			}
		})
	}
	t.Logf("%d of %d scenarios pass", passed, len(scenarios))
}

func readPeers(t *testing.T) (all []peer) {
	f, err := os.Open(filepath.Join("..", "..", "..", "..", "shared", "scenarios", "peers.jsonl"))
	if err != nil {
		t.Skip("../shared/scenarios/peers.jsonl is not beside the repository")
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p peer
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func (p peer) check(t *testing.T) {
	for _, c := range p.Checks {
		until, ok := parseInstant(c.Until)
		if !ok {
			t.Fatalf("until %q", c.Until)
		}
		var input strings.Builder
		for _, r := range p.Input[:c.Records] {
			input.Write(append(r, '\n'))
		}
		_, members, err := Run(directory(p.Rules), []io.Reader{strings.NewReader(input.String())}, Options{Until: until})
		if err != nil {
			t.Fatal(err)
		}
		in := slices.ContainsFunc(members, func(m Member) bool { return m.Segment == p.Segment })
		if in != c.Member {
			t.Errorf("at %s after %d records: member %v, want %v", c.Until, c.Records, in, c.Member)
		}
	}
}
