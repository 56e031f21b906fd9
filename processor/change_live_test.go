package processor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

const beforeRules = `
revision: 3
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 60d}
lists:
  - {key: vips, members: [u1]}
segments:
  - {key: gone, purpose: marketing, when: 'events("Order Completed").exists()'}
  - {key: same, purpose: marketing, when: 'events("Order Completed").count() >= 2'}
  - {key: fewer, purpose: marketing, when: 'events("Order Completed").count() >= 3'}
  - {key: more, purpose: marketing, when: 'events("Refunded").count() >= 2'}
  - {key: listed, purpose: marketing, when: 'list("vips")'}
  - {key: waits, purpose: marketing, when: 'events("Order Completed").within("10d").exists()'}
`

// afterRules have one segment of each treatment.
const afterRules = `
revision: 4
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 60d}
lists:
  - {key: vips, members: [u2]}
segments:
  - {key: same, purpose: marketing, when: 'events("Order Completed").count() >= 2'}
  - {key: fewer, purpose: marketing, when: 'events("Order Completed").count() >= 2'}
  - {key: more, purpose: marketing, when: 'events("Refunded").count() >= 3'}
  - {key: listed, purpose: marketing, when: 'list("vips")'}
  - {key: waits, purpose: marketing, when: 'events("Order Completed").within("5d").exists()'}
  - {key: viewed, purpose: marketing, when: 'events("Viewed").exists()'}
`

// holdingBack is a Fetcher that gives nothing of what is read again while it
// holds, but for some pieces at first.
type holdingBack struct {
	stream.Fetcher
	holds  atomic.Bool
	pieces atomic.Int64
}

func (h *holdingBack) Fetch(ctx context.Context, at []stream.Position, o stream.FetchOptions, b *stream.Buffer) ([]stream.Fetched, error) {
	again := len(at) > 0 && at[0].Topic == events && o.MaxWait == 0
	if again && h.holds.Load() && h.pieces.Add(-1) < 0 {
		var nothing []stream.Fetched
		for _, p := range at {
			nothing = append(nothing, stream.Fetched{Topic: p.Topic, Partition: p.Partition, Next: p.Offset, HighWatermark: p.Offset, LastStable: p.Offset})
		}
		return nothing, nil
	}
	return h.Fetcher.Fetch(ctx, at, o, b)
}

// since are the changes of a subject from the first that the other does not have.
func since(all, before []subject.Change) string {
	var lines []string
	for _, c := range all[len(before):] {
		lines = append(lines, fmt.Sprintf("%s %s %s", c.Segment, c.Kind, c.Reason))
	}
	return strings.Join(lines, ", ")
}

