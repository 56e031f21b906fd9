package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// How many lines of one kind about single records are written in a minute, and
// how many kinds are told apart.
const (
	mostOfAKind = 5
	kindsEvery  = time.Minute
	mostKinds   = 1000
)

// capped is a log handler that writes lines about single records (those that
// have an offset) a few times a minute for each kind of them, and then how many
// more there were: an input that is configured wrongly would fill the disk.
type capped struct {
	slog.Handler
	kinds *lineKinds
}

// lineKinds counts lines by kind. Safe for concurrent use.
type lineKinds struct {
	out slog.Handler

	mu     sync.Mutex
	counts map[lineKind]*lineCount // guarded by mu
}

// lineKind is what lines of one kind have in common.
type lineKind struct {
	level                          slog.Level
	message, topic, reason, detail string
}

type lineCount struct {
	n   int
	end *time.Timer // of the minute
}

func newCapped(out slog.Handler) capped {
	return capped{out, &lineKinds{out: out, counts: map[lineKind]*lineCount{}}}
}

// WithAttrs implements slog.Handler.
func (c capped) WithAttrs(attrs []slog.Attr) slog.Handler {
	return capped{c.Handler.WithAttrs(attrs), c.kinds}
}

// WithGroup implements slog.Handler.
func (c capped) WithGroup(name string) slog.Handler {
	return capped{c.Handler.WithGroup(name), c.kinds}
}

// Handle implements slog.Handler.
func (c capped) Handle(ctx context.Context, r slog.Record) error {
	if kind, ofRecord := kindOfLine(r); ofRecord && !c.kinds.admit(kind) {
		return nil
	}
	return c.Handler.Handle(ctx, r)
}

func kindOfLine(r slog.Record) (kind lineKind, ofRecord bool) {
	kind = lineKind{level: r.Level, message: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "offset":
			ofRecord = true
		case "topic":
			kind.topic = a.Value.String()
		case "reason":
			kind.reason = a.Value.String()
		case "detail":
			kind.detail = a.Value.String()
		}
		return true
	})
	return kind, ofRecord
}

// admit reports whether a line is to be written.
func (k *lineKinds) admit(kind lineKind) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	count := k.counts[kind]
	if count == nil {
		if len(k.counts) >= mostKinds {
			return true
		}
		count = &lineCount{}
		count.end = time.AfterFunc(kindsEvery, func() { k.finish(kind) })
		k.counts[kind] = count
	}
	count.n++
	return count.n <= mostOfAKind
}

// finish ends the minute of a kind, and says how many of its lines were left out.
func (k *lineKinds) finish(kind lineKind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if count := k.counts[kind]; count != nil {
		count.end.Stop()
		delete(k.counts, kind)
		k.tell(kind, count.n-mostOfAKind)
	}
}

func (k *lineKinds) tell(kind lineKind, more int) {
	if more <= 0 {
		return
	}
	r := slog.NewRecord(time.Now(), kind.level, "there were more lines like this", 0)
	r.AddAttrs(slog.String("like", kind.message), slog.Int("more", more), slog.String("topic", kind.topic))
	for _, a := range []slog.Attr{slog.String("reason", kind.reason), slog.String("detail", kind.detail)} {
		if a.Value.String() != "" {
			r.AddAttrs(a)
		}
	}
	_ = k.out.Handle(context.Background(), r) // as the log's own failures
}

// close ends the minute of all kinds.
func (k *lineKinds) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for kind, count := range k.counts {
		count.end.Stop()
		k.tell(kind, count.n-mostOfAKind)
	}
	clear(k.counts)
}
