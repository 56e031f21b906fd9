package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmentd/segmentd/cmd/segmentd/internal/shop"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

var (
	liveFor       = flag.Duration("live", 0, "how long TestLive keeps the simulated shop open; 0: skip it; at most 1h")
	liveSeed      = flag.Uint64("live-seed", 1, "seed of TestLive's shop and kills")
	liveInstances = flag.Int("live-instances", 1, "instances of the processor in TestLive and TestCDNOW")
	liveRules     = flag.Bool("live-rules", false, "change the rules now and then in TestLive, which leaves the comparison with a replay out")
)

// TestLive keeps a simulated shop open in real time while the instances of the
// processor are killed (-9), stopped, made to stand still (SIGSTOP) and started
// again, what they and the broker send each other is delayed, and beside the shop
// speakers leave decisions in transactions that hang, and customers ask to be erased. verify must find nothing,
// the shop's customers who took nothing back must have exactly the changes of a
// replay, and nobody may have one against a stop that was acknowledged before. It
// needs -live.
func TestLive(t *testing.T) {
	if *liveFor == 0 {
		t.Skip("a run of minutes: give -live 10m")
	}
	l := newLive(t)
	l.open(min(*liveFor, time.Hour))
	l.settle()
	changes := l.check()
	t.Logf("%d inputs, at most %s late, %d instances, %v, %d changes of %d customers, %d of the shop's with stops (seed %d)",
		len(l.inputs), l.late.Round(time.Millisecond), len(l.instances), l.troubles, len(changes), len(bySubjectID(changes)), len(l.stopped), *liveSeed)
	if l.late+longestDelay > 2*time.Second { // then a timer may rightly fire before an input of an earlier time
		t.Fatalf("inputs were sent up to %s late: the machine is too busy for a comparison with a replay", l.late.Round(time.Millisecond))
	}
	if !*liveRules {
		l.compare(changes)
	}
}

// longestDelay is of a piece that instances and broker send each other.
const longestDelay = 600 * time.Millisecond

// live is a rig with a group of instances that are in trouble, and what was said
// to them.
type live struct {
	*rig
	seed      uint64
	set       *rules.Set
	inputs    []shop.Record // the shop's
	stopped   map[string]bool
	late      time.Duration // of the shop's inputs, at most
	ledger    ledger
	plain, tx *kgo.Client // the shop's
	instances []*instance
	pace      time.Duration  // an instance runs at most
	away      time.Duration  // it is away at most
	troubles  map[string]int // how often each kind was made
	rng       *rand.Rand
	ruleSets  map[string]int // how many changes each decided, as of changes
}

// newLive is with the demo's rules, and with segments for speakers.
func newLive(t *testing.T) *live {
	l := newDelayed(t, *liveSeed, kafkatest.Delays{Seed: *liveSeed, OneIn: 30, Longest: longestDelay}, *liveInstances, liveText(t, 0))
	manual := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0)}
	l.plain, l.tx = l.franz(manual...), l.franz(append(manual, kgo.TransactionalID("shop"))...)
	return l
}

