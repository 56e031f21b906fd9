package oracle

import (
	"maps"
	"slices"
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
	wakes    []wakes           // by segment; the last of all segments
	purposes []*standing
	memory   memory
	seen     []seenMessage
	rights   rights
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
		wakes: make([]wakes, len(set.segments)+1), memory: newMemory(set), rights: rights{erased: subject.LongAgo}}
	for _, p := range set.purposes {
		st := &standing{purpose: p, erased: subject.LongAgo}
		if p.minAge > 0 && !p.consent {
			st.opened = true
			st.settle(s.clock)
		}
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
	s.liftAt(s.clocks[index])
	s.current = index
	switch {
	case r.request != nil:
		s.takeRequest(r.request)
	case r.event != nil:
		s.takeEvent(r.event)
	case s.standing(r.decision.purpose).counts(r.decision):
		s.takeGrant(r.decision)
	default:
		s.takeStop(r.decision)
	}
}

// finish fires what the clock has passed at the end of the input.
func (s *simulation) finish() {
	end := s.clocks[len(s.clocks)-1]
	s.fireBefore(end)
	s.liftAt(end)
}

func (s *simulation) standing(p *purpose) *standing {
	i := slices.IndexFunc(s.purposes, func(st *standing) bool { return st.purpose == p })
	return s.purposes[i]
}

// takeEvent takes in an event; one that no rule reads does no more than make
// the subject known.
func (s *simulation) takeEvent(e *event) {
	if s.rights.refuse(e.at, max(e.at, s.clock)) {
		return
	}
	p := pass{at: max(e.at, s.clock), reason: "event", cause: e.id}
	if e.name == "" {
		p.reason = "trait"
	}
	if !slices.ContainsFunc(s.purposes, func(st *standing) bool { return st.uses(e) || st.givesBirth(e) }) {
		p.cause = ""
		s.openOnly(p)
		return
	}
	admitting := func(st *standing) bool { return st.takesBirth(e, p.at) || st.admits(e, p.at) }
	if s.began && (s.isDuplicate(e) || !slices.ContainsFunc(s.purposes, admitting)) {
		return
	}
	s.expire(p.at)
	p.opened = s.open(p.at)
	applied := !s.isDuplicate(e) && slices.ContainsFunc(s.purposes, admitting)
	if !applied && len(p.opened) == 0 {
		return
	}
	s.moveTo(p.at)
	p.ripened = s.ripen(p.at)
	if applied {
		p.event = e
		p.opened = append(p.opened, s.apply(e)...)
	}
	s.decide(p)
}

// apply keeps an event for the purposes that admit it, and returns those whose
// standing its birthdate changed.
func (s *simulation) apply(e *event) (changed []*standing) {
	touched := false
	for _, p := range s.purposes {
		if p.takesBirth(e, s.clock) {
			touched = s.takeBirth(p, e) || touched
			if _, other := s.settle(p, s.clock); other {
				changed = append(changed, p)
			}
		}
		if p.admits(e, s.clock) {
			p.add(e)
			s.wakeFor(e, p)
			touched = touched || s.touches(e, p)
		}
	}
	if touched && e.id != "" {
		s.seen = append(s.seen, seenMessage{e.id, s.clock})
		s.seen = s.seen[max(0, len(s.seen)-rememberedMessages):]
	}
	return changed
}

// takeBirth keeps a birthdate, and reports whether it is the newest.
func (s *simulation) takeBirth(p *standing, e *event) bool {
	p.births = insert(p.births, e)
	if turn, ok := p.turn(p.basis); ok {
		s.wakeAll(turn)
	}
	return newestWith(p.births, p.birthTrait) == e
}

// newestWith is the newest identify that says something of a trait.
func newestWith(list []*event, key string) *event {
	for i := len(list) - 1; i >= 0; i-- {
		if _, ok := list[i].traits[key]; ok {
			return list[i]
		}
	}
	return nil
}

// ripen makes the subject known for the purposes for which it is now old
// enough, and returns them.
func (s *simulation) ripen(at subject.Instant) (ripened []*standing) {
	for _, p := range s.purposes {
		if p.minAge > 0 && !p.known && p.periodAt(at).known {
			s.settle(p, at)
			ripened = append(ripened, p)
		}
	}
	return ripened
}

