package processor

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// reload brings a running processor to another rule file.
func (r *running) reload(text string, allowRemovals bool) (Reloaded, error) {
	r.lab.t.Helper()
	set := loadRules(r.lab.t, text)
	done, err := r.processor.Reload(r.lab.t.Context(), set, allowRemovals)
	if err == nil {
		r.lab.set = set
	}
	return done, err
}

// changed waits until every partition is done with the change to the lab's rules.
func (r *running) changed() {
	r.lab.t.Helper()
	for id := range r.lab.cfg.Partitions {
		eventually(r.lab.t, fmt.Sprintf("partition %d has changed its rules", id), func() bool {
			is := false
			return r.inspect(id, func(p *partitionLoop) { is = p.change == nil && p.rules().Hash == r.lab.set.Hash }) && is
		})
	}
}

// contents is what every subject's record holds, brought to the same instant.
func (r *running) contents() map[string]string {
	r.lab.t.Helper()
	all := map[string]string{}
	for id := range r.lab.cfg.Partitions {
		eventually(r.lab.t, "contents", func() bool {
			return r.inspect(id, func(p *partitionLoop) {
				clock := p.machine.Clock()
				must(r.lab.t, p.image.Each(func(rec *subject.Record) error {
					if text := describeRecord(p.rules(), rec, clock); text != "" {
						all[rec.ID.Value] = text
					}
					return nil
				}))
			})
		})
	}
	return all
}

func describeRecord(set *rules.Set, r *subject.Record, clock subject.Instant) string {
	var b strings.Builder
	if r.Shadow != nil {
		b.WriteString("a shadow\n")
	}
	for i := range r.Purposes {
		p := r.Purposes[i]
		p.Leaves = slices.Clone(p.Leaves)
		for j := range p.Leaves {
			p.Leaves[j].Times, p.Leaves[j].Values = slices.Clone(p.Leaves[j].Times), slices.Clone(p.Leaves[j].Values)
		}
		for j := range set.Leaves {
			set.Leaves[j].Prune(&p, clock)
		}
		for _, l := range p.Leaves {
			what := "a leaf that nothing reads"
			if leaf := set.LeafByKey(l.Key); leaf != nil {
				what = leaf.Text
			}
			fmt.Fprintf(&b, "%s: %v %v\n", what, l.Times, l.Values)
		}
		for _, t := range p.Traits {
			fmt.Fprintf(&b, "%s trait %s %v\n", p.Key, t.Key, t.Value)
		}
		var members []string
		for _, m := range p.Members {
			at, ok := set.SegmentByID(m.Segment)
			if !ok {
				members = append(members, "?")
				continue
			}
			members = append(members, set.Segments[at].Key)
		}
		if slices.Sort(members); len(members) > 0 {
			fmt.Fprintf(&b, "%s: in %s\n", p.Key, strings.Join(members, ", "))
		}
	}
	return b.String()
}

// shopVariants are rules for each segment of a random rule set.
var shopVariants = map[string][]string{
	"buyer":       {`orders.within("7d").exists()`, `orders.within("3d").exists()`, `orders.within("20d").exists()`},
	"quiet":       {`orders.within("10d").count() == 0`, `orders.within("5d").count() == 0`, `orders.within("5d").count() < 3`},
	"big":         {`orders.within("14d").sum(properties.total) >= 150`, `orders.within("14d").sum(properties.total) >= 60`, `orders.sum(properties.total) >= 300`},
	"best":        {`segment("big")`, `segment("big") && traits.country == "FR"`, `!segment("big")`},
	"german":      {`traits.country == "DE"`, `traits.country != "DE"`, `traits.country == "IT" || list("vips")`},
	"refunds":     {`events("Order Refunded").count() >= 2`, `events("Order Refunded").count() >= 3`, `events("Order Refunded").max(properties.total) > 50`},
	"browses":     {`events("Page Viewed").within("3d").distinct(properties.name) >= 2`, `events("Page Viewed").within("2d").distinct(properties.name) >= 2`},
	"ever_bought": {`orders.exists()`, `orders.count() >= 2`},
	"refunder":    {`events("Order Refunded").within("5d").count() >= 2`, `events("Order Refunded").within("9d").count() >= 2`},
	"sampled":     {`bucket("a") < 0.5`, `bucket("b") < 0.5`},
}

