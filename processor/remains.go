package processor

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Remains is for how long what was erased, or replaced by a later record, can still
// be on a topic.
type Remains struct {
	Topic  string
	Method string        // what removes it, for an erasure's receipt
	Within time.Duration // after it was published; Forever: nothing sees to it
	// Cause names the settings that make it so long.
	Cause string
}

// The methods of Remains.
const (
	ByCompaction = "compaction"
	ByTombstone  = "tombstone and compaction"
	ByRetention  = "retention"
)

// Forever is longer than any promise.
const Forever = time.Duration(math.MaxInt64)

// cleanerPass is what a broker's log cleaner, or its deletion of old segments, is
// given to come by: they look every 15 s and 5 min (log.cleaner.backoff.ms,
// log.retention.check.interval.ms), take one log after the other, and delete the old files a
// minute later (file.delete.delay.ms).
const cleanerPass = time.Hour

// RemainsOn computes from a topic's effective settings for how long what was erased
// remains. Of a compacted one the older versions of a key go; a record that lies in
// the active segment does, too, as max.compaction.lag.ms closes it (KIP-354) with
// the next record that is written to the partition. tombstones says that the topic's
// keys tell of subjects, and are gone only when the tombstones are
// (delete.retention.ms after they were first cleaned, with the pass after).
func RemainsOn(topic string, settings map[string]string, tombstones bool) Remains {
	if !strings.Contains(settings["cleanup.policy"], "compact") {
		return deletedBy(topic, settings)
	}
	r := Remains{Topic: topic, Method: ByCompaction, Cause: setting(settings, "max.compaction.lag.ms")}
	r.Within = plus(milliseconds(settings, "max.compaction.lag.ms"), cleanerPass)
	if lag := milliseconds(settings, "min.compaction.lag.ms"); lag != Forever && plus(lag, cleanerPass) > r.Within || lag == Forever && settings["min.compaction.lag.ms"] != "" {
		r.Within, r.Cause = plus(lag, cleanerPass), setting(settings, "min.compaction.lag.ms")
	}
	if tombstones {
		r.Method = ByTombstone
		r.Within = plus(plus(r.Within, r.Within), milliseconds(settings, "delete.retention.ms"))
		r.Cause += ", " + setting(settings, "delete.retention.ms")
	}
	return r
}

// RemainsEmbedded is RemainsOn of a topic on the embedded broker: that deletes by age
// while it runs, and compacts only when it starts.
func RemainsEmbedded(topic string, settings map[string]string, tombstones bool) Remains {
	r := RemainsOn(topic, settings, tombstones)
	if r.Method == ByRetention {
		r.Cause += "; while the embedded broker runs"
	} else {
		r.Within, r.Cause = Forever, "the embedded broker compacts only when it starts"
	}
	return r
}

// deletedBy is RemainsOn of a topic whose records go by age, segment by segment.
func deletedBy(topic string, settings map[string]string) Remains {
	return Remains{Topic: topic, Method: ByRetention, Cause: setting(settings, "retention.ms") + ", " + setting(settings, "segment.ms"),
		Within: plus(plus(milliseconds(settings, "retention.ms"), milliseconds(settings, "segment.ms")), cleanerPass)}
}

func setting(settings map[string]string, name string) string {
	return fmt.Sprintf("%s=%s", name, settings[name])
}

// milliseconds reads a setting; Forever where it says so or nothing.
func milliseconds(settings map[string]string, name string) time.Duration {
	ms, err := strconv.ParseInt(settings[name], 10, 64)
	if err != nil || ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) {
		return Forever
	}
	return time.Duration(ms) * time.Millisecond
}

func plus(a, b time.Duration) time.Duration {
	if a > Forever-b {
		return Forever
	}
	return a + b
}
