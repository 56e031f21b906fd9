package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// leastRefused is how many wrong configurations testdata/refused has at least.
const leastRefused = 50

// knownKeys are what could stand in the place of an unknown one.
var knownKeys = regexp.MustCompile(`known here: .*`)

// TestRefused runs testdata/refused: every configuration there would break a
// promise, and must be refused with status 1 or 2 and the reason (-rewrite
// writes the reasons, never that a thing may pass). "check" and "strict" check
// the rules below them; "command" runs the command of its first line, with the configuration below it.
func TestRefused(t *testing.T) {
	refused := map[string]bool{}
	datadriven.Walk(t, filepath.Join("testdata", "refused"), func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			dir := t.TempDir()
			status, reason := refuse(t, dir, d)
			if status != exitInput && status != exitUsage {
				d.Fatalf(t, "the status is %d: this must be refused\n%s", status, reason)
			}
			if strings.TrimSpace(reason) == "" {
				d.Fatalf(t, "refused without a reason")
			}
			refused[d.Pos] = true
			return knownKeys.ReplaceAllString(strings.ReplaceAll(reason, dir, "$DIR"), "known here: …")
		})
	})
	if len(refused) < leastRefused {
		t.Errorf("%d configurations are refused; there were %d", len(refused), leastRefused)
	}
}

// soundRules is what is wrong with nothing.
const soundRules = `purposes: [{key: ads, description: Offers, lawful_basis: consent, retention: 30d}]
segments: [{key: buyers, purpose: ads, when: 'events("Order").exists()'}]
`

// refuse runs one case and returns its status and what it says.
func refuse(t *testing.T, dir string, d *datadriven.TestData) (int, string) {
	t.Helper()
	files := map[string]string{"rules/rules.yaml": soundRules, "segmentd.yaml": "", "short": "short\n"}
	var args []string
	switch d.Cmd {
	case "check":
		files["rules/rules.yaml"], args = d.Input, []string{"check", "$DIR/rules"}
	case "strict":
		files["rules/rules.yaml"], args = d.Input, []string{"check", "--strict", "$DIR/rules"}
	case "command":
		line, configuration, _ := strings.Cut(d.Input, "\n")
		files["segmentd.yaml"], args = configuration, strings.Fields(line)[1:]
	default:
		d.Fatalf(t, "no such command")
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "$DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$DIR", dir)
	}
	var out, errs bytes.Buffer
	status := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errs})
	if d.Cmd == "command" {
		return status, errs.String() // what is printed beside is not the reason
	}
	return status, out.String()
}
