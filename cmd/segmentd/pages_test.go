package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/rules/schematest"
	"github.com/segmentd/segmentd/state/subject"
)

// startService runs the service with its own broker until the test ends.
func startService(t *testing.T, listen string) *service {
	t.Helper()
	return startServiceWith(t, listen, "../../deployments/example/rules")
}

func startServiceWith(t *testing.T, listen, rules string) *service {
	t.Helper()
	return startServiceAs(t, serviceSetup{listen: listen, rules: rules})
}

// serviceSetup is how a service is to run.
type serviceSetup struct {
	listen, rules string
	environ       []string
	log           io.Writer // at level debug; nil: it is heard, no more
}

func startServiceAs(t *testing.T, setup serviceSetup) *service {
	t.Helper()
	if setup.log == nil {
		setup.log = heard.Writer("a log")
	}
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	config.AddFlags(fs)
	err := fs.Parse([]string{"--rules", setup.rules, "--embedded", "--data", t.TempDir(), "--listen", setup.listen,
		"--broker-listen", "127.0.0.1:0", "--log-level", "debug"})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Sources{Environ: append([]string{"SEGMENTD_TOPICS_PARTITIONS=2"}, setup.environ...), Flags: fs, Needs: config.NeedAll})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan *service, 1), make(chan error, 1)
	go func() {
		ended <- serve(ctx, &invocation{streams: streams{out: setup.log, err: setup.log}}, cfg, func(s *service) { started <- s })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the service ended with %v", err)
		}
	})
	select {
	case s := <-started:
		return s
	case err := <-ended:
		ended <- nil
		t.Fatalf("the service did not start: %v", err)
	}
	return nil
}

