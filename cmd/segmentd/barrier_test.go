package main

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
)

var (
	barrierFor  = flag.Duration("barrier", 12*time.Second, "how long speakers speak in TestBarrier; at most 10m")
	barrierSeed = flag.Uint64("barrier-seed", 0, "seed of TestBarrier; 0: a random one")
)

const barrierRules = `
purposes:
  - key: marketing
    description: Offers
    lawful_basis: consent
    retention: 400d
  - key: personalisation
    description: Hints
    lawful_basis: consent
    retention: 90d
segments:` + seenSegments

// A stop that was acknowledged before an event was sent is in force when the event
// is judged: with decisions in transactions that hang and are committed or
// aborted, erasures and restrictions, delays between instances and broker, changes of rules, and three
// instances that are killed, stopped and made to stand still.
func TestBarrier(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	seed := *barrierSeed
	if seed == 0 {
		seed = rand.Uint64N(1 << 30)
	}
	t.Logf("-barrier-seed %d", seed)
	rules := func(revision int) string { return revised(barrierRules, revision) }
	l := newDelayed(t, seed, kafkatest.Delays{Seed: seed, OneIn: 20, Longest: 100 * time.Millisecond}, 3, rules(0))
	l.pace, l.away, l.environ = 10*time.Second, 3*time.Second, []string{"SEGMENTD_KAFKA_SESSION_TIMEOUT=2s"}
	l.startAll()
	l.await(func() bool { return len(l.series("segmentd_clock_timestamp_seconds")) == int(l.partitions) })
	end := time.Now().Add(min(*barrierFor, 10*time.Minute))
	finish := l.accompany(end, company{speakers: 4, hang: 1500 * time.Millisecond, pause: 40 * time.Millisecond, rules: rules, every: *barrierFor / 4})
	for time.Now().Before(end) {
		<-time.After(20 * time.Millisecond)
		l.takeTurns()
	}
	finish()
	l.awaitCaughtUp()
	changes := l.check()
	t.Logf("%v, %d changes of %d customers", l.troubles, len(changes), len(bySubjectID(changes)))
	for _, what := range []string{"committed", "aborted", "kills", "events no", "events yes", "erase", "restrict", "unrestrict"} {
		if l.troubles[what] == 0 {
			t.Errorf("%s: 0", what)
		}
	}
	if len(l.ruleSets) < 2 {
		t.Errorf("%d rule sets decided", len(l.ruleSets))
	}
}