// Each segment changes by what became of its rule, with the reason of that; what
// must be filled says nothing until it is, but for the ways out.
func TestReasonsOfChangedRules(t *testing.T) {
	l := newLab(t, labConfig{rules: beforeRules, partitions: 1})
	h := &holdingBack{Fetcher: l.fetcher}
	l.fetcher = h
	l.cfg.closeRecords = 1
	start := ago(20 * day)
	l.holdClock(start)
	ids := []string{"u1", "u2", "u3"}
	for _, id := range ids {
		l.produce(given(id, "marketing", start), track(id, "Viewed", id+"v", start.Add(time.Minute)),
			track(id, "Order Completed", id+"1", start.Add(time.Hour)), track(id, "Order Completed", id+"2", start.Add(2*time.Hour)),
			track(id, "Refunded", id+"3", start.Add(3*time.Hour)), track(id, "Refunded", id+"4", start.Add(4*time.Hour)))
	}
	r := l.start()
	r.read()
	clock := start.Add(8 * day)
	l.produce(track("u1", "Viewed", "late clock", clock))
	r.read()
	before := bySubject(l.changes())
	h.holds.Store(true)
	done, err := r.reload(afterRules, true)
	must(t, err)
	want := Reloaded{RuleSet: l.set.Hash, Revision: 4, Changed: true}
	want.Segments.Added, want.Segments.Changed, want.Segments.Removed = []string{"viewed"}, []string{"fewer", "listed", "more", "waits"}, []string{"gone"}
	if d := cmp.Diff(want, done); d != "" {
		t.Error(d)
	}
	eventually(t, "it is being filled", func() bool { c, ok := r.processor.Coverage("viewed"); return ok && c.Filling && c.Of > 0 })
	r.explainFilling("viewed")
	filling, _ := r.processor.Coverage("more")
	if filling.From != subject.FromTime(clock) || filling.Done != 0 {
		t.Errorf("the coverage of what is filled is %+v", filling)
	}
	if _, ok := r.processor.Coverage("same"); ok {
		t.Error("a segment that is not filled has a coverage")
	}
	// Live events reach what is decided and not what is filled; a stop reaches all.
	l.produce(track("u1", "Viewed", "u1 again", clock.Add(time.Hour)), track("u1", "Refunded", "u1 refund", clock.Add(2*time.Hour)))
	r.read()
	l.produce(decision("u3", "marketing", "withdrawn", clock.Add(3*time.Hour)))
	eventually(t, "the withdrawal is in force", func() bool { return l.membersOf(r, "u3") == "" })
	during := bySubject(l.changes())
	h.holds.Store(false)
	r.changed()
	after := bySubject(l.changes())
	r.stop()
	for id, want := range map[string][2]string{
		"u1": {"gone exited rule_removed, listed exited list, fewer entered rule_changed, waits exited rule_changed", "viewed entered backfill"},
		"u2": {"gone exited rule_removed, listed entered list, fewer entered rule_changed, waits exited rule_changed", "more exited backfill, viewed entered backfill"},
		"u3": {"gone exited rule_removed, fewer entered rule_changed, waits exited rule_changed, fewer exited withdrawn, more exited withdrawn, same exited withdrawn", ""},
	} {
		s := subject.ID{Value: id}
		if got := [2]string{since(during[s], before[s]), since(after[s], during[s])}; got != want {
			t.Errorf("%s:\n got %q\nwant %q", id, got, want)
		}
	}
	for _, c := range after[subject.ID{Value: "u2"}][len(before[subject.ID{Value: "u2"}]):] {
		at := subject.FromTime(clock)
		if c.Reason == subject.ByList {
			at = subject.FromTime(start.Add(4 * time.Hour)) // the subject's clock
		}
		if c.Reason == subject.ByBackfill {
			at = subject.FromTime(clock.Add(2 * time.Hour)) // the partition's clock has moved on
		}
		if d := c.Time.Time().Sub(at.Time()); d.Abs() > 10*time.Second {
			t.Errorf("%s by %s is of %s, want %s", c.Segment, c.Reason, c.Time, at)
		}
	}
	l.verify(l.changes())
	for i, rec := range l.readTopic(Topics{l.cfg.Group}.Changes("")) {
		if inForce := strings.Contains(string(rec.Value), l.set.Hash); inForce != (i >= len(flatten(before))) {
			t.Errorf("change %d bears the wrong rule set: %s", i, rec.Value)
		}
	}
	if c := r.processor.Coverages(); len(c) > 0 {
		t.Errorf("after all was filled the coverages are %v", c)
	}
}

func flatten(by map[subject.ID][]subject.Change) (all []subject.Change) {
	for _, cs := range by {
		all = append(all, cs...)
	}
	return all
}

