package main

import (
	"errors"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/cmd/segmentd/internal/load"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

var (
	loadPrivacy = flag.Bool("load-privacy", false, "run TestPrivacyCost, which needs minutes; the other flags of -load count")
	loadTurns   = flag.Int("load-turns", 2, "how often TestPrivacyCost measures each build")
)

const ungatedTag = "segmentd_ungated"

// TestPrivacyCost measures what asking for consent costs: the build as it is and one
// that asks nobody, reads no decisions and requests and keeps no proof, in turn on
// the same load. It needs -load-privacy. Latency is measured at -load-rate; without
// it at half of the first run's throughput.
func TestPrivacyCost(t *testing.T) {
	if !*loadPrivacy {
		t.Skip("a benchmark of minutes: give -load-privacy")
	}
	builds := []*privacyBuild{
		{name: "gated", bin: buildBinary(t, t.TempDir())},
		{name: "ungated", bin: buildBinary(t, t.TempDir(), ungatedTag), environ: []string{ungatedVariable + "=" + ungatedMeant}},
	}
	refusesToRun(t, builds[1].bin)
	t.Logf("subjects %d, segments %d, zipf %.2f, partitions %d, %d events", *loadSubjects, *loadSegments, *loadSkew, *loadPartitions, *loadEvents)
	rate := *loadRate
	for range *loadTurns {
		for _, b := range builds {
			if !t.Run(b.name, func(t *testing.T) { rate = b.measure(t, rate) }) {
				return
			}
		}
	}
	for _, of := range []struct {
		name string
		get  func(privacyRun) float64
	}{
		{"CPU-seconds until all are known", func(r privacyRun) float64 { return r.known }},
		{"events/s", func(r privacyRun) float64 { return r.throughput }},
		{"CPU-seconds per million events", func(r privacyRun) float64 { return r.cpu }},
		{"p50 in ms", func(r privacyRun) float64 { return r.p50.Seconds() * 1000 }},
		{"p99 in ms", func(r privacyRun) float64 { return r.p99.Seconds() * 1000 }},
		{"MiB of data directory", func(r privacyRun) float64 { return r.disk }},
	} {
		with, without := builds[0].median(of.get), builds[1].median(of.get)
		t.Logf("%-31s gated %.1f, ungated %.1f, ratio %.3f (medians of %d)", of.name, with, without, with/without, *loadTurns)
	}
}

// privacyBuild is a binary and what was measured of it.
type privacyBuild struct {
	name, bin string
	environ   []string
	runs      []privacyRun
}

type privacyRun struct {
	known                 float64 // CPU-seconds until all are known
	throughput, cpu, disk float64 // events/s, CPU-seconds per million events, MiB
	p50, p99              time.Duration
}

// measure works off a backlog and measures latency at a rate, which it chooses
// and returns where it is 0.
func (b *privacyBuild) measure(t *testing.T, rate float64) float64 {
	r := prepareRig(t, b.bin)
	r.environ = b.environ
	r.on(load.Rules(*loadSegments))
	began := time.Now()
	r.preload()
	r.greet()
	known := r.metric("process_cpu_seconds_total")
	t.Logf("all are known   %d subjects in %.1f s, %.1f CPU-seconds", *loadSubjects, time.Since(began).Seconds(), known)
	events, seconds, cpu := r.backlog()
	run := privacyRun{known: known, throughput: float64(events) / seconds, cpu: cpu / float64(events) * 1e6}
	if rate == 0 {
		rate = run.throughput / 2
	}
	run.disk = float64(sizeOf(filepath.Join(r.dir, "data"), "")) / (1 << 20)
	all, late := r.latencies(rate, *loadLive)
	run.p50, run.p99 = quantile(all, 0.5), quantile(all, 0.99)
	t.Logf("throughput      %.0f events/s, %.1f CPU-seconds per million events", run.throughput, run.cpu)
	t.Logf("latency         p50 %s, p99 %s at %.0f events/s (%d changes; generator at most %s late)", run.p50, run.p99, rate, len(all), late.Round(time.Millisecond))
	b.runs = append(b.runs, run)
	return rate
}

// greet makes every subject known where consents have not: by an event that no rule reads.
func (r *rig) greet() {
	processed := r.processed()
	for first := 0; first < *loadSubjects; first += 10_000 {
		var ms []stream.Message
		now := time.Now()
		for i := first; i < min(first+10_000, *loadSubjects); i++ {
			id := load.Subject(uint64(i))
			ms = append(ms, stream.Message{Timestamp: subject.FromTime(now), Key: []byte(id), Value: fmt.Appendf(nil, `{"type":"track","userId":%q,"event":"Unread"}`, id)})
		}
		r.send("events", ms)
	}
	r.await(func() bool { return r.processed() >= processed+float64(*loadSubjects) })
	r.awaitQuiet()
}

// median is of a figure of all runs; of an even number of runs it is the mean of the two in the middle.
func (b *privacyBuild) median(get func(privacyRun) float64) float64 {
	var values []float64
	for _, r := range b.runs {
		values = append(values, get(r))
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// refusesToRun holds that a build without the gate says so and does nothing unless
// it is told to be a benchmark.
func refusesToRun(t *testing.T, bin string) {
	t.Helper()
	version, err := exec.Command(bin, "--version").Output()
	if err != nil || !strings.Contains(string(version), strings.TrimSpace(ungatedLine)) {
		t.Errorf("its version is %q, %v", version, err)
	}
	var exit *exec.ExitError
	refused := exec.Command(bin, "demo")
	refused.Env = environment()
	if out, err := refused.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != exitUsage || !strings.Contains(string(out), errUngated.Error()) {
		t.Errorf("it ends with %v: %s", err, out)
	}
}

// TestUngatedBuildsAreRefused holds that only a benchmark may go without the gate,
// and that nothing but the benchmark knows the tag.
func TestUngatedBuildsAreRefused(t *testing.T) {
	for _, c := range []struct {
		gated bool
		said  string
		may   bool
	}{{true, "", true}, {true, ungatedMeant, true}, {false, "", false}, {false, "1", false}, {false, ungatedMeant, true}} {
		if err := mayRun(c.gated, func(string) string { return c.said }); (err == nil) != c.may {
			t.Errorf("gated %t, told %q: %v", c.gated, c.said, err)
		}
	}
	if strings.Contains(versionLine(), ungatedLine) {
		t.Errorf("this build says %q", versionLine())
	}
	out, err := exec.Command("grep", "-rlI", "--exclude-dir=.git", "--exclude-dir=.kafka", ungatedTag, "../..").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := strings.Fields(string(out))
	slices.Sort(files)
	want := []string{"../../BENCHMARKS.md", "../../cmd/segmentd/privacy_load_test.go", "../../cmd/segmentd/ungated.go",
		"../../processor/consent/gated.go", "../../processor/consent/gated_test.go", "../../processor/consent/ungated.go"}
	if !slices.Equal(files, want) {
		t.Errorf("the tag %s is in %v, want %v", ungatedTag, files, want)
	}
}
