package processor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// startsWith lets a rule set's instance settle the rules, without partitions.
func (l *lab) startsWith(set *rules.Set) error {
	l.t.Helper()
	return l.another(set).processor.SettleRules(l.t.Context())
}

// refusedRules checks that an instance with these rules is refused for a reason.
func (l *lab) refusedRules(set *rules.Set, why string) {
	l.t.Helper()
	var configured *ConfigError
	if err := l.startsWith(set); !errors.As(err, &configured) || !strings.Contains(err.Error(), why) {
		l.t.Errorf("revision %d: %v, want %q", set.Revision, err, why)
	}
}

// wanted is the rule set that <group>-rules says is wanted.
func (l *lab) wanted() (hash string) {
	l.t.Helper()
	for _, rec := range l.readTopic(Topics{l.cfg.Group}.Rules()) {
		if rec.Value == nil {
			continue
		}
		e, err := decodeEdition(rec.Key, rec.Value)
		must(l.t, err)
		if e.archive != nil {
			hash = e.Hash
		}
	}
	return hash
}

// Where <group>-rules was lost while nobody runs, who starts next is held to what
// the partitions follow, by their changelog: that is published again first.
func TestRulesThatAreLostAreFoundOnTheChangelog(t *testing.T) {
	set, older, removing, newer := bookRules(t, 5, "one"), bookRules(t, 4, "one"), bookRules(t, 5, "two"), bookRules(t, 6, "one")
	for name, lose := range map[string]func(l *lab){
		"made anew": func(l *lab) { l.remake(Topics{l.cfg.Group}.Rules()) },
		"emptied": func(l *lab) {
			topic := Topics{l.cfg.Group}.Rules()
			for _, rec := range l.readTopic(topic) {
				_, err := l.producer.Send(l.t.Context(), []stream.Message{{Topic: topic, Key: rec.Key, Timestamp: subject.FromTime(time.Now())}})
				must(l.t, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, labConfig{set: set, partitions: 2})
			l.holdClock(ago(day))
			l.produce(given("u1", "marketing", ago(2*day)), track("u1", "Order Completed", "m", ago(2*day)))
			r := l.start()
			eventually(t, "u1 is a member", func() bool { return l.membersOf(r, "u1") == "buyer,one" })
			r.stop()
			lose(l)
			l.refusedRules(older, "its revision 4 is lower than 5")
			l.refusedRules(removing, "it removes segments that hold members")
			if got := l.wanted(); got != set.Hash {
				t.Errorf("%s is wanted, not %s, which was in force", short(got), short(set.Hash))
			}
			lose(l)
			must(t, l.startsWith(newer)) // which is published after what is in force
			if got := l.wanted(); got != newer.Hash {
				t.Errorf("%s is wanted, not %s, the newer one", short(got), short(newer.Hash))
			}
			r = l.start() // with the files of before
			eventually(t, "it follows the newer ones", func() bool { return r.processor.Rules().Hash == newer.Hash && r.stateOf(0).Ready })
			r.read()
			r.stop()
			l.verify(l.changes())
		})
	}
}

// An instance that runs publishes what is in force again where it is lost.
func TestRulesThatAreLostAreRepublished(t *testing.T) {
	set := bookRules(t, 5, "one")
	l := newLab(t, labConfig{set: set, partitions: 1})
	r := l.follow()
	r.read()
	l.remake(Topics{l.cfg.Group}.Rules())
	eventually(t, "the rules are published again", func() bool { return l.wanted() == set.Hash })
	l.refusedRules(bookRules(t, 4, "one"), "its revision 4 is lower than 5")
	newer := bookRules(t, 6, "one")
	must(t, l.startsWith(newer))
	eventually(t, "newer ones are followed", func() bool { return r.processor.Rules().Hash == newer.Hash })
	r.read()
	r.stop()
}

// A running partition asks the guards itself about rules of which nobody has
// looked at what they do: those of a first edition.
func TestRunningPartitionsAskTheGuards(t *testing.T) {
	for name, c := range map[string]struct {
		revision int
		segment  string
		why      string
	}{
		"an older revision": {4, "one", "its revision 4 is lower than 5"},
		"removals":          {5, "two", "it removes segments that hold members"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, labConfig{set: bookRules(t, 5, "one"), partitions: 1})
			l.cfg.topicWatch = 20 * time.Millisecond
			l.holdClock(ago(day))
			l.produce(given("u1", "marketing", ago(2*day)), track("u1", "Order Completed", "m", ago(2*day)))
			r := l.start()
			eventually(t, "u1 is a member", func() bool { return l.membersOf(r, "u1") == "buyer,one" })
			now := subject.FromTime(time.Now())
			e, err := newEdition(bookRules(t, c.revision, c.segment), now)
			must(t, err)
			value, err := e.encode()
			must(t, err)
			_, err = l.producer.Send(t.Context(), []stream.Message{{Topic: Topics{l.cfg.Group}.Rules(), Key: []byte(e.Hash), Value: value, Timestamp: now}})
			must(t, err)
			must(t, r.processor.refreshRules(t.Context()))
			var configured *ConfigError
			if err := r.fails(); !errors.As(err, &configured) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("the processor ended with %v", err)
			}
			l.verify(l.changes())
		})
	}
}

// follow starts a processor that follows the rules that are published, as run does.
func (l *lab) follow() *running {
	l.t.Helper()
	r := l.open()
	r.run(func(ctx context.Context) error {
		if err := r.processor.SettleRules(ctx); err != nil {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return r.processor.FollowRules(ctx) })
		group.Go(func() error { return r.processor.Run(ctx, l.generation()) })
		return group.Wait()
	})
	return r
}
