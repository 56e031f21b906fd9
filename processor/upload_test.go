package processor

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// delivery is a record and when it arrives.
type delivery struct {
	record
	arrives time.Time
	sent    time.Time // the record's timestamp
	took    bool      // an event that a replay takes
}

// What some customers' devices keep back until they are online again, weeks of it,
// is uploaded in order while the others go on, read in pieces, with stops and
// crashes in between: the changes are those of a replay in order of time. Where the
// uploads do not tell when they arrive they are not, or the test would show nothing.
func TestUploadsEqualReplay(t *testing.T) {
	n := seed(t)
	h := newHistory(n, 1200)
	h.decisions = slices.DeleteFunc(h.decisions, func(d record) bool { return !strings.Contains(d.value, `"given"`) })
	set := loadRules(t, rememberingRules)
	rng := rand.New(rand.NewPCG(n, 23))
	all := h.delivered(t, rng, set)
	h.events = nil
	for _, d := range all { // with the passers-by
		if d.topic == events {
			h.events = append(h.events, d.record)
		}
	}
	slices.SortStableFunc(h.events, func(a, b record) int { return a.at.Compare(b.at) })
	end := all[len(all)-1].arrives.Add(time.Hour)
	want, members := expected(t, set, h, end.Add(-clockDelay))

	l := uploaded(t, n, set, all, end)
	changes := l.changes()
	compare(t, bySubject(changes), want, nil)
	l.verify(changes)
	compareMembers(t, l.members(), members)

	for i := range all {
		all[i].sent = all[i].at // as if its producer said so
	}
	others := 0
	for id, changes := range bySubject(uploaded(t, n, set, all, end).changes()) {
		if !slices.Equal(changes, want[id]) {
			others++
		}
	}
	if t.Logf("without their arrivals %d of %d come out otherwise", others, len(want)); others == 0 {
		t.Error("nobody's changes needed the arrivals")
	}
}

// delivered says when the records of a history arrive, and puts them in that order:
// what every third customer does until some instant comes from then on, with gaps of
// less than two seconds before events that count. Somebody passes by meanwhile, who
// moves the clock.
func (h history) delivered(t *testing.T, rng *rand.Rand, set *rules.Set) (all []delivery) {
	t.Helper()
	for _, r := range h.all() {
		all = append(all, delivery{record: r, arrives: r.at})
	}
	slices.SortStableFunc(all, func(a, b delivery) int { return a.at.Compare(b.at) })
	s, err := replay.NewStepper(replay.Config{Rules: set})
	must(t, err)
	for i := range all {
		did, err := s.Step([]byte(all[i].value), subject.Position{Topic: all[i].topic, Offset: int64(i)})
		must(t, err)
		all[i].took = did.Event && did.Outcome == subject.Admitted
	}
	last := map[string]time.Time{} // by customer: the upload is so far
	for i := range 40 {
		if i%3 == 0 {
			last[customer(i)] = all[0].at.Add(time.Duration(rng.Int64N(int64(all[len(all)-1].at.Sub(all[0].at)))).Truncate(time.Millisecond))
		}
	}
	for i := range len(all) {
		d := &all[i]
		at, late := last[d.key]
		if !late || d.at.After(at) {
			continue
		}
		if d.took {
			at = at.Add(time.Duration(rng.IntN(1500)) * time.Millisecond)
		}
		d.arrives, last[d.key] = at, at
		if rng.IntN(3) == 0 {
			all = append(all, delivery{record: track("passer-by", "Unread", "p"+strconv.Itoa(i), at), arrives: at})
		}
	}
	for i := range all {
		all[i].sent = all[i].arrives
	}
	slices.SortStableFunc(all, func(a, b delivery) int { return a.arrives.Compare(b.arrives) })
	return all
}

// uploaded runs a processor over what arrives.
func uploaded(t *testing.T, n uint64, set *rules.Set, all []delivery, end time.Time) *lab {
	t.Helper()
	rng := rand.New(rand.NewPCG(n, 29))
	l := newLab(t, labConfig{set: set, partitions: 2})
	l.cfg.BatchBytes, l.cfg.Idle = 2<<10, time.Millisecond
	l.holdClock(all[0].arrives)
	r := l.start()
	for len(all) > 0 {
		piece := all[:min(len(all), 1+rng.IntN(30))]
		all = all[len(piece):]
		var records []record
		for _, d := range piece {
			d.record.at = d.sent
			records = append(records, d.record)
		}
		l.produce(only(records, decisions)...) // acknowledged before what they allow
		l.produce(only(records, events)...)
		l.holdClock(piece[len(piece)-1].arrives)
		switch rng.IntN(12) {
		case 0:
			r.stop()
			r = l.start()
		case 1:
			r.crash()
			r = l.start()
		}
		r.read()
		if rng.IntN(3) == 0 {
			r.follows(piece[len(piece)-1].arrives)
		}
	}
	r.follows(end)
	r.stop()
	return l
}
