package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmentd/segmentd/cmd/segmentd/internal/shop"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

var (
	liveFor       = flag.Duration("live", 0, "how long TestLive keeps the simulated shop open; 0: skip it; at most 1h")
	liveSeed      = flag.Uint64("live-seed", 1, "seed of TestLive's shop and kills")
	liveInstances = flag.Int("live-instances", 1, "instances of the processor in TestLive and TestCDNOW")
)

// TestLive keeps a simulated shop open in real time while the instances of the
// processor are killed (-9), stopped, made to stand still (SIGSTOP) and started
// again: verify must find nothing, customers who took
// nothing back must have exactly the changes of a replay, and of the others no
// event may be used that was produced after a stop was acknowledged, and every
// exit must have come. It needs -live.
func TestLive(t *testing.T) {
	if *liveFor == 0 {
		t.Skip("a run of minutes: give -live 10m")
	}
	l := newLive(t)
	l.open(min(*liveFor, time.Hour))
	l.settle()
	changes := l.changes()
	t.Logf("%d inputs, %d instances, %v, %d changes of %d customers, %d of them with stops (seed %d)",
		len(l.inputs), len(l.instances), l.troubles, len(changes), len(bySubjectID(changes)), len(l.stopped), *liveSeed)
	l.compare(changes)
	code := run(context.Background(), []string{"verify", "--brokers", l.brokers}, streams{nil, os.Stderr, os.Stderr})
	if code != 0 {
		t.Errorf("verify ends with %d", code)
	}
}

// live is a rig with the demo's rules and a shop.
type live struct {
	*rig
	set       *rules.Set
	inputs    []shop.Record
	stopped   map[string]bool
	instances []*instance
	troubles  map[string]int // how often each kind was made
	rng       *rand.Rand
}

func newLive(t *testing.T) *live {
	text, err := demoFiles.ReadFile("demo/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, problems := rules.Load(fstest.MapFS{"shop.yaml": {Data: text}})
	if set == nil {
		t.Fatal(problems)
	}
	return newLiveWith(t, string(text), set, rand.New(rand.NewPCG(*liveSeed, 2)))
}

func newLiveWith(t *testing.T, text string, set *rules.Set, rng *rand.Rand) *live {
	l := &live{rig: newRigWith(t, text), set: set, stopped: map[string]bool{}, troubles: map[string]int{}, rng: rng}
	for n := range *liveInstances {
		l.instances = append(l.instances, l.newInstance(n))
	}
	return l
}

// open runs the shop, and makes trouble.
func (l *live) open(length time.Duration) {
	simulation := shop.New(shop.Config{Seed: *liveSeed, Customers: 200, Start: time.Now(), Pace: 1500 * time.Millisecond})
	l.startAll()
	for end := time.Now().Add(length); time.Now().Before(end); {
		if wait := time.Until(simulation.Peek()); wait > 0 {
			<-time.After(wait)
		}
		l.feed(simulation.Next())
		for _, i := range l.instances {
			if time.Now().After(i.next) {
				i.turn()
			}
		}
	}
	l.startAll()
}

// feed sends an action's decisions, then its events, each acknowledged before the next.
func (l *live) feed(records []shop.Record) {
	for _, kind := range []shop.Kind{shop.Decision, shop.Event} {
		for _, rec := range records {
			if rec.Kind != kind {
				continue
			}
			topic := map[shop.Kind]string{shop.Decision: "decisions", shop.Event: "events"}[kind]
			l.send(topic, []stream.Message{{Timestamp: subject.FromTime(rec.At), Key: []byte(rec.Key), Value: rec.Value}})
			l.inputs = append(l.inputs, rec)
			if kind == shop.Decision && !bytes.Contains(rec.Value, []byte(`"given"`)) {
				l.stopped[rec.Key] = true
			}
		}
	}
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
		return len(clocks) == *loadPartitions && slices.Min(clocks) > 0 && l.metric("segmentd_input_lag_records") == 0
	})
	<-time.After(3 * time.Second) // the clocks follow the host's, two seconds behind
	l.awaitQuiet()
}

// changes reads the changes with a client of another make.
func (l *live) changes() (all []subject.Change) {
	ends, err := l.client.Watermarks(context.Background(), "segmentd-changes", int32(*loadPartitions))
	l.must(err)
	offsets, left := map[int32]kgo.Offset{}, 0
	next := make([]int64, len(ends))
	for p, w := range ends {
		offsets[int32(p)] = kgo.NewOffset().AtStart()
		if w.Start < w.End {
			left++
		}
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(l.brokers, ",")...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"segmentd-changes": offsets}), kgo.KeepControlRecords())
	l.must(err)
	defer reader.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for left > 0 {
		fetches := reader.PollFetches(ctx)
		l.must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if next[r.Partition] < ends[r.Partition].End && r.Offset+1 >= ends[r.Partition].End {
				left--
			}
			next[r.Partition] = r.Offset + 1
			if r.Attrs.IsControl() {
				return
			}
			c, err := wire.ParseChange(r.Value)
			l.must(err)
			all = append(all, c.Change)
		})
	}
	return all
}

func bySubjectID(changes []subject.Change) map[string][]subject.Change {
	by := map[string][]subject.Change{}
	for _, c := range changes {
		by[c.Subject.Value] = append(by[c.Subject.Value], c)
	}
	return by
}

func (l *live) compare(changes []subject.Change) {
	want, got := bySubjectID(l.replayed()), bySubjectID(changes)
	for id := range want {
		if !l.stopped[id] && !sameChanges(want[id], got[id]) {
			l.t.Errorf("%s: replay\n%v\nlive\n%v", id, want[id], got[id])
		}
	}
	for id := range got {
		if l.stopped[id] {
			l.checkStops(id, got[id])
		} else if want[id] == nil {
			l.t.Errorf("%s has changes live, and none in a replay", id)
		}
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

// checkStops checks one who took something back: each event that caused a
// change was produced while the last acknowledged decision was a grant, and a
// purpose that was stopped last, or is granted anew, has no memberships left.
func (l *live) checkStops(id string, changes []subject.Change) {
	allowed := l.allowedAt(id)
	in := map[string]map[string]bool{}
	for _, c := range changes {
		if in[c.Purpose] == nil {
			in[c.Purpose] = map[string]bool{}
		}
		if c.CausedBy != "" && !allowed.byMessage[c.CausedBy+" "+c.Purpose] {
			l.t.Errorf("%s: %s %s was caused by an event produced after a stop", id, c.Kind, c.Segment)
		}
		if c.Kind == subject.Entered {
			in[c.Purpose][c.Segment] = true
		} else {
			delete(in[c.Purpose], c.Segment)
		}
	}
	for purpose, segments := range in {
		if !allowed.last[purpose] && len(segments) > 0 {
			l.t.Errorf("%s is still in %d segments of %s after the stop", id, len(segments), purpose)
		}
	}
}

// allowances say for which purposes a customer's messages, and in the end, were allowed.
type allowances struct {
	byMessage map[string]bool // "messageId purpose"
	last      map[string]bool
}

func (l *live) allowedAt(id string) allowances {
	a := allowances{map[string]bool{}, map[string]bool{}}
	for _, in := range l.inputs {
		if in.Key != id {
			continue
		}
		var fields struct{ MessageID, Purpose, Status string }
		l.must(json.Unmarshal(in.Value, &fields))
		if in.Kind == shop.Decision {
			a.last[fields.Purpose] = fields.Status == "given"
			continue
		}
		for purpose, given := range a.last {
			a.byMessage[fields.MessageID+" "+purpose] = given
		}
	}
	return a
}
