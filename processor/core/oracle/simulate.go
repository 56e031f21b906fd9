package oracle

import (
	"slices"
	"sort"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// simulation is one subject's life under the rules.
type simulation struct {
	set      *ruleSet
	opts     Options
	id       subject.ID
	clocks   []subject.Instant // of the whole input, after each of its records
	clock    subject.Instant   // the subject's
	examined subject.Instant   // no answer changes by itself up to here
	wakes    []subject.Instant // when something could change, ascending
	purposes []*standing
	since    map[*segment]subject.Instant // memberships
	seen     []seenMessage
	began    bool // it has had an input that opens what needs no decision: any but a stop
	version  uint64
	current  int // index of the newest input
	changes  []stamped
}

type seenMessage struct {
	id string
	at subject.Instant
}

// rememberedMessages are the most message ids kept of one subject.
const rememberedMessages = 64

func newSimulation(set *ruleSet, opts Options, clocks []subject.Instant, id subject.ID) *simulation {
	s := &simulation{set: set, opts: opts, clocks: clocks, id: id, clock: subject.LongAgo, examined: subject.LongAgo,
		since: map[*segment]subject.Instant{}}
	for _, p := range set.purposes {
		st := &standing{purpose: p, events: map[string][]*event{}}
		if p.assumed {
			st.decisions = []*decision{{purpose: p, status: "given", explicit: true, key: subject.LongAgo, expires: subject.Never}}
		}
		s.purposes = append(s.purposes, st)
	}
	return s
}

// input takes in the subject's record with the given index in the whole input.
func (s *simulation) input(index int, r record) {
	s.fireBefore(s.clocks[index])
	s.current = index
	switch {
	case r.event != nil:
		s.takeEvent(r.event)
	case s.standing(r.decision.purpose).counts(r.decision):
		s.takeGrant(r.decision)
	default:
		s.takeStop(r.decision)
	}
}

// finish fires what the clock has passed at the end of the input.
func (s *simulation) finish() { s.fireBefore(s.clocks[len(s.clocks)-1]) }

func (s *simulation) standing(p *purpose) *standing {
	i := slices.IndexFunc(s.purposes, func(st *standing) bool { return st.purpose == p })
	return s.purposes[i]
}

// fireBefore decides at every instant before the limit at which anything could change.
func (s *simulation) fireBefore(limit subject.Instant) {
	for s.examined < limit-1 {
		next, ok := s.nextWake()
		if !ok || next >= limit {
			break
		}
		s.timer(next)
		s.examined = next
	}
	s.examined = max(s.examined, limit-1)
}

func (s *simulation) nextWake() (subject.Instant, bool) {
	i := sort.Search(len(s.wakes), func(i int) bool { return s.wakes[i] > s.examined })
	if i == len(s.wakes) {
		return 0, false
	}
	return s.wakes[i], true
}

// wake makes the simulation look at an instant.
func (s *simulation) wake(at subject.Instant) {
	s.wakeExactly(at)
	if s.opts.Exhaustive {
		s.wakeExactly(at - 1)
		s.wakeExactly(at + 1)
	}
}

func (s *simulation) wakeExactly(at subject.Instant) {
	if at < s.clock || at > s.clocks[len(s.clocks)-1] {
		return
	}
	if i, found := slices.BinarySearch(s.wakes, at); !found {
		s.wakes = slices.Insert(s.wakes, i, at)
	}
}

// timer decides at an instant that the clock has passed. Only a timer that
// changes something moves the subject's clock.
func (s *simulation) timer(at subject.Instant) {
	lapsed := false
	for _, p := range s.purposes {
		lapsed = p.settle(at) || lapsed
	}
	if s.decide(pass{at: at, timer: true}) || lapsed {
		s.moveTo(at)
	}
}

// moveTo sets the subject's clock.
func (s *simulation) moveTo(at subject.Instant) {
	s.clock = at
	i := sort.Search(len(s.wakes), func(i int) bool { return s.wakes[i] >= at })
	s.wakes = s.wakes[i:]
	s.reexamine()
}

// reexamine forgets that instants were examined before the state changed; that
// of the clock itself too, at which a basis may end that an input left alone.
func (s *simulation) reexamine() { s.examined = max(s.clock, subject.LongAgo+1) - 1 }

// takeEvent takes in an event; one that no rule reads does no more than make
// the subject known.
func (s *simulation) takeEvent(e *event) {
	at := max(e.at, s.clock)
	reason := "event"
	if e.name == "" {
		reason = "trait"
	}
	if !slices.ContainsFunc(s.purposes, func(p *standing) bool { return p.uses(e) }) {
		s.openOnly(at, reason)
		return
	}
	if s.began && (s.isDuplicate(e) || !slices.ContainsFunc(s.purposes, func(p *standing) bool { return p.uses(e) && p.admits(e, at) })) {
		return
	}
	s.expire(at)
	opened := s.open(at)
	var admitting []*standing
	for _, p := range s.purposes {
		if p.uses(e) && p.admits(e, at) {
			admitting = append(admitting, p)
		}
	}
	applied := len(admitting) > 0 && !s.isDuplicate(e)
	if !applied && len(opened) == 0 {
		return
	}
	p := pass{at: at, opened: opened, reason: reason, cause: e.id}
	s.moveTo(at)
	if applied {
		p.event = e
		s.apply(e, admitting)
	}
	s.decide(p)
}

func (s *simulation) apply(e *event, admitting []*standing) {
	touched := false
	for _, p := range admitting {
		p.add(e)
		for d := range p.reads.spans {
			s.wake(e.at + subject.Instant(d))
		}
		touched = touched || s.touches(e, p)
	}
	if touched && e.id != "" {
		s.seen = append(s.seen, seenMessage{e.id, s.clock})
		s.seen = s.seen[max(0, len(s.seen)-rememberedMessages):]
	}
}

func (s *simulation) isDuplicate(e *event) bool {
	window := subject.Instant(s.opts.DedupeWindow / time.Microsecond)
	return e.id != "" && slices.ContainsFunc(s.seen, func(m seenMessage) bool {
		return m.id == e.id && (s.clock < m.at+window)
	})
}

// touches reports whether an event just added can matter to any source or trait.
func (s *simulation) touches(e *event, p *standing) bool {
	sc := &scope{sim: s, purpose: p, at: s.clock}
	if e.name == "" {
		for key, v := range e.traits {
			if p.reads.traits[key] && equal(sc.trait(key), v) {
				return true
			}
		}
		return false
	}
	return slices.ContainsFunc(p.reads.sources, func(src *source) bool {
		if src.name != e.name || e.at <= minus(s.clock, src.bound(p.retention)) {
			return false
		}
		return !slices.ContainsFunc(src.filters, func(f filter) bool { return f.far == 0 && !sc.keeps(&f, e) })
	})
}

// open makes the subject known, at its first input, for the purposes that need
// no decision, and returns them.
func (s *simulation) open(at subject.Instant) (opened []*standing) {
	if s.began {
		return nil
	}
	s.began = true
	for _, p := range s.purposes {
		p.opened = true
		if p.settle(at); p.known {
			opened = append(opened, p)
		}
	}
	return opened
}

// expire ends, before an event is judged, the bases that have come to their end.
func (s *simulation) expire(at subject.Instant) {
	for _, p := range s.purposes {
		if !p.lapsing(at) {
			continue
		}
		end := max(p.until, s.clock)
		p.settle(at)
		s.decide(pass{at: end, only: p, reason: "expired"})
		s.moveTo(end)
	}
}

// takeGrant takes in a consent; one that a stop has beaten has no effect.
func (s *simulation) takeGrant(d *decision) {
	p := s.standing(d.purpose)
	at := max(d.key, s.clock)
	if stop, stopped := p.stop(); stopped && d.key <= stop {
		return
	}
	opened := s.open(at)
	p.decisions = append(p.decisions, d)
	s.moveTo(at)
	s.wake(d.key)
	s.wake(d.expires)
	if p.settle(at) {
		opened = append(opened, p)
	}
	s.decide(pass{at: at, opened: opened, reason: "given"})
}

// openOnly is the effect of an input that has no other.
func (s *simulation) openOnly(at subject.Instant, reason string) {
	if opened := s.open(at); len(opened) > 0 {
		s.moveTo(at)
		s.decide(pass{at: at, opened: opened, reason: reason})
	}
}

// takeStop takes in a refusal, withdrawal or objection, or a consent of the
// wrong grade, which is in force at once and does not move the subject's clock.
func (s *simulation) takeStop(d *decision) {
	p := s.standing(d.purpose)
	p.decisions = append(p.decisions, d)
	if !p.ends(d) {
		return
	}
	end := pass{at: s.clock, only: p, reason: d.status}
	if changed := p.settle(s.clock); !changed {
		return
	}
	if !p.known {
		end.at = max(d.key, s.clock)
	}
	s.reexamine()
	s.decide(end)
}

func (s *simulation) members() (all []Member) {
	for seg, since := range s.since {
		all = append(all, Member{UserID: s.id.Value, IDType: s.id.Type.String(), Segment: seg.key, Since: since})
	}
	return all
}
