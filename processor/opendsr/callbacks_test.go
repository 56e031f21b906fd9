package opendsr

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// topic is the results of one partition.
type topic struct {
	mu      sync.Mutex
	results []Result
	fail    error
}

func (x *topic) add(id string, s subject.RequestStatus) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.results = append(x.results, Result{ID: id, Status: s, At: subject.FromTime(time.Now()), Offset: int64(len(x.results))})
}

func (x *topic) failing(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fail = err
}

func (x *topic) read(_ context.Context, partition int32, from int64) ([]Result, int64, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if partition != 3 {
		return nil, from, nil
	}
	return slices.Clone(x.results[min(from, int64(len(x.results))):]), int64(len(x.results)), x.fail
}

// endpoint is the controller's, behind a network that need not answer.
type endpoint struct {
	t       *testing.T
	answers func(r *http.Request, n int) (int, error) // to the n-th call of its host

	mu    sync.Mutex
	calls map[string]int      // guarded by mu: by host
	told  map[string][]string // guarded by mu: statuses that were taken, by URL
}

func newEndpoint(t *testing.T, answers func(r *http.Request, n int) (int, error)) *endpoint {
	return &endpoint{t: t, answers: answers, calls: map[string]int{}, told: map[string][]string{}}
}

// RoundTrip implements http.RoundTripper.
func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	e.calls[r.URL.Host]++
	n := e.calls[r.URL.Host]
	e.mu.Unlock()
	status, err := e.answers(r, n)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r.Body)
	var body Standing
	if err != nil || json.Unmarshal(text, &body) != nil || body.Callback != r.URL.String() || r.Header.Get(HeaderSignature) == "" || r.Header.Get(HeaderDomain) != "opendsr.example.com" {
		e.t.Errorf("%v %s", r.Header, text)
	}
	if status == 200 {
		e.mu.Lock()
		e.told[body.Callback] = append(e.told[body.Callback], string(body.Status))
		e.mu.Unlock()
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"http://169.254.169.254/"}}, Body: io.NopCloser(strings.NewReader("thanks"))}, nil
}

func (e *endpoint) taken(url string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.told[url])
}

func (e *endpoint) called(host string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls[host]
}

// running lets a processor send callbacks, and returns what ends it.
func running(t *testing.T, cfg Config, deps Deps) (p *Processor, stop func()) {
	t.Helper()
	p = newProcessor(t, cfg, deps)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	return p, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

const testCallback = "https://dsr.shop.example/calls"

func (p *Processor) mustWatch(t *testing.T, id string, urls ...string) {
	t.Helper()
	if _, err := p.Watch(&Request{ID: id, Kind: subject.Erase, Callbacks: urls}, Watch{Partition: 3, From: 0, Expected: subject.FromTime(time.Now()) + subject.Day}); err != nil {
		t.Fatal(err)
	}
}

// Each change is called back, in order, whatever fails and whenever the process ends;
// nothing is left in the directory then.
func TestCallbacksAreSentOnceAtLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results, cfg := &topic{}, testConfig(t)
		statuses := []int{500, 302, 404, 200, 503, 0, 0, 200} // 0: nobody answers
		e := newEndpoint(t, func(_ *http.Request, n int) (int, error) {
			switch {
			case n > len(statuses):
				return 200, nil
			case statuses[n-1] == 0:
				return 0, errors.New("connection refused")
			}
			return statuses[n-1], nil
		})
		counted := map[string]int{} // one host is called by one goroutine at a time
		deps := Deps{Results: results.read, Transport: e, Count: func(outcome string) { counted[outcome]++ }}
		p, stop := running(t, cfg, deps)
		p.mustWatch(t, testID, testCallback)
		p.mustWatch(t, testID, testCallback) // again
		results.add(testID, subject.Received)
		results.add("another", subject.Completed)
		results.failing(errors.New("the broker is away"))
		time.Sleep(10 * time.Second)
		results.failing(nil)
		time.Sleep(10 * time.Second)
		stop()
		results.add(testID, subject.InProgress)
		p, stop = running(t, cfg, deps)
		time.Sleep(time.Second)
		results.add(testID, subject.Completed)
		time.Sleep(time.Minute)
		stop()
		if got, want := e.taken(testCallback), []string{"pending", "in_progress", "completed"}; !slices.Equal(got, want) {
			t.Errorf("called back %q, want %q", got, want)
		}
		if counted[Delivered] != 3 || counted[Retried] != 6 || counted[GivenUp] != 0 {
			t.Errorf("counted %v", counted)
		}
		if left, err := os.ReadDir(cfg.Dir); err != nil || len(left) > 0 || p.WatchesOthers(&Request{ID: testID}) {
			t.Errorf("left: %v %v", left, err)
		}
	})
}

