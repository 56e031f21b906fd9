package admin

import (
	"sync"
	"time"
)

// How many denials of one asker the audit log lists in which time. Those without
// a known token are one asker. Metrics count all.
const (
	denialsListed = 30
	denialsEvery  = time.Minute
)

// denials bounds the entries about refusals, so that who may not ask cannot fill
// the disk. Safe for concurrent use; the zero value is ready.
type denials struct {
	mu sync.Mutex
	by map[string]*denialCount // guarded by mu; as many as there are tokens, and one
}

type denialCount struct {
	since           time.Time
	listed, omitted int
}

// admit reports whether a denial is to be listed, and how many of the asker's
// before it were not.
func (d *denials) admit(who string, now time.Time) (list bool, omitted int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil {
		d.by = map[string]*denialCount{}
	}
	c := d.by[who]
	if c == nil {
		c = &denialCount{since: now}
		d.by[who] = c
	}
	if now.Sub(c.since) >= denialsEvery {
		c.since, c.listed = now, 0
	}
	if c.listed == denialsListed {
		c.omitted++
		return false, 0
	}
	c.listed++
	omitted, c.omitted = c.omitted, 0
	return true, omitted
}