// What must not follow the rules in force is refused and changes nothing.
func TestRefusedChangesOfRules(t *testing.T) {
	l := newLab(t, labConfig{rules: beforeRules, partitions: 1})
	l.holdClock(ago(day))
	l.produce(given("u1", "marketing", ago(2*day)), track("u1", "Order Completed", "m", ago(day)))
	r := l.start()
	r.read()
	for _, c := range []struct {
		name, text, says string
		allow            bool
	}{
		{"a removal", afterRules, "removes segments that hold members, or moves them to another purpose or output: gone (1 member)", false},
		{"an older revision", strings.Replace(afterRules, "revision: 4", "revision: 2", 1), "its revision 2 is lower than 3", true},
	} {
		_, err := r.reload(c.text, c.allow)
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
	if done, err := r.reload(beforeRules, false); err != nil || done.Changed {
		t.Errorf("the same rules: %+v %v", done, err)
	}
	if done, err := r.reload(strings.Replace(beforeRules, "Offers", "Offers for you", 1), false); err != nil || !done.Changed || len(done.Segments.Changed) > 0 {
		t.Errorf("other words: %+v %v", done, err)
	}
	if done, err := r.reload(strings.Replace(beforeRules, "revision: 3", "revision: 4", 1), false); err != nil || !done.Changed || len(done.Segments.Changed) > 0 {
		t.Errorf("another revision: %+v %v", done, err)
	}
	if _, err := r.reload(beforeRules, true); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "others have superseded them since") {
		t.Errorf("the former rules: %v", err)
	}
	r.changed()
	if l.membersOf(r, "u1") != "gone,listed,waits" {
		t.Errorf("u1 is in %s", l.membersOf(r, "u1"))
	}
	r.stop()
	// A start is refused like a reload, before anything is written.
	log := len(l.readTopic(Topics{l.cfg.Group}.Changelog()))
	l.set = loadRules(t, afterRules)
	var configured *ConfigError
	if err := l.start().fails(); !errors.As(err, &configured) || !strings.Contains(err.Error(), "gone (1 member)") {
		t.Errorf("the start with a removal: %v", err)
	}
	l.set = loadRules(t, strings.Replace(beforeRules, "revision: 3", "revision: 1", 1))
	if err := l.start().fails(); !errors.As(err, &configured) || !strings.Contains(err.Error(), "revision 1 is lower than 4") {
		t.Errorf("the start with an older revision: %v", err)
	}
	if n := len(l.readTopic(Topics{l.cfg.Group}.Changelog())); n != log {
		t.Errorf("refused starts wrote to the changelog: %d records, were %d", n, log)
	}
	l.set, l.cfg.AllowRemovals = loadRules(t, afterRules), true
	r = l.start()
	r.changed()
	if got := l.membersOf(r, "u1"); got != "waits" {
		t.Errorf("u1 is in %s", got)
	}
	r.stop()
	l.verify(l.changes())
}

// A removal that was allowed when another partition changed is not asked about
// again: the process may have died in between.
func TestAllowedRemovalGoesOn(t *testing.T) {
	l := newLab(t, labConfig{rules: beforeRules, partitions: 2})
	l.holdClock(ago(day))
	var ids []string
	for i := 0; len(ids) < 2; i++ {
		if id := fmt.Sprintf("u%d", i); l.of(id) == int32(len(ids)) {
			ids = append(ids, id)
			l.produce(given(id, "marketing", ago(2*day)), track(id, "Order Completed", id, ago(day)))
		}
	}
	r := l.start()
	r.read()
	r.stop()
	l.set, l.only, l.cfg.AllowRemovals = loadRules(t, afterRules), []int32{0}, true
	r = l.start()
	eventually(t, "one partition has changed", func() bool {
		is := false
		return r.inspect(0, func(p *partitionLoop) { is = p.change == nil && p.rules().Hash == l.set.Hash }) && is
	})
	r.stop()
	l.only, l.cfg.AllowRemovals = nil, false
	r = l.start()
	r.changed()
	r.stop()
	for _, id := range ids {
		if got := endOf(bySubject(l.changes())[subject.ID{Value: id}]); strings.Contains(got, "gone") {
			t.Errorf("%s is in %s", id, got)
		}
	}
}