// request asks a page; host replaces the Host header where it is not "".
func request(t *testing.T, method, url, host, body string) (status int, header http.Header, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

func TestPages(t *testing.T) {
	s := startService(t, "127.0.0.1:0")
	base := "http://" + s.admin.Addr().String()
	eventuallyStatus(t, base+"/readyz", http.StatusOK)
	consenting(t, s)
	eventuallyBody(t, base+"/v1/subjects/u1", `"segment":"big_spenders"`)
	for _, c := range []struct {
		method, path, host, body string
		status                   int
		want                     string
	}{
		{"GET", "/livez", "", "", 200, "ok"},
		{"GET", "/livez", "evil.example", "", 200, "ok"},
		{"GET", "/healthz", "", "", 200, "ok"},
		{"GET", "/readyz?verbose", "", "", 200, "partition 1: ready"},
		{"GET", "/metrics", "", "", 200, "segmentd_build_info"},
		{"GET", "/v1/segments", "", "", 200, `"members":1`},
		{"GET", "/v1/subjects/nobody", "", "", 200, `"memberships":[]`},
		{"GET", "/v1/subjects/u1?idType=anonymousId", "", "", 200, `"idType":"anonymousId","memberships":[]`},
		{"GET", "/v1/subjects/u1?idType=email", "", "", 400, "userId or anonymousId"},
		{"GET", "/v1/subjects/" + strings.Repeat("u", 600), "", "", 400, "512 bytes"},
		{"GET", "/v1/subjects/a%0Ab", "", "", 400, "control characters"},
		{"POST", "/v1/subjects/lookup", "", `{"userId":"u1"}`, 200, `"segment":"big_spenders"`},
		{"POST", "/v1/subjects/lookup", "", `{"anonymousId":"u1"}`, 200, `"memberships":[]`},
		{"POST", "/v1/subjects/lookup", "", `{"userId":"u1","anonymousId":"u1"}`, 400, "the body must be"},
		{"POST", "/v1/subjects/lookup", "", `{"email":"u1"}`, 400, "the body must be"},
		{"POST", "/v1/subjects/lookup", "", `{"userId":"u1"} and more`, 400, "the body must be"},
		{"POST", "/v1/subjects/lookup", "", `{"userId":"u1"}{"userId":"u2"}`, 400, "the body must be"},
		{"POST", "/v1/subjects/lookup", "", `{"userId":"u1"} ` + "\n", 200, `"segment":"big_spenders"`},
		{"POST", "/v1/subjects/lookup", "", `{"userId":"` + strings.Repeat("u", 100_000) + `"}`, 413, "the body is larger than 65536 bytes"},
		{"POST", "/v1/requests", "", `{"userId":"u1","request":"rectify","traits":{"x":"` + strings.Repeat("u", 100_000) + `"}}`, 413, "the body is larger than 65536 bytes"},
		{"POST", "/v1/requests", "", `{"userId":"u1","request":"restrict","requestId":"q\n1"}`, 400, "requestId has control characters"},
		{"POST", "/v1/requests", "", `{"userId":"u1","request":"restrict","timestamp":"0001-01-01T00:00:00Z"}`, 400, "after 1970-01-01T00:00:00Z"},
		{"POST", "/v1/requests", "", `{"userId":"u1","request":"restrict","timestamp":"1970-01-01T00:00:00Z"}`, 400, "after 1970-01-01T00:00:00Z"},
		{"POST", "/v1/decisions", "", `{"userId":"u1","purpose":"marketting","status":"withdrawn"}`, 400, "unknown_purpose: the rules declare no such purpose (nearest: marketing); they declare "},
		{"GET", "/v1/subjects/..", "", "", 404, "no page has a path with an empty part, . or .."},
		{"GET", "/v1/subjects/./explain", "", "", 404, "is found by POST"},
		{"GET", "/v1/subjects//access", "", "", 404, "no page has a path with an empty part"},
		{"GET", "/v1/subjects/%2E%2E", "", "", 200, `{"userId":"..",`},
		{"POST", "/v1/subjects/lookup", "", `{"userId":".."}`, 200, `{"userId":"..",`},
		{"GET", "/v1/subjects/nobody/access?requestId=q-1", "", "", 404, "no request of this id is kept of this subject"},
		{"POST", "/v1/subjects/portability", "", `{"userId":"nobody","requestId":"q-1"}`, 404, "no request of this id is kept of this subject"},
		{"GET", "/v1/subjects/u1/explain?segment=big_spenders", "", "", 200, `"member":true`},
		{"GET", "/v1/subjects/u1/explain", "", "", 200, `"explanations":[{`},
		{"GET", "/v1/subjects/u1/explain?segment=big_spender", "", "", 404, "no segment \\\"big_spender\\\" (nearest: big_spenders)"},
		{"GET", "/v1/subjects/u1/explain?segment=big_spenders&idType=anonymousId", "", "", 200, `"reason":"no_decision"`},
		{"GET", "/v1/subjects/nobody/explain", "", "", 200, `"explanations":[]`},
		{"GET", "/v1/subjects/u1/explain?idType=email", "", "", 400, "userId or anonymousId"},
		{"GET", "/v1/subjects/a%0Ab/explain", "", "", 400, "control characters"},
		{"GET", "/v1/subjects/u1/explain", "evil.example", "", 403, "loopback"},
		{"POST", "/v1/subjects/explain", "", `{"userId":"u1","segment":"big_spenders"}`, 200, `"member":true`},
		{"POST", "/v1/subjects/explain", "", `{"anonymousId":"u1"}`, 200, `"explanations":[]`},
		{"POST", "/v1/subjects/explain", "", `{"segment":"big_spenders"}`, 400, "the body must be"},
		{"POST", "/v1/subjects/explain", "", `{"userId":"u1"} {}`, 400, "the body must be"},
		{"POST", "/v1/subjects/explain", "", `{"userId":"u1","segment":"` + strings.Repeat("7", 40_000) + `"}`, 404, "7…(39"},
		{"GET", "/v1/subjects/u1", "evil.example", "", 403, "not this machine's loopback address"},
		{"GET", "/v1/segments", "evil.example:80", "", 403, "loopback"},
		{"GET", "/v1/segments", "localhost:1", "", 200, `"segments"`},
		{"GET", "/v1/segments", "[::1]:1", "", 200, `"segments"`},
		{"GET", "/v1/bogus", "", "", 404, "there is no such page"},
		{"GET", "/", "", "", 404, "there is no such page"},
		{"GET", "/debug/pprof/", "", "", 404, "there is no such page"},
	} {
		status, header, text := request(t, c.method, base+c.path, c.host, c.body)
		if status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %.40s (Host %q): %d %.200s, want %d with %q", c.method, c.path, c.host, status, text, c.status, c.want)
		}
		if status >= 400 {
			isProblem(t, status, header, text)
		}
		if strings.HasPrefix(c.path, "/v1/subjects") && status == 200 && header.Get("Cache-Control") != "no-store" {
			t.Errorf("%.40s may be cached", c.path)
		}
	}
}

