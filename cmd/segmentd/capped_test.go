package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Lines about single records are capped by kind; all others are written.
func TestCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		c := newCapped(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
		log := slog.New(c)
		bad := func(reason string, n int) {
			for i := range n {
				log.With("partition", i%3).Error("bad record", "topic", "events", "offset", i, "reason", reason)
			}
		}
		bad("shape", 600)
		bad("size", mostOfAKind)
		for range 20 {
			log.Warn("a partition recovers")
			log.Debug("not written", "offset", 1)
		}
		expect := func(line string, n int) {
			t.Helper()
			c.kinds.mu.Lock() // which the minute's end writes under
			defer c.kinds.mu.Unlock()
			if got := strings.Count(out.String(), line); got != n {
				t.Errorf("%q is written %d times, want %d:\n%s", line, got, n, &out)
			}
		}
		expect("reason=shape", mostOfAKind)
		expect("reason=size", mostOfAKind)
		expect("a partition recovers", 20)
		expect("there were more", 0)
		time.Sleep(kindsEvery + time.Second)
		synctest.Wait()
		expect("there were more", 1)
		expect(fmt.Sprintf(`level=ERROR msg="there were more lines like this" like="bad record" more=%d topic=events reason=shape`, 600-mostOfAKind), 1)
		out.Reset()
		bad("shape", 7)
		c.kinds.close()
		expect("reason=shape", mostOfAKind+1)
		expect("more=2", 1)
		expect("not written", 0)
	})
}
