package processor

import (
	"context"
	"sync/atomic"
	"time"
)

// Busy is the record that a partition is at, and for how long it has been judging
// records without a pause. Meanwhile it answers no look-up.
type Busy struct {
	For    time.Duration
	Topic  string
	Offset int64
}

// judging is what a partition's goroutine is at, for those who watch it.
type judging struct {
	since  atomic.Pointer[time.Time] // nil: it judges nothing
	input  atomic.Pointer[input]
	offset atomic.Int64
}

// begin notes that records are judged from now on, if they are not already.
func (j *judging) begin(in *input, offset int64) {
	j.at(in, offset)
	if j.since.Load() == nil {
		now := time.Now()
		j.since.Store(&now)
	}
}

// at notes the record that is judged now.
func (j *judging) at(in *input, offset int64) {
	j.offset.Store(offset)
	if j.input.Load() != in {
		j.input.Store(in)
	}
}

func (j *judging) end() { j.since.Store(nil) }

// busy is what the partition has been at for at least a while, else nil. Safe for
// concurrent use; the offset may be that of the next record already.
func (j *judging) busy(atLeast time.Duration) *Busy {
	since := j.since.Load()
	if since == nil {
		return nil
	}
	b := &Busy{For: time.Since(*since), Topic: j.input.Load().Topic, Offset: j.offset.Load()}
	if b.For < atLeast {
		return nil
	}
	return b
}

// watchBusy says, until ctx ends, which partitions have been busy for long, and
// again each time it has become twice as long.
func (p *Processor) watchBusy(ctx context.Context, loops []*partition) {
	ticker := time.NewTicker(p.cfg.busyTold / 5)
	defer ticker.Stop()
	next := make(map[int32]time.Duration, len(loops))
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for _, loop := range loops {
			b := loop.judging.busy(p.cfg.busyTold)
			if b == nil {
				delete(next, loop.id)
				continue
			}
			if b.For >= next[loop.id] {
				next[loop.id] = 2 * b.For
				loop.log.Warn("a batch takes long to be judged, and look-ups wait: is a map or a rule costly, or the processor short of CPU?",
					"topic", b.Topic, "offset", b.Offset, "seconds", b.For.Seconds())
			}
		}
	}
}
