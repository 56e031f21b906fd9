package opendsr

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/state/subject"
)

// Results reads what became of requests in a partition, from an offset of the topic of
// results on, and the offset to go on from.
type Results func(ctx context.Context, partition int32, from int64) (results []Result, next int64, err error)

// Result is a status that a request came to.
type Result struct {
	ID     string
	Status subject.RequestStatus
	At     subject.Instant
	Offset int64
}

// Bounds of callbacks.
const (
	maxCallbacks     = 10   // of one request
	maxCallbackBytes = 2048 // of one URL
	maxWatched       = 10_000
)

// ErrManyCallbacks: as many requests with callbacks are open as are kept.
var ErrManyCallbacks = errors.New("too many requests with callbacks are open here")

// callbacks checks that callbacks may be sent where a request wants them.
func (f *faults) callbacks(p *Processor, urls []string) {
	if len(urls) > maxCallbacks {
		f.add(reasonRefused, "status_callback_urls has more than %d", maxCallbacks)
		return
	}
	for i, text := range urls {
		switch {
		case slices.Contains(urls[:i], text):
			f.add(reasonInvalid, "status_callback_urls[%d] is there twice", i)
		case !p.mayCall(text):
			f.add(reasonRefused, "status_callback_urls[%d] must be an https URL of at most %d bytes, without user and fragment, at a host that opendsr.callback_hosts of the configuration names; "+
				"without callbacks ask GET %s/requests/{subject_request_id}", i, maxCallbackBytes, Path)
		}
	}
}

// mayCall reports whether a callback may be sent to a URL: no controller makes this
// process call hosts that its operator has not named.
func (p *Processor) mayCall(text string) bool {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxCallbackBytes || u.User != nil || u.Fragment != "" || u.Host == "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || ip == nil || !ip.IsLoopback()) {
		return false
	}
	return slices.Contains(p.cfg.CallbackHosts, u.Host)
}

// watched is a request whose callbacks are not all sent yet, as its file has it.
type watched struct {
	ID        string              `json:"subjectRequestId"`
	Kind      subject.RequestKind `json:"kind"`
	URLs      []string            `json:"callbacks"`
	Partition int32               `json:"partition"`
	From      int64               `json:"from"` // offset of the results that are looked at next
	Received  subject.Instant     `json:"received"`
	Expected  subject.Instant     `json:"expected"`
	Final     bool                `json:"final"` // its status changes no more
	Due       []due               `json:"due"`   // in the order in which they became so
}

// due is a callback that nobody has taken yet.
type due struct {
	URL    string          `json:"url"`
	Status Status          `json:"status"`
	Since  subject.Instant `json:"since"`
}

// callbacks are the requests that are watched. Each has a file of its own, so that a
// restart goes on with it: a callback is sent once at least.
type callbacks struct {
	mu      sync.Mutex
	byID    map[string]*watched // guarded by mu
	tries   map[string]try      // guarded by mu: what has failed, by URL, and hosts that nobody answers at
	calling map[string]bool     // guarded by mu: hosts that are being called
	woken   chan struct{}
}

// Watch is where the results of a request will be.
type Watch struct {
	Partition int32
	From      int64
	Received  subject.Instant
	Expected  subject.Instant
}

// Watch lets callbacks of a request be sent from now on; it must return before the
// request is sent. One that is watched goes on as it is, and did not begin. The error is
// ErrManyCallbacks, or of the file.
func (p *Processor) Watch(q *Request, at Watch) (began bool, err error) {
	c := &p.callbacks
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[q.ID] != nil {
		return false, nil
	}
	if len(c.byID) >= maxWatched {
		return false, ErrManyCallbacks
	}
	w := &watched{ID: q.ID, Kind: q.Kind, URLs: q.Callbacks, Partition: at.Partition, From: at.From, Received: at.Received, Expected: at.Expected}
	if err := p.save(w); err != nil {
		return false, err
	}
	c.byID[q.ID] = w
	select {
	case c.woken <- struct{}{}:
	default:
	}
	return true, nil
}

// Unwatch drops a request that was not sent after all.
func (p *Processor) Unwatch(id string) {
	p.callbacks.mu.Lock()
	defer p.callbacks.mu.Unlock()
	if w := p.callbacks.byID[id]; w != nil {
		w.Final, w.Due = true, nil
		p.keep(w)
	}
}

// WatchesOthers reports whether callbacks of a request are being sent to other URLs than
// these.
func (p *Processor) WatchesOthers(q *Request) bool {
	p.callbacks.mu.Lock()
	defer p.callbacks.mu.Unlock()
	w := p.callbacks.byID[q.ID]
	return w != nil && !slices.Equal(w.URLs, q.Callbacks)
}

// lookEvery is how often it is looked what became of the requests that are watched.
const lookEvery = time.Second

// Run sends callbacks until ctx ends.
func (p *Processor) Run(ctx context.Context) error {
	group := &errgroup.Group{}
	group.SetLimit(callsAtOnce)
	for ctx.Err() == nil {
		p.look(ctx)
		p.deliver(ctx, group)
		select {
		case <-ctx.Done():
		case <-p.callbacks.woken:
		case <-time.After(lookEvery):
		}
	}
	return group.Wait()
}

