package processor

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// barrierRules make every admitted event visible as a member.
const barrierRules = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d, direct_marketing: true}
segments:
  - {key: buyer, purpose: marketing, when: 'events("Order Completed").exists()'}
  - {key: known, purpose: marketing, when: 'events("Order Completed").count() >= 0'}
`

// A decision acknowledged before an event was produced is in force when the
// event is judged, whatever else is under way.
func TestDecisionsBeforeEventsAreInForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 5))
	l := newLab(t, labConfig{rules: barrierRules, partitions: 3})
	r := l.start()
	allowed := map[string]bool{}
	at := ago(time.Hour)
	for i := range 400 {
		at = at.Add(time.Millisecond)
		id := fmt.Sprintf("u%d", rng.IntN(80))
		if rng.IntN(2) == 0 {
			allowed[id] = rng.IntN(2) == 0
			status := map[bool]string{true: "given", false: []string{"withdrawn", "objected", "refused"}[rng.IntN(3)]}[allowed[id]]
			l.produce(decision(id, "marketing", status, at))
		}
		name := map[bool]string{true: "allowed", false: "denied"}[allowed[id]]
		l.produce(track(id, "Order Completed", fmt.Sprintf("%s-%d", name, i), at))
	}
	r.read()
	r.stop()
	admitted := 0
	for _, c := range l.changes() {
		if strings.HasPrefix(c.CausedBy, "denied") {
			t.Errorf("an event without consent had an effect: %+v", c)
		}
		if strings.HasPrefix(c.CausedBy, "allowed") {
			admitted++
		}
	}
	if admitted == 0 {
		t.Error("no event was admitted")
	}
}

// A withdrawal in a transaction that is not committed yet holds up the events
// after it; once it is known how the transaction ends they are judged by it.
func TestHungDecisionsHoldUpEvents(t *testing.T) {
	for _, commits := range []bool{true, false} {
		t.Run(fmt.Sprintf("commits %v", commits), func(t *testing.T) {
			l := newLab(t, labConfig{rules: barrierRules, partitions: 1})
			g := &gate{Fetcher: l.fetcher, open: make(chan struct{})}
			l.fetcher = g
			r := l.start()
			l.produce(given("u1", "marketing", ago(2*time.Hour)))
			r.read()
			g.shut.Store(true)
			// An idle loop would wait at the barrier before it knows of the event.
			eventually(t, "a fetch of events is held back", func() bool { return !g.shut.Load() })
			tx := l.client.NewTransactor(kafka.TransactorConfig{TransactionalID: "consent-platform"})
			must(t, tx.Init(background(t)))
			_, err := tx.Produce(background(t), messagesOf(l, decision("u1", "marketing", "withdrawn", ago(time.Hour))))
			must(t, err)
			before := r.clock(0)
			l.produce(track("u1", "Order Completed", "m1", ago(time.Minute)))
			close(g.open)
			// The loop waits at the barrier: it answers no query, and nothing of the event is published.
			// That there is a lag is told by a loop that is at the barrier, and by no other here.
			eventually(t, "the loop waits", func() bool { return r.metric(t, "segmentd_input_lag_records", "topic", events) == 1 })
			if r.inspect(0, func(*partitionLoop) {}) {
				t.Error("a query was answered at the barrier")
			}
			if _, _, err := r.processor.Lookup(shortly(t), subject.ID{Value: "u1"}); err == nil {
				t.Error("a look-up was answered at the barrier")
			}
			if got := len(only(causes(l.changes()), "m1")); got != 0 {
				t.Errorf("%d changes were published before the transaction's end", got)
			}
			if commits {
				must(t, tx.Commit(background(t)))
			} else {
				must(t, tx.Abort(background(t)))
			}
			r.read()
			if r.clock(0) < before {
				t.Error("the clock went back")
			}
			r.stop()
			want := map[bool]int{true: 0, false: 1}[commits]
			if got := len(only(causes(l.changes()), "m1")); got != want {
				t.Errorf("%d changes by the event, want %d: %s", got, want, lines(l.changes()))
			}
		})
	}
}

// gate holds one fetch of events back, once it is shut, until it is opened.
type gate struct {
	stream.Fetcher
	shut atomic.Bool
	open chan struct{}
}

func (g *gate) Fetch(ctx context.Context, at []stream.Position, o stream.FetchOptions, b *stream.Buffer) ([]stream.Fetched, error) {
	if at[0].Topic == events && g.shut.CompareAndSwap(true, false) {
		select {
		case <-g.open:
		case <-ctx.Done():
		}
	}
	return g.Fetcher.Fetch(ctx, at, o, b)
}

func causes(changes []subject.Change) (all []record) {
	for _, c := range changes {
		all = append(all, record{topic: c.CausedBy})
	}
	return all
}

// Aborted events, empty and control batches are passed over and never applied.
func TestAbortedEventsHaveNoEffect(t *testing.T) {
	l := newLab(t, labConfig{rules: barrierRules, partitions: 1})
	r := l.start()
	l.produce(given("u1", "marketing", ago(2*time.Hour)))
	tx := l.client.NewTransactor(kafka.TransactorConfig{TransactionalID: "shop-tracker"})
	must(t, tx.Init(background(t)))
	for i, commit := range []bool{false, true, false, false} {
		_, err := tx.Produce(background(t), messagesOf(l, track("u1", "Order Completed", fmt.Sprintf("m%d-%v", i, commit), ago(time.Hour))))
		must(t, err)
		if commit {
			must(t, tx.Commit(background(t)))
		} else {
			must(t, tx.Abort(background(t)))
		}
	}
	r.read()
	var admitted float64
	eventually(t, "the one committed event is counted", func() bool {
		admitted = r.metric(t, "segmentd_events_total", "outcome", "admitted")
		return admitted > 0
	})
	r.stop()
	if admitted != 1 {
		t.Errorf("%v events were admitted, want 1", admitted)
	}
	for _, c := range l.changes() {
		if strings.HasSuffix(c.CausedBy, "false") {
			t.Errorf("an aborted event had an effect: %+v", c)
		}
	}
}

// A stop is in force when it is read; a future grant only when the clock is there.
func TestStopsApplyAtOnceAndGrantsWait(t *testing.T) {
	l := newLab(t, labConfig{rules: barrierRules, partitions: 1})
	start := ago(24 * time.Hour)
	l.holdClock(start)
	r := l.start()
	l.produce(given("u1", "marketing", start), track("u1", "Order Completed", "m1", start))
	l.produce(track("other", "Unread", "x1", start.Add(time.Second)))
	r.read()
	if got := l.membersOf(r, "u1"); got != "buyer,known" {
		t.Fatalf("u1 is in %q", got)
	}
	// Far ahead of the partition's clock, as in a backlog.
	l.produce(decision("u1", "marketing", "withdrawn", start.Add(10*time.Hour)), given("u2", "marketing", start.Add(10*time.Hour)))
	r.read()
	if got := l.membersOf(r, "u1"); got != "" {
		t.Errorf("u1 is still in %q after the withdrawal was read", got)
	}
	if got := l.membersOf(r, "u2"); got != "" {
		t.Errorf("u2 is in %q before the grant's instant", got)
	}
	l.produce(track("other", "Unread", "x2", start.Add(10*time.Hour-time.Millisecond)))
	r.read()
	if got := l.membersOf(r, "u2"); got != "" {
		t.Errorf("u2 is in %q a moment before the grant's instant", got)
	}
	l.produce(track("other", "Unread", "x3", start.Add(10*time.Hour+time.Millisecond)))
	r.read()
	if got := l.membersOf(r, "u2"); got != "known" {
		t.Errorf("u2 is in %q after the grant's instant", got)
	}
	r.stop()
	by := bySubject(l.changes())
	for _, c := range by[subject.ID{Value: "u1"}][2:] {
		if c.Reason != subject.ByWithdrawn || c.Time != subject.FromTime(start.Add(10*time.Hour)) {
			t.Errorf("the exit is %+v", c)
		}
	}
	if c := by[subject.ID{Value: "u2"}][0]; c.Time != subject.FromTime(start.Add(10*time.Hour)) || c.Reason != subject.ByGiven {
		t.Errorf("the entry is %+v", c)
	}
}

// Very many decisions at once are applied in several transactions, and nobody
// is published as a member whose stop is among them.
func TestBacklogOfDecisions(t *testing.T) {
	for _, packed := range []bool{false, true} {
		t.Run(fmt.Sprintf("packed %v", packed), func(t *testing.T) { drainBacklog(t, packed) })
	}
}

// drainBacklog lets the fetch that comes to the end of a backlog hold more of it than
// a transaction should, or a part.
func drainBacklog(t *testing.T, packed bool) {
	l := newLab(t, labConfig{rules: barrierRules, partitions: 1})
	at := ago(time.Hour)
	n := 2 * maxBatchWords
	if packed {
		n = 3 * maxBatchWords / 2 // in two record batches, of which the first is less than a transaction takes
	}
	step := n / 100
	var all []record
	for i := range n {
		d := given(fmt.Sprintf("u%d", i), "marketing", at)
		if !packed {
			d.value = strings.Replace(d.value, "{", fmt.Sprintf(`{"recordId":"%x%x%x",`, crand.Text(), crand.Text(), crand.Text()), 1)
		}
		all = append(all, d)
	}
	for i := range 100 {
		all = append(all, decision(fmt.Sprintf("u%d", i*step), "marketing", "withdrawn", at.Add(time.Second)))
	}
	all = append(all, record{topic: decisions, key: "u1", value: "{"})
	r := l.start()
	l.produce(track("clock", "Unread", "m1", at.Add(time.Minute))) // grants are in force as they are read
	r.read()
	r.stop()
	if packed {
		for _, half := range [][]record{all[:n/2], all[n/2:]} {
			_, err := l.producer.Send(t.Context(), messagesOf(l, half...))
			must(t, err)
		}
	} else {
		l.produceAtOnce(all)
	}
	r = l.start()
	r.read()
	eventually(t, "grants take force", func() bool { return r.clock(0) > subject.FromTime(at) })
	transactions := r.metric(t, "segmentd_transactions_total", "outcome", "committed")
	r.stop()
	by := bySubject(l.changes())
	for i := range 100 {
		if c := by[subject.ID{Value: fmt.Sprintf("u%d", i*step)}]; len(c) > 0 {
			t.Fatalf("one who has withdrawn was published: %s", lines(c))
		}
	}
	if want := n - 100; len(by) != want {
		t.Errorf("%d subjects, want %d", len(by), want)
	}
	if !packed && transactions < 2 {
		t.Errorf("%v transactions", transactions)
	}
	if n := len(l.readTopic(Topics{l.cfg.Group}.Rejected())); n != 1 {
		t.Errorf("%d rejects, want 1", n)
	}
}
