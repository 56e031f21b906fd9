package oracle

import (
	"cmp"
	"slices"
	"strings"

	"github.com/segmentd/segmentd/state/subject"
)

// standing is what one purpose knows of a subject: all decisions taken in, and
// the events admitted in the present period.
type standing struct {
	*purpose
	decisions  []*decision
	erased     subject.Instant // the newest erasure; LongAgo: none
	opened     bool            // the subject has had an input, or its age will tell
	basis      period          // as of the last settlement
	period                     // in which the subject is known: its basis holds, and it is of age
	events     []*event        // by (timestamp, order of application)
	identifies []*event
	births     []*event // identifies that give or remove the birthdate
}

// period is whether a basis holds, since when without a break, and until when.
type period struct {
	known        bool
	since, until subject.Instant
}

// stop is the instant of the newest decision that ends the basis, or of the erasure.
func (p *standing) stop() (newest subject.Instant, any bool) {
	newest, any = p.erased, p.erased != subject.LongAgo
	for _, d := range p.decisions {
		if p.ends(d) && (!any || d.key > newest) {
			newest, any = d.key, true
		}
	}
	return newest, any
}

func (p *standing) ends(d *decision) bool {
	if p.consent {
		return d.status != "given"
	}
	return d.status == "objected" && p.objection
}

// grants are the consents that no stop has beaten and that have been reached at
// an instant, oldest first; of several at one instant the one that ends first counts, last.
func (p *standing) grants(at subject.Instant) []*decision {
	var list []*decision
	stop, stopped := p.stop()
	for _, d := range p.decisions {
		if p.counts(d) && d.key <= at && (!stopped || d.key > stop) {
			list = append(list, d)
		}
	}
	slices.SortStableFunc(list, func(a, b *decision) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(b.expires, a.expires))
	})
	return list
}

func (p *standing) counts(d *decision) bool {
	return d.status == "given" && (d.explicit || !p.explicit)
}

// basisAt recomputes from all decisions how the basis stands at an instant.
func (p *standing) basisAt(at subject.Instant) period {
	_, stopped := p.stop()
	grants := p.grants(at)
	if !p.consent {
		switch {
		case !stopped:
			return period{p.opened, subject.LongAgo, subject.Never}
		case len(grants) > 0:
			return period{true, grants[0].key, subject.Never}
		}
		return period{}
	}
	if len(grants) == 0 {
		return period{}
	}
	i := len(grants) - 1
	newest := grants[i]
	if newest.expires <= at {
		return period{}
	}
	for i > 0 && grants[i].key <= grants[i-1].expires {
		i--
	}
	return period{true, grants[i].key, newest.expires}
}

// settle brings the standing to an instant and forgets what lies outside the
// period that then holds. It reports whether the period is another one now, and
// whether that changed what is known.
func (p *standing) settle(at subject.Instant) (moved, changed bool) {
	basis, now := p.basisAt(at), p.periodAt(at)
	moved = basis.differs(p.basis) || now.differs(p.period)
	changed = basis.known != p.basis.known || now.known != p.known
	p.basis, p.period = basis, now
	if moved {
		changed = p.forget() || changed
	}
	return moved, changed
}

// differs reports whether two periods begin differently.
func (p period) differs(q period) bool { return p.known != q.known || p.since != q.since }

// excludes reports whether an event lies outside the period.
func (p period) excludes(e *event) bool { return !p.known || e.at < p.since }

// forget drops what lies outside the period.
func (p *standing) forget() bool {
	before := len(p.events) + len(p.identifies) + len(p.births)
	p.events = slices.DeleteFunc(p.events, p.period.excludes)
	p.identifies = slices.DeleteFunc(p.identifies, p.period.excludes)
	p.births = slices.DeleteFunc(p.births, p.basis.excludes)
	return len(p.events)+len(p.identifies)+len(p.births) != before
}

// lapsing reports whether the basis ends by itself at or before an instant.
func (p *standing) lapsing(at subject.Instant) bool {
	return p.basis.known && !p.basisAt(at).known
}

// admits is the gate: whether an event may be used when it is decided at an instant.
func (p *standing) admits(e *event, at subject.Instant) bool {
	return p.uses(e) && !p.denies(e) && !p.periodAt(at).excludes(e)
}

// denies reports whether the event's own consent excludes the purpose.
func (p *standing) denies(e *event) bool { return e.denied[strings.ToLower(p.key)] }

// uses reports whether a rule of the purpose reads the event at all.
func (p *standing) uses(e *event) bool {
	if e.name != "" {
		return slices.ContainsFunc(p.reads.names, func(s *source) bool { return s.names(e) })
	}
	for key := range e.traits {
		if p.reads.traits[key] && key != p.birthTrait {
			return true
		}
	}
	return false
}

// add puts an admitted event where it belongs.
func (p *standing) add(e *event) {
	if e.name == "" {
		p.identifies = insert(p.identifies, e)
		return
	}
	p.events = insert(p.events, e)
}

// after reports whether an event that was there before comes after one that is
// added: of one instant only what is right stays the last word.
func (e *event) after(added *event) bool { return e.at > added.at || e.at == added.at && e.right }

func insert(list []*event, e *event) []*event {
	i := len(list)
	for i > 0 && list[i-1].after(e) {
		i--
	}
	return slices.Insert(list, i, e)
}
