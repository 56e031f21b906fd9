package processor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
)

// ErrRefused is wrapped by errors of rule sets that are right in themselves and
// must not follow the present one; the message says why.
var ErrRefused = errors.New("the change of rules is refused")

// Reloaded says what a reload has brought about.
type Reloaded struct {
	RuleSet  string
	Revision int64
	Changed  bool // false: it is the rule set in force
	Segments rules.Summary
}

// acceptWait is how long a reload waits for a partition to take it up.
const acceptWait = 10 * time.Second

// publishWait is how long a reload waits for the broker to take the rules.
const publishWait = 30 * time.Second

// Reload publishes a rule set for the whole group: each partition goes over to it
// between two batches, or once it is done with a change under way. A set that
// must not follow the present one, or that another has superseded before, is
// refused (ErrRefused) and nothing changes. It returns when all partitions at
// work here have accepted it; those that do not answer in time will follow, and
// so will other instances. One Reload runs at a time.
func (p *Processor) Reload(ctx context.Context, to *rules.Set, allowRemovals bool) (Reloaded, error) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	if err := p.refreshRules(ctx); err != nil {
		return Reloaded{}, err
	}
	from := p.Rules()
	done := Reloaded{RuleSet: to.Hash, Revision: to.Revision, Changed: from.Hash != to.Hash, Segments: rules.Compare(from, nil, to).Summary()}
	if !done.Changed {
		return done, nil
	}
	if e := p.book.known(to.Hash); e != nil {
		return Reloaded{}, fmt.Errorf("%w: these rules were published at %s and others have superseded them since; "+
			"to go back to them give them a higher revision", ErrRefused, e.Published)
	}
	publishing, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	if err := p.publishRules(publishing, to, allowRemovals); err != nil {
		return Reloaded{}, err
	}
	if err := p.followWanted(); err != nil {
		return Reloaded{}, err
	}
	return done, p.awaitAccepted(ctx)
}

// Rules is the rule set that partitions follow, or will once what they are at is done.
func (p *Processor) Rules() *rules.Set {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.set
}

// rulesAreChecked reports whether it was looked at what the rule set in force
// removes, when it was published.
func (p *Processor) rulesAreChecked() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.checked
}

func (p *Processor) setRules(set *rules.Set, checked bool) {
	p.mu.Lock()
	p.set, p.checked = set, checked
	p.mu.Unlock()
	keys := make([]string, len(set.Segments))
	for i := range keys {
		keys[i] = set.Segments[i].Key
	}
	p.deps.Metrics.SetRuleSet(set.Hash, uint64(set.Revision), keys)
}

// awaitAccepted waits until every partition at work has come between two batches.
func (p *Processor) awaitAccepted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, acceptWait)
	defer cancel()
	p.mu.RLock()
	loops := slices.Collect(maps.Values(p.running))
	p.mu.RUnlock()
	for _, loop := range loops {
		if !loop.ready.Load() {
			continue // it looks at the rules before it begins
		}
		if err := loop.ask(ctx, func(*partition) {}); err != nil {
			return fmt.Errorf("partition %d is busy and takes up the rules when it is done: %w", loop.id, err)
		}
	}
	return nil
}

func mayFollowRevision(revision int64, to *rules.Set) error {
	if to.Revision >= revision {
		return nil
	}
	return fmt.Errorf("%w: its revision %d is lower than %d, that of the rules in force: an older copy of the rules? "+
		"To go back, give the former rules a higher revision", ErrRefused, to.Revision, revision)
}

func mayRemove(from []rules.Name, to *rules.Set, members map[string]int64) error {
	const allow = "allow it with --allow-removals (or ?allowRemovals=true) if that is meant"
	if len(to.Segments) == 0 && len(from) > 0 {
		return fmt.Errorf("%w: it has no segments; %s", ErrRefused, allow)
	}
	var removed []string
	for _, n := range rules.Compare(nil, from, to).Removed {
		if members[n.Key] > 0 {
			removed = append(removed, n.Key+holding(members[n.Key]))
		}
	}
	if len(removed) == 0 {
		return nil
	}
	slices.Sort(removed)
	return fmt.Errorf("%w: it removes segments that hold members, or moves them to another purpose or output: %s; %s",
		ErrRefused, strings.Join(removed, ", "), allow)
}

func holding(members int64) string {
	if members == 1 {
		return " (1 member)"
	}
	return fmt.Sprintf(" (%d members)", members)
}

// admission lets the partitions of a generation begin a change of rules only
// once all of them have said what they find: one that would lose members speaks
// against it, one that follows the rules already says that this was allowed.
type admission struct {
	mu       sync.Mutex
	waiting  map[int32]bool // guarded by mu
	approved bool           // guarded by mu
	refused  error          // guarded by mu
	open     chan struct{}  // closed when nobody is waited for
}

func newAdmission(partitions []int32) *admission {
	a := &admission{waiting: map[int32]bool{}, open: make(chan struct{})}
	for _, id := range partitions {
		a.waiting[id] = true
	}
	return a
}

// say takes what a partition finds.
func (a *admission) say(id int32, follows bool, refused error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.approved, a.refused = a.approved || follows, cmp.Or(a.refused, refused)
	if a.waiting[id] {
		delete(a.waiting, id)
		if len(a.waiting) == 0 {
			close(a.open)
		}
	}
}

// verdict is why the change must not begin, nil if it may.
func (a *admission) verdict() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.approved || a.refused == nil {
		return nil
	}
	return &ConfigError{a.refused.Error()}
}

// admit checks, after a recovery, whether the rules that are wanted may follow
// those that the state was made under, and if they are others waits until all
// partitions of the generation have done so, unless that was looked at when they
// were published. Nothing is written before.
func (p *partition) admit(ctx context.Context) error {
	to, from := p.target(), p.rules()
	names, revision, others := from.Names(), from.Revision, to.Hash != from.Hash
	if p.checkpoint.RuleSet != from.Hash { // begun anew, and not committed yet
		d := p.dictionary(state.FormerDictionaryKey)
		names, revision, others = d.Segments, d.Revision, true
	}
	var refused error
	if others {
		if err := mayFollowRevision(revision, to); err != nil {
			return &ConfigError{err.Error()}
		}
		if !p.cfg.AllowRemovals && !p.checked() {
			refused = mayRemove(names, to, p.members)
		}
	}
	p.admitted = to.Hash
	p.admission.say(p.id, !others && p.checkpoint.Transaction > 0, refused)
	if !others || p.checked() {
		return nil
	}
	select {
	case <-p.admission.open:
		return p.admission.verdict()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mayBegin asks the guards about rules that are wanted while the partition runs,
// unless that was done when they were published or at the start (admit).
func (p *partition) mayBegin(to *rules.Set) error {
	if p.checked() || p.admitted == to.Hash {
		return nil
	}
	refused := mayFollowRevision(p.rules().Revision, to)
	if refused == nil && !p.cfg.AllowRemovals {
		if err := p.countMembers(); err != nil {
			return storeError(err)
		}
		refused = mayRemove(p.rules().Names(), to, p.members)
	}
	if refused != nil {
		return &ConfigError{refused.Error()}
	}
	return nil
}
