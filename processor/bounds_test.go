package processor

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
)

// countingTransactor notes the most changes that were produced at once.
type countingTransactor struct {
	stream.Transactor
	topic string
	most  *atomic.Int64
}

func (c countingTransactor) Produce(ctx context.Context, messages []stream.Message) ([]stream.Produced, error) {
	n := int64(0)
	for i := range messages {
		if messages[i].Topic == c.topic {
			n++
		}
	}
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	return c.Transactor.Produce(ctx, messages)
}

// Timers that change much at once are committed in parts: many subjects begin to
// be absent from many segments.
func TestTimersAreCommittedInParts(t *testing.T) {
	const subjects, segments = 600, 20
	text := "purposes:\n  - {key: marketing, description: Bounds, lawful_basis: consent, retention: 400d}\nsegments:\n"
	for i := range segments {
		text += fmt.Sprintf("  - {key: quiet%d, purpose: marketing, when: 'events(\"Event %d\").within(\"1h\").count() == 0'}\n", i, i)
	}
	l := newLab(t, labConfig{rules: text, partitions: 1})
	var most atomic.Int64
	within := l.transactor
	l.transactor = func(id string) stream.Transactor {
		return countingTransactor{within(id), (Topics{l.cfg.Group}).Changes(""), &most}
	}
	var records []record
	for i := range subjects {
		records = append(records, given(fmt.Sprint("subject", i), "marketing", ago(2*time.Hour)))
	}
	l.produceAtOnce(append(records, track("subject0", "Event 0", "m", ago(0))))
	r := l.start()
	r.caughtUp()
	eventually(t, "all are absent", func() bool {
		return strings.Count(l.membersOf(r, fmt.Sprint("subject", subjects-1))+",", "quiet") == segments
	})
	r.stop()
	if n := len(l.changes()); n < subjects*segments-1 {
		t.Errorf("%d changes were published", n)
	}
	if n, bound := int(most.Load()), maxBatchChanges+timersAtOnce*segments; n > bound || n == 0 {
		t.Errorf("%d changes were produced at once, and at most %d should be", n, bound)
	}
}
