package processor

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/core/cdnow"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// A backlog with decisions ahead of events gives what replay gives, for every
// subject that never stopped: its stops are read ahead.
func TestBacklogEqualsReplay(t *testing.T) {
	h := newHistory(seed(t), 3000)
	l := newLab(t, labConfig{rules: rememberingRules, partitions: 3})
	l.produce(h.all()...)
	r := l.start()
	r.caughtUp()
	r.stop()
	want, members := expected(t, l.set, h, time.Now())
	changes := l.changes()
	compare(t, bySubject(changes), want, h.stopped())
	l.verify(changes)
	compareMembers(t, l.members(), members)
}

func TestCDNOWEqualsReplay(t *testing.T) {
	h := cdnowHistory(t, 3000)
	set, problems := rules.Load(cdnow.Rules())
	if set == nil {
		t.Fatal(problems)
	}
	l := newLab(t, labConfig{partitions: 4, set: set})
	l.produce(h.decisions...)
	l.produce(h.events...)
	r := l.start()
	r.caughtUp()
	r.stop()
	want, members := expected(t, set, h, time.Now())
	changes := l.changes()
	compare(t, bySubject(changes), want, nil)
	l.verify(changes)
	compareMembers(t, l.members(), members)
}

// cdnowHistory is the first events of the data set, and their customers' consent.
func cdnowHistory(t testing.TB, n int) (h history) {
	t.Helper()
	var purchases, consents bytes.Buffer
	err := errors.Join(cdnow.Events(&purchases), cdnow.Decisions(&consents))
	if errors.Is(err, cdnow.ErrAbsent) {
		t.Skip(err)
	}
	must(t, err)
	customers := map[string]bool{}
	each(t, &purchases, func(id string, at time.Time, line string) {
		if len(h.events) < n {
			customers[id] = true
			h.events = append(h.events, record{topic: events, key: id, value: line, at: at})
		}
	})
	each(t, &consents, func(id string, at time.Time, line string) {
		if customers[id] {
			h.decisions = append(h.decisions, record{topic: decisions, key: id, value: line, at: at})
		}
	})
	return h
}

func each(t testing.TB, b *bytes.Buffer, f func(id string, at time.Time, line string)) {
	t.Helper()
	for lines := bufio.NewScanner(b); lines.Scan(); {
		var r struct {
			UserID    string    `json:"userId"`
			Timestamp time.Time `json:"timestamp"`
		}
		must(t, json.Unmarshal(lines.Bytes(), &r))
		f(r.UserID, r.Timestamp, lines.Text())
	}
}

// In step with the inputs, subjects that stop are what replay says too: each
// decision is read when what came before it has been applied.
func TestStopsInStepEqualReplay(t *testing.T) {
	h := newHistory(seed(t), 800)
	l := newLab(t, labConfig{rules: rememberingRules, partitions: 1})
	l.holdClock(h.events[0].at)
	r := l.start()
	all := h.all()
	slices.SortStableFunc(all, func(a, b record) int { return a.at.Compare(b.at) })
	end := all[len(all)-1].at
	all = append(all, // whatever the seed
		given("stops", "marketing", end.Add(time.Minute)), track("stops", "Page Viewed", "between", end.Add(2*time.Minute)),
		decision("stops", "marketing", "withdrawn", end.Add(time.Hour)),
		track("last", "Page Viewed", "end", end.Add(2*time.Hour))) // the clock passes every decision
	for at := 0; at < len(all); {
		end := at + 1
		for end < len(all) && all[end].topic == all[at].topic && all[at].topic == events {
			end++
		}
		l.produce(all[at:end]...)
		r.read()
		at = end
	}
	clock := r.clock(0)
	r.stop()
	want, _ := expected(t, l.set, history{only(all, decisions), only(all, events)}, clock.Time())
	exits := 0
	for id, changes := range bySubject(l.changes()) {
		exits += sameMemberships(t, id.Value, changes, want[id])
	}
	if exits == 0 {
		t.Error("nobody was made to leave by a stop")
	}
}

func only(all []record, topic string) []record {
	return slices.DeleteFunc(slices.Clone(all), func(r record) bool { return r.topic != topic })
}

// sameMemberships compares who is in what at the end, and that a stop ended the
// same memberships: a stop takes effect when it is read, a timer between the
// newest event and it only when the clock passes it.
func sameMemberships(t *testing.T, id string, got, want []subject.Change) (stops int) {
	t.Helper()
	if a, b := endOf(got), endOf(want); a != b {
		t.Errorf("%s is in %s, want %s\n got %s\nwant %s", id, a, b, lines(got), lines(want))
	}
	for _, c := range got {
		if c.Reason == subject.ByWithdrawn || c.Reason == subject.ByObjected || c.Reason == subject.ByRefused {
			stops++
		}
	}
	return stops
}

func endOf(changes []subject.Change) string {
	in := map[string]bool{}
	for _, c := range changes {
		in[c.Segment] = c.Kind == subject.Entered
	}
	var names []string
	for s, is := range in {
		if is {
			names = append(names, s)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// verify checks what any consumer relies on: ids are unique and derived,
// versions without gap, entered and exited alternate.
func (l *lab) verify(changes []subject.Change) {
	l.t.Helper()
	ids := map[string]bool{}
	for _, r := range l.readTopic(Topics{l.cfg.Group}.Changes("")) {
		p, err := wire.ParseChange(r.Value)
		must(l.t, err)
		if ids[p.ID] || p.ID != wire.ChangeID(l.cfg.Group, p.Change.Subject, p.Change.Version) {
			l.t.Errorf("id %s is not unique or not derived", p.ID)
		}
		ids[p.ID] = true
	}
	for id, cs := range bySubject(changes) {
		in := map[string]bool{}
		for i, c := range cs {
			if c.Version != uint64(i+1) {
				l.t.Errorf("%s: version %d is the change number %d", id.Value, c.Version, i+1)
			}
			if entered := c.Kind == subject.Entered; in[c.Segment] == entered {
				l.t.Errorf("%s: %s %s twice", id.Value, c.Kind, c.Segment)
			}
			in[c.Segment] = c.Kind == subject.Entered
		}
	}
}

// members is the members topic as a compacted view.
func (l *lab) members() []string {
	l.t.Helper()
	rows := map[string]string{}
	for _, r := range l.readTopic(Topics{l.cfg.Group}.Members("")) {
		delete(rows, string(r.Key))
		if r.Value != nil {
			rows[string(r.Key)] = string(r.Value)
		}
	}
	var all []string
	for key, value := range rows {
		var m struct{ UserID, IDType, Segment, Since string }
		must(l.t, json.Unmarshal([]byte(value), &m))
		if want := map[string]string{"userId": "u", "anonymousId": "a"}[m.IDType] + "|" + m.UserID + "|" + m.Segment; key != want {
			l.t.Errorf("a member's key is %q, want %q", key, want)
		}
		all = append(all, fmt.Sprintf("%s %s since %s", m.UserID, m.Segment, m.Since))
	}
	slices.Sort(all)
	return all
}

func compareMembers(t testing.TB, got []string, members []replay.Member) {
	t.Helper()
	var want []string
	for _, m := range members {
		want = append(want, fmt.Sprintf("%s %s since %s", m.Subject.Value, m.Segment, m.Since))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("members\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}
