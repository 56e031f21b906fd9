package processor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// exits tells who left what, and when after an instant.
func (l *lab) exits(since time.Time) (all []string) {
	l.t.Helper()
	for _, c := range l.changes() {
		if c.Kind == subject.Exited {
			all = append(all, fmt.Sprintf("%s %s %s %s", c.Subject.Value, c.Segment, c.Time.Time().Sub(since), c.Reason))
		}
	}
	slices.Sort(all)
	return all
}

func (l *lab) wantExits(since time.Time, want ...string) {
	l.t.Helper()
	if got := l.exits(since); !slices.Equal(got, want) {
		l.t.Errorf("exits %q, want %q", got, want)
	}
}

// follows sets the host's clock, and waits until that of every partition is where
// it lets it be, or further where events have moved it.
func (r *running) follows(host time.Time) {
	r.lab.t.Helper()
	r.lab.holdClock(host)
	for id := range r.lab.cfg.Partitions {
		eventually(r.lab.t, "the clock follows", func() bool { return r.clock(id) >= subject.FromTime(host.Add(-clockDelay)) })
	}
}

// After days of standing still the backlog comes before the clock: whoever went on
// buying and renewed the consent has never left, whoever did not left in time.
func TestStandstillIsNoExit(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	start := ago(40 * day)
	l.holdClock(start)
	consent := func(id string, at time.Time) record {
		r := given(id, "marketing", at)
		r.value = strings.Replace(r.value, "}", `,"expiresAt":"`+stamp(at.Add(9*day))+`"}`, 1)
		return r
	}
	l.produce(consent("goes-on", start), consent("lapses", start), given("stays", "marketing", start))
	for _, id := range []string{"goes-on", "lapses", "stays"} {
		l.produce(track(id, "Order Completed", "first-"+id, start))
	}
	r := l.start()
	r.read()
	r.stop()
	for d := 1; d <= 30; d++ {
		at := start.Add(time.Duration(d) * day)
		l.produce(track("other", "Unread", "o"+strconv.Itoa(d), at))
		if d%6 == 0 {
			l.produce(track("goes-on", "Order Completed", "again"+strconv.Itoa(d), at), consent("goes-on", at))
		}
	}
	r = l.start()
	r.read()
	r.follows(start.Add(30*day + time.Hour))
	if got := l.membersOf(r, "goes-on"); got != "buyer,known" {
		t.Errorf("goes-on is in %q", got)
	}
	r.stop()
	l.wantExits(start, "lapses buyer 168h0m0s time", "lapses known 216h0m0s expired", "stays buyer 168h0m0s time")
}

// away is a broker that we cannot reach while it is on.
type away struct {
	stream.Fetcher
	on *atomic.Bool
}

var errAway = errors.New("the broker is away")

func (a away) Fetch(ctx context.Context, at []stream.Position, o stream.FetchOptions, b *stream.Buffer) ([]stream.Fetched, error) {
	if a.on.Load() {
		return nil, errAway
	}
	return a.Fetcher.Fetch(ctx, at, o, b)
}

// The broker cannot be reached for an hour, in which a window of half an hour runs
// out: for who was seen again meanwhile it has not, for the other it has, on time.
func TestAnHourAwayIsNoExit(t *testing.T) {
	l := newLab(t, labConfig{rules: strings.ReplaceAll(clockRules, "7d", "30m"), partitions: 1})
	on := new(atomic.Bool)
	l.fetcher = away{l.fetcher, on}
	start := ago(day)
	l.holdClock(start)
	r := l.start()
	l.produce(given("again", "marketing", start), given("gone", "marketing", start))
	l.produce(track("again", "Order Completed", "a1", start), track("gone", "Order Completed", "g1", start))
	r.read()
	on.Store(true)
	eventually(t, "the session ends", func() bool {
		_, states := r.processor.States()
		return len(states) == 1 && !states[0].Ready
	})
	for i := 1; i <= 3; i++ {
		l.produce(track("again", "Order Completed", "b"+strconv.Itoa(i), start.Add(time.Duration(i)*20*time.Minute)))
	}
	l.holdClock(start.Add(time.Hour))
	on.Store(false)
	r.read()
	r.follows(start.Add(time.Hour))
	if got := l.membersOf(r, "again") + "; " + l.membersOf(r, "gone"); got != "buyer,known; known" {
		t.Errorf("after the hour they are in %s", got)
	}
	r.follows(start.Add(90*time.Minute + clockDelay + time.Millisecond))
	r.stop()
	l.wantExits(start, "again buyer 1h30m0s time", "gone buyer 30m0s time")
}

