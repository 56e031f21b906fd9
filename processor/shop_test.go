package processor

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// shopRules have windows of days, a basis that needs no consent, an explicit
// one, dependent segments and traits.
const shopRules = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 60d, consent_expires_after: 40d}
  - {key: profiling, description: Profiles, lawful_basis: explicit_consent, retention: 20d}
  - {key: fraud, description: Fraud, lawful_basis: legitimate_interests, retention: 90d}
data:
  - {field: properties.total, min: 0}
let:
  orders: events("Order Completed")
segments:
  - {key: buyer, purpose: marketing, when: 'orders.within("7d").exists()'}
  - {key: quiet, purpose: marketing, when: 'orders.within("10d").count() == 0'}
  - {key: big, purpose: marketing, when: 'orders.within("14d").sum(properties.total) >= 150'}
  - {key: best, purpose: marketing, when: 'segment("big") && !segment("sender_back")'}
  - {key: sender_back, purpose: marketing, when: 'events("Order Refunded").within("30d").count() / orders.within("30d").count() > 0.4'}
  - {key: german, purpose: marketing, when: 'traits.country == "DE"'}
  - {key: browses, purpose: profiling, when: 'events("Page Viewed").within("3d").distinct(properties.name) >= 2'}
  - {key: ever_bought, purpose: profiling, when: 'orders.exists()'}
  - {key: refunder, purpose: fraud, when: 'events("Order Refunded").within("5d").count() >= 2'}
  - {key: often_refunder, purpose: fraud, when: 'events("Order Refunded").count() >= 5'}
`

// rememberingRules are shopRules and such whose answers depend on sequences, days
// and answers given before: what these are depends on when history arrives.
const rememberingRules = shopRules + `  - {key: regrets, purpose: marketing, when: 'orders.within("20d").followed_by(events("Order Refunded"), "3d").exists()'}
  - {key: content, purpose: marketing, when: 'orders.within("20d").not_followed_by(events("Order Refunded"), "2d").count() >= 2', cooldown: 1d}
  - {key: loyal, purpose: profiling, when: 'held(segment("ever_bought"), "5d")'}
  - {key: daily, purpose: marketing, when: 'events("*").since_midnight(3, "Europe/Berlin").days("Europe/Berlin") >= 2', min_dwell: 12h}
