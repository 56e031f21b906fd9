package metrics_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/metrics"
)

var update = flag.Bool("update", false, "write METRICS.md")

const documentFile = "../../METRICS.md"

// METRICS.md says what is registered. Write it with
// go test ./processor/metrics -run TestDocument -update
func TestDocument(t *testing.T) {
	want := document(newMetrics(t, metrics.Config{}).Descriptions())
	if *update {
		if err := os.WriteFile(documentFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("METRICS.md is out of date (run this test with -update):\n%s", diff)
	}
}

func TestDescriptionsAreComplete(t *testing.T) {
	for _, d := range newMetrics(t, metrics.Config{}).Descriptions() {
		if !strings.HasSuffix(d.Help, ".") || !strings.HasSuffix(d.Note, ".") {
			t.Errorf("%s: help and note must be sentences", d.Name)
		}
	}
}

const preamble = `# Metrics

Generated from the registered metrics by ` + "`go test ./processor/metrics -run TestDocument -update`" + `; do not edit.

Served at ` + "`/metrics`" + `. Values are in base units: seconds, bytes, Unix time in seconds. No label names a data subject.
Series of known label values exist, at 0, from the start; those of a partition exist while this instance owns it.
Beside these, ` + "`/metrics`" + ` has the usual ` + "`go_…` and `process_…`" + ` of a Go program.
Alert rules and a dashboard on them are in [deployments](deployments/README.md).
`

func document(all []metrics.Description) string {
	var b strings.Builder
	b.WriteString(preamble)
	for _, d := range all {
		fmt.Fprintf(&b, "\n## `%s`\n\n%s%s\n\n%s\n\n*When to look:* %s\n", d.Name, d.Type, labelText(d.Labels), d.Help, d.Note)
	}
	return b.String()
}

func labelText(labels []metrics.Label) string {
	var b strings.Builder
	for i, l := range labels {
		b.WriteString([]string{", by ", " and "}[min(i, 1)])
		fmt.Fprintf(&b, "`%s`", l.Name)
		if l.Values != nil {
			fmt.Fprintf(&b, " (%s)", strings.Join(l.Values, ", "))
		}
	}
	return b.String()
}