// Partitions and inputs in which nothing happens delay nobody: of several
// partitions all but one are idle, and of two event topics one.
func TestIdlePartitionsAndInputs(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 4})
	l.broker.CreateTopic("clicks", l.cfg.Partitions)
	must(t, l.client.WaitTopics(t.Context(), "clicks"))
	l.cfg.Inputs = append(l.cfg.Inputs, l.input("clicks", wire.Events))
	start := ago(30 * day)
	l.holdClock(start)
	var ids, want []string
	for i := range 12 {
		id := "u" + strconv.Itoa(i)
		ids, want = append(ids, id), append(want, id+" buyer 168h0m0s time")
		l.produce(given(id, "marketing", start), track(id, "Order Completed", "m"+id, start))
	}
	r := l.start()
	r.read()
	for d := 1; d <= 8; d++ { // one partition of one topic is busy
		at := start.Add(time.Duration(d) * day)
		l.produce(track("busy", "Unread", "b"+strconv.Itoa(d), at))
		l.holdClock(at)
		r.read()
	}
	r.follows(start.Add(8 * day))
	for _, id := range ids {
		if got := l.membersOf(r, id); got != "known" {
			t.Errorf("%s is in %q", id, got)
		}
	}
	r.stop()
	slices.Sort(want)
	l.wantExits(start, want...)
}

// Events with old dates that never cease hold up nobody's timers, and those of
// who sends them for a minute at most.
func TestTrickleOfOldEvents(t *testing.T) {
	const read = "  - {key: refunder, purpose: marketing, when: 'events(\"Order Refunded\").count() >= 1000'}\n"
	l := newLab(t, labConfig{rules: clockRules + read, partitions: 1})
	start := ago(30 * day)
	l.holdClock(start)
	r := l.start()
	for _, id := range []string{"u1", "sender"} {
		l.produce(given(id, "marketing", start), track(id, "Order Completed", "m"+id, start))
	}
	r.read()
	due := start.Add(7 * day)
	old := 0
	trickle := func(at time.Time) {
		t.Helper()
		for _, id := range []string{"sender", "other"} {
			old++ // each a little later than the one before, and all of them days ago
			e := track(id, "Unread", "old"+strconv.Itoa(old), start.Add(time.Duration(old)*time.Minute))
			e.value = strings.Replace(e.value, "Unread", "Order Refunded", 1)
			e.at = at
			l.produce(e)
		}
		l.holdClock(at)
		r.read()
		r.follows(at)
	}
	trickle(due.Add(-time.Second))
	for s := range 70 {
		if got := l.membersOf(r, "sender"); s == 50 && got != "buyer,known" {
			t.Errorf("%d s after the window's end the sender is in %q: what it sends is not waited for", s, got)
		}
		trickle(due.Add(clockDelay + time.Duration(s)*time.Second + time.Millisecond))
		if got := l.membersOf(r, "u1"); got != "known" {
			t.Fatalf("%d s after the window's end u1 is in %q", s, got)
		}
	}
	if got := l.membersOf(r, "sender"); got != "known" {
		t.Errorf("the sender is in %q", got)
	}
	r.stop()
	l.wantExits(start, "sender buyer 168h0m0s time", "u1 buyer 168h0m0s time")
}

// Whatever says that it is 2099 moves nobody's clock, nor what else is there.
func TestRecordsOfTheFuture(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	start := ago(30 * day)
	l.holdClock(start)
	r := l.start()
	future := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	l.produce(given("u1", "marketing", start), track("u1", "Order Completed", "m1", start))
	for _, e := range []record{track("u1", "Order Completed", "f1", future), given("u2", "marketing", future), given("u1", "marketing", future)} {
		e.at = start.Add(time.Second)
		l.produce(e)
	}
	l.produce(track("u2", "Order Completed", "m2", start.Add(2*time.Second)))
	r.read()
	r.follows(start.Add(time.Minute))
	if got := l.membersOf(r, "u1") + "; " + l.membersOf(r, "u2"); got != "buyer,known; buyer,known" {
		t.Errorf("they are in %s: a grant from 2099 counts as given when it arrived", got)
	}
	if n := r.metric(t, "segmentd_rejected_total", "reason", "future"); n != 1 {
		t.Errorf("%v events were rejected as of the future", n)
	}
	r.follows(start.Add(7*day + clockDelay + time.Millisecond))
	r.stop()
	l.wantExits(start, "u1 buyer 168h0m0s time")
}