// TestOtherMethods asks known pages by methods that they do not take.
func TestOtherMethods(t *testing.T) {
	s := startService(t, "127.0.0.1:0")
	base := "http://" + s.admin.Addr().String()
	for _, c := range []struct {
		method, path string
		allow        string // "": there is no such page
	}{
		{"GET", "/v1/admin/reload", "POST"},
		{"DELETE", "/v1/subjects/u1", "GET, HEAD"},
		{"PUT", "/v1/subjects/explain", "GET, HEAD, POST"}, // a subject may be called so
		{"POST", "/v1/subjects/u1/explain", "GET, HEAD"},
		{"POST", "/v1/segments?x=1", "GET, HEAD"},
		{"POST", "/livez", "GET, HEAD"},
		{"DELETE", "/metrics", "GET, HEAD"},
		{"DELETE", "/v1/bogus", ""},
		{"POST", "/v1/segments/more", ""},
		{"POST", "/", ""},
	} {
		status, header, text := request(t, c.method, base+c.path, "", "")
		want := http.StatusMethodNotAllowed
		if c.allow == "" {
			want = http.StatusNotFound
		}
		if status != want || header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q; want %d, %q", c.method, c.path, status, header.Get("Allow"), want, c.allow)
		}
		isProblem(t, status, header, text)
	}
}

// TestExplanationPage holds answers to their schema, and look-ups to readiness.
func TestExplanationPage(t *testing.T) {
	s := startService(t, "127.0.0.1:0")
	base := "http://" + s.admin.Addr().String()
	eventuallyStatus(t, base+"/readyz", http.StatusOK)
	consenting(t, s)
	eventuallyBody(t, base+"/v1/subjects/u1", `"segment":"big_spenders"`)
	_, header, text := request(t, "GET", base+"/v1/subjects/u1/explain", "", "")
	if header.Get("Cache-Control") != "no-store" {
		t.Error("an explanation may be cached")
	}
	var all struct {
		UserID       string
		Explanations []json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil || all.UserID != "u1" || len(all.Explanations) == 0 {
		t.Fatalf("%s: %v", text, err)
	}
	page, _ := schemaOf("explanation")
	schema := schematest.Compile(t, page)
	for _, e := range all.Explanations {
		if err := schema.Validate(schematest.JSON(t, e)); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
}

// isProblem checks a problem detail (RFC 9457).
func isProblem(t *testing.T, status int, header http.Header, text string) {
	t.Helper()
	var p struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.Status != status || p.Title == "" || p.Detail == "" {
		t.Errorf("no problem detail: %s", text)
	}
	if got := header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("the content type of a problem is %q", got)
	}
}

// Beyond loopback only health and metrics are served.
func TestPagesBeyondLoopback(t *testing.T) {
	s := startService(t, "0.0.0.0:0")
	_, port, err := net.SplitHostPort(s.admin.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	base := "http://127.0.0.1:" + port
	eventuallyStatus(t, base+"/readyz", http.StatusOK)
	for path, want := range map[string]int{"/livez": 200, "/metrics": 200, "/v1/segments": 403, "/v1/subjects/u1": 403, "/v1/bogus": 403} {
		status, header, text := request(t, "GET", base+path, "", "")
		if status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
		if status == http.StatusForbidden {
			isProblem(t, status, header, text)
			if !strings.Contains(text, "beyond loopback") {
				t.Errorf("%s does not say why: %s", path, text)
			}
		}
	}
}

func consenting(t *testing.T, s *service) {
	t.Helper()
	send(t, s, "decisions", "u1", `{"type":"decision","userId":"u1","purpose":"marketing","status":"given"}`)
	send(t, s, "events", "u1", `{"type":"track","userId":"u1","event":"Order Completed","properties":{"total":700}}`)
}

// send produces a record of a subject.
func send(t *testing.T, s *service, topic, user, value string) {
	t.Helper()
	p, _ := kafka.Murmur2.Partition([]byte(user), s.partitions())
	m := stream.Message{Topic: topic, Partition: p, Key: []byte(user), Value: []byte(value), Timestamp: subject.FromTime(time.Now())}
	if err := sendAll(t.Context(), s.client.NewProducer(kafka.ProducerConfig{}), []stream.Message{m}); err != nil {
		t.Fatal(err)
	}
}

func eventuallyStatus(t *testing.T, url string, want int) {
	t.Helper()
	poll(t, url, func() bool {
		status, _, _ := request(t, "GET", url, "", "")
		return status == want
	})
}

func eventuallyBody(t *testing.T, url, want string) {
	t.Helper()
	poll(t, url, func() bool {
		_, _, text := request(t, "GET", url, "", "")
		return strings.Contains(text, want)
	})
}

func poll(t *testing.T, what string, so func() bool) {
	t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	for !so() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-end.C:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
