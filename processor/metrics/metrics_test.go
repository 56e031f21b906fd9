package metrics_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

const events, decisions = "shop.events", "shop.decisions"

func newMetrics(t testing.TB, cfg metrics.Config) *metrics.Metrics {
	t.Helper()
	m, err := metrics.New(cfg, metrics.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func gather(t testing.TB, m *metrics.Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// moveAll calls everything that moves a metric.
func moveAll(m *metrics.Metrics) *metrics.Partition {
	m.CountEvent(subject.Admitted)
	m.AddEvents(&[subject.Outcomes]uint64{subject.OutcomeNoDecision: 7})
	m.CountDecision(subject.Given)
	m.CountMisunderstood()
	m.CountIneffective()
	m.CountPassedOn()
	m.CountRejected(decisions, "malformed")
	m.CountRejectedCapped()
	m.AddOvertaken(decisions, 2)
	m.AddBelowMinimum(1)
	m.AddDedupeEvicted(1)
	m.AddTruncatedLeaves(1)
	m.AddTimersFired(1)
	m.ObserveEventToChange(20 * time.Millisecond)
	m.ObserveTransaction(metrics.Committed, 10*time.Millisecond)
	m.ObserveStoreWrite(time.Millisecond)
	m.SetStoreBytes(1)
	m.SetScrub(3, time.Minute, time.Hour)
	m.ObserveScrub(3, time.Second)
	m.CountImageDropped()
	m.AddCache(3, 1)
	m.CountDenied("role")
	m.CountAuditEntry(7)
	m.CountAuditFailure()
	m.CountPanic()
	m.CountCallback("delivered")
	m.SetCallbacksWaiting(2)
	m.SetRuleSet("4be1", 42, []string{"vip"})
	p := m.Assign(3, []string{events, decisions})
	p.SetState(metrics.Running)
	p.SetInputLag(events, 5, 2*time.Second)
	p.SetClock(1_000_000)
	p.SetOldestTimer(2_500_000)
	p.SetRestoreRemaining(9)
	p.SetBackfillRemaining(4)
	p.SetGap(decisions, 2)
	p.SetOverlayBytes(100)
	p.SetMembers("vip", 10)
	var requests [subject.RequestKinds][subject.RequestStatuses]int64
	requests[subject.Access][subject.Received] = 2
	p.SetRequests(requests, 3_000_000)
	p.SetConsents("marketing", 4, 5)
	m.CountRequestMisunderstood()
	m.CountRequestCrowded()
	p.CountChange(&subject.Change{Segment: "vip", Kind: subject.Entered, Reason: subject.ByEvent})
	return p
}

// Every metric is exported, and none is decoration: each can move.
func TestEveryMetricMoves(t *testing.T) {
	cfg := metrics.Config{PerSegment: true, Topics: []string{events, decisions}}
	moved := newMetrics(t, cfg)
	moveAll(moved)
	before, after := gather(t, newMetrics(t, cfg)), gather(t, moved)
	for _, d := range moved.Descriptions() {
		f := after[d.Name]
		if f == nil {
			t.Errorf("%s is not exported", d.Name)
			continue
		}
		if d.Name != "segmentd_build_info" && slices.Equal(values(before[d.Name]), values(f)) {
			t.Errorf("%s did not move", d.Name)
		}
		if got := strings.ToLower(f.GetType().String()); got != d.Type {
			t.Errorf("%s is a %s, described as a %s", d.Name, got, d.Type)
		}
	}
	if len(after) != len(moved.Descriptions()) {
		t.Errorf("%d metrics exported, %d described", len(after), len(moved.Descriptions()))
	}
}

func values(f *dto.MetricFamily) []float64 {
	var all []float64
	for _, s := range f.GetMetric() {
		all = append(all, s.GetCounter().GetValue()+s.GetGauge().GetValue()+s.GetHistogram().GetSampleSum())
	}
	return all
}

// Labels are those described, and hold no value beyond a closed set.
func TestLabels(t *testing.T) {
	m := newMetrics(t, metrics.Config{PerSegment: true, Topics: []string{events}})
	moveAll(m)
	families := gather(t, m)
	for _, d := range m.Descriptions() {
		for _, series := range families[d.Name].GetMetric() {
			checkLabels(t, d, series.GetLabel())
		}
	}
}

func checkLabels(t *testing.T, d metrics.Description, pairs []*dto.LabelPair) {
	t.Helper()
	if len(pairs) != len(d.Labels) {
		t.Errorf("%s has %d labels, %d described", d.Name, len(pairs), len(d.Labels))
	}
	for _, p := range pairs {
		i := slices.IndexFunc(d.Labels, func(l metrics.Label) bool { return l.Name == p.GetName() })
		if i < 0 {
			t.Errorf("%s: label %s is not described", d.Name, p.GetName())
		} else if v := d.Labels[i].Values; v != nil && !slices.Contains(v, p.GetValue()) {
			t.Errorf("%s: %s=%q is not in the closed set", d.Name, p.GetName(), p.GetValue())
		}
	}
}

// The names and labels that other people's dashboards depend on.
func TestNamesOthersDependOn(t *testing.T) {
	want := map[string]string{
		"events_total": "outcome", "changes_total": "segment,change", "change_reasons_total": "change,reason", "members": "segment",
		"event_to_change_seconds": "", "input_lag_records": "topic,partition", "input_lag_seconds": "topic,partition",
		"clock_timestamp_seconds": "partition", "oldest_due_timer_timestamp_seconds": "partition", "timers_fired_total": "",
		"transaction_seconds": "", "transactions_total": "outcome", "store_write_seconds": "", "overlay_bytes": "",
		"cache_hits_total": "", "cache_misses_total": "", "restore_remaining_records": "partition", "rejected_total": "topic,reason",
		"dedupe_evicted_total": "", "truncated_leaves_total": "", "rule_set_info": "hash,revision", "store_bytes": "",
		"build_info": "version,revision,goversion",
	}
	for _, d := range newMetrics(t, metrics.Config{}).Descriptions() {
		name := strings.TrimPrefix(d.Name, "segmentd_")
		if w, ok := want[name]; ok && w != joinLabels(d.Labels) {
			t.Errorf("%s has labels %s, want %s", name, joinLabels(d.Labels), w)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func joinLabels(labels []metrics.Label) string {
	var all []string
	for _, l := range labels {
		all = append(all, l.Name)
	}
	return strings.Join(all, ",")
}

func TestLint(t *testing.T) {
	m := newMetrics(t, metrics.Config{PerSegment: true, Topics: []string{events}})
	moveAll(m)
	problems, err := testutil.GatherAndLint(m.Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Series with known label values are there, at 0, before anything happened: a
// rate over the first increment is then right, and an alert can be tested.
func TestSeriesExistFromTheStart(t *testing.T) {
	m := newMetrics(t, metrics.Config{Topics: []string{events, decisions}})
	families := gather(t, m)
	for name, want := range map[string]int{
		"segmentd_events_total":            int(subject.Outcomes),
		"segmentd_change_reasons_total":    3 * int(subject.Reasons),
		"segmentd_decisions_total":         4,
		"segmentd_transactions_total":      3,
		"segmentd_partitions":              4,
		"segmentd_overtaken_records_total": 2,
		"segmentd_rejected_total":          2 * len(metrics.RejectReasons()),
		"segmentd_changes_total":           3, // entered and exited of all segments, erased
		"segmentd_members":                 1,
	} {
		if got := len(families[name].GetMetric()); got != want {
			t.Errorf("%s has %d series, want %d", name, got, want)
		}
	}
}

func TestReleaseTakesAllBack(t *testing.T) {
	m := newMetrics(t, metrics.Config{PerSegment: true, Topics: []string{events}})
	m.SetRuleSet("4be1", 1, []string{"vip"})
	before := gather(t, m)
	p := m.Assign(3, []string{events})
	p.SetState(metrics.Stopped)
	p.SetClock(1)
	p.SetInputLag(events, 1, time.Second)
	p.SetOverlayBytes(5)
	p.SetMembers("vip", 4)
	p.Release()
	p.Release()
	after := gather(t, m)
	for name := range after {
		if !slices.Equal(values(before[name]), values(after[name])) {
			t.Errorf("%s changed from %s to %s", name, before[name], after[name])
		}
	}
	if len(before) != len(after) {
		t.Errorf("%d metrics before, %d after", len(before), len(after))
	}
}

// Members add up over the partitions an instance owns, by restore and by change.
func TestMembersOfPartitionsAddUp(t *testing.T) {
	m := newMetrics(t, metrics.Config{PerSegment: true})
	p, q := m.Assign(0, nil), m.Assign(1, nil)
	p.SetMembers("vip", 10)
	q.SetMembers("vip", 5)
	q.CountChange(&subject.Change{Segment: "vip", Kind: subject.Exited, Reason: subject.ByTime})
	wantMembers(t, m, "vip", 14)
	q.ClearMembers() // a recovery counts anew
	wantMembers(t, m, "vip", 10)
	q.SetMembers("vip", 4)
	wantMembers(t, m, "vip", 14)
	p.Release()
	wantMembers(t, m, "vip", 4)
}

func TestMembersOfAllSegments(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	p := m.Assign(0, nil)
	p.SetMembers("vip", 10)
	p.SetMembers("lapsed", 5)
	p.SetMembers("vip", 7)
	wantMembers(t, m, metrics.AllSegments, 12)
}

func wantMembers(t *testing.T, m *metrics.Metrics, segment string, want float64) {
	t.Helper()
	for _, series := range gather(t, m)["segmentd_members"].GetMetric() {
		if series.GetLabel()[0].GetValue() == segment {
			if got := series.GetGauge().GetValue(); got != want {
				t.Errorf("%s has %v members, want %v", segment, got, want)
			}
			return
		}
	}
	t.Errorf("no members of %s", segment)
}

func TestErasedHasNoSegment(t *testing.T) {
	m := newMetrics(t, metrics.Config{PerSegment: true})
	m.Assign(0, nil).CountChange(&subject.Change{Kind: subject.Erased, Reason: subject.ByErased})
	want := `
# HELP segmentd_changes_total Membership changes published, by segment; a subject's erasure counts once, without a segment.
# TYPE segmentd_changes_total counter
segmentd_changes_total{change="erased",segment=""} 1
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "segmentd_changes_total"); err != nil {
		t.Error(err)
	}
}

// One rule set is in force; the one before it must not linger.
func TestRuleSetIsReplaced(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	m.SetRuleSet("4be1", 1, nil)
	m.SetRuleSet("77aa", 2, nil)
	want := `
# HELP segmentd_rule_set_info The rule set in force, always 1.
# TYPE segmentd_rule_set_info gauge
segmentd_rule_set_info{hash="77aa",revision="2"} 1
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "segmentd_rule_set_info"); err != nil {
		t.Error(err)
	}
}

// A clock that was never set and an absent timer must not look like 1970 or the far future.
func TestUnsetTimes(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	p := m.Assign(0, nil)
	p.SetClock(subject.LongAgo)
	p.SetOldestTimer(subject.Never)
	families := gather(t, m)
	if families["segmentd_clock_timestamp_seconds"] != nil {
		t.Error("a clock that was never set has a series")
	}
	if got := families["segmentd_oldest_due_timer_timestamp_seconds"].GetMetric()[0].GetGauge().GetValue(); got != 0 {
		t.Errorf("no timer is written %v, want 0", got)
	}
}

func TestUnknownRejectIsCountedAllTheSame(t *testing.T) {
	m := newMetrics(t, metrics.Config{})
	m.CountRejected("other", "odd")
	if n := len(gather(t, m)["segmentd_rejected_total"].GetMetric()); n != 1 {
		t.Errorf("%d series, want 1", n)
	}
}

// The closed set is the decoder's.
func TestRejectReasonsAreTheDecoders(t *testing.T) {
	var want []string
	for r := range wire.Reasons {
		want = append(want, r.String())
	}
	if got := metrics.RejectReasons(); !slices.Equal(got, want) {
		t.Errorf("reasons %v, the decoder's are %v", got, want)
	}
}

func TestRegisterTwice(t *testing.T) {
	reg := metrics.NewRegistry()
	if _, err := metrics.New(metrics.Config{}, metrics.Deps{Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	_, err := metrics.New(metrics.Config{}, metrics.Deps{Registerer: reg})
	if err == nil || !strings.Contains(err.Error(), "segmentd_events_total") {
		t.Errorf("err = %v, want one that names the metric", err)
	}
}

func TestWrappedRegistererIsUsed(t *testing.T) {
	reg := prometheus.NewRegistry()
	wrapped := prometheus.WrapRegistererWith(prometheus.Labels{"x": "y"}, reg)
	m, err := metrics.New(metrics.Config{}, metrics.Deps{Registerer: wrapped})
	if err != nil {
		t.Fatal(err)
	}
	if own := gather(t, m); len(own) != 0 {
		t.Errorf("%d metrics outside the registerer", len(own))
	}
	if n, err := testutil.GatherAndCount(reg, "segmentd_partitions"); err != nil || n != 4 {
		t.Errorf("%d series, %v", n, err)
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	m := newMetrics(t, metrics.Config{PerSegment: true, Topics: []string{events}})
	p := moveAll(m)
	tally := [subject.Outcomes]uint64{1, 2, 3}
	change := subject.Change{Segment: "vip", Kind: subject.Exited, Reason: subject.ByTime}
	allocs := testing.AllocsPerRun(100, func() {
		m.CountEvent(subject.OutcomeDuplicate)
		m.AddEvents(&tally)
		m.CountRejected(events, "future")
		m.ObserveEventToChange(time.Millisecond)
		m.ObserveTransaction(metrics.Aborted, time.Millisecond)
		m.AddCache(1, 1)
		p.CountChange(&change)
		p.SetClock(5)
		p.SetInputLag(events, 1, time.Second)
		p.SetOverlayBytes(7)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
