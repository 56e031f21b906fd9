// Package tools_test checks the deployment files with the reference parsers of
// Compose and PromQL. It is a module of its own, so that these parsers are no
// dependencies of the program; what it knows of metrics it reads from
// METRICS.md, which is generated.
package tools_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// metric is what METRICS.md says of one metric: its labels, each with the
// values it can have (nil: any).
type metric struct {
	kind   string
	labels map[string][]string
}

type catalogue map[string]metric

var (
	headings = regexp.MustCompile("(?m)^## `([a-z_]+)`\n\n(.+)$")
	labelled = regexp.MustCompile("`([a-z]+)`(?: \\(([a-z_, ]+)\\))?")
)

// others are metrics that Prometheus, the Go runtime and the process have.
var others = map[string]bool{
	"up": true, "process_cpu_seconds_total": true, "process_resident_memory_bytes": true,
	"go_memstats_heap_inuse_bytes": true, "process_start_time_seconds": true, "go_goroutines": true,
}

func loadCatalogue(t *testing.T) catalogue {
	t.Helper()
	text, err := os.ReadFile("../../METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	c := catalogue{}
	for _, m := range headings.FindAllStringSubmatch(string(text), -1) {
		c[m[1]] = parseMetric(m[2])
	}
	if len(c) < 20 {
		t.Fatalf("METRICS.md describes %d metrics: its form must have changed", len(c))
	}
	return c
}

// parseMetric reads "counter, by `topic` and `reason` (malformed, future)".
func parseMetric(line string) metric {
	kind, rest, _ := strings.Cut(line, ",")
	m := metric{kind: kind, labels: map[string][]string{}}
	for _, l := range labelled.FindAllStringSubmatch(rest, -1) {
		m.labels[l[1]] = nil
		if l[2] != "" {
			m.labels[l[1]] = strings.Split(l[2], ", ")
		}
	}
	return m
}

// find returns the metric that a series name belongs to; a histogram has three.
func (c catalogue) find(series string) (metric, bool) {
	if m, ok := c[series]; ok && m.kind != "histogram" {
		return m, true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(series, suffix); ok && c[base].kind == "histogram" {
			m := metric{kind: "histogram", labels: map[string][]string{}}
			if suffix == "_bucket" {
				m.labels["le"] = nil
			}
			return m, true
		}
	}
	return metric{}, false
}
