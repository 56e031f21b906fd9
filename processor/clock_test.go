package processor

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

const clockRules = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
segments:
  - {key: buyer, purpose: marketing, when: 'events("Order Completed").within("7d").exists()'}
  - {key: known, purpose: marketing, when: 'events("Order Completed").count() >= 0'}
`

const day = 24 * time.Hour

// With nothing to read, the partition's clock follows the host's, two seconds
// behind, and ends windows and consents at their own instants.
func TestIdleClockEndsWindowsAndConsents(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	start := ago(30 * day)
	l.holdClock(start)
	r := l.start()
	grant := given("u1", "marketing", start)
	grant.value = strings.Replace(grant.value, "}", `,"expiresAt":"`+stamp(start.Add(9*day))+`"}`, 1)
	l.produce(grant, track("u1", "Order Completed", "m1", start))
	r.read()
	for _, step := range []struct {
		clock time.Time
		in    string
	}{
		{start.Add(7*day + clockDelay), "buyer,known"}, // the window ends strictly before the clock
		{start.Add(7*day + clockDelay + time.Millisecond), "known"},
		{start.Add(9*day + clockDelay), "known"},
		{start.Add(9*day + clockDelay + time.Millisecond), ""},
	} {
		l.holdClock(step.clock)
		eventually(t, "the clock follows", func() bool { return r.clock(0) == subject.FromTime(step.clock.Add(-clockDelay)) })
		if got := l.membersOf(r, "u1"); got != step.in {
			t.Errorf("%s after the start u1 is in %q, want %q", step.clock.Sub(start), got, step.in)
		}
	}
	r.stop()
	var got []string
	for _, c := range l.changes()[2:] {
		got = append(got, c.Time.Time().Sub(start).String()+" "+c.Kind.String()+" "+c.Segment+" "+c.Reason.String())
	}
	if want := "168h0m0s exited buyer time, 216h0m0s exited known expired"; strings.Join(got, ", ") != want {
		t.Errorf("changes %s, want %s", strings.Join(got, ", "), want)
	}
}

// One idle input delays nothing, an input with an open transaction holds the
// clock: what it will bring may be older than the timers.
func TestOpenTransactionHoldsTheClock(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	start := ago(30 * day)
	l.holdClock(start)
	r := l.start()
	l.produce(given("u1", "marketing", start), track("u1", "Order Completed", "m1", start))
	r.read()
	tx := l.transactor("tracker")
	must(t, tx.Init(background(t)))
	_, err := tx.Produce(background(t), messagesOf(l, track("u1", "Order Completed", "m2", start.Add(5*day))))
	must(t, err)
	held := r.clock(0)
	l.holdClock(start.Add(20 * day))
	r.turns(5)
	if at := r.clock(0); at != held {
		t.Errorf("the clock went on to %s", at)
	}
	must(t, tx.Commit(background(t)))
	eventually(t, "the window ends", func() bool { return l.membersOf(r, "u1") == "known" })
	r.stop()
	last := l.changes()
	if c := last[len(last)-1]; c.Time != subject.FromTime(start.Add(12*day)) {
		t.Errorf("the window ended at %s, not 7 days after the event that was committed late", c.Time)
	}
}

// telling adds the append times of a broker whose clock is real.
type telling struct{ stream.Transactor }

func (s *telling) Produce(ctx context.Context, ms []stream.Message) ([]stream.Produced, error) {
	produced, err := s.Transactor.Produce(ctx, ms)
	for i := range produced {
		produced[i].LogAppendTime = subject.FromTime(time.Now())
	}
	return produced, err
}

// newTellingLab has a broker that says when it appended what is sent to it.
func newTellingLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	l.cfg.LogAppend = true
	inner := l.transactor
	l.transactor = func(id string) stream.Transactor { return &telling{inner(id)} }
	return l
}

// A host whose clock is three days ahead of the broker's ends no window, and
// goes on processing what it reads; once the clocks agree, timers go on.
func TestHostAheadOfTheBroker(t *testing.T) {
	for _, when := range []string{"from the start", "after a jump"} {
		t.Run(when, func(t *testing.T) {
			l := newTellingLab(t)
			if when == "from the start" {
				l.skew.Store(int64(3 * day))
			}
			r := l.start()
			start := ago(5 * day)
			l.produce(given("u1", "marketing", start), track("u1", "Order Completed", "m1", start))
			r.read()
			l.skew.Store(int64(3 * day))
			for i := range 5 {
				l.produce(track("u1", "Order Completed", "again"+string(rune('a'+i)), start))
				r.read()
				r.turns(3)
			}
			if at := r.clock(0); at > subject.FromTime(time.Now()) {
				t.Errorf("the partition's clock followed the host's to %s", at)
			}
			if got := l.membersOf(r, "u1"); got != "buyer,known" {
				t.Errorf("u1 is in %q", got)
			}
			if !strings.Contains(l.log.String(), "timers stand still until") {
				t.Error("nobody was told")
			}
			l.skew.Store(0)
			eventually(t, "the clock goes on", func() bool { return r.clock(0) > subject.FromTime(time.Now().Add(-time.Minute)) })
			r.stop()
			if changes := l.changes(); len(changes) != 2 {
				t.Errorf("changes:%s", lines(changes))
			}
		})
	}
}

// After a restart nothing has been compared yet: the first transaction that a host
// ahead of the broker brings about fails before its end.
func TestHostAheadOfTheBrokerAfterARestart(t *testing.T) {
	l := newTellingLab(t)
	start := ago(5 * day)
	l.produce(given("u1", "marketing", start), track("u1", "Order Completed", "m1", start))
	r := l.start()
	r.caughtUp()
	r.stop()
	l.skew.Store(int64(3 * day))
	r = l.start()
	eventually(t, "somebody is told", func() bool { return strings.Contains(l.log.String(), "timers stand still until") })
	eventually(t, "it is at work", func() bool { return r.stateOf(0).Ready })
	r.turns(5)
	if got := l.membersOf(r, "u1"); got != "buyer,known" {
		t.Errorf("u1 is in %q", got)
	}
	r.stop()
	if changes := l.changes(); len(changes) != 2 {
		t.Errorf("changes:%s", lines(changes))
	}
}

// A broker without append times leaves the host's word alone: a jump is
// distrusted for a batch and then believed (the machine may have slept), also
// where the topic is set to append times that never come.
func TestJumpWithoutAppendTimes(t *testing.T) {
	for _, logAppend := range []bool{false, true} {
		l := newLab(t, labConfig{rules: clockRules, partitions: 1})
		l.broker.Embedded() // which tells none
		l.cfg.LogAppend = logAppend
		r := l.start()
		start := ago(5 * day)
		l.produce(given("u1", "marketing", start), track("u1", "Order Completed", "m1", start))
		r.caughtUp()
		l.skew.Store(int64(3 * day))
		eventually(t, "the jump is believed", func() bool { return l.membersOf(r, "u1") == "known" })
		transactions := r.metric(t, "segmentd_transactions_total")
		r.turns(5)
		if n := r.metric(t, "segmentd_transactions_total"); n > transactions+1 {
			t.Errorf("an idle partition has made %v transactions", n-transactions)
		}
		r.stop()
	}
}

// A slow transaction does not make the host's clock differ.
func TestSlowBrokerIsNoSkew(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	p := &partition{deps: &Deps{Now: func() time.Time { return at.Add(10 * time.Second) }}}
	for _, appended := range []time.Duration{-maxHostSkew, 0, 5 * time.Second, 10 * time.Second, 10*time.Second + maxHostSkew} {
		var h hostClock
		if err := h.compare(p, at, subject.FromTime(at.Add(appended))); err != nil || h.strayed {
			t.Errorf("appended %s after sending, answered after 10 s: strayed %v, %v", appended, h.strayed, err)
		}
	}
}
