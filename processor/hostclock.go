package processor

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// hostClock decides whether the host's clock may move the partition's. It is
// trusted while it runs on with the monotonic clock and agrees with the
// broker's timestamps of the changelog; while it does not, timers stand still.
type hostClock struct {
	last    time.Time // a wall and monotonic reading
	strayed bool      // it jumped, or differs from the broker's
}

// maxHostSkew is how far the host's clock may be from the broker's, beyond the
// time between sending a request and its answer.
const maxHostSkew = clockDelay

// compare checks the host's clock against the broker's time of a record just
// appended. A host that runs ahead makes the transaction fail before its end,
// so that no timer fires for it.
func (h *hostClock) compare(p *partition, appended subject.Instant) error {
	if appended == subject.Never {
		return nil
	}
	now := p.deps.Now()
	skew := now.Sub(appended.Time())
	h.last = now
	was := h.strayed
	h.strayed = skew > maxHostSkew || skew < -maxHostSkew
	if h.strayed && !was {
		p.log.Error("the host's clock and the broker's differ: timers stand still until they agree", "skew", skew.Round(time.Millisecond).String())
	}
	if h.strayed && !was && skew > 0 {
		return fmt.Errorf("%w: the host's clock is %s ahead of the broker's", errRecover, skew.Round(time.Millisecond))
	}
	return nil
}

// trusts reports whether the host's clock may be followed now. Where the broker
// tells no append times (compared false) a jump is distrusted for one batch only.
func (h *hostClock) trusts(now time.Time, compared bool) bool {
	if h.last.IsZero() {
		h.last = now
		return false
	}
	// Round(0) strips the monotonic reading: wall time passed against time passed.
	drift := now.Round(0).Sub(h.last.Round(0)) - now.Sub(h.last)
	jumped := drift > maxHostSkew/2 || drift < -maxHostSkew/2
	h.last = now
	if jumped {
		h.strayed = true
		return false
	}
	if h.strayed && !compared {
		h.strayed = false
		return false
	}
	return !h.strayed
}

// followHost lets the partition's clock follow the host's, once every input is
// read to the end that its own last answer told: to two seconds before the
// earliest of those fetches was sent. While the host's clock is not trusted
// each batch commits a checkpoint, whose append time shows when it agrees again.
func (p *partition) followHost(ctx context.Context) error {
	if !p.host.trusts(p.deps.Now(), p.cfg.LogAppend) {
		return nil
	}
	at := subject.Never
	for _, in := range p.inputs() {
		if in.position < in.end || in.sent.IsZero() {
			return nil
		}
		at = min(at, subject.FromTime(in.sent))
	}
	if at == subject.Never {
		return nil
	}
	return p.advance(ctx, at.Add(-clockDelay))
}
