package rules

import (
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// ComesOfAge returns the instant from which a subject is old enough for the
// purpose: 00:00 UTC of the day MinAge years after the birthdate that is kept
// for it, and for those born on 29 February 1 March in common years.
// subject.Never where no birthdate is kept or it cannot be read,
// subject.LongAgo where the purpose has no MinAge.
func (p *Purpose) ComesOfAge(s *subject.Purpose) subject.Instant {
	if p.MinAge == 0 {
		return subject.LongAgo
	}
	birth := toTimestamp(s.Trait(p.BirthdateTrait))
	if birth.Kind() != subject.Time {
		return subject.Never
	}
	year, month, day := birth.Instant().Time().Date()
	return subject.FromTime(time.Date(year+p.MinAge, month, day, 0, 0, 0, 0, time.UTC))
}
