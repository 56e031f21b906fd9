package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmentd/segmentd/state/subject"
)

// State is what a partition that this instance owns is doing.
type State uint8

// The states of a partition.
const (
	Restoring State = iota // not served yet
	Running
	Paused  // by an operator
	Stopped // needs an operator
	states
)

var stateNames = [states]string{"restoring", "running", "paused", "stopped"}

// String is the state as the metric writes it.
func (s State) String() string { return stateNames[s] }

// Partition moves the metrics of one partition that this instance owns, and
// takes back all it contributed on Release. Not safe for concurrent use: it
// belongs to the partition's goroutine.
type Partition struct {
	m        *Metrics
	label    string
	state    State
	released bool
	members  map[string]int64 // this partition's part of the members gauges
	overlay  int64            // this partition's part of the overlay gauge

	rights rightsOf

	lags        map[string]lag // by topic
	clock       prometheus.Gauge
	dueTimer    prometheus.Gauge
	restoreLeft prometheus.Gauge
	toFill      prometheus.Gauge
}

type lag struct{ records, seconds prometheus.Gauge }

// Assign begins to measure a partition, in the state Restoring. Topics are the
// inputs whose lag is told. At most one Partition a number may be unreleased.
func (m *Metrics) Assign(partition int32, topics []string) *Partition {
	label := strconv.Itoa(int(partition))
	p := &Partition{m: m, label: label, members: map[string]int64{}, lags: make(map[string]lag, len(topics)),
		dueTimer:    m.vecs.dueTimer.WithLabelValues(label),
		restoreLeft: m.vecs.restoreLeft.WithLabelValues(label),
		toFill:      m.vecs.toFill.WithLabelValues(label)}
	for _, t := range topics {
		p.lags[t] = lag{m.vecs.lagRecords.WithLabelValues(t, label), m.vecs.lagSeconds.WithLabelValues(t, label)}
	}
	m.partitions[Restoring].Inc()
	return p
}

// Release ends the measuring: the partition was lost or the process stops. Its
// series vanish and its part of sums is taken back. The Partition must not be
// used afterwards; a second Release does nothing.
func (p *Partition) Release() {
	if p.released {
		return
	}
	p.released = true
	p.m.partitions[p.state].Dec()
	p.SetOverlayBytes(0)
	p.ClearMembers()
	p.releaseRights()
	v := &p.m.vecs
	for t := range p.lags {
		v.lagRecords.DeleteLabelValues(t, p.label)
		v.lagSeconds.DeleteLabelValues(t, p.label)
		v.gap.DeleteLabelValues(t, p.label)
	}
	for _, g := range []*prometheus.GaugeVec{v.clock, v.dueTimer, v.restoreLeft, v.toFill} {
		g.DeleteLabelValues(p.label)
	}
}

// SetState says what the partition is doing.
func (p *Partition) SetState(s State) {
	p.m.partitions[p.state].Dec()
	p.state = s
	p.m.partitions[s].Inc()
}

// SetInputLag sets how far processing of one input topic is behind: records
// not processed yet, and the age of the oldest of them (0: caught up). A topic
// that Assign was not given is ignored.
func (p *Partition) SetInputLag(topic string, records int64, age time.Duration) {
	if l, ok := p.lags[topic]; ok {
		l.records.Set(float64(records))
		l.seconds.Set(age.Seconds())
	}
}

// SetGap sets how many records of an input are missing for which the partition
// has stopped; 0: it has not, or goes on.
func (p *Partition) SetGap(topic string, records int64) {
	p.m.vecs.gap.WithLabelValues(topic, p.label).Set(float64(records))
}

// SetClock sets the partition's clock. There is no series before it is first
// set to an instant (a partition that never had input has no clock).
func (p *Partition) SetClock(t subject.Instant) {
	if !t.Valid() {
		return
	}
	if p.clock == nil {
		p.clock = p.m.vecs.clock.WithLabelValues(p.label)
	}
	p.clock.Set(unixSeconds(t))
}

// SetOldestTimer sets the instant of the earliest timer that has not fired;
// subject.Never: there is none.
func (p *Partition) SetOldestTimer(t subject.Instant) {
	if !t.Valid() {
		p.dueTimer.Set(0)
		return
	}
	p.dueTimer.Set(unixSeconds(t))
}

// SetRestoreRemaining sets how many changelog records are still to be read.
func (p *Partition) SetRestoreRemaining(records int64) { p.restoreLeft.Set(float64(records)) }

// SetBackfillRemaining sets how many records of events are still to be read again
// before the segments of a changed rule set are filled; 0: none.
func (p *Partition) SetBackfillRemaining(records int64) { p.toFill.Set(float64(records)) }

// SetOverlayBytes sets the size of the partition's overlay.
func (p *Partition) SetOverlayBytes(n int64) {
	p.m.overlay.Add(float64(n - p.overlay))
	p.overlay = n
}

// CountChange counts one committed change and adjusts the segment's members.
func (p *Partition) CountChange(c *subject.Change) {
	p.m.reasons[c.Kind][c.Reason].Inc()
	if c.Kind == subject.Erased {
		p.m.erased.Inc()
		return
	}
	s := p.m.segment(c.Segment)
	delta := int64(1)
	if c.Kind == subject.Exited {
		s.exited.Inc()
		delta = -1
	} else {
		s.entered.Inc()
	}
	s.members.Add(float64(delta))
	p.members[c.Segment] += delta
}

// SetMembers sets how many members a segment has in this partition, as counted
// by a restore.
func (p *Partition) SetMembers(segment string, n int64) {
	p.m.segment(segment).members.Add(float64(n - p.members[segment]))
	p.members[segment] = n
}

// ClearMembers takes back all members of the partition, before they are
// counted again.
func (p *Partition) ClearMembers() {
	for key := range p.members {
		p.SetMembers(key, 0)
	}
	clear(p.members)
}

func unixSeconds(t subject.Instant) float64 { return float64(t) / 1e6 }