// settle brings a purpose to an instant, and forgets also what depends on
// answers given before its period.
func (s *simulation) settle(p *standing, at subject.Instant) (moved, changed bool) {
	if moved, changed = p.settle(at); !moved {
		return false, changed
	}
	before := p.since
	if !p.known {
		before = subject.Never
	}
	if !slices.ContainsFunc(s.purposes, (*standing).keeps) {
		s.seen = nil
	}
	return true, s.memory.forget(p.purpose, before) || changed
}

// keeps reports whether anything of the subject's behaviour may be kept.
func (p *standing) keeps() bool { return p.known || len(p.births) > 0 }

func (s *simulation) isDuplicate(e *event) bool {
	window := subject.Instant(s.opts.DedupeWindow / time.Microsecond)
	return e.id != "" && slices.ContainsFunc(s.seen, func(m seenMessage) bool {
		return m.id == e.id && (s.clock < m.at+window)
	})
}

// touches reports whether an event just added can matter to any source or trait.
func (s *simulation) touches(e *event, p *standing) bool {
	if e.name == "" {
		for key := range e.traits {
			if p.reads.traits[key] && key != p.birthTrait && newestWith(p.identifies, key) == e {
				return true
			}
		}
		return false
	}
	sc := &scope{sim: s, purpose: p, at: s.clock}
	return slices.ContainsFunc(p.segments, func(seg *segment) bool {
		return slices.ContainsFunc(seg.uses, func(u use) bool {
			return e.at > minus(s.clock, u.source.bound(p.retention)) && u.source.concerns(sc, e)
		})
	})
}

// open makes the subject known, at its first input, for the purposes that need
// no decision, and returns those for which it is since.
func (s *simulation) open(at subject.Instant) (opened []*standing) {
	if s.began {
		return nil
	}
	s.began = true
	if s.opts.Exhaustive {
		s.wakeOnGrid()
	}
	for _, p := range s.purposes {
		was := p.known
		p.opened = true
		if s.settle(p, at); p.known && !was {
			opened = append(opened, p)
		}
	}
	return opened
}

// expire ends, before an event is judged, the bases that have come to their end.
func (s *simulation) expire(at subject.Instant) {
	ending := map[subject.Instant][]*standing{}
	for _, p := range s.purposes {
		if p.lapsing(at) {
			end := max(p.basis.until, s.clock)
			ending[end] = append(ending[end], p)
		}
	}
	for _, end := range slices.Sorted(maps.Keys(ending)) {
		for _, p := range ending[end] {
			s.settle(p, at)
		}
		s.decide(pass{at: end, only: ending[end], reason: "expired"})
		s.moveTo(end)
	}
}

// takeGrant takes in a consent; one that a stop has beaten has no effect.
func (s *simulation) takeGrant(d *decision) {
	st := s.standing(d.purpose)
	p := pass{at: max(d.key, s.clock), reason: "given"}
	if stop, stopped := st.stop(); stopped && d.key <= stop {
		return
	}
	p.opened = s.open(p.at)
	st.decisions = append(st.decisions, d)
	s.moveTo(p.at)
	s.wakeAll(d.key)
	s.wakeAll(d.expires)
	p.ripened = s.ripen(p.at)
	if _, changed := s.settle(st, p.at); changed {
		p.opened = append(p.opened, st)
	}
	s.decide(p)
}

// openOnly is the effect of an input that has no other.
func (s *simulation) openOnly(p pass) {
	if p.opened = s.open(p.at); len(p.opened) > 0 {
		s.moveTo(p.at)
		s.decide(p)
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
	end := pass{at: s.clock, only: []*standing{p}, reason: d.status}
	if moved, _ := s.settle(p, s.clock); !moved {
		return
	}
	if !p.known {
		end.at = max(d.key, s.clock)
	}
	s.reexamine()
	s.decide(end)
}

func (s *simulation) members() (all []Member) {
	for _, seg := range s.set.segments {
		if s.memory.member(seg) {
			all = append(all, Member{UserID: s.id.Value, IDType: s.id.Type.String(), Segment: seg.key, Since: s.memory.since[seg.index]})
		}
	}
	return all
}
