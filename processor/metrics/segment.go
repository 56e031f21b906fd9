package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmentd/segmentd/state/subject"
)

// segment holds the series of one segment, or of all.
type segment struct {
	entered, exited prometheus.Counter
	members         prometheus.Gauge
}

// segment returns the series of a segment, which it creates where they do not
// exist yet.
func (m *Metrics) segment(key string) *segment {
	if !m.perSegment {
		key = AllSegments
	}
	m.mu.RLock()
	s := m.segments[key]
	m.mu.RUnlock()
	if s != nil {
		return s
	}
	return m.createSegment(key)
}

func (m *Metrics) createSegment(key string) *segment {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.segments[key]; s != nil {
		return s
	}
	s := &segment{
		entered: m.vecs.changes.WithLabelValues(key, subject.Entered.String()),
		exited:  m.vecs.changes.WithLabelValues(key, subject.Exited.String()),
		members: m.vecs.members.WithLabelValues(key),
	}
	m.segments[key] = s
	return s
}