// randomShop is a random rule file over shopVariants.
func randomShop(rng *rand.Rand) string {
	pick := func(all ...string) string { return all[rng.IntN(len(all))] }
	var b strings.Builder
	fmt.Fprintf(&b, "purposes:\n  - {key: marketing, description: M, lawful_basis: consent, retention: %s%s}\n", pick("60d", "30d", "90d"), pick("", "", ", consent_expires_after: 40d", ", consent_expires_after: 10d"))
	fmt.Fprintf(&b, "  - {key: profiling, description: P, lawful_basis: %s, retention: 20d}\n", pick("explicit_consent", "explicit_consent", "consent"))
	fmt.Fprintf(&b, "  - {key: fraud, description: F, lawful_basis: %s, retention: 90d}\n", pick("legitimate_interests", "legitimate_interests", "contract"))
	fmt.Fprintf(&b, "data:\n  - {field: properties.total, min: %s}\n", pick("0", "0", "0", "10"))
	fmt.Fprintf(&b, "lists:\n  - {key: vips, members: [%s]}\n", pick("customer-1", "customer-2, customer-3"))
	b.WriteString("let:\n  orders: events(\"Order Completed\")\nsegments:\n")
	hasBig := false
	for _, key := range []string{"big", "best", "buyer", "browses", "ever_bought", "german", "quiet", "refunder", "refunds", "sampled"} {
		if rng.IntN(5) == 0 || key == "best" && !hasBig {
			continue
		}
		hasBig = hasBig || key == "big"
		purpose := map[string]string{"browses": "profiling", "ever_bought": "profiling", "refunder": "fraud", "sampled": pick("fraud", "marketing")}[key]
		if purpose == "" {
			purpose = "marketing"
		}
		fmt.Fprintf(&b, "  - {key: %s, purpose: %s, when: '%s'}\n", key, purpose, pick(shopVariants[key]...))
	}
	return b.String()
}

// Whatever the rules were and are, wherever they change, wherever the processor
// dies meanwhile and whichever transactions fail: in the end everything is as
// in a group that had the new rules from the start.
func TestChangedRulesEqualAFreshGroup(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	n := seed(t)
	for round := range rounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) { changeAndCompare(t, n+uint64(round)) })
	}
}

func changeAndCompare(t *testing.T, n uint64) {
	t.Logf("SEGMENTD_TEST_SEED=%d", n)
	rng := rand.New(rand.NewPCG(n, 23))
	h := newHistory(n, 1500)
	from, to := randomShop(rng), randomShop(rng)
	l := newLab(t, labConfig{rules: from})
	l.cfg.BatchBytes, l.cfg.sweepRecords, l.cfg.closeRecords, l.cfg.AllowRemovals = 2000, 5, 100, true
	f := &faults{every: 23}
	inner := l.transactor
	l.transactor = func(id string) stream.Transactor { return &faulty{Transactor: inner(id), faults: f} }
	l.holdClock(h.events[0].at)
	all := h.all()
	slices.SortStableFunc(all, func(a, b record) int { return a.at.Compare(b.at) })
	half := rng.IntN(len(all))
	l.produce(all[:half]...)
	r := l.start()
	r.read()
	_, err := r.reload(to, true)
	must(t, err)
	for range rng.IntN(4) {
		r.lastsFor(time.Duration(rng.IntN(40)) * time.Millisecond) // anywhere in the change
		switch rng.IntN(5) {
		case 0, 1:
			r.crash()
			r = l.start()
		case 2, 3:
			r.stop()
			r = l.start()
		case 4: // again, before it is done
			to = randomShop(rng)
			_, err := r.reload(to, true)
			must(t, err)
		}
	}
	l.produce(all[half:]...)
	r.read()
	r.changed()
	r.read()
	got := r.contents()
	r.stop()
	changes := l.changes()
	l.verify(changes)
	for id, text := range got {
		if a, b := endOf(bySubject(changes)[subject.ID{Value: id}]), membersIn(text); a != b {
			t.Errorf("%s was published in %q and is in %q", id, a, b)
		}
	}
	want := l.freshGroup()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-fresh +changed)\n%s\nfrom %s\nto %s", d, from, to)
	}
}

// lastsFor wants the processor to run for a while.
func (r *running) lastsFor(d time.Duration) {
	r.lab.t.Helper()
	select {
	case <-time.After(d):
	case <-r.done:
		r.lab.t.Fatalf("the processor stopped: %v", r.err)
	}
}

// membersIn is endOf for a described record.
func membersIn(text string) string {
	var names []string
	for line := range strings.Lines(text) {
		if _, list, ok := strings.Cut(line, ": in "); ok {
			names = append(names, strings.Split(strings.TrimSpace(list), ", ")...)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// freshGroup runs another group over all inputs and returns its contents.
func (l *lab) freshGroup() map[string]string {
	l.t.Helper()
	fresh := &lab{t: l.t, broker: l.broker, client: l.client, producer: l.producer, set: l.set, cfg: l.cfg, data: l.t.TempDir() + "/data", secret: l.secret,
		transactor: l.transactor, fetcher: l.fetcher}
	fresh.held.Store(l.held.Load())
	fresh.cfg.Group = "fresh"
	fresh.createTopics()
	r := fresh.start()
	defer r.stop()
	r.read()
	return maps.Clone(r.contents())
}
