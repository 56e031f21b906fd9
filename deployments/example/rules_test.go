// Package example_test checks the example's rules.
package example_test

import (
	"testing"

	"github.com/segmentd/segmentd/rules"
)

// The example's rules have neither errors nor warnings.
func TestExampleRules(t *testing.T) {
	set, problems := rules.LoadDir("rules")
	for _, p := range problems {
		t.Error(p)
	}
	if set != nil && len(set.Segments) != 4 {
		t.Errorf("%d segments, want 4", len(set.Segments))
	}
}
