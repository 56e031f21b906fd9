package oracle

import (
	"slices"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// periodAt is the period in which the subject is known, as of an instant: that
// of the basis, from the day on which the subject is old enough.
func (p *standing) periodAt(at subject.Instant) period {
	now := p.basisAt(at)
	if p.minAge == 0 || !now.known {
		return now
	}
	turn, ok := p.turn(now)
	if !ok || at < turn {
		return period{}
	}
	now.since = max(now.since, turn)
	return now
}

// turn is when the subject is old enough by the birthdate that its newest
// identify within the basis' period gives.
func (p *standing) turn(basis period) (at subject.Instant, ok bool) {
	inside := slices.DeleteFunc(slices.Clone(p.births), basis.excludes)
	birth, ok := toTimestamp(newestTrait(inside, p.birthTrait, nil)).(subject.Instant)
	if !ok {
		return 0, false
	}
	year, month, day := time.UnixMicro(int64(birth)).UTC().Date()
	return instantOf(time.Date(year+p.minAge, month, day, 0, 0, 0, 0, time.UTC)), true
}

// takesBirth reports whether an event's birthdate may be kept, for which the
// basis alone is asked.
func (p *standing) takesBirth(e *event, at subject.Instant) bool {
	return p.givesBirth(e) && !p.denies(e) && !p.basisAt(at).excludes(e)
}

// givesBirth reports whether an identify says something of the birthdate, which
// a purpose without segments has no use for.
func (p *standing) givesBirth(e *event) bool {
	_, ok := e.traits[p.birthTrait]
	return ok && p.birthTrait != "" && len(p.segments) > 0
}
