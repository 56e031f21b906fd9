package processor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// bookRules are a rule set of a revision, told apart by a segment.
func bookRules(t testing.TB, revision int, segment string) *rules.Set {
	t.Helper()
	return loadRules(t, fmt.Sprintf(`
revision: %d
purposes:
  - {key: marketing, description: M, lawful_basis: consent, retention: 60d}
segments:
  - {key: buyer, purpose: marketing, when: 'events("Order Completed").exists()'}
  - {key: %s, purpose: marketing, when: 'events("Order Completed").count() >= 0'}
`, revision, segment))
}

// newBookLab has a customer under the older of two rule sets.
func newBookLab(t *testing.T) (l *lab, older, newer *rules.Set) {
	t.Helper()
	older, newer = bookRules(t, 1, "one"), bookRules(t, 2, "two")
	l = newLab(t, labConfig{set: older, partitions: 1})
	l.cfg.AllowRemovals = true
	l.holdClock(ago(day))
	l.produce(given("u1", "marketing", ago(2*day)), track("u1", "Order Completed", "m", ago(2*day)))
	return l, older, newer
}

// another opens a further instance of the lab's group, with rules of its own and
// without any partition.
func (l *lab) another(set *rules.Set) *running {
	l.t.Helper()
	own, data := l.set, l.data
	l.set, l.data = set, l.t.TempDir()+"/data"
	defer func() { l.set, l.data = own, data }()
	r := l.open()
	r.cancel = func() {}
	close(r.done)
	l.t.Cleanup(func() { _ = r.end() })
	return r
}

// What was published is wanted, whatever has become of who published it: an
// instance that starts with the older files follows it, and publishes nothing.
func TestPublishedRulesOutliveTheirPublisher(t *testing.T) {
	l, _, newer := newBookLab(t)
	r := l.start()
	r.read()
	r.stop()
	must(t, l.another(newer).processor.SettleRules(t.Context())) // and it dies
	records := len(l.readTopic(Topics{l.cfg.Group}.Rules()))
	r = l.start()
	eventually(t, "the newer rules are followed", func() bool { return l.membersOf(r, "u1") == "buyer,two" })
	if r.processor.Rules().Hash != newer.Hash || !strings.Contains(l.log.String(), "superseded: it follows the newer rules of its group") {
		t.Errorf("it follows %s:\n%s", r.processor.Rules().Hash, l.log.String())
	}
	r.stop()
	if n := len(l.readTopic(Topics{l.cfg.Group}.Rules())); n != records {
		t.Errorf("%d records on the topic of rules, were %d", n, records)
	}
	l.verify(l.changes())
}

// A partition that comes from an instance with newer rules keeps them at one
// that has not read of them yet.
func TestPartitionFromElsewhereKeepsItsRules(t *testing.T) {
	l, older, newer := newBookLab(t)
	r := l.start()
	r.read()
	behind := l.another(older)
	must(t, behind.processor.SettleRules(t.Context()))
	_, err := r.processor.Reload(t.Context(), newer, true)
	must(t, err)
	l.set = newer
	r.changed()
	r.stop()
	if behind.processor.Rules().Hash != older.Hash {
		t.Fatal("the other instance knows already")
	}
	behind.done, behind.stopped = make(chan struct{}), false
	behind.run(func(ctx context.Context) error { return behind.processor.Run(ctx, l.generation()) })
	behind.changed()
	behind.stop()
	var followed []string
	for _, rec := range l.readTopic(Topics{l.cfg.Group}.Changelog()) {
		if string(rec.Key) != string(state.CheckpointKey) {
			continue
		}
		cp, err := state.DecodeCheckpoint(rec.Value)
		must(t, err)
		if n := len(followed); n == 0 || followed[n-1] != cp.RuleSet {
			followed = append(followed, cp.RuleSet)
		}
	}
	if !slices.Equal(followed, []string{older.Hash, newer.Hash}) {
		t.Errorf("the partition followed %v; older %s, newer %s", followed, older.Hash, newer.Hash)
	}
}

// Of instances that publish at once each sees what it supersedes: all agree on
// the last one, and its revision is the highest.
func TestInstancesPublishAtOnce(t *testing.T) {
	l := newLab(t, labConfig{set: bookRules(t, 1, "one"), partitions: 1})
	must(t, l.another(l.set).processor.SettleRules(t.Context()))
	var all []*running
	var group errgroup.Group
	for i := range 4 {
		r := l.another(bookRules(t, i+2, fmt.Sprintf("s%d", i)))
		all = append(all, r)
		group.Go(func() error {
			err := r.processor.SettleRules(t.Context())
			var configured *ConfigError
			if errors.As(err, &configured) && strings.Contains(err.Error(), "is lower than") {
				return nil
			}
			return err
		})
	}
	must(t, group.Wait())
	for _, r := range all {
		must(t, r.processor.refreshRules(t.Context()))
		if got := r.processor.Rules().Revision; got != 5 {
			t.Errorf("revision %d is followed", got)
		}
	}
	chain, files := 0, 0
	before := ""
	for _, rec := range l.readTopic(Topics{l.cfg.Group}.Rules()) {
		e, err := decodeEdition(rec.Key, rec.Value)
		must(t, err)
		if e.archive == nil {
			files--
			continue
		}
		if chain++; e.Supersedes != before {
			t.Errorf("%s supersedes %s, after %s", e.Hash, e.Supersedes, before)
		}
		before, files = e.Hash, files+1
	}
	if chain < 2 || files != 1 {
		t.Errorf("%d editions were published, the files of %d are kept", chain, files)
	}
}

