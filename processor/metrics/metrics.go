// Package metrics holds every Prometheus metric of the processor: their names,
// their closed label sets, and small methods to move them. METRICS.md at the
// root of the repository is generated from what is registered here.
//
// Values are in base units (seconds, bytes, Unix time in seconds). No label
// names a data subject. Series whose label values are known beforehand exist,
// at 0, from the start; series of a partition or an input topic come and go
// with the partition.
package metrics

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/segmentd/segmentd/state/subject"
)

// Namespace prefixes every metric's name.
const Namespace = "segmentd"

// AllSegments is the segment label's value where metrics are not kept by
// segment. It cannot be a segment's key.
const AllSegments = "*"

// Config says what is measured. The zero Config is valid.
type Config struct {
	PerSegment bool     // false: one series, labelled AllSegments, for all segments
	Topics     []string // input topics, the values of the topic label of rejected records
	Version    string   // of the program; "" is written "unknown"
	Revision   string   // of its source; "" is written "unknown"
}

// Deps are what the metrics need from outside.
type Deps struct {
	// Registerer gets every metric; nil: a registry of its own, see Gatherer.
	Registerer prometheus.Registerer
}

// Outcome says how a transaction ended.
type Outcome uint8

// The outcomes of a transaction.
const (
	Committed Outcome = iota
	Aborted           // by us, before its end was asked for
	Unknown           // an error or no answer: treated as a crash, the partition recovers
	outcomes
)

var outcomeNames = [outcomes]string{"committed", "aborted", "unknown"}

// String is the outcome as the metric writes it.
func (o Outcome) String() string { return outcomeNames[o] }

// Metrics are all metrics of one process. Safe for concurrent use; the methods
// that count do not allocate.
type Metrics struct {
	gatherer     prometheus.Gatherer
	descriptions []Description
	perSegment   bool
	vecs         vectors

	events        [subject.Outcomes]prometheus.Counter
	reasons       [len(changeKinds)][subject.Reasons]prometheus.Counter
	erased        prometheus.Counter
	decisions     [subject.Objected + 1]prometheus.Counter
	misunderstood prometheus.Counter
	ineffective   prometheus.Counter
	passedOn      prometheus.Counter
	rejected      map[rejection]prometheus.Counter
	capped        prometheus.Counter
	belowMinimum  prometheus.Counter
	dedupeEvicted prometheus.Counter
	truncated     prometheus.Counter

	eventToChange prometheus.Histogram
	timersFired   prometheus.Counter

	transactions       [outcomes]prometheus.Counter
	transactionSeconds prometheus.Histogram

	storeWrite prometheus.Histogram
	storeBytes prometheus.Gauge

	scrubWaiting, scrubOldest, scrubPromise prometheus.Gauge
	scrubSeconds                            prometheus.Histogram
	scrubbed, imagesDropped                 prometheus.Counter

	overlay     prometheus.Gauge
	cacheHits   prometheus.Counter
	cacheMisses prometheus.Counter
	partitions  [states]prometheus.Gauge

	denied                                *prometheus.CounterVec
	auditEntries, auditFailures, panicked prometheus.Counter
	auditHead                             prometheus.Gauge

	rights rights

	callbacks        *prometheus.CounterVec
	callbacksWaiting prometheus.Gauge

	mu       sync.RWMutex
	segments map[string]*segment // guarded by mu
}

// vectors are the metrics whose label values are known only at run time.
type vectors struct {
	changes, rejected, overtaken          *prometheus.CounterVec
	members                               *prometheus.GaugeVec
	lagRecords, lagSeconds                *prometheus.GaugeVec
	clock, dueTimer, restoreLeft, ruleSet *prometheus.GaugeVec
	toFill, gap                           *prometheus.GaugeVec
}

type rejection struct{ topic, reason string }

// New creates every metric and registers it with deps.Registerer. It fails
// where one of the names is registered already.
func New(cfg Config, deps Deps) (*Metrics, error) {
	reg, gatherer := registry(deps.Registerer)
	m := &Metrics{gatherer: gatherer, perSegment: cfg.PerSegment, segments: map[string]*segment{}}
	d := &definer{}
	m.defineInputs(d, cfg.Topics)
	m.defineChanges(d)
	m.defineRights(d)
	m.defineTime(d)
	m.defineTransactions(d)
	m.defineStore(d)
	m.defineAccess(d)
	m.defineCallbacks(d)
	m.defineInfo(d, cfg)
	if err := d.register(reg); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	m.descriptions = d.descriptions
	if !m.perSegment {
		m.segment(AllSegments)
	}
	return m, nil
}

func registry(reg prometheus.Registerer) (prometheus.Registerer, prometheus.Gatherer) {
	if reg == nil {
		own := prometheus.NewRegistry()
		return own, own
	}
	if g, ok := reg.(prometheus.Gatherer); ok {
		return reg, g
	}
	return reg, prometheus.Gatherers{}
}

// NewRegistry returns a registry with the Go runtime's and the process's own
// metrics, for New and for the /metrics page.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// Gatherer reads what was registered, for the /metrics page. It is empty where
// New was given a Registerer that cannot be read.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.gatherer }

