package processor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// movingRules have an unbounded leaf and a minimum beside what clockRules have.
const movingRules = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d, notice_version: "2"}
  - {key: orders, description: Orders, lawful_basis: contract, retention: 400d}
data:
  - {field: properties.total, min: 0}
segments:
  - {key: buyer, purpose: marketing, when: 'events("Order Completed").within("7d").exists()'}
  - {key: average, purpose: marketing, when: 'events("Viewed").avg(properties.total) > 5'}
  - {key: recent_average, purpose: marketing, when: 'events("Order Completed").within("2d").max(properties.total) > 15'}
  - {key: payer, purpose: orders, when: 'events("Paid").exists()'}
`

// observer collects which series were seen to change.
type observer struct {
	t     testing.TB
	r     *running
	last  map[string]float64
	moved map[string]bool
}

func (o *observer) look() {
	o.t.Helper()
	families, err := o.r.metrics.Gatherer().Gather()
	must(o.t, err)
	now := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			now[seriesName(f.GetName(), m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, value := range now {
		if was, ok := o.last[name]; ok && was != value {
			o.moved[name] = true
		}
	}
	o.last = now
}

func seriesName(family string, m *dto.Metric) string {
	var labels []string
	for _, l := range m.GetLabel() {
		labels = append(labels, l.GetName()+"="+l.GetValue())
	}
	return family + "{" + strings.Join(labels, ",") + "}"
}

// Every metric can be moved by the pipeline itself, but for those that say
// something constant and the one that the process measures.
func TestEveryMetricMoves(t *testing.T) {
	l := newLab(t, labConfig{rules: movingRules, partitions: 2})
	l.cfg.Core.MaxSubjectBytes = 8 << 10
	l.cfg.closeRecords, l.cfg.BatchBytes = 10, 16<<10
	inner, f := l.transactor, &faults{every: 7}
	l.transactor = func(id string) stream.Transactor { return &faulty{Transactor: inner(id), faults: f} }
	start := ago(40 * day)
	l.holdClock(start)
	r := l.start()
	o := &observer{t: t, r: r, moved: map[string]bool{}}
	o.look()
	step := func(records ...record) {
		l.produce(records...)
		r.read()
		o.look()
	}
	step(given("u1", "marketing", start), given("u2", "marketing", start), track("u9", "Order Completed", "x", start))
	step(track("u1", "Order Completed", "m1", start), track("u1", "Order Completed", "m1", start), track("u1", "Unread", "m0", start))
	step(track("u2", "Order Completed", "", start.Add(-time.Hour)))
	step(decision("u2", "marketing", "withdrawn", start), decision("u3", "marketing", "refused", start), decision("u4", "marketing", "objected", start))
	step(decision("u2", "orders", "objected", start))
	step(track("u2", "Order Completed", "", start), track("u3", "Order Completed", "", start), track("u4", "Order Completed", "", start))
	step(expiring("u5", start, start.Add(time.Hour)), track("u6", "Unread", "", start.Add(2*time.Hour)), track("u5", "Order Completed", "", start.Add(2*time.Hour)))
	step(record{topic: events, key: "u1", value: "{"}, record{topic: decisions, key: "u1", value: `{"type":"decision","userId":"u7","status":"perhaps"}`})
	step(record{topic: decisions, key: "u7", value: `{"type":"decision","userId":"u7","purpose":"marketing","status":"perhaps"}`})
	step(track("u1", "Order Completed", "m2", start.Add(3*day)), track("u1", "Order Completed", "late", start.Add(2*day)))
	step(worth("u1", "Order Completed", 20, start.Add(3*day-time.Second)), worth("u1", "Order Completed", -3, start.Add(3*day)))
	step(proved(expiring("u10", start, start.Add(20*day)), "1"), request("u1", "q-1", "access", start))
	nameless := request("u10", "q-2", "erase", start)
	nameless.value = strings.Replace(nameless.value, `"requestId":"q-2",`, "", 1)
	step(nameless)
	l.flood("u1", start.Add(3*day))
	l.capRejects()
	r.read()
	o.look()
	l.releaseClock()
	r.caughtUp()
	r.turns(3)
	o.look()
	o.lag(l)
	o.hang(l)
	grant := given("u8", "marketing", start)
	grant.wrong, grant.to = true, l.notOf("u8")
	step(grant)
	o.fill()
	o.gap(l)
	r.stop()
	o.check(map[string]string{"segmentd_build_info": "constant", "segmentd_rule_set_info": "always 1, of one rule set or another",
		"segmentd_store_bytes": "measured by the process",
		// Of the listener (cmd/segmentd, TestAccess) and of the store's upkeep (TestErasureEndToEnd).
		"segmentd_http_denied_total": "listener", "segmentd_http_panics_total": "listener", "segmentd_audit_entries_total": "listener",
		"segmentd_audit_failures_total": "listener", "segmentd_audit_head_entry": "listener",
		"segmentd_requests_crowded_total":  "TestTooManyRequestsOfOneSubject",
		"segmentd_opendsr_callbacks_total": "listener (TestOpenDSR)", "segmentd_opendsr_callbacks_waiting": "listener (TestOpenDSR)",
		"segmentd_scrub_waiting_subjects": "upkeep", "segmentd_scrub_oldest_waiting_seconds": "upkeep", "segmentd_scrub_promise_seconds": "upkeep",
		"segmentd_scrub_seconds": "upkeep", "segmentd_scrubbed_subjects_total": "upkeep", "segmentd_images_dropped_total": "upkeep"})
}

// gap lets retention overtake a paused partition, which stops then until that is
// accepted.
func (o *observer) gap(l *lab) {
	o.t.Helper()
	must(o.t, o.r.processor.Pause(o.t.Context(), 0))
	from := l.watermarks(decisions)[0].End
	lost := given(l.onPartition(0), "marketing", ago(time.Hour))
	l.produce(lost, lost)
	l.deleteRecords(decisions, 0, from+2)
	o.look()
	must(o.t, o.r.processor.Resume(o.t.Context(), 0, false))
	o.r.stops(0)
	o.look()
	must(o.t, o.r.processor.Resume(o.t.Context(), 0, true))
	o.r.read()
	o.look()
}

// fill lets the rules change so that events are read again.
func (o *observer) fill() {
	o.t.Helper()
	_, err := o.r.reload(strings.Replace(movingRules, "avg(properties", "where(properties.total > 1).avg(properties", 1), false)
	must(o.t, err)
	eventually(o.t, "events are to be read again", func() bool {
		o.look()
		return o.moved["segmentd_backfill_remaining_records{partition=0}"] || o.moved["segmentd_backfill_remaining_records{partition=1}"]
	})
	o.r.changed()
	o.look()
}

func expiring(id string, at, end time.Time) record {
	r := given(id, "marketing", at)
	r.value = strings.Replace(r.value, "}", `,"expiresAt":"`+stamp(end)+`"}`, 1)
	return r
}

func worth(id, name string, total int, at time.Time) record {
	return record{topic: events, key: id, at: at, value: fmt.Sprintf(
		`{"type":"track","userId":%q,"event":%q,"timestamp":%q,"properties":{"total":%d}}`, id, name, stamp(at), total)}
}

// flood gives a subject more message ids than are remembered and more evidence
// than fits.
func (l *lab) flood(id string, at time.Time) {
	l.t.Helper()
	var all []record
	for i := range 2000 {
		all = append(all, track(id, "Viewed", fmt.Sprintf("flood-%d", i), at.Add(time.Duration(i)*time.Second)))
	}
	l.produceAtOnce(all)
}

func (l *lab) capRejects() {
	l.t.Helper()
	var all []record
	for range maxRejects + 50 {
		all = append(all, record{topic: events, key: "u1", value: "{"})
	}
	l.produceAtOnce(all)
}

// lag lets an open transaction hold up an event.
func (o *observer) lag(l *lab) {
	o.t.Helper()
	tx := l.client.NewTransactor(kafka.TransactorConfig{TransactionalID: "tracker"})
	must(o.t, tx.Init(background(o.t)))
	_, err := tx.Produce(background(o.t), messagesOf(l, track("u1", "Order Completed", "hung", time.Now())))
	must(o.t, err)
	l.holdClock(time.Now().Add(time.Minute)) // older than the partition's clock is behind
	eventually(o.t, "the input lags", func() bool { return o.r.metric(o.t, "segmentd_input_lag_seconds") > 0 })
	o.look()
	must(o.t, tx.Commit(background(o.t)))
	l.releaseClock()
	o.r.read()
	o.look()
}

// hang lets the processor start while a transaction is open on its changelog.
func (o *observer) hang(l *lab) {
	o.t.Helper()
	tx := l.client.NewTransactor(kafka.TransactorConfig{TransactionalID: "somebody-else"})
	must(o.t, tx.Init(background(o.t)))
	p := l.of("u1")
	_, err := tx.Produce(background(o.t), []stream.Message{{Topic: Topics{l.cfg.Group}.Changelog(), Partition: p, Key: state.DictionaryKey, Value: []byte("x")}})
	must(o.t, err)
	must(o.t, l.client.NewTransactor(kafka.TransactorConfig{TransactionalID: fmt.Sprintf("shop-%d", p)}).Init(background(o.t))) // fences the processor, which recovers
	l.produce(track("u1", "Order Completed", "after", time.Now()))
	eventually(o.t, "the restore waits", func() bool { return o.r.metric(o.t, "segmentd_restore_remaining_records") > 0 })
	o.look()
	must(o.t, tx.Abort(background(o.t)))
	eventually(o.t, "the restore goes on", func() bool { return o.r.inspect(p, func(*partitionLoop) {}) })
	o.r.read()
	o.look()
}

// check wants a change of some series of every metric but those with an excuse,
// and of every outcome, kind and reason that this version has.
func (o *observer) check(excused map[string]string) {
	o.t.Helper()
	families := map[string]bool{}
	for name := range o.moved {
		families[name[:strings.Index(name, "{")]] = true
	}
	for _, d := range o.r.metrics.Descriptions() {
		name := metrics.Namespace + "_" + strings.TrimPrefix(d.Name, metrics.Namespace+"_")
		if !families[name] && excused[name] == "" {
			o.t.Errorf("%s did not move", name)
		}
	}
	for out := range subject.Outcomes {
		switch out {
		case subject.OutcomeRestricted, subject.OutcomeUnderage, subject.OutcomeErased:
			continue // of requests and ages, which this version refuses
		}
		if name := "segmentd_events_total{outcome=" + out.String() + "}"; !o.moved[name] {
			o.t.Errorf("%s did not move", name)
		}
	}
	if o.t.Failed() {
		o.t.Logf("moved:\n%s", strings.Join(slices.Sorted(maps.Keys(o.moved)), "\n"))
	}
}
