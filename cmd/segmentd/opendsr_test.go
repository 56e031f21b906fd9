package main

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/processor/opendsr"
	"github.com/segmentd/segmentd/state/subject"
)

const processorDomain = "opendsr.example.com"

// controller is one who hands requests on by OpenDSR and believes nothing that is
// not signed.
type controller struct {
	*testing.T
	cert  *x509.Certificate
	files kafkatest.Pair
	calls *httptest.Server

	mu     sync.Mutex
	broken bool                // guarded by mu: callbacks are answered 500
	tried  int                 // guarded by mu: callbacks that were
	told   map[string][]string // guarded by mu: statuses by request, as they were called back
}

func newController(t *testing.T) *controller {
	t.Helper()
	authority := kafkatest.NewAuthority(t, "dsr")
	c := &controller{T: t, files: authority.Issue("processor", time.Now().Add(100*24*time.Hour), processorDomain), told: map[string][]string{}}
	roots := x509.NewCertPool()
	for file, use := range map[string]func(*x509.Certificate){authority.CAFile: roots.AddCert, c.files.CertFile: func(cert *x509.Certificate) { c.cert = cert }} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		use(cert)
	}
	if _, err := c.cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: processorDomain}); err != nil {
		t.Fatal(err)
	}
	c.calls = httptest.NewServer(http.HandlerFunc(c.called))
	t.Cleanup(c.calls.Close)
	return c
}

// environ lets an instance speak OpenDSR with the controller.
func (c *controller) environ() []string {
	const prefix = "SEGMENTD_OPENDSR_"
	return []string{prefix + "CONTROLLER_ID=shop", prefix + "PROCESSOR_DOMAIN=" + processorDomain, prefix + "CERTIFICATE=https://" + processorDomain + "/cert.pem",
		prefix + "CERT_FILE=" + c.files.CertFile, prefix + "KEY_FILE=" + c.files.KeyFile, prefix + "CALLBACK_HOSTS=" + strings.TrimPrefix(c.calls.URL, "http://")}
}

// signed checks a signature with the certificate's key, as any client can.
func (c *controller) signed(header http.Header, text string) {
	c.Helper()
	signature, err := base64.StdEncoding.DecodeString(header.Get("X-OpenDSR-Signature"))
	if err == nil {
		err = c.cert.CheckSignature(x509.ECDSAWithSHA256, []byte(text), signature)
	}
	if err != nil || header.Get("X-OpenDSR-Processor-Domain") != processorDomain {
		c.Errorf("not signed by %s (%v): %v %s", processorDomain, err, header, text)
	}
}

// called takes a callback.
func (c *controller) called(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	var body map[string]string
	if err != nil || json.Unmarshal(text, &body) != nil {
		c.Errorf("a callback that is no JSON: %s", text)
	}
	c.signed(r.Header, string(text))
	if want := c.calls.URL + r.URL.String(); r.Method != "POST" || body["status_callback_url"] != want || body["controller_id"] != "shop" || body["expected_completion_time"] == "" {
		c.Errorf("%s %s: %s", r.Method, want, text)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		c.tried++
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	id := body["subject_request_id"]
	c.told[id] = append(c.told[id], body["request_status"])
}

func (c *controller) statuses(id string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Compact(slices.Clone(c.told[id])) // at least once
}

func (c *controller) setBroken(broken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = broken
}

func (c *controller) failures() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tried
}

// ask asks a page, following redirects, until the answer is not that it cannot be told
// now, and checks that the answer is signed.
func (c *controller) ask(method, url, body string) (status int, answer map[string]any) {
	c.Helper()
	text := ""
	poll(c.T, method+" "+url+" is not put off", func() bool {
		req, err := http.NewRequestWithContext(c.Context(), method, url, strings.NewReader(body))
		if err != nil {
			c.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			c.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			c.Fatal(err)
		}
		status, text = res.StatusCode, string(b)
		if status != http.StatusServiceUnavailable {
			c.signed(res.Header, text)
		}
		return status != http.StatusServiceUnavailable
	})
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		c.Fatalf("%s %s: %d %s: %v", method, url, status, text, err)
	}
	if inner, ok := answer["processor_signature"].(string); ok {
		c.signed(http.Header{"X-Opendsr-Signature": {inner}, "X-Opendsr-Processor-Domain": {processorDomain}},
			strings.Replace(text, `,"processor_signature":"`+inner+"\"}\n", "}", 1))
	}
	return status, answer
}

