package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/wire"
)

var fence = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// TestInputsDocument runs the examples of INPUTS.md: an input's configuration,
// a record, and what it is read as. Its commands must be in the script beside.
func TestInputsDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "INPUTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join("testdata", "script", "inputs.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := fence.FindAllStringSubmatch(string(text), -1)
	examples, commands := 0, 0
	for i, b := range blocks {
		switch {
		case b[1] == "yaml" && strings.HasPrefix(b[2], "inputs:"):
			examples++
			checkExample(t, b[2], blocks[i+1][2], blocks[i+2][2])
		case b[1] == "sh":
			for line := range strings.Lines(b[2]) {
				if commands++; !strings.Contains(string(script), "\n"+line) {
					t.Errorf("no script runs %s", line)
				}
			}
		}
	}
	if examples < 7 || commands < 8 {
		t.Errorf("%d examples and %d commands were found", examples, commands)
	}
}

func checkExample(t *testing.T, configuration, record, want string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "segmentd.yaml")
	if err := os.WriteFile(path, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Sources{Environ: []string{"SEGMENTD_CONFIG=" + path}})
	if err != nil {
		t.Error(err)
		return
	}
	decoder, err := inputDecoder(cfg.Inputs[0])
	if err != nil {
		t.Fatal(err)
	}
	decoder.Purposes = []string{"marketing", "ads"}
	in := replay.Input{Kind: inputKind(cfg.Inputs[0]), Decoder: decoder}
	r, err := in.Record([]byte(record))
	if err != nil {
		t.Errorf("%s%v", record, err)
		return
	}
	got, rejected := wire.NewDecoder(decoder).Rewritten(in.Kind, r)
	if rejected != nil {
		t.Errorf("%s%v", record, rejected)
		return
	}
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, a); diff != "" {
		t.Errorf("%sis read as\n%s\n%s", record, got, diff)
	}
	if _, rejected := wire.NewDecoder(decoder).Decode(in.Kind, r); rejected != nil && rejected.Detail != wire.NoTimestamp {
		t.Errorf("%s%v", record, rejected)
	}
}
