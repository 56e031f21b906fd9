package processor

import (
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// While the broker is away nothing fires, and when it is back processing goes
// on where it was, first with what it missed and then with what is due.
func TestBrokerGoesAwayAndComesBack(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1, own: true})
	start := ago(21 * day)
	l.holdClock(start)
	r := l.start()
	l.produce(given("u1", "marketing", start), track("u1", "Order Completed", "m1", start))
	r.read()
	l.broker.Down()
	l.holdClock(start.Add(20 * day))
	eventually(t, "the session ends", func() bool {
		_, states := r.processor.States()
		return len(states) == 1 && !states[0].Ready
	})
	if _, _, err := r.processor.Lookup(shortly(t), subject.ID{Value: "u1"}); err == nil {
		t.Error("a look-up was answered without the broker")
	}
	l.holdClock(start.Add(time.Hour)) // until what was missed is there
	l.broker.Up()
	l.produce(track("u1", "Order Completed", "m2", start.Add(6*day)))
	l.holdClock(start.Add(20 * day))
	eventually(t, "processing goes on", func() bool { return r.inspect(0, func(*partitionLoop) {}) })
	eventually(t, "the window ends", func() bool { return l.membersOf(r, "u1") == "known" })
	r.stop()
	changes := l.changes()
	l.verify(changes)
	if c := changes[len(changes)-1]; c.Time != subject.FromTime(start.Add(13*day)) {
		t.Errorf("the window ended at %s: the event that came back with the broker was not counted:%s", c.Time, lines(changes))
	}
}

// A start without the broker waits for it.
func TestBrokerIsAwayAtTheStart(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1, own: true})
	l.produce(given("u1", "marketing", ago(time.Hour)))
	l.broker.Down()
	r := l.start()
	if joined, states := r.processor.States(); joined && len(states) > 0 && states[0].Ready {
		t.Error("ready without a broker")
	}
	l.broker.Up()
	eventually(t, "u1 is a member", func() bool {
		ms, _, err := r.processor.Lookup(shortly(t), subject.ID{Value: "u1"})
		return err == nil && len(ms) == 1
	})
	r.stop()
}

// An unreachable broker does not keep the process from ending.
func TestStopWithoutTheBroker(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1, own: true})
	r := l.start()
	r.read()
	l.broker.Down()
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > endGrace+15*time.Second {
		t.Errorf("the stop took %s", took)
	}
}