// watchFor is how long after it was received and expected to be completed a request is
// watched that is not: it was never sent, or its results are gone from their topic.
const watchFor = 31 * subject.Day

// expire drops requests of which nothing is to be expected any more.
func (p *Processor) expire(now subject.Instant) {
	p.callbacks.mu.Lock()
	defer p.callbacks.mu.Unlock()
	for _, w := range p.callbacks.byID {
		if !w.Final && max(w.Received, w.Expected) < now-watchFor {
			p.deps.Logger.Warn("what becomes of a request is called back no more: it was expected long ago", "request", w.ID)
			w.Final = true
			p.keep(w)
		}
	}
}

// look reads the results of all partitions in which a request is watched.
func (p *Processor) look(ctx context.Context) {
	p.expire(subject.FromTime(time.Now()))
	for partition, from := range p.positions() {
		results, next, err := p.deps.Results(ctx, partition, from)
		if err != nil {
			if ctx.Err() == nil {
				p.deps.Logger.Warn("the results of requests cannot be read for callbacks, trying again", "partition", partition, "error", err)
			}
			continue
		}
		p.take(partition, from, next, results)
	}
}

// positions are where to read on, by partition.
func (p *Processor) positions() map[int32]int64 {
	p.callbacks.mu.Lock()
	defer p.callbacks.mu.Unlock()
	at := map[int32]int64{}
	for _, w := range p.callbacks.byID {
		if w.Final {
			continue
		}
		if from, ok := at[w.Partition]; !ok || w.From < from {
			at[w.Partition] = w.From
		}
	}
	return at
}

// take makes callbacks due for the results that were read.
func (p *Processor) take(partition int32, from, next int64, results []Result) {
	c := &p.callbacks
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.byID {
		if w.Partition != partition || w.From > next || w.From < from || w.Final {
			continue // it came meanwhile, or needs nothing
		}
		changed := false
		for _, r := range results {
			if r.ID == w.ID && r.Offset >= w.From {
				w.add(r)
				changed = true
			}
		}
		w.From = next
		if changed {
			p.keep(w)
		}
	}
}

func (w *watched) add(r Result) {
	status := StatusOf(w.Kind, r.Status)
	w.Final = status.IsFinal()
	for _, u := range w.URLs {
		w.Due = append(w.Due, due{u, status, r.At})
	}
}

// keep saves what is known of a request, or drops it where nothing is left to do.
// Where the file cannot be written, callbacks may be sent again after a restart.
func (p *Processor) keep(w *watched) {
	var err error
	if w.Final && len(w.Due) == 0 {
		delete(p.callbacks.byID, w.ID)
		err = p.remove(w)
	} else {
		err = p.save(w)
	}
	if err != nil {
		p.deps.Logger.Error("what is left to do for callbacks cannot be kept: after a restart some may be sent again", "request", w.ID, "error", err)
	}
}

// waiting are the callbacks that are due, by URL, the oldest first.
func (p *Processor) waiting() map[string][]delivery {
	p.callbacks.mu.Lock()
	defer p.callbacks.mu.Unlock()
	byURL, n := map[string][]delivery{}, 0
	for _, id := range slices.Sorted(maps.Keys(p.callbacks.byID)) {
		w := p.callbacks.byID[id]
		for _, d := range w.Due {
			byURL[d.URL] = append(byURL[d.URL], delivery{d, w.ID, p.standing(w, d)})
			n++
		}
	}
	p.deps.Waiting(n)
	return byURL
}

func (p *Processor) standing(w *watched, d due) Standing {
	s := p.Standing(w.ID, w.Kind, d.Status, w.Expected)
	s.Callback = d.URL
	return s
}

func (p *Processor) isDue(d delivery) bool {
	p.callbacks.mu.Lock()
	defer p.callbacks.mu.Unlock()
	w := p.callbacks.byID[d.id]
	return w != nil && slices.Contains(w.Due, d.due)
}

// done takes a callback that was sent, or given up, off what is due.
func (p *Processor) done(d delivery) {
	p.callbacks.mu.Lock()
	defer p.callbacks.mu.Unlock()
	w := p.callbacks.byID[d.id]
	if w == nil {
		return
	}
	if i := slices.Index(w.Due, d.due); i >= 0 {
		w.Due = slices.Delete(w.Due, i, i+1)
	}
	p.keep(w)
}

// openCallbacks reads the files of requests that are watched.
func (p *Processor) openCallbacks() error {
	p.callbacks = callbacks{byID: map[string]*watched{}, tries: map[string]try{}, calling: map[string]bool{}, woken: make(chan struct{}, 1)}
	all, err := p.load()
	if err != nil {
		return fmt.Errorf("read the callbacks that are not sent yet: %w", err)
	}
	for _, w := range all {
		p.callbacks.byID[w.ID] = w
	}
	return nil
}
