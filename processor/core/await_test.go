package core_test

import (
	stdcmp "cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/core/oracle"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// arrived is a record with its arrival.
type arrived struct {
	line string
	at   subject.Instant // its own date
	id   subject.ID
	took bool            // an event that a replay takes
	when subject.Instant // it arrives
}

// upload is a partition to which one subject's inputs come late, in order, in
// between the others'.
type upload struct {
	t       *testing.T
	set     *rules.Set
	inputs  []arrived // in order of their dates
	late    subject.ID
	at      subject.Instant // the upload begins
	until   subject.Instant
	restart func() bool
	ahead   int // records whose decisions are read before the first of them
}

// TestUploadsEqualReplay keeps back what one subject of a random case sends, all
// of it until some instant, and then lets it in record by record while the others
// go on: its changes are those of a replay in order of time. That the cases are
// hard enough shows where arrivals are not told: then many come out otherwise.
func TestUploadsEqualReplay(t *testing.T) {
	compared, hard := 0, 0
	for seed := uint64(0); seed < uint64(*seeds); seed++ {
		rng := rand.New(rand.NewPCG(seed, 7))
		c := oracle.Generate(rng)
		set, problems := rules.Load(c.Rules)
		if set == nil {
			t.Fatal(problems)
		}
		u := newUpload(t, rng, set, c)
		if u == nil {
			continue
		}
		want := u.replayed()
		gap := time.Duration(rng.Int64N(int64(min(1999*time.Millisecond, 55*time.Second/time.Duration(len(u.inputs))))))
		u.deliver(gap)
		u.restart = func() bool { return rng.IntN(4) == 0 }
		u.ahead = 1 + rng.IntN(20)
		if d := difference(want, u.live(true)); d != "" {
			t.Fatalf("seed %d, what %s does until %s arrives then, every %s: (the oracle is the replay)\n%s\nrules:\n%s\n%s", seed, u.late.Value, u.at, gap, d, c.Text, u.text())
		}
		compared++
		if difference(want, u.live(false)) != "" {
			hard++
		}
	}
	t.Logf("%d of %d cases come out otherwise without their arrivals", hard, compared)
	if *seeds >= 100 && hard < compared/10 {
		t.Error("too few of the cases need to wait")
	}
}

// newUpload returns nil where nothing comes late.
func newUpload(t *testing.T, rng *rand.Rand, set *rules.Set, c oracle.Case) *upload {
	u := &upload{t: t, set: set, until: c.Until, restart: func() bool { return false }}
	d := newDecoder(set, strings.Split(strings.TrimSpace(strings.Join(c.Inputs, "\n")), "\n"))
	for i, line := range d.lines {
		switch item := d.read(i); {
		case len(item.Decisions) > 0 && item.Decisions[0].Status == subject.Given && item.Decisions[0].Expires > item.Decisions[0].Time:
			u.inputs = append(u.inputs, arrived{line: line, at: item.Decisions[0].Effective(), id: item.Decisions[0].Subject})
		case item.Content == wire.HasRequest && item.Request.Kind == subject.Rectify:
			u.inputs = append(u.inputs, arrived{line: line, at: item.Request.Effective(), id: item.Subject})
		case item.Content == wire.HasEvent && item.Event != nil:
			u.inputs = append(u.inputs, arrived{line: line, at: item.Event.Time, id: item.Event.Subject})
		}
	}
	slices.SortStableFunc(u.inputs, func(a, b arrived) int {
		return stdcmp.Or(stdcmp.Compare(a.at, b.at), strings.Compare(kind(a.line), kind(b.line)))
	})
	if u.inputs = withoutMeeting(u.inputs); len(u.inputs) < 2 {
		return nil
	}
	u.late = u.inputs[rng.IntN(len(u.inputs))].id
	span := u.inputs[len(u.inputs)-1].at - u.inputs[0].at
	u.at = u.inputs[0].at + subject.Instant(rng.Int64N(int64(span)+1)) + 3600e6
	return u
}

// withoutMeeting leaves out what a subject decides at the very instant of one of
// its events, other than the first. A replay takes the one and then the other, who reads
// decisions ahead both in one pass: what is due at that instant may then flip, or not.
func withoutMeeting(inputs []arrived) []arrived {
	type instant struct {
		id subject.ID
		at subject.Instant
	}
	began, events := map[subject.ID]subject.Instant{}, map[instant]bool{}
	for _, in := range inputs {
		if _, ok := began[in.id]; !ok {
			began[in.id] = in.at
		}
		if kind(in.line) == "event" && in.at != began[in.id] {
			events[instant{in.id, in.at}] = true
		}
	}
	return slices.DeleteFunc(inputs, func(in arrived) bool {
		return kind(in.line) == "decision" && events[instant{in.id, in.at}]
	})
}

// kind sorts decisions, and requests, which are read ahead with them, before events.
func kind(line string) string {
	if strings.Contains(line, `"type":"decision"`) || strings.Contains(line, `"type":"request"`) {
		return "decision"
	}
	return "event"
}

// replayed is what the inputs give in order of time.
func (u *upload) replayed() map[string][]oracle.Change {
	got := map[string][]oracle.Change{}
	s, err := replay.NewStepper(replay.Config{Rules: u.set, Change: func(c *subject.Change) error {
		got[c.Subject.Type.String()+c.Subject.Value] = append(got[c.Subject.Type.String()+c.Subject.Value], told(c))
		return nil
	}})
	for i := 0; err == nil && i < len(u.inputs); i++ {
		var did replay.Step
		did, err = s.Step([]byte(u.inputs[i].line), subject.Position{Topic: "in", Offset: int64(i)})
		u.inputs[i].took = did.Event && did.Outcome == subject.Admitted
	}
	if err == nil {
		err = s.Advance(u.end())
	}
	if err != nil {
		u.t.Fatal(err)
	}
	for _, of := range inOrder(got) {
		for i := range of { // what is due at the instant of several inputs may bear either's reason
			of[i].Due, of[i].Tie = true, of[i].Reason == "time"
		}
	}
	return got
}

// end is when all has come, and waiting is over.
func (u *upload) end() subject.Instant {
	return max(u.until, u.inputs[len(u.inputs)-1].at, u.at).Add(time.Hour)
}

func (u *upload) text() string {
	var b strings.Builder
	for _, in := range u.inputs {
		b.WriteString(in.line + "\n")
	}
	return b.String()
}

func told(c *subject.Change) oracle.Change {
	by := c.CausedBy
	if strings.HasPrefix(by, "in:") {
		by = "" // its position, which differs
	}
	return oracle.Change{Segment: c.Segment, Change: c.Kind.String(), Time: c.Time, Reason: c.Reason.String(), Version: c.Version, CausedBy: by}
}

// inOrder lets the order of one instant's changes be that of their segments, as
// several decisions of an instant that are read ahead take force in one pass.
func inOrder(changes map[string][]oracle.Change) map[string][]oracle.Change {
	for _, of := range changes {
		slices.SortStableFunc(of, func(a, b oracle.Change) int {
			return stdcmp.Or(stdcmp.Compare(a.Time, b.Time), strings.Compare(a.Segment, b.Segment))
		})
		for i := range of {
			of[i].Version = uint64(i) + 1
		}
	}
	return changes
}

// deliver says when each input arrives: the late ones from the upload on, a gap
// before each of those that are taken, what is sent after it and the others as they
// happen.
func (u *upload) deliver(gap time.Duration) {
	last := u.at
	for i := range u.inputs {
		in := &u.inputs[i]
		if in.when = in.at; in.id == u.late {
			if in.took && in.at < last {
				last = last.Add(gap)
			}
			last = max(in.at, last)
			in.when = last
		}
	}
}

// live is what the inputs give as they arrive.
func (u *upload) live(told bool) map[string][]oracle.Change {
	l := &liveUpload{upload: u, changes: map[string][]oracle.Change{}, records: core.NewMemory()}
	l.machine = core.NewMachine(core.New(u.set, core.Config{}), l.records, subject.LongAgo)
	order := slices.Clone(u.inputs)
	slices.SortStableFunc(order, func(a, b arrived) int { return stdcmp.Compare(a.when, b.when) })
	d := newDecoder(u.set, nil)
	for piece := range slices.Chunk(order, u.ahead) { // in place
		slices.SortStableFunc(piece, func(a, b arrived) int { return strings.Compare(kind(a.line), kind(b.line)) })
	}
	for i, in := range order {
		item, reject := d.Decode(wire.Mixed, wire.Input{Value: []byte(in.line), Timestamp: in.when, Source: subject.Position{Topic: "in", Offset: int64(i)}})
		if reject != nil {
			u.t.Fatal(reject)
		}
		if in.id == u.late && i%2 == 0 && kind(in.line) == "event" {
			l.advance(in.when) // to some other's event that no rule reads
		}
		l.take(&item, told)
	}
	l.advance(u.end())
	return inOrder(l.changes)
}

// liveUpload is a partition at work on an upload.
type liveUpload struct {
	*upload
	records *core.Memory
	machine *core.Machine
	changes map[string][]oracle.Change
}

func (l *liveUpload) take(item *wire.Item, tell bool) {
	if ev := item.Event; item.Content == wire.HasEvent {
		l.advance(min(ev.Time, ev.Arrival))
		if !tell {
			ev.Arrival = subject.Never
		}
		_, err := l.machine.Event(ev)
		l.must(err)
	}
	for _, d := range item.Decisions {
		if !tell {
			d.Arrival = subject.Never
		}
		l.must(l.machine.Decision(d))
	}
	if q := item.Request; item.Content == wire.HasRequest {
		if !tell {
			q.Arrival = subject.Never
		}
		_, err := l.machine.Request(q)
		l.must(err)
	}
	if l.restart() {
		l.must(l.records.Each(readAgain))
	}
	l.advance(l.machine.Clock()) // as after each batch
}

// readAgain lets a record be as it is read from where it was written.
func readAgain(r *subject.Record) error {
	again, err := state.DecodeRecord(state.AppendRecord(nil, r))
	if err != nil {
		return err
	}
	if again.IsFence() {
		again.ID = r.ID // whoever asks for it knows
	}
	*r = *again
	return nil
}

func (l *liveUpload) advance(to subject.Instant) {
	l.t.Helper()
	_, err := l.machine.Advance(to, 0)
	l.must(err)
	e := l.machine.Engine()
	for i := range e.Changes {
		id := e.Changes[i].Subject.Type.String() + e.Changes[i].Subject.Value
		l.changes[id] = append(l.changes[id], told(&e.Changes[i]))
	}
	e.Changes = e.Changes[:0]
}

func (l *liveUpload) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// A subject that sends old events without an end keeps nobody waiting for more
// than a minute, itself included; what is due then bears its own instant.
func TestWaitingEnds(t *testing.T) {
	set, problems := load(`purposes:
  - {key: p, description: Offers, lawful_basis: contract, retention: 30d}
segments:
  - {key: buyer, purpose: p, when: 'events("Order").within("7d").exists()'}
  - {key: seen, purpose: p, when: 'events("*").count() >= 1'}
`)
	if set == nil {
		t.Fatal(problems)
	}
	m := core.NewMachine(core.New(set, core.Config{}), core.NewMemory(), subject.LongAgo)
	advance := func(to subject.Instant) {
		if _, err := m.Advance(to, 0); err != nil {
			t.Fatal(err)
		}
	}
	now := subject.Instant(1_780_000_000_000_000)
	advance(now)
	old := now - 8*subject.Day
	for second := range subject.Instant(180) {
		at, name := now+second*1e6, "Page"
		if second == 0 {
			name = "Order"
		}
		if _, err := m.Event(&subject.Event{Subject: subject.ID{Value: "u1"}, Name: name, Time: old + second*1e6, Arrival: at}); err != nil {
			t.Fatal(err)
		}
		advance(at + 1)
		want := 2 // buyer and seen are entered, or left too
		if at+1 > now.Add(time.Minute) {
			want = 3
		}
		if got := m.Engine().Changes; len(got) != want {
			t.Fatalf("%d s after the first old event there are %d changes, want %d: %v", second, len(got), want, got)
		}
	}
	left := m.Engine().Changes[2]
	if want := old + 7*subject.Day; left.Segment != "buyer" || left.Kind != subject.Exited || left.Time != want || left.Reason != subject.ByTime {
		t.Errorf("%+v, want buyer left at %s", left, want)
	}
}

// What waits is explained as it is published: the next change is the one that is
// due, at its own instant, though the clock has passed that.
func TestExplainWhatWaits(t *testing.T) {
	set, problems := load(`purposes:
  - {key: p, description: Offers, lawful_basis: contract, retention: 30d}
segments:
  - {key: buyer, purpose: p, when: 'events("Order").within("7d").exists()'}
`)
	if set == nil {
		t.Fatal(problems)
	}
	records := core.NewMemory()
	m := core.NewMachine(core.New(set, core.Config{}), records, subject.LongAgo)
	now := subject.Instant(1_780_000_000_000_000)
	old := now - 8*subject.Day
	_, err := m.Advance(now, 0)
	if err == nil {
		_, err = m.Event(&subject.Event{Subject: subject.ID{Value: "u1"}, Name: "Order", Time: old, Arrival: now})
	}
	if err == nil {
		_, err = m.Advance(now+1, 0)
	}
	r, _ := records.Get(subject.ID{Value: "u1"})
	if err != nil || r == nil {
		t.Fatal(r, err)
	}
	ex := m.Engine().Explain(r, 0, m.Clock())
	if due := (old + 7*subject.Day).String(); !ex.Member || ex.NextChange == nil || ex.NextChange.At != due || ex.NextChange.Change != "exited" {
		t.Errorf("explained as %+v, next %+v; want a member who leaves at %s", ex, ex.NextChange, due)
	}
}