// Rules that this program cannot compile end it, rather than that it goes on
// with others.
func TestRulesOfAnotherProgram(t *testing.T) {
	for name, value := range map[string]string{
		"newer format": `{"format":2,"hash":"h"}` + "\nx",
		"other files":  `{"format":1,"hash":"h","revision":9,"published":"2026-01-01T00:00:00Z"}` + "\nx",
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, labConfig{set: bookRules(t, 1, "one"), partitions: 1})
			r := l.start()
			r.read()
			r.stop()
			_, err := l.producer.Send(t.Context(), []stream.Message{{Topic: Topics{l.cfg.Group}.Rules(), Timestamp: subject.FromTime(time.Now()), Key: []byte("h"), Value: []byte(value)}})
			must(t, err)
			var configured *ConfigError
			if err := l.start().fails(); !errors.As(err, &configured) || !strings.Contains(err.Error(), "shop-rules") {
				t.Errorf("the start ended with %v", err)
			}
		})
	}
}

// Another instance's rules are followed, and where they cannot be it ends.
func TestFollowRules(t *testing.T) {
	l := newLab(t, labConfig{set: bookRules(t, 1, "one"), partitions: 1})
	r := l.another(l.set)
	must(t, r.processor.SettleRules(t.Context()))
	r.done, r.stopped = make(chan struct{}), false
	r.run(r.processor.FollowRules)
	next := bookRules(t, 2, "two")
	must(t, l.another(next).processor.SettleRules(t.Context()))
	eventually(t, "the rules are followed", func() bool { return r.processor.Rules().Hash == next.Hash })
	_, err := l.producer.Send(t.Context(), []stream.Message{{Topic: Topics{l.cfg.Group}.Rules(), Timestamp: subject.FromTime(time.Now()), Key: []byte("h"), Value: []byte(`{"format":2,"hash":"h"}`)}})
	must(t, err)
	var configured *ConfigError
	if err := r.fails(); !errors.As(err, &configured) {
		t.Errorf("it ended with %v", err)
	}
}

// Members are counted by what stands on the topic in the end, whatever is in ids.
func TestPublishedMembers(t *testing.T) {
	set := bookRules(t, 1, "one")
	l := newLab(t, labConfig{set: set, partitions: 2})
	l.holdClock(ago(day))
	for _, id := range []string{"u1", "u2", "a|buyer", "u|x|one", "leaves"} {
		l.produce(given(id, "marketing", ago(2*day)), track(id, "Order Completed", id, ago(2*day)))
	}
	l.produce(given("only-known", "marketing", ago(2*day)), decision("leaves", "marketing", "withdrawn", ago(2*day-time.Hour)))
	r := l.start()
	r.read()
	got, err := r.processor.publishedMembers(t.Context(), set.Names())
	must(t, err)
	if want := map[string]int64{"buyer": 4, "one": 5}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	r.stop()
}

// Records of others on the topic of rules are passed over, and told; rules of a
// newer format are not.
func TestForeignRecordsAmongTheRules(t *testing.T) {
	l := newLab(t, labConfig{set: bookRules(t, 1, "one"), partitions: 1})
	put := func(key, value string) {
		_, err := l.producer.Send(t.Context(), []stream.Message{{Topic: Topics{l.cfg.Group}.Rules(), Key: []byte(key), Value: []byte(value), Timestamp: subject.FromTime(time.Now())}})
		must(t, err)
	}
	for _, value := range []string{"hello", "{}", "{\"format\":1,\"hash\":\"other\"}\n", "\n\n"} {
		put("junk", value)
	}
	r := l.start()
	r.read()
	r.stop()
	if n := strings.Count(l.log.String(), "a record that is not segmentd's is passed over"); n < 4 {
		t.Errorf("it was told %d times", n)
	}
	put("ahead", "{\"format\":99,\"hash\":\"ahead\"}\n")
	var config *ConfigError
	if err := l.another(l.set).processor.SettleRules(t.Context()); !errors.As(err, &config) || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("rules of a newer format: %v", err)
	}
}
