package state

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// batch is what will be written to Badger together.
type batch struct {
	values     map[Key][]byte    // encoded records and dossiers; nil: removed
	timers     map[timer]bool    // set or removed
	fixed      map[string][]byte // by fixed key; nil: removed
	scrub      map[Key]int64     // by key of the record; as in the journal
	position   []byte            // encoded; nil: unchanged
	checkpoint Checkpoint        // of position
	next       int64             // of position
	bytes      int
	room       []byte // what is left of the newest memory of values
}

// roomBytes is how much memory values share.
const roomBytes = 64 << 10

func newBatch() *batch {
	return &batch{values: map[Key][]byte{}, timers: map[timer]bool{}, fixed: map[string][]byte{}, scrub: map[Key]int64{}}
}

// put copies a value in, over the one before where that has room: a subject that
// is written again and again takes its memory once.
func (b *batch) put(key Key, value []byte) {
	old, ok := b.values[key]
	if ok {
		b.bytes -= len(old)
	} else {
		b.bytes += recordKeyBytes
	}
	b.bytes += len(value)
	switch {
	case value == nil:
		b.values[key] = nil
		return
	case cap(old) < len(value):
		old = b.take(len(value) + len(value)/8)
	}
	b.values[key] = append(old[:0], value...)
}

// take returns n bytes of room.
func (b *batch) take(n int) []byte {
	if n > len(b.room) {
		b.room = make([]byte, max(n, roomBytes))
	}
	taken := b.room[:0:n]
	b.room = b.room[n:]
	return taken
}

func (b *batch) setTimer(t timer, armed bool) {
	if _, ok := b.timers[t]; !ok {
		b.bytes += timerKeyBytes
	}
	b.timers[t] = armed
}

func (b *batch) empty() bool {
	return len(b.values) == 0 && len(b.timers) == 0 && len(b.fixed) == 0 && len(b.scrub) == 0 && b.position == nil
}

func (b *batch) clear() {
	clear(b.values)
	clear(b.timers)
	clear(b.fixed)
	clear(b.scrub)
	b.position, b.checkpoint, b.next, b.bytes, b.room = nil, Checkpoint{}, 0, 0, nil
}

// overlay holds what is committed and not yet in Badger: one batch that is
// being filled and one that is being written. The partition's goroutine fills
// and reads it, the writer's empties it.
type overlay struct {
	limitBytes int
	delay      time.Duration // from the first entry to the write

	mu      sync.Mutex
	changed sync.Cond // on mu: something was written, failed or closed
	filling *batch
	writing *batch // nil when the writer is idle
	spare   *batch
	wanted  bool  // write now
	closed  bool  // the writer ends when nothing is left
	err     error // of the first failed write: nothing is written after it

	// durable is the position in Badger, batches how many were written there.
	durable placed
	batches uint64

	wake  chan struct{}
	timer *time.Timer
}

// placed is a position together with whether there is one.
type placed struct {
	checkpoint Checkpoint
	next       int64
	ok         bool
}

func newOverlay(limitBytes int, delay time.Duration) *overlay {
	o := &overlay{limitBytes: limitBytes, delay: delay, filling: newBatch(), spare: newBatch(), wake: make(chan struct{}, 1)}
	o.changed.L = &o.mu
	o.timer = time.AfterFunc(delay, o.signal)
	o.timer.Stop()
	return o
}

func (o *overlay) signal() {
	o.mu.Lock()
	o.wanted = true
	o.mu.Unlock()
	o.nudge()
}

func (o *overlay) nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// get returns the encoded record or dossier of a key, valid until something is
// added; found with a nil value: it was removed.
func (o *overlay) get(key Key) (value []byte, found bool) {
	value, found, _ = o.look(key)
	return value, found
}

// look is get, and tells how many batches are in Badger, where what is not found is.
func (o *overlay) look(key Key) (value []byte, found bool, written uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if value, found = o.filling.values[key]; !found && o.writing != nil {
		value, found = o.writing.values[key]
	}
	return value, found, o.batches
}

// timersFrom returns the armed timers at or behind a horizon.
func (o *overlay) timersFrom(horizon timer) (ts []timer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range []*batch{o.writing, o.filling} {
		if b == nil {
			continue
		}
		for t, armed := range b.timers {
			if armed && !t.before(horizon) {
				ts = append(ts, t)
			}
		}
	}
	return ts
}

// add lets fill put something into the batch being filled, after waiting while
// that one is full and cannot be written yet. The error is the writer's.
func (o *overlay) add(fill func(*batch)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && !o.closed && o.filling.bytes >= o.limitBytes {
		o.changed.Wait()
	}
	if o.err != nil {
		return o.err
	}
	if o.closed {
		return ErrClosed
	}
	wasEmpty := o.filling.empty()
	fill(o.filling)
	switch {
	case o.filling.bytes >= o.limitBytes:
		o.wanted = true
		o.nudge()
	case wasEmpty && !o.filling.empty():
		o.timer.Reset(o.delay)
	}
	return nil
}

// next waits for something to write and takes it; nil: the overlay is closed
// and nothing is left, or writing failed.
func (o *overlay) next() *batch {
	for {
		o.mu.Lock()
		switch {
		case o.err != nil, o.closed && o.filling.empty():
			o.mu.Unlock()
			return nil
		case !o.filling.empty() && (o.wanted || o.closed):
			b := o.filling
			o.writing, o.filling, o.spare, o.wanted = b, o.spare, nil, false
			o.timer.Stop()
			o.changed.Broadcast()
			o.mu.Unlock()
			return b
		}
		o.wanted = false
		o.mu.Unlock()
		<-o.wake
	}
}

// written ends the batch that next returned.
func (o *overlay) written(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.writing
	if err != nil {
		o.err = err
	} else if b.position != nil {
		o.durable = placed{b.checkpoint, b.next, true}
	}
	o.writing = nil
	o.batches++
	b.clear()
	o.spare = b
	o.changed.Broadcast()
}

// flush waits until all that was added is written.
func (o *overlay) flush(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.changed.Broadcast()
	})
	defer stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && (o.writing != nil || !o.filling.empty()) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		if !o.filling.empty() {
			o.wanted = true
			o.nudge()
		}
		o.changed.Wait()
	}
	return o.err
}

// drop forgets what is not being written, waits for what is, and returns the
// position in Badger afterwards.
func (o *overlay) drop() placed {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.filling.clear()
	for o.writing != nil {
		o.changed.Wait()
	}
	return o.durable
}

// reset forgets the position in Badger, after it was removed there.
func (o *overlay) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.durable = placed{}
}

// close lets the writer write what is left and end.
func (o *overlay) close() {
	o.mu.Lock()
	o.closed = true
	o.timer.Stop()
	o.changed.Broadcast()
	o.mu.Unlock()
	o.nudge()
}

func (o *overlay) bytes() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.filling.bytes
	if o.writing != nil {
		n += o.writing.bytes
	}
	return int64(n)
}
