package opendsr

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// What becomes of a callback.
const (
	Delivered = "delivered"
	Retried   = "failed" // and is sent again
	GivenUp   = "given_up"
)

// Outcomes lists what can become of a callback: the closed set of the metric's
// label. The caller owns the slice.
func Outcomes() []string { return []string{Delivered, Retried, GivenUp} }

const (
	// callWait bounds one callback.
	callWait = 10 * time.Second
	// callsAtOnce bounds how many hosts are called at a time.
	callsAtOnce = 8
	// A callback that failed is sent again after firstPause, then twice as long, up to
	// longestPause, until keepTrying after the change of status that it tells.
	firstPause   = 500 * time.Millisecond
	longestPause = 10 * time.Minute
	keepTrying   = 72 * time.Hour
)

// delivery is a callback that is due.
type delivery struct {
	due
	id       string
	standing Standing
}

// try is when a URL or a host that failed may be called again.
type try struct {
	failures int
	next     time.Time
}

// deliver begins to send what is due and may be sent now, to several hosts at once, to
// each URL in the order in which statuses changed. A host that cannot be connected to, or
// a URL that fails there, is left alone for a while, and holds up nobody else.
func (p *Processor) deliver(ctx context.Context, group *errgroup.Group) {
	byHost := map[string][][]delivery{}
	for text, all := range p.waiting() {
		if host := hostOf(text); p.callbacks.rested(text) && p.callbacks.rested(host) {
			byHost[host] = append(byHost[host], all)
		}
	}
	for host, urls := range byHost {
		if !p.callbacks.begin(host) {
			continue
		}
		begun := group.TryGo(func() error {
			defer p.callbacks.end(host)
			p.callHost(ctx, urls)
			return nil
		})
		if !begun {
			p.callbacks.end(host)
		}
	}
}

// begin reports whether a host is not being called yet; then it is.
func (c *callbacks) begin(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calling[host] {
		return false
	}
	c.calling[host] = true
	return true
}

func (c *callbacks) end(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calling, host)
}

// callHost calls the URLs of one host, one after the other, those that have failed least
// first. After one that took long it leaves off: what is due by then may go first.
func (p *Processor) callHost(ctx context.Context, urls [][]delivery) {
	slices.SortFunc(urls, func(a, b []delivery) int {
		return cmp.Or(cmp.Compare(p.callbacks.failures(a[0].URL), p.callbacks.failures(b[0].URL)), cmp.Compare(a[0].Since, b[0].Since))
	})
	for _, all := range urls {
		for _, d := range all {
			if !p.isDue(d) { // it was sent while this one was waiting for its turn
				continue
			}
			unreachable, err := p.call(ctx, d)
			p.settle(ctx, d, unreachable, err)
			if unreachable || errors.Is(err, context.DeadlineExceeded) {
				return
			}
			if err != nil {
				break
			}
		}
	}
}

// settle notes what became of a callback.
func (p *Processor) settle(ctx context.Context, d delivery, unreachable bool, err error) {
	c := &p.callbacks
	switch {
	case err == nil:
		c.forget(d.URL, hostOf(d.URL))
		p.deps.Count(Delivered)
		p.done(d)
	case ctx.Err() != nil: // it is sent after the restart
	case time.Since(d.Since.Time()) > keepTrying || !p.mayCall(d.URL):
		c.forget(d.URL)
		p.deps.Count(GivenUp)
		p.deps.Logger.Error("a callback is given up: tell the controller", "request", d.id, "status", d.Status, "error", err)
		p.done(d)
	default:
		at := d.URL
		if unreachable {
			at = hostOf(d.URL)
		}
		p.deps.Count(Retried)
		p.deps.Logger.Warn("a callback was not taken, trying again", "request", d.id, "status", d.Status, "failures", c.fail(at), "error", err)
	}
}

// rested reports whether a URL or a host may be called (again).
func (c *callbacks) rested(at string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().After(c.tries[at].next)
}

// failures are how often in a row a URL failed.
func (c *callbacks) failures(at string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tries[at].failures
}

// fail notes that a URL or a host failed, and returns how often in a row it has.
func (c *callbacks) fail(at string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tries[at]
	pause := min(firstPause<<min(t.failures, 20), longestPause)
	t.failures++
	t.next = time.Now().Add(pause/2 + rand.N(pause))
	c.tries[at] = t
	return t.failures
}

func (c *callbacks) forget(all ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range all {
		delete(c.tries, at)
	}
}

// hostOf is the host of a URL, with its port.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}

// call sends one callback (section 8.6). No redirect is followed: it could lead
// anywhere. unreachable: no connection was made.
func (p *Processor) call(ctx context.Context, d delivery) (unreachable bool, err error) {
	if !p.mayCall(d.URL) {
		return false, errors.New("opendsr.callback_hosts does not name its host any more")
	}
	signed, err := p.Sign(d.standing)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(signed.Body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(HeaderDomain, signed.Domain)
	req.Header.Set(HeaderSignature, signed.Signature)
	res, err := p.deps.Transport.RoundTrip(req)
	if err != nil {
		return !connected.Load(), err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return false, fmt.Errorf("it was answered %d", res.StatusCode)
	}
	return false, nil
}
