package tools_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// query is one PromQL expression of a deployment file.
type query struct{ where, expr string }

var grafanaVariables = strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m", "$__range", "1h", "$job", "segmentd", "$instance", "a:8080")

// Every expression of the dashboard and of the alerts parses, and asks for
// metrics, labels and label values that segmentd has.
func TestQueries(t *testing.T) {
	c := loadCatalogue(t)
	queries := append(dashboardQueries(t), alertQueries(t)...)
	if len(queries) < 50 {
		t.Fatalf("only %d expressions found", len(queries))
	}
	for _, q := range queries {
		for _, problem := range c.check(q.expr) {
			t.Errorf("%s: %s\n\t%s", q.where, problem, q.expr)
		}
	}
}

// The check itself finds what it is there for.
func TestQueryCheckFindsMistakes(t *testing.T) {
	c := loadCatalogue(t)
	for expr, want := range map[string]string{
		`rate(segmentd_event_total[5m])`:                                 "no metric",
		`sum by (outcome (segmentd_events_total)`:                        "does not parse",
		`segmentd_events_total{result="x"}`:                              "has no label result",
		`segmentd_events_total{outcome="denied"}`:                        "outcome",
		`segmentd_events_total{outcome=~"denied|nothing"}`:               "outcome",
		`sum by (partition) (segmentd_events_total)`:                     "partition",
		`segmentd_event_to_change_seconds`:                               "no metric",
		`rate(segmentd_members[5m])`:                                     "rate of a gauge",
		`sum(segmentd_events_total)`:                                     "without rate",
		`segmentd_clock_timestamp_seconds - on (topic) segmentd_members`: "topic",
	} {
		problems := strings.Join(c.check(expr), "; ")
		if !strings.Contains(problems, want) {
			t.Errorf("%s: problems %q, want %q among them", expr, problems, want)
		}
	}
}

// alertQueries reads the alert rules as the newest Prometheus does.
func alertQueries(t *testing.T) []query {
	t.Helper()
	groups, errs := rulefmt.ParseFile("../prometheus/alerts.yml", false, model.UTF8Validation,
		parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	var all []query
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			all = append(all, query{r.Alert, r.Expr})
		}
	}
	return all
}

func dashboardQueries(t *testing.T) []query {
	t.Helper()
	text, err := os.ReadFile("../grafana/dashboards/segmentd.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var all []query
	for _, p := range file.Panels {
		for _, target := range p.Targets {
			all = append(all, query{"panel " + p.Title, grafanaVariables.Replace(target.Expr)})
		}
	}
	return all
}

// check returns what is wrong with an expression.
func (c catalogue) check(expr string) []string {
	root, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return []string{"does not parse: " + err.Error()}
	}
	var problems []string
	parser.Inspect(root, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			problems = append(problems, c.checkSelector(n, path)...)
		case *parser.AggregateExpr:
			problems = append(problems, c.checkLabels(n, n.Grouping)...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				problems = append(problems, c.checkLabels(n, n.VectorMatching.MatchingLabels)...)
			}
		}
		return nil
	})
	return problems
}

func (c catalogue) checkSelector(s *parser.VectorSelector, path []parser.Node) []string {
	if others[s.Name] {
		return nil
	}
	m, ok := c.find(s.Name)
	if !ok {
		return []string{"no metric " + s.Name}
	}
	problems := m.checkUse(s.Name, path)
	for _, matcher := range s.LabelMatchers {
		problems = append(problems, m.checkMatcher(s.Name, matcher)...)
	}
	return problems
}

// checkUse holds counters and histograms under a function of their increase,
// and gauges not.
func (m metric) checkUse(name string, path []parser.Node) []string {
	rated := slices.ContainsFunc(path, func(n parser.Node) bool {
		call, ok := n.(*parser.Call)
		return ok && slices.Contains([]string{"rate", "irate", "increase"}, call.Func.Name)
	})
	switch {
	case rated && m.kind == "gauge":
		return []string{"rate of a gauge, " + name}
	case !rated && m.kind != "gauge":
		return []string{name + " without rate or increase"}
	}
	return nil
}

func (m metric) checkMatcher(name string, matcher *labels.Matcher) []string {
	if matcher.Name == labels.MetricName || matcher.Name == "job" || matcher.Name == "instance" {
		return nil
	}
	values, ok := m.labels[matcher.Name]
	if !ok {
		return []string{fmt.Sprintf("%s has no label %s", name, matcher.Name)}
	}
	if values != nil && !slices.ContainsFunc(values, matcher.Matches) {
		return []string{fmt.Sprintf("no %s of %s matches %s", matcher.Name, name, matcher)}
	}
	return checkAlternatives(values, matcher)
}

// checkAlternatives holds every alternative of a regular expression to a possible value.
func checkAlternatives(values []string, matcher *labels.Matcher) []string {
	if values == nil || matcher.Type != labels.MatchRegexp && matcher.Type != labels.MatchNotRegexp {
		return nil
	}
	var problems []string
	for _, alternative := range strings.Split(matcher.Value, "|") {
		if !slices.Contains(values, alternative) {
			problems = append(problems, fmt.Sprintf("%s is never %s", matcher.Name, alternative))
		}
	}
	return problems
}

// checkLabels holds the labels that an expression groups or matches by to those
// that some selector in it has.
func (c catalogue) checkLabels(in parser.Node, wanted []string) []string {
	has := map[string]bool{"job": true, "instance": true}
	parser.Inspect(in, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			m, _ := c.find(s.Name)
			for l := range m.labels {
				has[l] = true
			}
		}
		return nil
	})
	var problems []string
	for _, l := range wanted {
		if !has[l] {
			problems = append(problems, "nothing in it has the label "+l)
		}
	}
	return problems
}
