package opendsr

import (
	"slices"
	"sync"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// Sent is a request that was sent to the requests topic and may not be read yet.
type Sent struct {
	ID            string
	Kind          subject.RequestKind
	Pseudonym     string // of the subject
	Submitted     subject.Instant
	Received, Due subject.Instant
}

// same reports whether both are one request that was sent again.
func (x Sent) same(y Sent) bool {
	return x.ID == y.ID && x.Kind == y.Kind && x.Pseudonym == y.Pseudonym && x.Submitted == y.Submitted
}

// For how long, and how many, requests are remembered that were sent: until they are
// read, which takes milliseconds. A partition that rests longer knows them later.
const (
	sentFor  = time.Minute
	sentMost = 10_000
)

// sent remembers what was sent a moment ago. The zero value is ready.
type sent struct {
	mu  sync.Mutex
	all []Sent // guarded by mu: the oldest first
}

// Remember remembers a request that is about to be sent. It returns the one that was
// remembered already, and false where that is another with the same id.
func (p *Processor) Remember(x Sent) (known Sent, ok bool) {
	p.sent.mu.Lock()
	defer p.sent.mu.Unlock()
	p.sent.trim(x.Received)
	if i := p.sent.index(x.ID); i >= 0 {
		return p.sent.all[i], p.sent.all[i].same(x)
	}
	p.sent.all = append(p.sent.all, x)
	return x, true
}

// Forget forgets a request that was not sent after all, or was read.
func (p *Processor) Forget(id string) {
	p.sent.mu.Lock()
	defer p.sent.mu.Unlock()
	if i := p.sent.index(id); i >= 0 {
		p.sent.all = slices.Delete(p.sent.all, i, i+1)
	}
}

// Sent finds a request that was sent here a moment ago.
func (p *Processor) Sent(id string, now subject.Instant) (x Sent, ok bool) {
	p.sent.mu.Lock()
	defer p.sent.mu.Unlock()
	p.sent.trim(now)
	if i := p.sent.index(id); i >= 0 {
		return p.sent.all[i], true
	}
	return x, false
}

func (s *sent) index(id string) int {
	return slices.IndexFunc(s.all, func(x Sent) bool { return x.ID == id })
}

func (s *sent) trim(now subject.Instant) {
	old := 0
	for old < len(s.all) && (len(s.all)-old >= sentMost || s.all[old].Received < now-subject.Instant(sentFor/time.Microsecond)) {
		old++
	}
	s.all = slices.Delete(s.all, 0, old)
}