// A purpose that is new reads the decisions again, withdrawals among them, and
// what subjects did while they allowed it; of others there is no trace.
func TestNewPurposeReadsDecisionsAgain(t *testing.T) {
	const news = "\n  - {key: reads, purpose: news, when: 'events(\"Page Viewed\").distinct(properties.name) >= 1'}\n"
	withNews := strings.Replace(traceRules, "segments:", "  - {key: news, description: News, lawful_basis: consent, retention: 20d, output: letters}\nsegments:", 1) + news
	l := newLab(t, labConfig{rules: traceRules, partitions: 2})
	l.cfg.sweepRecords = 1
	for _, who := range []struct{ id, status, later string }{
		{"canary-never-1a", "", ""}, {"canary-given-2b", "given", ""}, {"canary-withdrawn-3c", "given", "withdrawn"},
		{"canary-refused-4d", "refused", ""}, {"canary-back-5e", "withdrawn", "given"},
	} {
		at := ago(3 * time.Hour)
		for i, status := range []string{who.status, who.later} {
			if status != "" {
				l.produce(decision(who.id, "news", status, at.Add(time.Duration(i)*time.Hour)))
			}
		}
		l.produceTraces(who.id, "") // an hour ago
	}
	r := l.start()
	r.caughtUp()
	if n := r.metric(t, "segmentd_rejected_total", "reason", "unknown_purpose"); n != 6 {
		t.Errorf("%v decisions were on an unknown purpose", n)
	}
	rejected := len(l.rejects())
	l.set = loadRules(t, withNews)
	l.createTopics()
	_, err := r.reload(withNews, false)
	must(t, err)
	r.changed()
	r.caughtUp()
	r.stop()
	var got []string
	for _, rec := range l.readTopic(Topics{l.cfg.Group}.Changes("letters")) {
		p, err := wire.ParseChange(rec.Value)
		must(t, err)
		got = append(got, fmt.Sprintf("%s %s %s", p.Change.Subject.Value, p.Change.Kind, p.Change.Reason))
	}
	slices.Sort(got)
	if want := []string{"canary-back-5e entered backfill", "canary-given-2b entered backfill"}; !slices.Equal(got, want) {
		t.Errorf("changes of the new purpose: %v, want %v", got, want)
	}
	if n := len(l.rejects()); n != rejected {
		t.Errorf("%d records were rejected again", n-rejected)
	}
	for _, id := range []string{"canary-never-1a", "payload of canary-withdrawn-3c", "payload of canary-refused-4d"} {
		if found := l.places(t, id); len(found) > 0 {
			t.Errorf("a trace of what was not allowed: %v", found)
		}
	}
	if found := l.places(t, "payload of canary-given-2b"); len(found) == 0 {
		t.Error("the search finds nothing of what was allowed")
	}
}

