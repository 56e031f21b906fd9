package deployments_test

import (
	"regexp"
	"strings"
	"testing"
)

type alert struct {
	Alert               string
	Expr, For           string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	readYAML(t, "prometheus/alerts.yml", &file)
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("no alerts")
	}
	return all
}

const runbook = "https://github.com/segmentd/segmentd/blob/main/OPERATIONS.md#"

// anchors lists the headings of OPERATIONS.md as links to them are written.
func anchors(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, h := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(read(t, "../OPERATIONS.md"), -1) {
		slug := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		all[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return all
}

// Whoever is woken by an alert finds out what it means and what to do.
func TestAlertsAreExplained(t *testing.T) {
	headings := anchors(t)
	for _, a := range alerts(t) {
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		if a.Annotations["summary"] == "" || !strings.HasSuffix(a.Annotations["description"], ".") {
			t.Errorf("%s: no summary or description", a.Alert)
		}
		anchor, ok := strings.CutPrefix(a.Annotations["runbook_url"], runbook)
		if !ok || anchor != strings.ToLower(a.Alert) || !headings[anchor] {
			t.Errorf("%s: OPERATIONS.md has no heading for %q", a.Alert, a.Annotations["runbook_url"])
		}
	}
}

// OPERATIONS.md explains no alert that is not there.
func TestOperationsExplainsOnlyAlerts(t *testing.T) {
	known := map[string]bool{}
	for _, a := range alerts(t) {
		known[a.Alert] = true
	}
	for _, h := range regexp.MustCompile(`(?m)^#+ (Segmentd[A-Za-z]+)$`).FindAllStringSubmatch(read(t, "../OPERATIONS.md"), -1) {
		if !known[h[1]] {
			t.Errorf("no alert %s", h[1])
		}
	}
}

// Every alert is shown to fire, and not to fire, in alerts_test.yml.
func TestAlertsAreTested(t *testing.T) {
	var file struct {
		Tests []struct {
			Rules []struct {
				Alertname string
				Expected  []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "prometheus/alerts_test.yml", &file)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, r := range test.Rules {
			if len(r.Expected) > 0 {
				fires[r.Alertname] = true
			} else {
				quiet[r.Alertname] = true
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !quiet[a.Alert] {
			t.Errorf("%s: shown to fire %v, not to fire %v", a.Alert, fires[a.Alert], quiet[a.Alert])
		}
	}
}
