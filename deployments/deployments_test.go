// Package deployments_test checks the deployment files as far as that needs no
// parser beyond those the program has itself. deployments/check.sh runs these
// tests and the rest: promtool, and the parsers of Compose and PromQL in the
// module deployments/tools.
package deployments_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/segmentd/segmentd/processor/metrics"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// registered lists the series names of every registered metric.
func registered(t *testing.T) map[string]bool {
	t.Helper()
	m, err := metrics.New(metrics.Config{}, metrics.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, d := range m.Descriptions() {
		if d.Type != "histogram" {
			names[d.Name] = true
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			names[d.Name+suffix] = true
		}
	}
	return names
}

var seriesNames = regexp.MustCompile(`\bsegmentd_[a-z_]+`)

// The dashboard and the alerts ask for no metric that is not registered.
func TestMetricNamesExist(t *testing.T) {
	names := registered(t)
	for _, path := range []string{"grafana/dashboards/segmentd.json", "prometheus/alerts.yml", "prometheus/alerts_test.yml"} {
		for _, name := range seriesNames.FindAllString(read(t, path), -1) {
			if !names[name] && !names[name+"_bucket"] {
				t.Errorf("%s: no metric %s", path, name)
			}
		}
	}
}

// No metric is left out: each is on the dashboard or in an alert.
func TestMetricsAreUsed(t *testing.T) {
	used := map[string]bool{}
	for _, path := range []string{"grafana/dashboards/segmentd.json", "prometheus/alerts.yml"} {
		for _, name := range seriesNames.FindAllString(read(t, path), -1) {
			used[name] = true
		}
	}
	for name := range registered(t) {
		if strings.HasSuffix(name, "_sum") || strings.HasSuffix(name, "_count") {
			continue
		}
		if !used[name] {
			t.Errorf("%s is neither on the dashboard nor in an alert", name)
		}
	}
}

// promtool accepts the configuration and the rules, and the rules' own tests pass.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (apt-get install prometheus); deployments/check.sh installs it")
	}
	for _, args := range [][]string{
		{"check", "config", "prometheus/prometheus.yml"},
		{"check", "rules", "prometheus/alerts.yml"},
		{"test", "rules", "prometheus/alerts_test.yml"},
	} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// A secret must not get into the repository or into an image.
func TestSecretStaysOut(t *testing.T) {
	if !strings.Contains(read(t, "example/.gitignore"), "/secret\n") {
		t.Error("example/.gitignore does not list the secret")
	}
	if !strings.Contains(read(t, "Dockerfile.dockerignore"), "deployments/example\n") {
		t.Error("the build context has the example and its secret")
	}
}