`

// history is inputs in the order of their timestamps.
type history struct{ decisions, events []record }

func (h history) all() []record { return append(slices.Clone(h.decisions), h.events...) }

// stopped tells who ever withdrew, objected or refused.
func (h history) stopped() map[string]bool {
	who := map[string]bool{}
	for _, d := range h.decisions {
		if !strings.Contains(d.value, `"given"`) {
			who[d.key] = true
		}
	}
	return who
}

// shopper makes up a shop's history: random, from a printed seed.
type shopper struct {
	rng *rand.Rand
	at  time.Time
	n   int
	history
}

// seed is drawn anew each time; SEGMENTD_TEST_SEED repeats one that was printed.
func seed(t testing.TB) uint64 {
	t.Helper()
	n := rand.Uint64()
	if s := os.Getenv("SEGMENTD_TEST_SEED"); s != "" {
		var err error
		n, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	t.Logf("SEGMENTD_TEST_SEED=%d", n)
	return n
}

// newHistory is of n records over about 60 days that ended 60 days ago, so that
// every window of shopRules has run out by now.
func newHistory(seed uint64, n int) history {
	s := &shopper{rng: rand.New(rand.NewPCG(seed, 17)), at: ago(120 * 24 * time.Hour)}
	for range n {
		s.at = s.at.Add(time.Duration(s.rng.IntN(int(2*60*24*time.Hour)/n)/1_000_000+1) * time.Millisecond)
		s.act(customer(s.rng.IntN(40)))
	}
	return s.history
}

func customer(i int) string { return fmt.Sprintf("customer-%d", i) }

func (s *shopper) act(id string) {
	switch dice := s.rng.IntN(100); {
	case dice < 8:
		s.decide(id, "marketing", "given", "")
	case dice < 12:
		s.decide(id, "profiling", "given", `,"explicit":true`)
	case dice < 13:
		s.decide(id, "profiling", "given", "")
	case dice < 15:
		s.decide(id, "marketing", "given", fmt.Sprintf(`,"expiresAt":%q`, stamp(s.at.Add(time.Duration(s.rng.IntN(9*24))*time.Hour))))
	case dice < 17 && id != customer(0) && id != customer(1): // there are some to be compared, always
		s.decide(id, []string{"marketing", "profiling", "fraud"}[s.rng.IntN(3)], []string{"withdrawn", "objected", "refused"}[s.rng.IntN(3)], "")
	case dice < 22:
		s.event(id, `"type":"identify","traits":{"country":%q}`, []string{"DE", "FR", "IT"}[s.rng.IntN(3)])
	case dice < 50:
		s.event(id, `"type":"page","name":"p","properties":{"name":"page %d"}`, s.rng.IntN(5))
	case dice < 80:
		s.event(id, `"type":"track","event":"Order Completed","properties":{"total":%d.50}`, s.rng.IntN(120)-5)
	case dice < 90:
		s.event(id, `"type":"track","event":"Order Refunded","properties":{"total":%d}`, s.rng.IntN(100))
	case dice < 95 && len(s.events) > 0:
		s.events = append(s.events, s.again())
	default:
		s.event(id, `"type":"track","event":"Unread %d"`, s.rng.IntN(3))
	}
}

func (s *shopper) decide(id, purpose, status, more string) {
	s.decisions = append(s.decisions, record{topic: decisions, key: id, at: s.at, value: fmt.Sprintf(
		`{"type":"decision","userId":%q,"purpose":%q,"status":%q,"timestamp":%q%s}`, id, purpose, status, stamp(s.at), more)})
}

func (s *shopper) event(id, format string, args ...any) {
	s.n++
	s.events = append(s.events, record{topic: events, key: id, at: s.at, value: fmt.Sprintf(
		`{"messageId":"m%d","userId":%q,"timestamp":%q,%s}`, s.n, id, stamp(s.at), fmt.Sprintf(format, args...))})
}

// again is a record of the newest that a producer sends twice.
func (s *shopper) again() record {
	r := s.events[len(s.events)-1]
	r.at = s.at
	return r
}

// expected replays a history and returns every subject's changes and all
// memberships at the end.
func expected(t testing.TB, set *rules.Set, h history, until time.Time) (map[subject.ID][]subject.Change, []replay.Member) {
	t.Helper()
	changes := map[subject.ID][]subject.Change{}
	cfg := replay.Config{Rules: set, Until: subject.FromTime(until), Change: func(c *subject.Change) error {
		changes[c.Subject] = append(changes[c.Subject], *c)
		return nil
	}}
	records, _, err := replay.Run(background(t), cfg, []replay.Source{source("decisions", h.decisions), source("events", h.events)})
	must(t, err)
	return changes, replay.Members(set, records)
}

func source(name string, records []record) replay.Source {
	var b strings.Builder
	for _, r := range records {
		b.WriteString(r.value + "\n")
	}
	return replay.Source{Name: name, Reader: strings.NewReader(b.String())}
}

// bySubject groups published changes.
func bySubject(changes []subject.Change) map[subject.ID][]subject.Change {
	by := map[subject.ID][]subject.Change{}
	for _, c := range changes {
		by[c.Subject] = append(by[c.Subject], c)
	}
	return by
}

// compare reports where published changes differ from the replayed ones.
func compare(t testing.TB, got, want map[subject.ID][]subject.Change, skip map[string]bool) {
	t.Helper()
	n, faults := 0, 0
	for id := range want {
		if _, ok := got[id]; !ok && !skip[id.Value] {
			t.Errorf("%s: nothing published, want %d changes", id.Value, len(want[id]))
		}
	}
	for id, changes := range got {
		if skip[id.Value] {
			continue
		}
		n += len(changes)
		if !slices.Equal(changes, want[id]) && faults < 5 {
			faults++
			t.Errorf("%s:\n got %s\nwant %s", id.Value, lines(changes), lines(want[id]))
		}
	}
	if n == 0 {
		t.Error("nothing was compared")
	}
}

func lines(changes []subject.Change) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "\n  v%d %s %s %s %s by %s", c.Version, c.Time, c.Kind, c.Segment, c.Reason, c.CausedBy)
	}
	return b.String()
}