// Descriptions lists every metric in the order of METRICS.md. Read only.
func (m *Metrics) Descriptions() []Description { return m.descriptions }

// CountEvent counts one event by what became of it.
func (m *Metrics) CountEvent(o subject.Outcome) { m.events[o].Inc() }

// AddEvents counts a batch of events, tallied by outcome.
func (m *Metrics) AddEvents(tally *[subject.Outcomes]uint64) {
	for o, n := range tally {
		if n > 0 {
			m.events[o].Add(float64(n))
		}
	}
}

// CountDecision counts one decision that was applied. NoDecision is no status
// of a decision and is not counted.
func (m *Metrics) CountDecision(s subject.Status) {
	if s > subject.NoDecision {
		m.decisions[s].Inc()
	}
}

// CountMisunderstood counts a decision that could not be understood and was
// taken for a refusal; it counts as a refused decision besides.
func (m *Metrics) CountMisunderstood() { m.misunderstood.Inc() }

// CountIneffective counts a decision that was meant to stop a purpose whose lawful
// basis it does not end; it counts by its status besides.
func (m *Metrics) CountIneffective() { m.ineffective.Inc() }

// CountPassedOn counts a decision that arrived on another partition than its
// subject's and was passed on.
func (m *Metrics) CountPassedOn() { m.passedOn.Inc() }

// CountRejected counts one rejected record. The topic should be one of
// Config.Topics and the reason one of RejectReasons; of others a series is
// created on first use.
func (m *Metrics) CountRejected(topic, reason string) {
	if c, ok := m.rejected[rejection{topic, reason}]; ok {
		c.Inc()
		return
	}
	m.vecs.rejected.WithLabelValues(topic, reason).Inc()
}

// CountRejectedCapped counts a rejected record of which no reference was
// published, as the rejected topic's rate is capped.
func (m *Metrics) CountRejectedCapped() { m.capped.Inc() }

// AddOvertaken counts records of an input topic that its retention deleted
// before they were read.
func (m *Metrics) AddOvertaken(topic string, n int64) {
	m.vecs.overtaken.WithLabelValues(topic).Add(float64(n))
}

// AddBelowMinimum counts numbers that were taken for missing, as they were
// below their field's minimum.
func (m *Metrics) AddBelowMinimum(n int) { m.belowMinimum.Add(float64(n)) }

// AddDedupeEvicted counts message ids forgotten before their time.
func (m *Metrics) AddDedupeEvicted(n int) { m.dedupeEvicted.Add(float64(n)) }

// AddTruncatedLeaves counts leaves that dropped evidence for lack of room.
func (m *Metrics) AddTruncatedLeaves(n int) { m.truncated.Add(float64(n)) }

// AddTimersFired counts timers that fired.
func (m *Metrics) AddTimersFired(n int) { m.timersFired.Add(float64(n)) }

// ObserveEventToChange records the time from an event's arrival at the broker
// to the commit of the change it caused.
func (m *Metrics) ObserveEventToChange(d time.Duration) { m.eventToChange.Observe(d.Seconds()) }

// ObserveTransaction records one transaction, from its first produce request
// to the answer to its end (or the error that ended it).
func (m *Metrics) ObserveTransaction(o Outcome, d time.Duration) {
	m.transactions[o].Inc()
	m.transactionSeconds.Observe(d.Seconds())
}

// ObserveStoreWrite records one write of a partition's overlay to the local store.
func (m *Metrics) ObserveStoreWrite(d time.Duration) { m.storeWrite.Observe(d.Seconds()) }

// SetStoreBytes sets the size of the local store on disk.
func (m *Metrics) SetStoreBytes(n int64) { m.storeBytes.Set(float64(n)) }

// SetScrub sets how many subjects wait to be scrubbed from the local store's files,
// since when the first of them does, and after how long that is promised to be done.
func (m *Metrics) SetScrub(waiting int, oldest, promise time.Duration) {
	m.scrubWaiting.Set(float64(waiting))
	m.scrubOldest.Set(oldest.Seconds())
	m.scrubPromise.Set(promise.Seconds())
}

// ObserveScrub records one scrub and how many subjects it was of.
func (m *Metrics) ObserveScrub(subjects int, d time.Duration) {
	m.scrubbed.Add(float64(subjects))
	m.scrubSeconds.Observe(d.Seconds())
}

// CountImageDropped counts an image deleted because its partition is another instance's.
func (m *Metrics) CountImageDropped() { m.imagesDropped.Inc() }

// AddCache counts look-ups of subject records in memory.
func (m *Metrics) AddCache(hits, misses int) {
	m.cacheHits.Add(float64(hits))
	m.cacheMisses.Add(float64(misses))
}

// SetRuleSet names the rule set in force and creates the series of its
// segments. Series of segments it no longer has stay until the process ends:
// their members still leave, and counters must not vanish between two scrapes.
func (m *Metrics) SetRuleSet(hash string, revision uint64, segments []string) {
	m.vecs.ruleSet.Reset()
	m.vecs.ruleSet.WithLabelValues(hash, fmt.Sprint(revision)).Set(1)
	for _, key := range segments {
		m.segment(key)
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func goVersion() string { return runtime.Version() }
