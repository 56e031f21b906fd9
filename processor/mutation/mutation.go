// Package mutation plants bugs, one after the other, and sees that tests catch
// each. For tests only.
package mutation

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var planted = flag.Bool("mutants", false, "plant each of the bugs of TestMutants and see that the suite catches it (minutes)")

// Bug is a bug to be planted: its name, a file, a text that stands there once, and
// the text that replaces it.
type Bug [4]string

func (b Bug) name() string { return b[0] }
func (b Bug) file() string { return b[1] }
func (b Bug) text() string { return b[2] }

func (b Bug) in(source string) string { return strings.Replace(source, b[2], b[3], 1) }

// Suite is what must catch bugs.
type Suite struct {
	Root     string                     // the repository's top as the test sees it
	Packages func(file string) []string // to test, in order, where a bug is in that file
	Timeout  time.Duration              // of one package's tests
	Tests    string                     // pattern of their names; "": all
	// Hangs says that a suite which does not end in time has caught the bug: where
	// the bug may be a loop without end, and the machine cannot be the reason.
	Hangs bool
}

// Run holds that every bug has its place, and with -mutants that the suite
// catches it.
func (s Suite) Run(t *testing.T, bugs []Bug) {
	for _, b := range bugs {
		t.Run(b.name(), func(t *testing.T) {
			source, err := os.ReadFile(filepath.Join(s.Root, b.file()))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), b.text()); n != 1 {
				t.Fatalf("%s: the text stands there %d times:\n%s", b.file(), n, b.text())
			}
			if *planted {
				t.Parallel() // a suite waits more than it computes
				s.plant(t, b, b.in(string(source)))
			}
		})
	}
}

// plant runs the suite over the tree with one file replaced, which the go
// command does as it builds.
func (s Suite) plant(t *testing.T, b Bug, source string) {
	t.Helper()
	list := s.overlay(t, b.file(), source)
	for _, pkg := range s.Packages(b.file()) {
		// Some bugs never end; those that take memory besides must not take the machine's.
		test := fmt.Sprintf(`ulimit -v 6000000; exec go test -vet=off -short -failfast -timeout %s -overlay "$0" -run "$2" "$1"`, s.Timeout)
		c := exec.Command("sh", "-c", test, list, pkg, s.Tests)
		c.Dir = s.Root
		out, err := c.CombinedOutput()
		text := string(out)
		switch {
		case strings.Contains(text, "[build failed]"), strings.Contains(text, "[setup failed]"):
			t.Fatalf("the bug does not compile:\n%s", text)
		case err != nil && !s.Hangs && strings.Contains(text, "panic: test timed out"):
			t.Fatalf("%s did not end in time:\n%s", pkg, firstFailure(text))
		case err != nil:
			t.Logf("caught by %s: %s", pkg, firstFailure(text))
			return
		}
	}
	t.Error("nothing caught it")
}

// overlay writes the changed file and what the go command is told of it.
func (s Suite) overlay(t *testing.T, name, source string) (list string) {
	t.Helper()
	dir := t.TempDir()
	file, err := filepath.Abs(filepath.Join(s.Root, name))
	if err != nil {
		t.Fatal(err)
	}
	mutated := filepath.Join(dir, filepath.Base(name))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	list = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(mutated, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}

func firstFailure(out string) string {
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, "--- FAIL") || strings.HasPrefix(line, "panic") || strings.HasPrefix(line, "fatal error") {
			return strings.TrimSpace(line)
		}
	}
	return strings.TrimSpace(strings.SplitN(out, "\n", 2)[0])
}
