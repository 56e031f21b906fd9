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
	opened     bool // the subject has had an input
	known      bool // as of the last settlement
	since      subject.Instant
	until      subject.Instant
	events     map[string][]*event // by name, by (timestamp, arrival)
	identifies []*event            // by (timestamp, arrival)
}

// period is whether a basis holds, since when without a break, and until when.
type period struct {
	known        bool
	since, until subject.Instant
}

// stop is the instant of the newest decision that ends the basis.
func (p *standing) stop() (newest subject.Instant, any bool) {
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

// period recomputes from all decisions how the basis stands at an instant.
func (p *standing) period(at subject.Instant) period {
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
// period that then holds. It reports whether any of that changed anything.
func (p *standing) settle(at subject.Instant) bool {
	now := p.period(at)
	if now.known == p.known && now.since == p.since {
		p.until = now.until
		return false
	}
	changed := now.known != p.known
	p.known, p.since, p.until = now.known, now.since, now.until
	return p.forget() || changed
}

func (p *standing) forget() (any bool) {
	outside := func(e *event) bool { return !p.known || e.at < p.since }
	for name, list := range p.events {
		any = any || slices.ContainsFunc(list, outside)
		p.events[name] = slices.DeleteFunc(list, outside)
	}
	any = any || slices.ContainsFunc(p.identifies, outside)
	p.identifies = slices.DeleteFunc(p.identifies, outside)
	return any
}

// lapsing reports whether the basis ends by itself at or before an instant.
func (p *standing) lapsing(at subject.Instant) bool {
	return p.known && !p.period(at).known
}

// admits is the gate: whether an event may be used when it is decided at an instant.
func (p *standing) admits(e *event, at subject.Instant) bool {
	now := p.period(at)
	return now.known && e.at >= now.since && !e.denied[strings.ToLower(p.key)]
}

// uses reports whether a rule of the purpose reads the event at all.
func (p *standing) uses(e *event) bool {
	if e.name != "" {
		return p.reads.events[e.name]
	}
	for key := range e.traits {
		if p.reads.traits[key] {
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
	p.events[e.name] = insert(p.events[e.name], e)
}

func insert(list []*event, e *event) []*event {
	i := len(list)
	for i > 0 && list[i-1].at > e.at {
		i--
	}
	return slices.Insert(list, i, e)
}
