package deployments_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ UID string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		RefID, Expr string
		Datasource  struct{ UID string }
	}
}

type dashboard struct {
	UID, Title string
	Templating struct {
		List []struct{ Name, Type string }
	}
	Panels []panel
}

func loadDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, "grafana/dashboards/segmentd.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// The dashboard works with any data source, job and instance.
func TestDashboardVariables(t *testing.T) {
	d := loadDashboard(t)
	types := map[string]string{}
	for _, v := range d.Templating.List {
		types[v.Name] = v.Type
	}
	if types["datasource"] != "datasource" || types["job"] != "query" || types["instance"] != "query" {
		t.Errorf("variables %v", types)
	}
	if d.UID == "" || d.Title == "" {
		t.Error("no uid or title")
	}
}

// Every panel says what it shows, in which unit, from the chosen data source.
func TestDashboardPanels(t *testing.T) {
	seen := map[int]bool{}
	for _, p := range loadDashboard(t).Panels {
		if seen[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: no title, or its id is taken", p.ID, p.Title)
		}
		seen[p.ID] = true
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%s: lacks a description, a unit, the data source or a query", p.Title)
		}
		checkTargets(t, p)
	}
}

var selectors = regexp.MustCompile(`\b(segmentd_[a-z_]+|up|go_[a-z_]+|process_[a-z_]+)(\{[^}]*\})?`)

func checkTargets(t *testing.T, p panel) {
	t.Helper()
	for _, target := range p.Targets {
		if target.RefID == "" || target.Datasource.UID != "${datasource}" {
			t.Errorf("%s: a query has no name or another data source", p.Title)
		}
		for _, s := range selectors.FindAllStringSubmatch(target.Expr, -1) {
			if !strings.HasPrefix(s[2], `{job=~"$job", instance=~"$instance"`) {
				t.Errorf("%s: %s does not keep to the chosen job and instance", p.Title, s[1])
			}
		}
		if strings.Contains(target.Expr, "rate(") && !strings.Contains(target.Expr, "[$__rate_interval]") {
			t.Errorf("%s: a rate over a fixed time: %s", p.Title, target.Expr)
		}
	}
}

// No two panels lie on each other, and none beyond the 24 columns.
func TestDashboardLayout(t *testing.T) {
	panels := loadDashboard(t).Panels
	for i, a := range panels {
		if a.GridPos.X+a.GridPos.W > 24 || a.GridPos.W == 0 || a.GridPos.H == 0 {
			t.Errorf("%s does not fit", a.Title)
		}
		for _, b := range panels[:i] {
			if overlap(a, b) {
				t.Errorf("%s lies on %s", a.Title, b.Title)
			}
		}
	}
}

func overlap(a, b panel) bool {
	return a.GridPos.X < b.GridPos.X+b.GridPos.W && b.GridPos.X < a.GridPos.X+a.GridPos.W &&
		a.GridPos.Y < b.GridPos.Y+b.GridPos.H && b.GridPos.Y < a.GridPos.Y+a.GridPos.H
}

// What the dashboard must let one see.
func TestDashboardRows(t *testing.T) {
	rows := map[string]bool{}
	for _, p := range loadDashboard(t).Panels {
		if p.Type == "row" {
			rows[p.Title] = true
		}
	}
	for _, want := range []string{"Traffic by outcome", "Changes", "Lag and restore", "Clock and timers", "Transactions and latency", "Store", "Privacy"} {
		if !rows[want] {
			t.Errorf("no row %s", want)
		}
	}
}
