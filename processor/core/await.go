package core

import (
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// What a subject's inputs are waited for before what they arm in the past is due.
const (
	settle    = 2 * time.Second // after the newest of them arrived; as far as the clock is behind the host's
	maxSettle = time.Minute     // after the first: a subject that never ends sending old events must not stay for it
)

// isOld reports whether an input arrived after its date.
func isOld(dated, arrival subject.Instant) bool { return dated < arrival && arrival != subject.Never }

// await lets what is due of the record wait, as an input dated before its
// arrival was applied: those that follow it may have old dates too, and come
// before what is due. Due is then applied once the partition's clock has passed the
// newest arrival by settle. Files have no arrivals, and inputs in step with theirs
// arm nothing in the past.
func await(r *subject.Record, dated, arrival subject.Instant) {
	if !isOld(dated, arrival) {
		return
	}
	if r.Held == (subject.Held{}) {
		r.Held.Since = arrival
	}
	r.Held.Until = max(r.Held.Until, min(arrival.Add(settle), r.Held.Since.Add(maxSettle)))
}