// A host that does not answer holds up nobody else, and is called once for all.
func TestCallbacksToADeadHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results, cfg := &topic{}, testConfig(t)
		e := newEndpoint(t, func(r *http.Request, _ int) (int, error) {
			if r.URL.Host == "dsr.shop.example" {
				<-r.Context().Done()
				return 0, r.Context().Err()
			}
			return 200, nil
		})
		waiting := 0
		deps := Deps{Results: results.read, Transport: e, Waiting: func(n int) { waiting = n }}
		p, stop := running(t, cfg, deps)
		const other = "https://calls.shop.example:8443/x"
		for i := range 20 {
			id := strings.Replace(testID, "a7551968", "a75519"+string(rune('a'+i%6))+string(rune('0'+i/6)), 1)
			p.mustWatch(t, id, testCallback+"/"+id, other)
			results.add(id, subject.Completed)
		}
		time.Sleep(2 * time.Second)
		if n := len(e.taken(other)); n != 20 {
			t.Errorf("%d of 20 callbacks to a host that answers", n)
		}
		time.Sleep(60 * time.Second)
		if n := e.called("dsr.shop.example"); n < 2 || n > 6 {
			t.Errorf("a host that does not answer was called %d times in a minute", n)
		}
		stop()
		time.Sleep(keepTrying)
		_, stop = running(t, cfg, deps)
		time.Sleep(20 * time.Minute) // one after the other, and longer and longer pauses
		stop()
		if left, err := os.ReadDir(cfg.Dir); err != nil || len(left) > 0 || waiting != 0 {
			t.Errorf("%d still wait after three days; left: %v %v", waiting, left, err)
		}
	})
}

// URLs that never answer, at a host that does, hold up no others there.
func TestCallbacksToHangingURLs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := &topic{}
		e := newEndpoint(t, func(r *http.Request, _ int) (int, error) {
			httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
			if r.URL.String() != testCallback {
				<-r.Context().Done()
				return 0, r.Context().Err()
			}
			return 200, nil
		})
		p, stop := running(t, testConfig(t), Deps{Results: results.read, Transport: e})
		defer stop()
		for i := range 4 {
			id := strings.Replace(testID, "a7551968", "a755196"+string(rune('0'+i)), 1)
			var urls []string
			for range maxCallbacks {
				urls = append(urls, testCallback+"/"+id+string(rune('a'+len(urls))))
			}
			p.mustWatch(t, id, urls...)
			results.add(id, subject.Completed)
		}
		time.Sleep(30 * time.Minute)
		const id = "b7551968-d5d6-44b2-9831-815ac9017798"
		p.mustWatch(t, id, testCallback)
		for i, status := range []subject.RequestStatus{subject.Received, subject.InProgress, subject.Completed} {
			results.add(id, status)
			time.Sleep(2*callWait + 2*lookEvery)
			if got := len(e.taken(testCallback)); got != i+1 {
				t.Fatalf("%d of %d callbacks to a URL that answers", got, i+1)
			}
		}
	})
}

