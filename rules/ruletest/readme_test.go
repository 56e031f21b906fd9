package ruletest_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fence is a fenced block of the rule reference: its language and text.
var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// TestReadmeExamples runs the tests in the rule reference against its first
// file of rules. They pass, or print what the text block behind them says.
func TestReadmeExamples(t *testing.T) {
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := fence.FindAllStringSubmatch(string(page), -1)
	set := loaded(t, blocks[0][2])
	ran := 0
	for i, b := range blocks {
		if !strings.HasPrefix(b[2], "tests:") {
			continue
		}
		ran++
		got := runTests(t, set, strings.TrimSuffix(b[2], "\n"), false)
		if i+1 < len(blocks) && blocks[i+1][1] == "text" {
			if diff := cmp.Diff(blocks[i+1][2], got); diff != "" {
				t.Errorf("%s\nof\n%s", diff, b[2])
			}
		} else if strings.Contains(got, "FAIL") || !strings.HasPrefix(got, "ok") {
			t.Errorf("%s\nof\n%s", got, b[2])
		}
	}
	if ran == 0 {
		t.Error("the rule reference has no tests")
	}
}
