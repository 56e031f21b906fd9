package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/access"
	"github.com/segmentd/segmentd/processor/audit"
	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/state/subject"
)

// guarded is a server with one page, and what it wrote.
type guarded struct {
	*Server
	entries []audit.Entry
	fail    bool // the audit log cannot be written
	log     bytes.Buffer
	tokens  map[access.Role]string
}

// newGuarded makes one, beyond loopback, with a token of each role.
func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{tokens: map[access.Role]string{}}
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	for _, role := range access.Roles() {
		token, e, err := access.New("the-"+string(role), role, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if err := access.Append(file, e); err != nil {
			t.Fatal(err)
		}
		g.tokens[role] = token
	}
	log := slog.New(slog.NewTextHandler(&g.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	tokens, err := access.Open(file, log)
	if err != nil {
		t.Fatal(err)
	}
	m, err := metrics.New(metrics.Config{}, metrics.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	g.Server = &Server{ours: http.NewCrossOriginProtection(), deps: Deps{Tokens: tokens, Metrics: m, Gatherer: m.Gatherer(), Logger: log,
		Pseudonym: func(id subject.ID) string { return fmt.Sprintf("hash-%d", len(id.Value)) },
		Audit: func(e audit.Entry) error {
			if g.fail {
				return errors.New("disk full")
			}
			g.entries = append(g.entries, e)
			return nil
		}}}
	return g
}

// ask asks a page as a role; "" has no token.
func (g *guarded) ask(p page, role access.Role, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if role != "" {
		r.Header.Set("Authorization", "Bearer "+g.tokens[role])
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	g.handler([]page{p}).ServeHTTP(w, r)
	return w
}

func (g *guarded) expect(t *testing.T, want ...audit.Entry) {
	t.Helper()
	if diff := cmp.Diff(want, g.entries); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	g.entries = nil
}

// TestAPageWithoutAScopeIsNobodys: what was forgotten fails closed.
func TestAPageWithoutAScopeIsNobodys(t *testing.T) {
	g := newGuarded(t)
	p := page{pattern: "GET /v1/new", serve: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") }}
	for _, role := range access.Roles() {
		if w := g.ask(p, role, "GET", "/v1/new", ""); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %d %s", role, w.Code, w.Body)
		}
	}
	g.deps.Tokens, g.loopback = nil, true
	if w := g.ask(p, "", "GET", "http://127.0.0.1/v1/new", ""); w.Code != http.StatusForbidden {
		t.Errorf("without tokens: %d", w.Code)
	}
}

// TestEveryPageHasAScope: the table itself.
func TestEveryPageHasAScope(t *testing.T) {
	for _, p := range newGuarded(t).pages(Config{Pprof: true}) {
		if p.scope == access.Nobody {
			t.Errorf("%s is nobody's", p.pattern)
		}
		if p.scope == access.Subjects && !p.subject || p.subject && p.scope != access.Subjects && p.scope != access.Requests || p.scope == access.Administration && !p.act || p.act && p.scope != access.Administration && p.scope != access.Requests || p.scope == access.Anybody && p.subject {
			t.Errorf("%s: scope %d, subject %v, act %v", p.pattern, p.scope, p.subject, p.act)
		}
	}
}

// TestSubjectPages: the entry comes before the answer, names the template and the
// pseudonym, and without it there is no answer.
func TestSubjectPages(t *testing.T) {
	g := newGuarded(t)
	var during []audit.Entry
	p := page{pattern: "GET /v1/subjects/{id}/x", scope: access.Subjects, subject: true}
	p.serve = func(w http.ResponseWriter, r *http.Request) {
		g.about(r, subject.ID{Value: r.PathValue("id")})
		w.Header().Set("Location", "/about/"+r.PathValue("id"))
		fmt.Fprint(w, "secret")
		during = g.entries
		fmt.Fprint(w, " and more")
	}
	w := g.ask(p, access.Reader, "GET", "/v1/subjects/canary-7/x", "", ticketHeader, "T-1")
	want := audit.Entry{Who: "the-reader", Role: "reader", Method: "GET", Route: "/v1/subjects/{id}/x", Subject: "hash-8", Ticket: "T-1", Status: 200}
	if w.Code != 200 || w.Body.String() != "secret and more" || len(during) != 1 {
		t.Errorf("%d %s, %d entries when the first byte was sent", w.Code, w.Body, len(during))
	}
	g.expect(t, want)

	g.fail = true
	w = g.ask(p, access.Reader, "GET", "/v1/subjects/canary-7/x", "")
	if body := w.Body.String(); w.Code != 503 || strings.Contains(body, "secret") || w.Header().Get("Location") != "" || w.Header().Get("Retry-After") == "" {
		t.Errorf("without an audit log: %d %s %v", w.Code, body, w.Header())
	}

	g.fail = false
	p.serve = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") }
	if w = g.ask(p, access.Reader, "GET", "/v1/subjects/canary-7/x", ""); w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("a page that names no subject: %d %s", w.Code, w.Body)
	}
	p.serve = func(http.ResponseWriter, *http.Request) {}
	if w = g.ask(p, access.Reader, "GET", "/v1/subjects/canary-7/x", ""); w.Code != 500 {
		t.Errorf("a page that does nothing: %d", w.Code)
	}
}

// TestActs: begun and done are both listed; what cannot be listed is not done.
func TestActs(t *testing.T) {
	g := newGuarded(t)
	done := 0
	p := page{pattern: "POST /v1/admin/x", scope: access.Administration, act: true, serve: func(w http.ResponseWriter, _ *http.Request) {
		done++
		w.WriteHeader(http.StatusConflict)
	}}
	w := g.ask(p, access.Operator, "POST", "/v1/admin/x", "")
	e := audit.Entry{Who: "the-operator", Role: "operator", Method: "POST", Route: "/v1/admin/x"}
	begun, ended := e, e
	begun.Phase, ended.Status = audit.Begun, 409
	if w.Code != 409 || done != 1 {
		t.Errorf("%d, done %d times", w.Code, done)
	}
	g.expect(t, begun, ended)
	g.fail = true
	if w = g.ask(p, access.Operator, "POST", "/v1/admin/x", ""); w.Code != 503 || done != 1 {
		t.Errorf("without an audit log: %d, done %d times", w.Code, done)
	}
}

// TestTickets: where one is needed nothing is done without.
func TestTickets(t *testing.T) {
	g := newGuarded(t)
	body := ""
	p := page{pattern: "POST /v1/requests", scope: access.Requests, act: true, ticket: true, serve: func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body = string(b)
		w.WriteHeader(http.StatusAccepted)
	}}
	long := `{"ticket":"T-3","more":"` + strings.Repeat("x", 100_000) + `"}`
	for _, c := range []struct {
		target, body, header string
		status               int
		want                 string
	}{
		{"/v1/requests", `{"userId":"u"}`, "", 400, ""},
		{"/v1/requests", ``, "", 400, ""},
		{"/v1/requests", `{"ticket":"T-3","userId":"u"}`, "", 202, "T-3"},
		{"/v1/requests", `{"ticket":7}`, "", 400, ""},
		{"/v1/requests", `{"ticket":"ada@shop.example"}`, "", 400, ""},
		{"/v1/requests", long, "", 400, ""}, // the body is longer than what is looked at
		{"/v1/requests", long, "T-1", 202, "T-1"},
		{"/v1/requests?ticket=T-2", `{"userId":"u"}`, "", 202, "T-2"},
		{"/v1/requests?ticket=T-2", `{"ticket":"T-3"}`, "HELP-1/2#3", 202, "HELP-1/2#3"},
		{"/v1/requests", ``, "two words", 400, ""},
		{"/v1/requests", ``, strings.Repeat("1", 129), 400, ""},
	} {
		body, g.entries = "", nil
		var header []string
		if c.header != "" {
			header = []string{ticketHeader, c.header}
		}
		w := g.ask(p, access.Privacy, "POST", c.target, c.body, header...)
		if w.Code != c.status {
			t.Errorf("%s %.40s %q: %d %s", c.target, c.body, c.header, w.Code, w.Body)
		}
		if c.status == 202 && (body != c.body || g.entries[0].Ticket != c.want) {
			t.Errorf("%s %.40s %q: the page read %.40s, the ticket is %q", c.target, c.body, c.header, body, g.entries[0].Ticket)
		}
		if c.status == 400 && (body != "" || len(g.entries) != 1 || g.entries[0].Denied != "no_ticket") {
			t.Errorf("%s %.40s %q: %+v", c.target, c.body, c.header, g.entries)
		}
	}
}

// TestPanics: a page that panics with a subject's data tells nobody.
func TestPanics(t *testing.T) {
	const canary = "canary-5db1"
	for name, serve := range map[string]http.HandlerFunc{
		"a text":     func(http.ResponseWriter, *http.Request) { panic(canary) },
		"an error":   func(http.ResponseWriter, *http.Request) { panic(fmt.Errorf("no %s", canary)) },
		"of the run": func(_ http.ResponseWriter, r *http.Request) { _ = map[any]int{}[[]string{r.URL.Path}] },
	} {
		g := newGuarded(t)
		w := g.ask(page{pattern: "GET /v1/subjects/{id}", scope: access.Subjects, subject: true, serve: serve}, access.Reader, "GET", "/v1/subjects/"+canary, "")
		if w.Code != 500 || len(g.entries) != 1 || g.entries[0].Status != 500 {
			t.Errorf("%s: %d, entries %+v", name, w.Code, g.entries)
		}
		for _, text := range []string{w.Body.String(), g.log.String(), fmt.Sprint(g.entries, w.Header())} {
			if strings.Contains(text, canary) {
				t.Errorf("%s: the canary is in %s", name, text)
			}
		}
		if !strings.Contains(g.log.String(), "a page panicked") || !strings.Contains(g.log.String(), "guard_test.go") {
			t.Errorf("%s: the log does not say where:\n%s", name, g.log.String())
		}
	}
}

// TestPanicAfterTheHead cuts the answer off, so that it is not taken for whole.
func TestPanicAfterTheHead(t *testing.T) {
	g := newGuarded(t)
	p := page{pattern: "GET /v1/segments", scope: access.Service, serve: func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half")
		panic("here")
	}}
	server := httptest.NewServer(g.handler([]page{p}))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/segments", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.tokens[access.Reader])
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("the answer looks whole")
	}
}