// becomes asks how far a request is, at several instances, until all say that.
func (c *controller) becomes(id, want string, at ...*member) {
	c.Helper()
	for i, m := range at {
		poll(c.T, id+" is "+want+" at "+m.name, func() bool {
			_, answer := c.ask("GET", m.url()+"/opendsr/v2/"+[]string{"requests/", "status/"}[i%2]+id, "")
			return answer["request_status"] == want
		})
	}
}

func dsrID(n int) string { return fmt.Sprintf("a7551968-d5d6-44b2-9831-%012d", n) }

// dsrBody is a request that somebody made then, with callbacks where there are any.
func dsrBody(at time.Time, id, kind, user string, callbacks ...string) string {
	b, err := json.Marshal(map[string]any{"regulation": "gdpr", "subject_request_id": id, "subject_request_type": kind, "submitted_time": at.Format(time.RFC3339Nano), "api_version": "2.0",
		"subject_identities":   []map[string]string{{"identity_type": "controller_customer_id", "identity_value": user, "identity_format": "raw"}},
		"status_callback_urls": callbacks, "extensions": map[string]any{"other.example": map[string]int{"x": 1}}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// A controller asks two instances, whichever it likes, for what people want of it, is
// called back whatever fails, and can verify each answer.
func TestOpenDSR(t *testing.T) {
	c, f := newController(t), newFleet(t)
	f.environ = append(c.environ(), "SEGMENTD_INPUTS=[{topic: events, kind: event}, {topic: decisions, kind: decision}, {topic: requests, kind: request}]",
		"SEGMENTD_PRIVACY_ERASE_WITHIN=1m", "SEGMENTD_OPENDSR_URL=https://"+processorDomain+":8443/")
	a, b := f.add("a", fleetRules), f.add("b", fleetRules)
	a.start()
	b.start()
	owners, ids := f.owners(2), subjects(8)
	for _, id := range ids {
		f.order(id)
	}
	f.published(ids)
	d := &dsrTest{controller: c, fleet: f, a: a, b: b, owners: owners, at: time.Now()}
	d.discovery()
	d.access(ids[0])
	d.cancellation(ids[1])
	d.erasure(ids[2])
	d.erasedMeanwhile(ids[3])
	d.faults(ids[4])
	d.oneIDForTwo()
	d.oneIDWhilePaused()
	for _, m := range []*member{a, b} {
		d.allCalledBack(m)
	}
	if owners, err := f.client.NewAddressBook(fleetGroup, a.service.sharedTopic()).Owners(t.Context(), fleetPartitions+1); err == nil {
		t.Errorf("%v own a partition that nobody has", owners)
	}
}

type dsrTest struct {
	*controller
	fleet  *fleet
	a, b   *member
	owners map[int32]string
	at     time.Time // when people asked, after all that they did
}

func (d *dsrTest) body(id, kind, user string, callbacks ...string) string {
	return dsrBody(d.at, id, kind, user, callbacks...)
}

// owner is the instance that owns a subject, and the other one.
func (d *dsrTest) owner(user string) (owner, other *member) {
	if d.owners[d.fleet.partition(user)] == d.a.url() {
		return d.a, d.b
	}
	return d.b, d.a
}

func (d *dsrTest) discovery() {
	d.Helper()
	status, got := d.ask("GET", d.a.url()+"/opendsr/v2/discovery", "")
	want := map[string]any{"api_version": "2.0", "processor_certificate": "https://" + processorDomain + "/cert.pem",
		"supported_identities":            []any{map[string]any{"identity_type": "controller_customer_id", "identity_format": "raw"}},
		"supported_subject_request_types": []any{"access", "portability", "erasure"}}
	if diff := cmp.Diff(want, got); status != 200 || diff != "" {
		d.Errorf("%d\n%s", status, diff)
	}
}

// post sends a request and checks that it is acknowledged.
func (d *dsrTest) post(at *member, id, body string) {
	d.Helper()
	status, got := d.ask("POST", at.url()+"/opendsr/v2/requests", body)
	encoded, err := base64.StdEncoding.DecodeString(fmt.Sprint(got["encoded_request"]))
	if status != 201 || err != nil || string(encoded) != body || got["controller_id"] != "shop" || got["subject_request_id"] != id || got["processor_signature"] == nil {
		d.Fatalf("%d %v", status, got)
	}
	for _, name := range []string{"received_time", "expected_completion_time"} {
		if _, err := time.Parse(time.RFC3339, fmt.Sprint(got[name])); err != nil {
			d.Error(err)
		}
	}
	expected, _ := subject.ParseInstant(fmt.Sprint(got["expected_completion_time"]))
	if want := processor.RequestDue(subject.FromTime(d.at)); !strings.Contains(body, `"erasure"`) && expected/1000 != want/1000 {
		d.Errorf("expected on %s, want a month after the person asked: %s", expected, want)
	}
}

// refused sends something that is refused, with a reason.
func (d *dsrTest) refused(method, url, body string, want int, reason string) {
	d.Helper()
	status, got := d.ask(method, url, body)
	problem, ok := got["error"].(map[string]any)
	if !ok || status != want || problem["code"] != float64(want) || got["status"] != float64(want) || got["detail"] == "" {
		d.Errorf("%s %s %s: %d %v, want %d", method, url, body, status, got, want)
		return
	}
	if text := fmt.Sprint(problem["errors"]); !strings.Contains(text, "reason:"+reason) {
		d.Errorf("%s %s %s: %s, want %s", method, url, body, text, reason)
	}
}

// results is the page that a status names.
func (d *dsrTest) results(at *member, id string) string {
	d.Helper()
	_, got := d.ask("GET", at.url()+"/opendsr/v2/requests/"+id, "")
	u, err := url.Parse(fmt.Sprint(got["results_url"]))
	if err != nil || u.Scheme != "https" || u.Host != processorDomain+":8443" || u.RawQuery != "" {
		d.Fatalf("results_url of %v: %v", got, err)
	}
	return at.url() + u.Path
}

// access: handed over by the page that the status names, at any instance.
func (d *dsrTest) access(user string) {
	d.Helper()
	owner, other := d.owner(user)
	id, callback := dsrID(1), d.calls.URL+"/calls?of=access"
	body := d.body(id, "access", user, callback)
	d.setBroken(true) // until other callbacks were refused
	d.post(other, id, body)
	d.becomes(id, "completed", d.a, d.b)
	d.post(owner, id, body) // again
	d.refused("POST", owner.url()+"/opendsr/v2/requests", d.body(id, "portability", user, callback), 400, "conflict")
	d.refused("POST", owner.url()+"/opendsr/v2/requests", d.body(id, "access", user), 400, "conflict")
	d.refused("POST", owner.url()+"/opendsr/v2/requests", dsrBody(d.at.Add(-time.Hour), id, "access", user, callback), 400, "conflict")
	d.setBroken(false)
	poll(d.T, "the access is called back", func() bool { return slices.Equal(d.statuses(id), []string{"completed"}) })
	d.allCalledBack(owner)
	d.post(owner, id, d.body(id, "access", user, d.calls.URL+"/others")) // all is sent already
	status, doc := d.ask("GET", d.results(other, id), "")
	if status != 200 || doc["userId"] != user || len(doc["decisions"].([]any)) != 1 {
		d.Errorf("%d %v", status, doc)
	}
	d.refused("DELETE", other.url()+"/opendsr/v2/requests/"+id, "", 409, "too_late")
}

// allCalledBack waits until no file is left of callbacks.
func (d *dsrTest) allCalledBack(m *member) {
	d.Helper()
	poll(d.T, "nothing is left to call back at "+m.name, func() bool {
		entries, err := os.ReadDir(openDSRDir(m.service.cfg.Data))
		return err == nil && len(entries) == 0
	})
}

func (d *dsrTest) cancellation(user string) {
	d.Helper()
	id := dsrID(2)
	_, other := d.owner(user)
	d.post(other, id, d.body(id, "portability", user, d.calls.URL+"/calls"))
	d.becomes(id, "completed", d.a, d.b)
	for range 2 { // the second changes nothing
		status, got := d.ask("DELETE", other.url()+"/opendsr/v2/requests/"+id, "")
		if status != 202 || got["subject_request_id"] != id || got["controller_id"] != "shop" || got["received_time"] == nil || got["processor_signature"] == nil {
			d.Errorf("%d %v", status, got)
		}
	}
	d.becomes(id, "cancelled", d.a, d.b)
	d.refused("GET", other.url()+"/opendsr/v2/requests/"+id+"/results", "", 409, "cancelled")
}

// erasure: its callbacks outlive a restart of the instance that sends them.
func (d *dsrTest) erasure(user string) {
	d.Helper()
	id := dsrID(3)
	owner, other := d.owner(user)
	d.setBroken(true)
	before := d.failures()
	d.post(other, id, d.body(id, "erasure", user, d.calls.URL+"/calls"))
	d.becomes(id, "in_progress", d.a, d.b)
	d.refused("DELETE", other.url()+"/opendsr/v2/requests/"+id, "", 409, "too_late")
	d.refused("GET", other.url()+"/opendsr/v2/requests/"+id+"/results", "", 404, "no_results")
	poll(d.T, "callbacks fail", func() bool { return d.failures() >= before+2 })
	for _, moved := range []string{`segmentd_opendsr_callbacks_total{outcome="failed"} [1-9]`, `segmentd_opendsr_callbacks_waiting [1-9]`} {
		poll(d.T, moved, func() bool {
			_, _, text := request(d.T, "GET", owner.url()+"/metrics", "", "")
			return regexp.MustCompile(moved).MatchString(text)
		})
	}
	owner.stop()
	d.setBroken(false)
	owner.start()
	d.owners = d.fleet.owners(2)
	d.becomes(id, "completed", d.a, d.b)
	poll(d.T, "the erasure is called back", func() bool {
		return slices.Equal(d.statuses(id), []string{"pending", "in_progress", "completed"})
	})
	status, _, text := request(d.T, "GET", owner.url()+"/v1/subjects/"+user, "", "")
	if status != 200 || !strings.Contains(text, `"memberships":[]`) {
		d.Errorf("after the erasure: %d %s", status, text)
	}
}

// erasedMeanwhile: nothing tells any more whose request it is.
func (d *dsrTest) erasedMeanwhile(user string) {
	d.Helper()
	owner, _ := d.owner(user)
	d.post(owner, dsrID(4), d.body(dsrID(4), "access", user))
	d.becomes(dsrID(4), "completed", owner)
	d.post(owner, dsrID(5), d.body(dsrID(5), "erasure", user))
	d.becomes(dsrID(5), "in_progress", owner)
	d.refused("GET", owner.url()+"/opendsr/v2/requests/"+dsrID(4)+"/results", "", 409, "erased")
	if status, _ := d.ask("DELETE", owner.url()+"/opendsr/v2/requests/"+dsrID(4), ""); status != 202 {
		d.Errorf("cancelled: %d", status)
	}
}

// userOf is somebody whom an instance owns, in another partition than the one given.
func (d *dsrTest) userOf(m *member, but int32) string {
	d.Helper()
	for i := range 1000 {
		user := fmt.Sprintf("w%d", i)
		if p := d.fleet.partition(user); p != but && d.owners[p] == m.url() {
			return user
		}
	}
	d.Fatalf("nobody is owned by %s", m.name)
	return ""
}

// oneIDForTwo: two instances take requests of two subjects with one id; then nobody is
// told anything by that id.
func (d *dsrTest) oneIDForTwo() {
	d.Helper()
	id := dsrID(6)
	for _, m := range []*member{d.a, d.b} {
		d.post(m, id, d.body(id, "access", d.userOf(m, -1)))
	}
	for _, m := range []*member{d.a, d.b} {
		page := m.url() + "/opendsr/v2/requests/" + id
		d.refused("GET", page+"/results", "", 409, "conflict")
		d.refused("GET", page, "", 409, "conflict")
		d.refused("DELETE", page, "", 409, "conflict")
	}
}

// oneIDWhilePaused: an id is not taken while a partition cannot tell whether it has it.
func (d *dsrTest) oneIDWhilePaused() {
	d.Helper()
	id, one := dsrID(7), d.userOf(d.a, -1)
	partition := d.fleet.partition(one)
	page, body := d.a.url()+"/opendsr/v2/requests", d.body(id, "access", d.userOf(d.a, partition))
	d.post(d.a, id, d.body(id, "access", one))
	d.becomes(id, "completed", d.a)
	rest := func(what string) {
		d.Helper()
		if status, _, text := request(d.T, "POST", fmt.Sprintf("%s/v1/admin/%s?partition=%d", d.a.url(), what, partition), "", ""); status != 200 {
			d.Fatalf("%s: %d %s", what, status, text)
		}
	}
	rest("pause")
	post, err := http.NewRequestWithContext(d.Context(), "POST", page, strings.NewReader(body))
	if err != nil {
		d.Fatal(err)
	}
	post.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(post)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		d.Errorf("while paused: %s %v", res.Status, res.Header)
	}
	rest("resume")
	d.refused("POST", page, body, 400, "conflict")
	status, doc := d.ask("GET", d.results(d.b, id), "")
	if status != 200 || doc["userId"] != one {
		d.Errorf("%d %v", status, doc)
	}
}

// faults of others are told without what they told of anybody.
func (d *dsrTest) faults(user string) {
	d.Helper()
	page := d.a.url() + "/opendsr/v2/requests"
	d.refused("GET", page+"/"+dsrID(99), "", 404, "unknown")
	d.refused("DELETE", page+"/"+dsrID(99), "", 404, "unknown")
	d.refused("GET", page+"/"+dsrID(99)+"?asked=-1", "", 400, "invalid")
	d.refused("GET", page+"/"+strings.ToUpper(dsrID(99)), "", 400, "invalid")
	d.refused("POST", page, d.body(dsrID(98), "access", user, "https://controller.example/calls"), 400, "not_allowed")
	d.refused("POST", page, d.body(dsrID(98), "access", user, "http://169.254.169.254/latest"), 400, "not_allowed")
	status, header, text := request(d.T, "POST", page, "", d.body(dsrID(98), "access", user))
	if status != 400 || !strings.Contains(text, "Content-Type must be application/json") {
		d.Errorf("without Content-Type: %d %s", status, text)
	}
	isProblem(d.T, status, header, text)
	for _, e := range auditEntries(d.T, d.a.service) {
		if strings.HasSuffix(e.Route, "/results") && (!opendsr.IsID(e.Ticket) || e.Status == 200 && len(e.Subject) != 32) {
			d.Errorf("an access of which the audit log does not tell for what: %+v", e)
		}
	}
}

// TestOpenDSRExample loads the configuration that OPERATIONS.md has, and looks for the
// right that it costs.
func TestOpenDSRExample(t *testing.T) {
	text, err := os.ReadFile("../../OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\n(opendsr:.*?)```").FindSubmatch(text)
	if example == nil {
		t.Fatal("OPERATIONS.md has no example")
	}
	path := filepath.Join(t.TempDir(), "segmentd.yaml")
	for hosts, want := range map[string][]string{"callback_hosts": {"Read", "Write", "Create"}, "#": {"Write", "Create"}} {
		if err := os.WriteFile(path, []byte("embedded: true\n"+strings.Replace(string(example[1]), "callback_hosts", hosts, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Sources{Environ: []string{"SEGMENTD_CONFIG=" + path}, Needs: config.NeedInputs})
		if err != nil {
			t.Fatal(err)
		}
		if got := ownedOperations(cfg, processor.TopicSpec{Name: "segmentd-request-results"}); !cfg.OpenDSR.Spoken() || !slices.Equal(got, want) {
			t.Errorf("%s: operations on the results %q, want %q", hosts, got, want)
		}
	}
}

// TestOpenDSROutcomes: the metric has what can become of callbacks.
func TestOpenDSROutcomes(t *testing.T) {
	if diff := cmp.Diff(opendsr.Outcomes(), metrics.CallbackOutcomes()); diff != "" {
		t.Error(diff)
	}
}

// Where it is not configured the pages say how it is.
func TestOpenDSRIsNotSpoken(t *testing.T) {
	s := startService(t, "127.0.0.1:0")
	base := "http://" + s.admin.Addr().String()
	for _, path := range []string{"/opendsr/v2/discovery", "/opendsr/v2/requests/" + dsrID(1), "/opendsr/v2/requests/" + dsrID(1) + "/results"} {
		status, header, text := request(t, "GET", base+path, "", "")
		isProblem(t, 404, header, text)
		if status != 404 || !strings.Contains(text, "set opendsr.controller_id") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}