// A purpose whose terms change keeps those in whom they still hold, and says so
// of nobody else; those in whom they hold no longer leave at once.
func TestChangedPolicyDecidesWhoStays(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(40 * day)
	l.holdClock(at)
	l.produce(given("renewed", "marketing", at), given("renewed", "marketing", at.Add(30*day)), given("lapsed", "marketing", at),
		track("renewed", "Order Completed", "m1", at.Add(time.Hour)), track("lapsed", "Order Completed", "m2", at.Add(time.Hour)),
		track("renewed", "Order Completed", "m3", at.Add(35*day)), track("lapsed", "Order Completed", "m4", at.Add(35*day)))
	r := l.start()
	r.read()
	before := bySubject(l.changes())
	_, err := r.reload(strings.Replace(clockRules, "retention: 400d", "retention: 400d, consent_expires_after: 20d", 1), false)
	must(t, err)
	r.changed()
	r.stop()
	after := bySubject(l.changes())
	for id, want := range map[string]string{"renewed": "", "lapsed": "buyer exited rule_changed, known exited rule_changed"} {
		if got := since(after[subject.ID{Value: id}], before[subject.ID{Value: id}]); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

// What a shadow holds goes with a withdrawal, as what the record holds does.
func TestWithdrawalDeletesShadows(t *testing.T) {
	const id = "canary-withdraws-6f1"
	l := newLab(t, labConfig{rules: traceRules, partitions: 1})
	h := &holdingBack{Fetcher: l.fetcher}
	l.fetcher = h
	l.cfg.closeRecords, l.cfg.BatchBytes = 1, 2000
	l.produceTraces(id, "given")
	for i := range 200 {
		l.produce(track("other", "Order Completed", fmt.Sprint("m", i), ago(time.Minute)))
	}
	newest := func() (payload bool) {
		for _, rec := range l.readTopic(Topics{l.cfg.Group}.Changelog()) {
			if strings.Contains(string(rec.Value), id) {
				payload = strings.Contains(string(rec.Value), "payload of")
			}
		}
		return payload
	}
	r := l.start()
	r.caughtUp()
	h.pieces.Store(2)
	h.holds.Store(true)
	_, err := r.reload(strings.NewReplacer(`"3d"`, `"4d"`, `traits.country == "DE"`, `traits.country != "DE"`).Replace(traceRules), false)
	must(t, err)
	eventually(t, "some events are read again", func() bool { return h.pieces.Load() < 0 })
	shadowed := false
	eventually(t, "the record has a shadow that holds something", func() bool {
		return r.inspect(0, func(p *partitionLoop) {
			rec, err := p.image.Get(subject.ID{Value: id})
			must(t, err)
			shadowed = rec.Shadow != nil && len(rec.Shadow.Purpose("profiling").Leaves) > 0
		}) && shadowed
	})
	if !newest() {
		t.Error("the search finds nothing of what is kept")
	}
	l.produce(decision(id, "profiling", "withdrawn", ago(time.Second)), decision(id, "marketing", "withdrawn", ago(time.Second)))
	eventually(t, "the withdrawal is in force", func() bool { return l.membersOf(r, id) == "" })
	if newest() {
		t.Error("the newest record still holds what was kept")
	}
	h.holds.Store(false)
	r.changed()
	r.stop()
	if got := l.membersIn(l.changes()); newest() || strings.Contains(got, id) {
		t.Errorf("something came back; members are %s", got)
	}
}

// Where topics no longer hold everything, what is filled says since when it is complete.
func TestCoverageBeginsWithTheTopic(t *testing.T) {
	l := newLab(t, labConfig{rules: beforeRules, partitions: 1})
	at := ago(2 * day)
	l.holdClock(at)
	l.produce(given("u1", "marketing", at), track("u1", "Viewed", "m1", at.Add(time.Hour)), track("u1", "Viewed", "m2", at.Add(2*time.Hour)),
		track("u1", "Order Completed", "m3", at.Add(3*time.Hour)))
	r := l.start()
	r.read()
	l.deleteRecords(events, 0, 1)
	_, err := r.reload(strings.Replace(afterRules, `events("Viewed").exists()`, `events("Viewed").count() >= 1`, 1), true)
	must(t, err)
	r.changed()
	covered := func(r *running) subject.Instant { c, _ := r.processor.Coverage("viewed"); return c.From }
	from := subject.FromTime(at.Add(2 * time.Hour))
	eventually(t, "the coverage is told", func() bool { return covered(r) == from })
	if got := l.membersOf(r, "u1"); got != "viewed,waits" {
		t.Errorf("u1 is in %s", got)
	}
	r.stop()
	r = l.start()
	r.read()
	eventually(t, "the coverage is told after a restart", func() bool { return covered(r) == from })
	l.produce(track("u2", "Viewed", "m4", at.Add(63*day))) // past the retention
	r.read()
	eventually(t, "the coverage no longer matters", func() bool { return len(r.processor.Coverages()) == 0 })
	r.stop()
}

// Rules that this program cannot compile any more, or that an earlier version did
// not keep, are left: all is filled anew.
func TestRulesThatCannotBeTold(t *testing.T) {
	for _, c := range []struct {
		name       string
		key, value []byte
	}{
		{"damaged", state.RulesKey, []byte("no archive")},
		{"not kept", state.RulesKey, nil},
		{"kept otherwise", state.DictionaryKey, nil}, // its value follows
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory(seed(t), 600)
			l := newLab(t, labConfig{})
			l.cfg.AllowRemovals = true
			l.holdClock(h.events[0].at)
			half := len(h.events) / 2
			l.produce(h.decisions...)
			l.produce(h.events[:half]...)
			r := l.start()
			r.read()
			r.stop()
			if c.value == nil && string(c.key) == string(state.DictionaryKey) {
				b, err := dictionary{RuleSet: l.set.Hash, Leaves: "others", Segments: l.set.Names()}.encode()
				must(t, err)
				c.value = b
			}
			for p := range l.cfg.Partitions {
				_, err := l.producer.Send(t.Context(), []stream.Message{{Topic: Topics{l.cfg.Group}.Changelog(), Partition: p, Key: c.key, Value: c.value}})
				must(t, err)
			}
			if c.name != "kept otherwise" {
				l.set = loadRules(t, strings.Replace(shopRules, `"7d"`, `"8d"`, 1))
			}
			r = l.start()
			l.produce(h.events[half:]...)
			r.read()
			r.changed()
			r.read()
			got := r.contents()
			r.stop()
			if !strings.Contains(l.log.String(), "cannot be compiled by this program") {
				t.Error("the rules were told all the same")
			}
			l.verify(l.changes())
			if d := cmp.Diff(l.freshGroup(), got); d != "" {
				t.Errorf("(-fresh +changed)\n%s", d)
			}
		})
	}
}