// liveText is the demo's rules with the speakers' segments, as of a revision.
func liveText(t *testing.T, revision int) string {
	text, err := demoFiles.ReadFile("demo/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return revised(string(text)+seenSegments, revision)
}

func newLiveWith(t *testing.T, text string, set *rules.Set, rng *rand.Rand) *live {
	return (&live{rig: newRigWith(t, text), set: set, rng: rng}).with(*liveInstances)
}

// newDelayed is behind delays, and has some partitions at least.
func newDelayed(t *testing.T, seed uint64, delays kafkatest.Delays, instances int, text string) *live {
	set, problems := rules.Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
	if set == nil {
		t.Fatal(problems)
	}
	r := prepareRig(t, buildBinary(t, t.TempDir()))
	r.partitions = max(r.partitions, 6)
	broker, reach := kafkatest.StartDelayed(t, delays)
	r.real = broker.Real()
	r.configure(text, broker.Addrs(), reach)
	return (&live{rig: r, seed: seed, set: set, rng: rand.New(rand.NewPCG(seed, 2))}).with(instances)
}

func (l *live) with(instances int) *live {
	l.stopped, l.troubles, l.ledger = map[string]bool{}, map[string]int{}, ledger{}
	l.pace, l.away = 15*time.Second, 15*time.Second
	for n := range instances {
		l.instances = append(l.instances, l.newInstance(n))
	}
	return l
}

// open runs the shop, and makes trouble.
func (l *live) open(length time.Duration) {
	simulation := shop.New(shop.Config{Seed: *liveSeed, Customers: 200, Start: time.Now(), Pace: 1500 * time.Millisecond, Erasures: 0.01})
	end := time.Now().Add(length)
	beside := company{speakers: 4, hang: 4 * time.Second, pause: 400 * time.Millisecond}
	if *liveRules {
		beside.rules, beside.every = func(revision int) string { return liveText(l.t, revision) }, 20*time.Second
	}
	finish := l.accompany(end, beside)
	for time.Now().Before(end) {
		if wait := time.Until(simulation.Peek()); wait > 0 {
			<-time.After(wait)
		}
		l.feed(simulation.Next())
		l.takeTurns()
	}
	finish()
}

// feed sends an action's decisions, then its events, each acknowledged before the
// next; one in eight actions' decisions by a transaction.
func (l *live) feed(records []shop.Record) {
	for _, kind := range []shop.Kind{shop.Request, shop.Decision, shop.Event} {
		some := slices.DeleteFunc(slices.Clone(records), func(r shop.Record) bool { return r.Kind != kind })
		if kind == shop.Decision && len(some) > 0 && l.rng.IntN(8) == 0 {
			l.troubles["transactions of the shop"]++
			l.must(l.tx.BeginTransaction())
			entries := l.sendAll(l.tx, "decisions", some)
			l.must(l.tx.EndTransaction(context.Background(), kgo.TryCommit))
			for _, e := range entries {
				e.acked = subject.FromTime(time.Now())
			}
			continue
		}
		l.sendAll(l.plain, map[shop.Kind]string{shop.Request: "requests", shop.Decision: "decisions", shop.Event: "events"}[kind], some)
	}
}

// sendAll sends the shop's records and enters them.
func (l *live) sendAll(by *kgo.Client, topic string, records []shop.Record) (entries []*entry) {
	for _, rec := range records {
		p, _ := kafka.Murmur2.Partition([]byte(rec.Key), l.partitions)
		l.must(by.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: p, Timestamp: rec.At, Key: []byte(rec.Key), Value: rec.Value}).FirstErr())
		var fields struct{ MessageID, Purpose, Status, Request string }
		l.must(json.Unmarshal(rec.Value, &fields))
		now := time.Now()
		e := &entry{message: fields.MessageID, purpose: fields.Purpose, given: fields.Status == "given", request: fields.Request, at: subject.FromTime(rec.At.Truncate(time.Millisecond)), acked: subject.FromTime(now)}
		entries, l.ledger[rec.Key] = append(entries, e), append(l.ledger[rec.Key], e)
		l.inputs, l.late = append(l.inputs, rec), max(l.late, now.Sub(rec.At))
		if rec.Kind == shop.Request || rec.Kind == shop.Decision && !e.given {
			l.stopped[rec.Key] = true
		}
	}
	return entries
}

// settle waits until every window of the demo's rules has ended.
func (l *live) settle() {
	<-time.After(75 * time.Second)
	l.awaitCaughtUp()
}

// awaitCaughtUp waits until all partitions have an owner and are read to their end.
func (l *live) awaitCaughtUp() {
	l.await(func() bool {
		clocks := l.series("segmentd_clock_timestamp_seconds")
		return len(clocks) == int(l.partitions) && slices.Min(clocks) > 0 && l.metric("segmentd_input_lag_records") == 0 && l.metric("segmentd_backfill_remaining_records") == 0
	})
	<-time.After(3 * time.Second) // the clocks follow the host's, two seconds behind
	l.awaitQuiet()
}

func bySubjectID(changes []subject.Change) map[string][]subject.Change {
	by := map[string][]subject.Change{}
	for _, c := range changes {
		by[c.Subject.Value] = append(by[c.Subject.Value], c)
	}
	return by
}

// compare holds the changes of the shop's customers without stops against a replay.
func (l *live) compare(changes []subject.Change) {
	want, got := bySubjectID(l.replayed()), bySubjectID(changes)
	compared := 0
	for id := range l.ledger {
		if l.stopped[id] || strings.HasPrefix(id, speakerPrefix) {
			continue
		}
		compared++
		if !sameChanges(want[id], got[id]) {
			l.t.Errorf("%s: replay\n%v\nlive\n%v", id, want[id], got[id])
		}
	}
	if compared == 0 {
		l.t.Error("nobody was compared")
	}
}

// replayed is what a replay makes of the inputs in order.
func (l *live) replayed() (all []subject.Change) {
	var text bytes.Buffer
	for _, in := range l.inputs {
		text.Write(in.Value)
		text.WriteByte('\n')
	}
	_, _, err := replay.Run(context.Background(), replay.Config{Rules: l.set, Until: subject.FromTime(time.Now()),
		Change: func(c *subject.Change) error { all = append(all, *c); return nil }}, []replay.Source{{Name: "inputs", Reader: &text}})
	l.must(err)
	return all
}

func sameChanges(a, b []subject.Change) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