// A request of which nothing is heard is watched for a month after it was expected, and
// after it was received where its time had run out before.
func TestCallbacksExpire(t *testing.T) {
	const overdue = "00000000-0000-4000-8000-000000000001"
	synctest.Test(t, func(t *testing.T) {
		results, cfg := &topic{}, testConfig(t)
		deps := Deps{Results: results.read, Transport: newEndpoint(t, func(*http.Request, int) (int, error) { return 200, nil })}
		expected := subject.FromTime(time.Now()) + subject.Day
		for _, c := range []struct {
			after time.Duration
			files int
		}{{time.Hour, 2}, {31 * 24 * time.Hour, 2}, {24 * time.Hour, 0}} {
			time.Sleep(c.after)
			p, stop := running(t, cfg, deps)
			if c.after == time.Hour {
				for id, at := range map[string]Watch{testID: {Partition: 3, Expected: expected}, overdue: {Partition: 3, Received: expected, Expected: expected - 400*subject.Day}} {
					if _, err := p.Watch(&Request{ID: id, Callbacks: []string{testCallback}}, at); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(2 * time.Second)
			stop()
			if left, _ := os.ReadDir(cfg.Dir); len(left) != c.files {
				t.Errorf("%v later: left %v", c.after, left)
			}
		}
	})
}

// TestCallbackHosts: only what the configuration names is called, also of what was
// watched before.
func TestCallbackHosts(t *testing.T) {
	p := newProcessor(t, testConfig(t), Deps{})
	for url, want := range map[string]bool{
		"https://dsr.shop.example/calls?a=b": true, "https://calls.shop.example:8443": true, "http://127.0.0.1:9000/x": true, "http://[::1]:9000/": true, "https://127.0.0.1:9000/": true,
		"http://dsr.shop.example/calls": false, "https://dsr.shop.example:444/calls": false, "https://calls.shop.example/": false, "https://shop.example/": false,
		"https://dsr.shop.example@evil.example/": false, "https://user@dsr.shop.example/": false, "https://dsr.shop.example.evil.example/": false, "https://dsr.shop.example/#x": false,
		"http://127.0.0.1/": false, "http://localhost:9000/": false, "http://127.1:9000/": false, "file:///etc/passwd": false, "//dsr.shop.example/": false, "dsr.shop.example": false, "": false,
		"https://dsr.shop.example/" + strings.Repeat("x", maxCallbackBytes): false, "https://dsr.shop.example/\x00": false, "gopher://dsr.shop.example/": false,
	} {
		if got := p.mayCall(url); got != want {
			t.Errorf("%s: %v", url, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		results, cfg := &topic{}, testConfig(t)
		newProcessor(t, cfg, Deps{}).mustWatch(t, testID, testCallback)
		results.add(testID, subject.Completed)
		cfg.CallbackHosts = nil
		e := newEndpoint(t, func(*http.Request, int) (int, error) { return 200, nil })
		_, stop := running(t, cfg, Deps{Results: results.read, Transport: e})
		time.Sleep(time.Minute)
		stop()
		if left, _ := os.ReadDir(cfg.Dir); len(left) > 0 || e.called("dsr.shop.example") > 0 {
			t.Errorf("called %d times, left: %v", e.called("dsr.shop.example"), left)
		}
	})
}

// Files that are none of ours, or damaged, harm nothing; as many requests are watched
// as may be.
func TestCallbackFiles(t *testing.T) {
	cfg := testConfig(t)
	for name, text := range map[string]string{testID + ".json": "{", testID + ".json.new": "", "notes.txt": "", strings.Replace(testID, "8", "9", 1) + ".json": `{"subjectRequestId":"` + testID + `"}`} {
		if err := os.WriteFile(filepath.Join(cfg.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := newProcessor(t, cfg, Deps{})
	if n := len(p.callbacks.byID); n > 0 {
		t.Errorf("%d are watched", n)
	}
	for i := range maxWatched {
		p.callbacks.byID[string(rune(i))] = &watched{}
	}
	if _, err := p.Watch(&Request{ID: testID}, Watch{}); !errors.Is(err, ErrManyCallbacks) {
		t.Error(err)
	}
	p.callbacks.byID = map[string]*watched{}
	p.cfg.Dir = filepath.Join(cfg.Dir, "absent")
	if _, err := p.Watch(&Request{ID: testID}, Watch{}); err == nil {
		t.Error("watched without a file")
	}
}
