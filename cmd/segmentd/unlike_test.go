package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCrashOfUnlikeInputs starts processes with other inputs beside one that runs:
// they end before they join the group. An input is dropped only where that is said.
func TestCrashOfUnlikeInputs(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	c := newCrash(t)
	c.startBroker()
	c.createInputs()
	c.decide("given")
	p := c.startProcessor()
	c.serves("/readyz?verbose", "partition 0: ready")
	config, err := os.ReadFile(filepath.Join(c.dir, "c.yaml"))
	c.must(err)
	n := 0
	start := func(inputs string, args ...string) *process {
		n++
		name := fmt.Sprintf("unlike-%d.yaml", n)
		c.write(name, strings.Replace(string(config), "{topic: events, kind: event}, {topic: decisions, kind: decision}", inputs, 1))
		return startProcess(t, []string{crashSecret, "SEGMENTD_KAFKA_BROKERS=" + c.broker, "SEGMENTD_KAFKA_SESSION_TIMEOUT=6s"},
			append([]string{c.bin, "run", "--config", filepath.Join(c.dir, name), "--listen", "127.0.0.1:0"}, args...))
	}
	fewer := start("{topic: events, kind: event}", "--data", t.TempDir())
	fewer.ends(2, "the inputs lack decisions, which the group has read")
	for _, unlike := range []*process{
		start("{topic: events, kind: event}, {topic: decisions, kind: decision}, {topic: refunds, kind: event}", "--data", t.TempDir()),
		start("{topic: events, kind: event}", "--data", t.TempDir(), "--drop-input", "decisions"),
	} {
		unlike.ends(2, "read other inputs than this one")
	}
	if !strings.Contains(fewer.log.String(), "no input has kind decision") {
		t.Errorf("it is not said that no consent is read:\n%s", fewer.log.String())
	}
	if n := strings.Count(p.log.String(), "generation begins"); n != 1 {
		t.Errorf("the group had %d generations:\n%s", n, p.log.String())
	}
	p.stops(0)
	start("{topic: events, kind: event}", "--data", t.TempDir()).ends(2, "the inputs lack decisions")
	dropping := start("{topic: events, kind: event}", "--drop-input", "decisions")
	c.until("the input is dropped", func() bool { return strings.Contains(dropping.log.String(), "all assigned partitions are ready") })
	dropping.stops(0)
	again := start("{topic: events, kind: event}")
	c.until("the input is forgotten", func() bool { return strings.Contains(again.log.String(), "all assigned partitions are ready") })
	again.stops(0)
	if strings.Contains(again.log.String(), "an input is dropped") || !strings.Contains(dropping.log.String(), "an input is dropped") {
		t.Errorf("it is not told once that the input is dropped:\n%s", dropping.log.String())
	}
	c.verifies()
}
