package processor

import (
	"testing"
	"time"

	"github.com/segmentd/segmentd/rules"
)

func TestRemainsOn(t *testing.T) {
	const day, infinite = "86400000", "9223372036854775807"
	for _, c := range []struct {
		name       string
		settings   map[string]string
		tombstones bool
		want       time.Duration
		cause      string
	}{
		{"as created", map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": day, "min.compaction.lag.ms": "0"}, false, 25 * time.Hour, "max.compaction.lag.ms=86400000"},
		{"members as created", map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": day, "min.compaction.lag.ms": "0", "delete.retention.ms": day}, true,
			74 * time.Hour, "max.compaction.lag.ms=86400000, delete.retention.ms=86400000"},
		{"no bound", map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": infinite, "min.compaction.lag.ms": "0"}, false, Forever, "max.compaction.lag.ms=" + infinite},
		{"no setting", map[string]string{"cleanup.policy": "compact"}, false, Forever, "max.compaction.lag.ms="},
		{"a longer minimum", map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": "1000", "min.compaction.lag.ms": day}, false, 25 * time.Hour, "min.compaction.lag.ms=86400000"},
		{"an infinite minimum", map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": "1000", "min.compaction.lag.ms": infinite}, false, Forever, "min.compaction.lag.ms=" + infinite},
		{"tombstones kept for ever", map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": "1000", "min.compaction.lag.ms": "0", "delete.retention.ms": infinite}, true, Forever,
			"max.compaction.lag.ms=1000, delete.retention.ms=" + infinite},
		{"changes", map[string]string{"cleanup.policy": "delete", "retention.ms": day, "segment.ms": day}, false, 49 * time.Hour, "retention.ms=86400000, segment.ms=86400000"},
		{"changes kept for ever", map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "segment.ms": day}, false, Forever, "retention.ms=-1, segment.ms=86400000"},
	} {
		r := RemainsOn("t", c.settings, c.tombstones)
		if r.Within != c.want || r.Cause != c.cause || r.Topic != "t" || r.Method == "" {
			t.Errorf("%s: %+v, want %v because of %s", c.name, r, c.want, c.cause)
		}
	}
}

// The embedded broker deletes by age as it runs, and compacts only when it starts:
// there is no latest time then.
func TestRemainsEmbedded(t *testing.T) {
	for _, spec := range (Topics{"g"}).Specs(&rules.Set{}) {
		own, other := RemainsEmbedded(spec.Name, spec.AsCreated(), spec.Keyed), RemainsOn(spec.Name, spec.AsCreated(), spec.Keyed)
		if other.Within == Forever {
			t.Errorf("%s as created: %+v", spec.Name, other)
		}
		if compacted := own.Method != ByRetention; (own.Within == Forever) != compacted || !compacted && (own.Within != other.Within || own.Cause == other.Cause) || own.Method != other.Method {
			t.Errorf("%s embedded: %+v, else %+v", spec.Name, own, other)
		}
	}
}