// A host whose clock is three days behind the broker's moves nothing either, and
// holds nothing up that events make due; once the clocks agree, timers go on.
func TestHostBehindTheBroker(t *testing.T) {
	for _, when := range []string{"from the start", "after a jump"} {
		t.Run(when, func(t *testing.T) {
			l := newTellingLab(t)
			start := ago(8 * day)
			if when == "from the start" {
				l.skew.Store(-int64(3 * day))
			} else {
				l.holdClock(start) // until there is something to lose
			}
			r := l.start()
			l.produce(given("u1", "marketing", start), track("u1", "Order Completed", "m1", start))
			r.read()
			l.skew.Store(-int64(3 * day))
			l.releaseClock()
			for i := range 5 {
				l.produce(track("other", "Order Completed", "o"+strconv.Itoa(i), start))
				r.read()
				r.turns(3)
			}
			if got := l.membersOf(r, "u1"); got != "buyer,known" {
				t.Errorf("u1 is in %q", got)
			}
			if !strings.Contains(l.log.String(), "timers stand still until") {
				t.Error("nobody was told")
			}
			l.produce(track("other", "Unread", "now", ago(0)))
			r.read()
			if got := l.membersOf(r, "u1"); got != "known" {
				t.Errorf("after an event of today u1 is in %q", got)
			}
			l.skew.Store(0)
			moved := ago(0)
			eventually(t, "the clock goes on", func() bool { return r.clock(0) > subject.FromTime(moved) })
			r.stop()
			l.wantExits(start, "u1 buyer 168h0m0s time")
		})
	}
}

// Days that a change of clocks makes shorter or longer end at their own midnight,
// while the clock runs, and an hour that is left out never comes.
func TestLocalDaysWhileLive(t *testing.T) {
	const local = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
segments:
  - {key: today, purpose: marketing, when: 'events("Order Completed").since_midnight(0, "Europe/Berlin").exists()'}
  - {key: two_o_clock, purpose: marketing, when: 'local_hour("Europe/Berlin") == 2'}
`
	for _, c := range []struct {
		day, end string // in Berlin's time, and when it ends
		two      string // when it is two o'clock
	}{
		{"2026-03-28T12:00:00+01:00", "2026-03-28T23:00:00Z", "2026-03-28T01:00:00Z 2026-03-28T02:00:00Z"},
		{"2026-03-29T12:00:00+02:00", "2026-03-29T22:00:00Z", ""}, // 23 hours
		{"2026-10-25T12:00:00+01:00", "2026-10-25T23:00:00Z", "2026-10-25T00:00:00Z 2026-10-25T02:00:00Z"},
	} {
		t.Run(c.day, func(t *testing.T) {
			noon, err := time.Parse(time.RFC3339, c.day)
			must(t, err)
			start := time.Date(noon.Year(), noon.Month(), noon.Day(), 0, 30, 0, 0, noon.Location()).UTC() // as far as noon's offset goes
			l := newLab(t, labConfig{rules: local, partitions: 1})
			l.cfg.Idle = time.Millisecond
			l.holdClock(start)
			r := l.start()
			l.produce(given("u1", "marketing", start))
			r.read()
			for at := start; at.Before(start.Add(25 * time.Hour)); at = at.Add(time.Hour) {
				if at.Sub(noon).Abs() == 30*time.Minute && at.Before(noon) {
					l.produce(track("u1", "Order Completed", "m1", noon))
				}
				l.holdClock(at)
				r.read()
				r.follows(at)
			}
			r.stop()
			var today, two []string
			for _, ch := range l.changes() {
				switch {
				case ch.Segment == "two_o_clock":
					two = append(two, ch.Time.String())
				case ch.Kind == subject.Exited:
					today = append(today, ch.Time.String())
				}
			}
			if got := strings.Join(today, " "); got != c.end {
				t.Errorf("the day ended at %q, want %q", got, c.end)
			}
			if got := strings.Join(two, " "); got != c.two {
				t.Errorf("it was two o'clock from and to %q, want %q", got, c.two)
			}
		})
	}
}
