package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/state/subject"
)

// ledger is what each subject said and did, in the order in which it was
// acknowledged to the producers.
type ledger map[string][]*entry

// entry is a decision or, where it has a message id, an event, or a request.
type entry struct {
	message   string
	purpose   string
	given     bool
	request   string          // erase, restrict or unrestrict
	at, acked subject.Instant // its timestamp; when it was acknowledged
	aborted   bool            // with its transaction: it was never said
}

// denial is a time in which a purpose was not allowed: from the acknowledgement of
// a stop, an erasure or a restriction to the timestamp of the grant or the lift that
// ends it, both exclusive.
type denial struct{ from, to subject.Instant }

// denialsOf are the times in which a purpose was denied, and the events sent in
// them by message id. Before the first decision it is.
func denialsOf(said []*entry, purpose string) (times []denial, events map[string]bool) {
	times, events = []denial{{subject.LongAgo, subject.Never}}, map[string]bool{}
	given, restricted := false, false
	for _, e := range said {
		denied := !given || restricted
		switch {
		case e.aborted:
		case e.message != "" && denied:
			events[e.message] = true
		case e.request == "erase":
			given, restricted = false, false
		case e.request != "":
			restricted = e.request == "restrict"
		case e.message == "" && e.purpose == purpose:
			given = e.given
		}
		switch now := !given || restricted; {
		case now && !denied:
			times = append(times, denial{e.acked, subject.Never})
		case !now && denied:
			times[len(times)-1].to = e.at
		}
	}
	return times, events
}

// forgottenBy are the events that were sent before the last erasure, by message id,
// when that was, and whether there was anything to be forgotten.
func forgottenBy(said []*entry) (events map[string]bool, erased subject.Instant, something bool) {
	events = map[string]bool{}
	last := -1
	for i, e := range said {
		if e.request == "erase" {
			last, erased = i, e.at
		}
	}
	for _, e := range said[:last+1] {
		if something = something || e.message == "" && e.request == "" && !e.aborted; e.message != "" {
			events[e.message] = true
		}
	}
	return events, erased, something
}

// unforgotten are the changes of one subject that must not be after an erasure was told
// for the last time, as they come of what was sent before it; and that none was told.
func unforgotten(said []*entry, changes []subject.Change) (found []string) {
	events, erased, something := forgottenBy(said)
	told := -1
	for i, c := range changes {
		if c.Kind == subject.Erased {
			told = i
		}
	}
	// What was said and never came to anything, as the erasure was read first, nobody heard of.
	published := slices.ContainsFunc(changes, func(c subject.Change) bool { return c.Time < erased })
	if something && published && told < 0 {
		return []string{"nobody was told of the erasure"}
	}
	for _, c := range changes[told+1:] {
		if something && events[c.CausedBy] {
			found = append(found, fmt.Sprintf("%s %s at %s by %s, which was sent before the erasure", c.Kind, c.Segment, c.Time, c.CausedBy))
		}
	}
	return found
}

// marked begins the keys of segments of those events that say they were sent
// while their purpose was denied: nobody may ever be in one.
const marked = "denied_"

// violations are the changes of one subject that must not be: what an event
// brought about that was sent after a stop, at once or later, or before an erasure, after it;
// an entry, whatever brought it about, in the time of a stop; a membership that outlives a stop.
func violations(said []*entry, changes []subject.Change) (found []string) {
	found = unforgotten(said, changes)
	by := map[string][]subject.Change{}
	for _, c := range changes {
		by[c.Purpose] = append(by[c.Purpose], c)
	}
	for purpose, changes := range by {
		times, events := denialsOf(said, purpose)
		in := map[string]bool{}
		for _, c := range changes {
			what := ""
			switch {
			case events[c.CausedBy]:
				what = "caused by " + c.CausedBy + ", which was sent after a stop"
			case strings.HasPrefix(c.Segment, marked):
				what = "of events that were sent after a stop"
			case c.Kind == subject.Entered && slices.ContainsFunc(times, func(d denial) bool { return d.from < c.Time && c.Time < d.to }):
				what = "in the time of a stop"
			}
			if what != "" {
				found = append(found, fmt.Sprintf("%s %s at %s (%s): %s", c.Kind, c.Segment, c.Time, c.Reason, what))
			}
			in[c.Segment] = c.Kind == subject.Entered
		}
		for segment, is := range in {
			if is && times[len(times)-1].to == subject.Never {
				found = append(found, fmt.Sprintf("still in %s after a stop of %s", segment, purpose))
			}
		}
	}
	return found
}

