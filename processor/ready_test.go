package processor

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// meeting lets partitions wait for one another when they are about to be ready.
type meeting struct {
	slog.Handler
	missing *atomic.Int32
	met     chan struct{}
}

func (m meeting) WithAttrs(attrs []slog.Attr) slog.Handler {
	m.Handler = m.Handler.WithAttrs(attrs)
	return m
}

func (m meeting) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "partition is ready" {
		if m.missing.Add(-1) == 0 {
			close(m.met)
		}
		select {
		case <-m.met:
		case <-time.After(20 * time.Second): // the test fails
		}
	}
	return m.Handler.Handle(ctx, r)
}

// That all partitions are ready is told once, also where they are at one moment.
func TestAllReadyIsToldOnce(t *testing.T) {
	l := newLab(t, labConfig{})
	r := l.open()
	m := meeting{l.log.logger().Handler(), new(atomic.Int32), make(chan struct{})}
	m.missing.Store(l.cfg.Partitions)
	r.processor.deps.Logger = slog.New(m)
	r.run(func(ctx context.Context) error { return r.processor.Run(ctx, l.generation()) })
	r.becomes(false, 0, 1)
	r.stop()
	if n := strings.Count(l.log.String(), "all assigned partitions are ready"); n != 1 {
		t.Errorf("it was told %d times:\n%s", n, l.log.String())
	}
}
