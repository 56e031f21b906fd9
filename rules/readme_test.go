package rules

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// fence is a fenced block of README.md: its language and text.
var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// TestReadmeExamples loads every example of README.md. A yaml block is a rule
// file that must load without errors, beside the first file if it has no
// purposes, or print what the text block behind it says. Each line of a cel block
// is a rule that must load beside the first file. (processor/replay runs the events
// blocks.)
func TestReadmeExamples(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := fence.FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Fatal("README.md has no examples")
	}
	for i, b := range blocks {
		switch {
		case strings.HasPrefix(b[2], "tests:"): // rules/ruletest runs these
		case b[1] == "yaml":
			want := ""
			if i+1 < len(blocks) && blocks[i+1][1] == "text" {
				want = blocks[i+1][2]
			}
			exampleFile(t, blocks[0][2], b[2], want)
		case b[1] == "cel":
			exampleRules(t, blocks[0][2], b[2])
		}
	}
}

func exampleFile(t *testing.T, base, text, want string) {
	t.Helper()
	files := fstest.MapFS{"rules.yaml": {Data: []byte(text)}}
	if !strings.Contains(text, "purposes:") && want == "" {
		files["base.yaml"] = &fstest.MapFile{Data: []byte(base)}
	}
	if want == "" {
		if _, problems := Load(files); HasErrors(problems) {
			t.Errorf("%v in\n%s", problems, text)
		}
		return
	}
	if diff := cmp.Diff(want, checkOutput(files)); diff != "" {
		t.Errorf("%s\nin\n%s", diff, text)
	}
}

func exampleRules(t *testing.T, base, lines string) {
	t.Helper()
	for i, rule := range strings.Split(strings.TrimSpace(lines), "\n") {
		more := fmt.Sprintf("segments:\n  - key: example_%d\n    purpose: marketing\n    when: |\n      %s\n", i, rule)
		_, problems := Load(fstest.MapFS{"base.yaml": {Data: []byte(base)}, "example.yaml": {Data: []byte(more)}})
		if HasErrors(problems) {
			t.Errorf("%s: %v", rule, problems)
		}
	}
}