// TestDenialsAreBounded: who may not ask fills neither disk nor log, and hides
// nobody else.
func TestDenialsAreBounded(t *testing.T) {
	g := newGuarded(t)
	p := page{pattern: "GET /v1/segments", scope: access.Service, serve: func(http.ResponseWriter, *http.Request) {}}
	for range 3 * denialsListed {
		g.ask(p, "", "GET", "/v1/segments", "")
	}
	p.scope = access.Administration
	g.ask(p, access.Reader, "GET", "/v1/segments", "")
	if n := len(g.entries); n != denialsListed+1 {
		t.Errorf("%d entries", n)
	}
	last := audit.Entry{Who: "the-reader", Role: "reader", Method: "GET", Route: "/v1/segments", Status: 403, Denied: "role"}
	if diff := cmp.Diff(last, g.entries[len(g.entries)-1]); diff != "" {
		t.Error(diff)
	}
	var d denials
	now := time.Now()
	for range denialsListed + 5 {
		d.admit("", now)
	}
	if list, omitted := d.admit("", now.Add(denialsEvery)); !list || omitted != 5 {
		t.Errorf("the next minute: %v, %d omitted", list, omitted)
	}
}

// TestWhoAsksHow: headers that are no token, tokens where they must not be, pages
// of other sites.
func TestWhoAsksHow(t *testing.T) {
	g := newGuarded(t)
	p := page{pattern: "POST /v1/admin/x", scope: access.Administration, act: true, serve: func(http.ResponseWriter, *http.Request) {}}
	good := "Bearer " + g.tokens[access.Operator]
	for _, c := range []struct {
		target string
		header []string
		status int
		says   string // of WWW-Authenticate or the body
	}{
		{"/v1/admin/x", nil, 401, `Bearer realm="segmentd"`},
		{"/v1/admin/x", []string{"Authorization", "Basic dXNlcjpwYXNz"}, 401, "invalid_request"},
		{"/v1/admin/x", []string{"Authorization", "Bearer short"}, 401, "invalid_request"},
		{"/v1/admin/x", []string{"Authorization", good, "Authorization", good}, 401, "invalid_request"},
		{"/v1/admin/x", []string{"Authorization", good + "x"}, 401, "invalid_token"},
		{"/v1/admin/x?access_token=" + good[7:], nil, 401, "replace it"},
		{"/v1/admin/x?token=" + good[7:], []string{"Authorization", good}, 401, "replace it"},
		{"/v1/admin/x", []string{"Authorization", "Bearer " + g.tokens[access.Reader]}, 403, "insufficient_scope"},
		{"/v1/admin/x", []string{"Authorization", good, "Sec-Fetch-Site", "cross-site"}, 403, "another origin"},
		{"/v1/admin/x", []string{"Authorization", good}, 200, ""},
		{"/v1/bogus", nil, 401, ""},
		{"/opendsr/v2/bogus", nil, 401, ""},
		{"/v1/bogus", []string{"Authorization", good}, 404, ""},
		{"/bogus", nil, 404, ""},
	} {
		w := g.ask(p, "", "POST", c.target, "", c.header...)
		text := w.Header().Get("WWW-Authenticate") + w.Body.String()
		if w.Code != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%.30s %.40s: %d %s", c.target, c.header, w.Code, text)
		}
		if w.Code == 401 && w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%.30s %.40s: 401 without WWW-Authenticate", c.target, c.header)
		}
	}
	for _, secret := range g.tokens {
		if text := fmt.Sprint(g.entries, g.log.String()); strings.Contains(text, secret) {
			t.Error("a token is in the audit log or the log")
		}
	}
}

// TestTLSProxy: others are sent to the proxy.
func TestTLSProxy(t *testing.T) {
	for _, c := range []struct{ advertise, want string }{{"segmentd-1.example:443", "https://segmentd-1.example:443"}, {"", "http://127.0.0.1:9"}} {
		got := address(Config{Advertise: c.advertise, BehindTLSProxy: true}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.advertise, got, c.want)
		}
	}
}
