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
// It outlives sessions: what the recovery path begins anew is not its trust.
type hostClock struct {
	wall    time.Time // the host's clock as last read; zero: not since the last recovery
	read    time.Time // a monotonic reading of the same moment
	strayed bool      // it jumped, or differs from the broker's
	untold  bool      // the broker told no append time of the last transaction
}

// maxHostSkew is how far the host's clock may be from the broker's, beyond the
// time between sending a request and its answer.
const maxHostSkew = clockDelay

// begin forgets the reading of a former session.
func (h *hostClock) begin() { h.wall = time.Time{} }

func (h *hostClock) note(now time.Time) { h.wall, h.read = now, time.Now() }

// compare checks the host's clock, which stood at sent before the request,
// against the broker's time of a record just appended. The first time that the
// host is found to run ahead the transaction must fail before its end, so that
// no timer fires for it; afterwards transactions hold nothing that the host's
// clock brought about.
func (h *hostClock) compare(p *partition, sent time.Time, appended subject.Instant) error {
	if h.untold = appended == subject.Never; h.untold {
		return nil
	}
	now := p.deps.Now()
	h.note(now)
	was := h.strayed
	ahead, behind := sent.Sub(appended.Time()), appended.Time().Sub(now)
	h.strayed = max(ahead, behind) > maxHostSkew
	if h.strayed && !was {
		p.log.Error("the host's clock and the broker's differ: timers stand still until they agree",
			"host_ahead", now.Sub(appended.Time()).Round(time.Millisecond).String())
	}
	if !was && ahead > maxHostSkew {
		return fmt.Errorf("%w: the host's clock is %s ahead of the broker's", errRecover, ahead.Round(time.Millisecond))
	}
	return nil
}

// trusts reports whether the host's clock may be followed now. Where the broker
// tells no append times (compared false) a jump is distrusted for one batch only.
func (h *hostClock) trusts(now time.Time, compared bool) bool {
	if h.wall.IsZero() {
		h.note(now)
		return false
	}
	drift := now.Sub(h.wall) - time.Since(h.read)
	h.note(now)
	if drift.Abs() > maxHostSkew/2 {
		h.strayed = true
		return false
	}
	if h.strayed && (!compared || h.untold) {
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
	was := p.host.strayed
	if !p.host.trusts(p.deps.Now(), p.cfg.LogAppend) {
		if p.host.strayed && !was {
			p.log.Warn("the host's clock has jumped: timers stand still until it is trusted again")
		}
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
