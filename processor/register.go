package processor

import (
	"math"
	"slices"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// register is what a partition's dossiers add up to, as of its last commit: all
// requests, and how many consents there are by purpose, notice and end. It belongs
// to the partition's goroutine.
type register struct {
	set      *rules.Set                           // by whose purposes consents are counted
	requests map[state.Key][]subject.RequestState // by subject's record
	erasing  map[state.Key]struct{}               // records of subjects whose erasure is in progress
	awaiting map[state.Key]subject.Instant        // of those with a request that waits for the clock: the first instant of one
	byStatus [subject.RequestKinds][subject.RequestStatuses]int64
	consents map[consentKind]int64
	changed  bool
	shownDay int64 // of the figures last shown
}

// consentKind is what consents are counted by.
type consentKind struct {
	purpose, notice string
	day             int64 // in which it ends by itself, since 1970; math.MaxInt64: in none
}

// dossierCount is what one dossier adds.
type dossierCount struct {
	requests []subject.RequestState
	consents []consentKind
}

// dossierChange is a change of a dossier that the next transaction commits.
type dossierChange struct {
	key           state.Key
	before, after dossierCount
}

func newRegister(set *rules.Set) *register {
	return &register{set: set, requests: map[state.Key][]subject.RequestState{}, erasing: map[state.Key]struct{}{}, awaiting: map[state.Key]subject.Instant{}, consents: map[consentKind]int64{}, changed: true}
}

// countRegister counts all dossiers, unless they are counted as of this checkpoint.
func (p *partition) countRegister(left *register) error {
	if left != nil {
		p.register = left
		return p.countAnew()
	}
	return p.countDossiers()
}

// countAnew counts all dossiers once more where they were counted by other rules.
// What is about to be committed was.
func (p *partition) countAnew() error {
	if p.register.set.Hash == p.rules().Hash || len(p.out.dossiers) > 0 {
		return nil
	}
	return storeError(p.countDossiers())
}

func (p *partition) countDossiers() error {
	p.register = newRegister(p.rules())
	return p.image.EachDossier(func(key state.Key, d *subject.Dossier) error {
		p.register.settle([]dossierChange{{key: key, after: p.register.countOf(d)}})
		return nil
	})
}

// countOf is what a dossier adds. It shares nothing with it.
func (g *register) countOf(d *subject.Dossier) dossierCount {
	c := dossierCount{requests: slices.Clone(d.Requests)}
	for i := range g.set.Purposes {
		p := &g.set.Purposes[i]
		if notice, until, ok := core.ConsentOf(p, d.Proofs); ok {
			c.consents = append(c.consents, consentKind{p.Key, notice, dayOf(until)})
		}
	}
	return c
}

func dayOf(t subject.Instant) int64 {
	if t == subject.Never {
		return math.MaxInt64
	}
	return int64(t / subject.Day)
}

// settle takes in what was committed.
func (g *register) settle(changes []dossierChange) {
	for i := range changes {
		c := &changes[i]
		g.add(&c.before, -1)
		g.add(&c.after, 1)
		if delete(g.requests, c.key); len(c.after.requests) > 0 {
			g.requests[c.key] = c.after.requests
		}
		if delete(g.erasing, c.key); slices.ContainsFunc(c.after.requests, isErasing) {
			g.erasing[c.key] = struct{}{}
		}
		if delete(g.awaiting, c.key); slices.ContainsFunc(c.after.requests, isAwaiting) {
			g.awaiting[c.key] = firstAwaited(c.after.requests)
		}
		g.changed = true
	}
}

func isErasing(s subject.RequestState) bool {
	return s.Kind == subject.Erase && s.Status == subject.InProgress
}

// isAwaiting reports whether a request waits for the clock to come to it.
func isAwaiting(s subject.RequestState) bool {
	return (s.Kind == subject.Rectify || s.Kind == subject.Unrestrict) && s.Status == subject.InProgress
}

func firstAwaited(requests []subject.RequestState) subject.Instant {
	first := subject.Never
	for i := range requests {
		if isAwaiting(requests[i]) {
			first = min(first, requests[i].Effective)
		}
	}
	return first
}

func (g *register) add(c *dossierCount, n int64) {
	for _, q := range c.requests {
		g.byStatus[q.Kind][q.Status] += n
	}
	for _, kind := range c.consents {
		if g.consents[kind] += n; g.consents[kind] == 0 {
			delete(g.consents, kind)
		}
	}
}

// open lists the records of the subjects that have an open request.
func (g *register) open() (keys []state.Key) {
	for key, all := range g.requests {
		if slices.ContainsFunc(all, func(s subject.RequestState) bool { return s.Status.IsOpen() }) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, state.Key.Compare)
	return keys
}

// oldestOpen is when the oldest open request was made, Never if none is open; one that
// was given more time counts as made so much later.
func (g *register) oldestOpen() subject.Instant {
	oldest := subject.Never
	for _, all := range g.requests {
		for _, s := range all {
			if s.Status.IsOpen() {
				asked := s.Asked()
				oldest = min(oldest, asked+dueOf(&s)-RequestDue(asked))
			}
		}
	}
	return oldest
}

// expiringDays is how long before its end a consent counts as about to expire.
const expiringDays = 30

// show moves the gauges, where something or the day has changed.
func (g *register) show(gauges *metrics.Partition, clock subject.Instant) {
	today := dayOf(clock)
	if !g.changed && today == g.shownDay {
		return
	}
	g.changed, g.shownDay = false, today
	gauges.SetRequests(g.byStatus, g.oldestOpen())
	expiring, outdated := map[string]int64{}, map[string]int64{}
	for kind, n := range g.consents {
		if kind.day < today {
			continue
		}
		if kind.day < today+expiringDays {
			expiring[kind.purpose] += n
		}
		if pi, ok := g.set.PurposeIndex(kind.purpose); ok && g.set.Purposes[pi].NoticeVersion != "" && g.set.Purposes[pi].NoticeVersion != kind.notice {
			outdated[kind.purpose] += n
		}
	}
	for i := range g.set.Purposes {
		if key := g.set.Purposes[i].Key; g.set.Purposes[i].Basis.NeedsConsent() {
			gauges.SetConsents(key, expiring[key], outdated[key])
		}
	}
}