// The counter of violations counts what is one, and nothing else.
func TestViolationsAreCounted(t *testing.T) {
	decision := func(given bool, at subject.Instant) *entry {
		return &entry{purpose: "p", given: given, at: at, acked: at + 5}
	}
	request := func(kind string, at subject.Instant) *entry { return &entry{request: kind, at: at, acked: at + 5} }
	event := func(id string, at subject.Instant) *entry { return &entry{message: id, at: at, acked: at + 5} }
	aborted := decision(false, 45)
	aborted.aborted = true
	said := []*entry{event("m0", 5), decision(true, 10), event("m1", 20), decision(false, 30), event("m2", 40), decision(true, 60), aborted,
		{purpose: "q", at: 70, acked: 75}, event("m3", 80)}
	stopped := append(slices.Clone(said), decision(false, 90))
	entered := func(segment string, at subject.Instant, by string) subject.Change {
		return subject.Change{Segment: segment, Purpose: "p", Kind: subject.Entered, Time: at, CausedBy: by}
	}
	exited := func(c subject.Change, at subject.Instant, by string) subject.Change {
		c.Kind, c.Time, c.CausedBy = subject.Exited, at, by
		return c
	}
	fine := entered("s", 20, "m1")
	cases := []struct {
		name    string
		said    []*entry
		changes []subject.Change
		want    int
	}{
		{"as it must be", said, []subject.Change{fine, exited(fine, 33, ""), entered("s", 60, ""), exited(fine, 70, ""), entered("s", 80, "m3")}, 0},
		{"left by the stop", stopped, []subject.Change{fine, exited(fine, 95, "")}, 0},
		{"entered before its acknowledgement", stopped, []subject.Change{entered("s", 94, ""), exited(fine, 95, "")}, 0},
		{"before any decision", said, []subject.Change{entered("s", 5, "m0")}, 1},
		{"an event after a stop", said, []subject.Change{entered("s", 40, "m2")}, 1},
		{"an exit by an event after a stop", said, []subject.Change{fine, exited(fine, 40, "m2")}, 1},
		{"an event after a stop, counted later", said, []subject.Change{entered("s", 80, "m2")}, 1},
		{"a timer after a stop", said, []subject.Change{entered("s", 36, "")}, 1},
		{"a marked segment", said, []subject.Change{entered(marked+"p", 80, "m3")}, 1},
		{"erased", append(slices.Clone(said), request("erase", 90)), []subject.Change{fine, exited(fine, 95, ""), {Kind: subject.Erased, Time: 95}}, 0},
		{"erased, and nobody told", append(slices.Clone(said), request("erase", 90)), []subject.Change{fine, exited(fine, 95, "")}, 1},
		{"erased, and in again", append(slices.Clone(said), request("erase", 90)), []subject.Change{{Kind: subject.Erased, Time: 95}, entered("s", 99, "")}, 2},
		{"erased, allowed anew, and in by what was before", append(slices.Clone(said), request("erase", 90), decision(true, 100)),
			[]subject.Change{{Kind: subject.Erased, Time: 95}, entered("s", 100, "m3")}, 1},
		{"erased, allowed anew, and in anew", append(slices.Clone(said), request("erase", 90), decision(true, 100), event("m4", 110)),
			[]subject.Change{{Kind: subject.Erased, Time: 95}, entered("s", 110, "m4")}, 0},
		{"in while restricted", append(slices.Clone(said), request("restrict", 90), event("m4", 100), request("unrestrict", 110)),
			[]subject.Change{exited(fine, 92, ""), entered("s", 100, "m4"), exited(fine, 101, "")}, 1},
		{"in after a restriction", append(slices.Clone(said), request("restrict", 90), request("unrestrict", 110)),
			[]subject.Change{fine, exited(fine, 92, ""), entered("s", 110, "")}, 0},
		{"no exit", stopped, []subject.Change{fine}, 1},
		{"an entry after the last stop, and no exit", stopped, []subject.Change{entered("s", 96, "")}, 2},
	}
	for _, c := range cases {
		if found := violations(c.said, c.changes); len(found) != c.want {
			t.Errorf("%s: %d violations, want %d: %q", c.name, len(found), c.want, found)
		}
	}
}
