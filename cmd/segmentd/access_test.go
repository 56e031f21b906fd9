package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/access"
	"github.com/segmentd/segmentd/processor/audit"
	chain "github.com/segmentd/segmentd/processor/audit/verify"
)

const exampleRules = "../../deployments/example/rules"

// keyring is a tokens file with a token of each role and one that has expired.
type keyring struct {
	file    string
	byRole  map[access.Role]string
	expired string
}

func newKeyring(t *testing.T) *keyring {
	t.Helper()
	k := &keyring{file: filepath.Join(t.TempDir(), "tokens.yaml"), byRole: map[access.Role]string{}}
	add := func(name string, role access.Role, expires time.Time) string {
		token, e, err := access.New(name, role, expires)
		if err == nil {
			err = access.Append(k.file, e)
		}
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for _, role := range access.Roles() {
		k.byRole[role] = add("the-"+string(role), role, time.Time{})
	}
	k.expired = add("of-old", access.Privacy, time.Now().Add(-time.Hour))
	return k
}

func (k *keyring) environ() []string { return []string{"SEGMENTD_HTTP_TOKENS_FILE=" + k.file} }

// authorized asks a page with an Authorization header, "" for none.
func authorized(t *testing.T, method, url, authorization, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
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
	return res.StatusCode, string(b)
}

// mayAsk is who may ask for which page, written apart from the table in package
// admin, with a path and a body that the page takes.
var mayAsk = []struct{ page, roles, path, body string }{
	{"GET /metrics", "anybody", "/metrics", ""},
	{"GET /livez", "anybody", "/livez", ""},
	{"GET /healthz", "anybody", "/healthz", ""},
	{"GET /readyz", "anybody", "/readyz", ""},
	{"GET /v1/subjects/{id}", "reader privacy", "/v1/subjects/u1", ""},
	{"POST /v1/subjects/lookup", "reader privacy", "/v1/subjects/lookup", `{"userId":"u1"}`},
	{"GET /v1/subjects/{id}/explain", "reader privacy", "/v1/subjects/u1/explain", ""},
	{"POST /v1/subjects/explain", "reader privacy", "/v1/subjects/explain", `{"userId":"u1"}`},
	{"GET /v1/segments", "reader privacy operator", "/v1/segments", ""},
	{"GET /v1/subjects/{id}/access", "privacy", "/v1/subjects/u1/access", ""},
	{"POST /v1/subjects/access", "privacy", "/v1/subjects/access", `{"userId":"u1"}`},
	{"GET /v1/subjects/{id}/receipt", "privacy", "/v1/subjects/u1/receipt", ""},
	{"POST /v1/subjects/receipt", "privacy", "/v1/subjects/receipt", `{"userId":"u1"}`},
	{"GET /v1/subjects/{id}/portability", "privacy", "/v1/subjects/u1/portability", ""},
	{"POST /v1/subjects/portability", "privacy", "/v1/subjects/portability", `{"userId":"u1"}`},
	{"POST /v1/subjects/import", "privacy", "/v1/subjects/import?requestId=r-2",
		`{"format":"segmentd/portability/1","userId":"u1","idType":"userId","exported":"2026-01-31T10:00:00Z","ruleSet":"` + strings.Repeat("0", 64) + `","decisions":[],"purposes":[]}`},
	{"GET /v1/requests", "privacy", "/v1/requests", `{"userId":"u1","request":"access","requestId":"r-0"}`},
	{"POST /v1/requests", "privacy", "/v1/requests", `{"userId":"u1","request":"erase","requestId":"r-1","ticket":"T-1"}`},
	{"GET /v1/requests/{requestId}", "privacy", "/v1/requests/r-1?userId=u1", ""},
	{"POST /v1/subjects/request", "privacy", "/v1/subjects/request", `{"userId":"u1","requestId":"r-1"}`},
	{"POST /v1/subjects/request/extend", "privacy", "/v1/subjects/request/extend", `{"userId":"u1","requestId":"r-0","reason":"much of it"}`},
	{"POST /v1/subjects/request/refuse", "privacy", "/v1/subjects/request/refuse", `{"userId":"u1","requestId":"r-0","reason":"excessive"}`},
	{"POST /v1/decisions", "privacy", "/v1/decisions", `{"userId":"u1","purpose":"marketing","status":"objected"}`},
	{"GET /v1/status", "reader privacy operator", "/v1/status", ""},
	{"POST /v1/admin/reload", "operator", "/v1/admin/reload", ""},
	{"POST /v1/admin/pause", "operator", "/v1/admin/pause?partition=1", ""},
	{"POST /v1/admin/resume", "operator", "/v1/admin/resume?partition=1", ""},
	{"GET /opendsr/v2/discovery", "privacy", "/opendsr/v2/discovery", ""},
	{"POST /opendsr/v2/requests", "privacy", "/opendsr/v2/requests", dsrBody(time.Unix(1, 0), dsrID(1), "portability", "u1")},
	{"GET /opendsr/v2/status/{subjectRequestId}", "privacy", "/opendsr/v2/status/" + dsrID(1), ""},
	{"GET /opendsr/v2/requests/{subjectRequestId}", "privacy", "/opendsr/v2/requests/" + dsrID(1), ""}, // and cancels it
	{"DELETE /opendsr/v2/requests/{subjectRequestId}", "privacy", "/opendsr/v2/requests/" + dsrID(1), ""},
	{"GET /opendsr/v2/requests/{subjectRequestId}/results", "privacy", "/opendsr/v2/requests/" + dsrID(2) + "/results", ""},
	{"/debug/pprof/", "operator", "/debug/pprof/", ""},
	{"/debug/pprof/profile", "operator", "/debug/pprof/profile?seconds=1", ""},
	{"/debug/pprof/trace", "operator", "/debug/pprof/trace?seconds=0.001", ""},
}

// sends are the pages that do not answer 200, and what they answer.
var sends = map[string]int{"POST /v1/requests": 202, "POST /v1/decisions": 202, "POST /v1/subjects/import": 202,
	"POST /opendsr/v2/requests": 201, "DELETE /opendsr/v2/requests/{subjectRequestId}": 202}

// methods are those that are tried.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// TestAccess asks every page with every method as everybody, and as those who are
// nobody; and finds in the audit log what was asked.
func TestAccess(t *testing.T) {
	m := newMatrix(t)
	m.answers("POST", "/opendsr/v2/requests", dsrBody(time.Unix(1, 0), dsrID(2), "access", "u2"), access.Privacy) // whose results are asked for
	for _, p := range mayAsk {
		for _, method := range methods {
			m.refuses(method, p.path, p.body)
			for _, role := range access.Roles() {
				if p.page == "/debug/pprof/profile" && method != "GET" && role == access.Operator {
					continue // takes a second
				}
				m.answers(method, p.path, p.body, role)
			}
		}
	}
	m.listed()
}

// matrix asks a service and remembers what must be in its audit log.
type matrix struct {
	*testing.T
	service *service
	base    string
	keys    *keyring
	pages   *http.ServeMux    // finds the page that takes a request
	roles   map[string]string // by page
	asked   map[string]int    // by page, by those who may
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	m := &matrix{T: t, keys: newKeyring(t), pages: http.NewServeMux(), roles: map[string]string{}, asked: map[string]int{}}
	m.service = startServiceAs(t, serviceSetup{listen: "127.0.0.1:0", rules: exampleRules, environ: slices.Concat(m.keys.environ(), newController(t).environ(), []string{"SEGMENTD_HTTP_PPROF=true"})})
	m.base = "http://" + m.service.admin.Addr().String()
	eventuallyStatus(t, m.base+"/readyz", http.StatusOK)
	source, err := os.ReadFile("../../processor/admin/page.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range mayAsk {
		m.pages.HandleFunc(p.page, func(http.ResponseWriter, *http.Request) {})
		m.roles[p.page] = p.roles
		if !bytes.Contains(source, []byte(`pattern: "`+p.page+`"`)) {
			t.Errorf("there is no page %s", p.page)
		}
	}
	if n := len(route.FindAll(source, -1)); n != len(mayAsk) {
		t.Errorf("%d pages in the source, %d here", n, len(mayAsk))
	}
	return m
}

// page is the page that takes a request, "" where none does.
func (m *matrix) page(method, path string) string {
	req, err := http.NewRequestWithContext(m.Context(), method, m.base+path, nil)
	if err != nil {
		m.Fatal(err)
	}
	_, page := m.pages.Handler(req)
	return page
}

// refuses asks as those who are nobody.
func (m *matrix) refuses(method, path, body string) {
	m.Helper()
	want := 401
	if m.roles[m.page("GET", path)] == "anybody" {
		want = 200
		if m.page(method, path) == "" {
			want = 405
		}
	}
	also := "?"
	if strings.Contains(path, "?") {
		also = "&"
	}
	good := m.keys.byRole[access.Privacy]
	for who, c := range map[string]struct{ authorization, query string }{
		"nobody": {}, "a stranger": {"Bearer segmentd_" + strings.Repeat("A", 43), ""}, "the expired": {"Bearer " + m.keys.expired, ""},
		"the malformed": {"Bearer x", ""}, "basic": {"Basic dTpw", ""}, "in the query": {"", also + "access_token=" + good},
		"in header and query": {"Bearer " + good, also + "token=" + good},
	} {
		if got, _ := authorized(m.T, method, m.base+path+c.query, c.authorization, body); got != want {
			m.Errorf("%s %s as %s: %d, want %d", method, path, who, got, want)
		}
	}
}

// answers asks with a role's token.
func (m *matrix) answers(method, path, body string, role access.Role) {
	m.Helper()
	page := m.page(method, path)
	want := 403
	switch {
	case page == "":
		want = 405
	case m.roles[page] == "anybody":
		want = 200
	case slices.Contains(strings.Fields(m.roles[page]), string(role)):
		want = 200
		if status, differs := sends[page]; differs {
			want = status
		}
	}
	got, text := 0, ""
	poll(m.T, method+" "+path+" is not put off", func() bool { // as it may be on a machine that is busy
		got, text = authorized(m.T, method, m.base+path, "Bearer "+m.keys.byRole[role], body)
		if want < 300 {
			m.asked[page]++
		}
		return got != 503 && (got != 404 || !strings.HasSuffix(page, "equestId}")) // nor not read yet
	})
	if got != want {
		m.Errorf("%s %s (page %q) as %s: %d %.200s, want %d", method, path, page, role, got, text, want)
	}
}

// listed compares the audit log with what was asked.
func (m *matrix) listed() {
	m.Helper()
	ended, begun, want := map[string]int{}, map[string]int{}, map[string]int{}
	for _, e := range auditEntries(m.T, m.service) {
		switch {
		case e.Denied != "" || e.Who == "segmentd":
		case e.Phase == audit.Begun:
			begun[e.Route]++
		default:
			ended[e.Route]++
		}
		if (strings.Contains(e.Route, "/subjects/") || strings.HasSuffix(e.Route, "/results")) && e.Status == 200 && len(e.Subject) != 32 {
			m.Errorf("an access without its subject: %+v", e)
		}
	}
	for page, n := range m.asked {
		path := page[strings.Index(page, "/"):]
		act := strings.Contains(path, "/admin/") || strings.Contains(path, "pprof") || strings.Contains(path, "/subjects/request/") || sends[page] > 0
		if act || strings.Contains(path, "/subjects/") || strings.HasSuffix(path, "{requestId}") || strings.HasSuffix(path, "/results") {
			want[path] = n
		}
		if act && begun[path] != n {
			m.Errorf("%s: asked %d times, %d begun", path, n, begun[path])
		}
	}
	if diff := cmp.Diff(want, ended); diff != "" {
		m.Errorf("entries by route (-asked +listed):\n%s", diff)
	}
	if _, err := chain.Dir(auditDir(m.service.cfg.Data), chain.Options{}); err != nil {
		m.Error(err)
	}
}

type auditEntry struct {
	Seq uint64
	audit.Entry
}

// auditEntries are the lines of a service's audit log.
func auditEntries(t *testing.T, s *service) (all []auditEntry) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(auditDir(s.cfg.Data), "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			var e auditEntry
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			all = append(all, e)
		}
	}
	return all
}

// TestAccessWithoutAuditLog: while it cannot be written nobody sees a subject, and
// nothing is done; health goes on.
func TestAccessWithoutAuditLog(t *testing.T) {
	s := startService(t, "127.0.0.1:0")
	base := "http://" + s.admin.Addr().String()
	eventuallyStatus(t, base+"/readyz", http.StatusOK)
	if err := os.RemoveAll(auditDir(s.cfg.Data)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/v1/subjects/u1", 503}, {"GET", "/v1/subjects/u1/explain", 503}, {"POST", "/v1/admin/pause", 503},
		{"GET", "/v1/segments", 200}, {"GET", "/readyz", 200}, {"GET", "/livez", 200}, {"GET", "/metrics", 200},
	} {
		status, text := authorized(t, c.method, base+c.path, "", "")
		if status != c.status || status == 503 && !strings.Contains(text, "audit log") {
			t.Errorf("%s %s: %d %.100s", c.method, c.path, status, text)
		}
		if c.path == "/metrics" && !strings.Contains(text, "segmentd_audit_failures_total 3") {
			t.Error("the failures are not counted")
		}
	}
	if err := os.Mkdir(auditDir(s.cfg.Data), 0o700); err != nil {
		t.Fatal(err)
	}
	poll(t, "it can be written again", func() bool {
		status, _ := authorized(t, "GET", base+"/v1/subjects/u1", "", "")
		return status == 200
	})
}

// TestAccessTokensChange: a token that is taken out of the file is refused, one that is put in is taken.
func TestAccessTokensChange(t *testing.T) {
	keys := newKeyring(t)
	s := startServiceAs(t, serviceSetup{listen: "127.0.0.1:0", rules: exampleRules, environ: keys.environ()})
	url := "http://" + s.admin.Addr().String() + "/v1/segments"
	token, entry, err := access.New("new", access.Reader, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys.file, []byte(entry.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	poll(t, "the new token is taken", func() bool {
		status, _ := authorized(t, "GET", url, "Bearer "+token, "")
		return status == 200
	})
	if status, _ := authorized(t, "GET", url, "Bearer "+keys.byRole[access.Reader], ""); status != 401 {
		t.Errorf("a token that is not in the file any more: %d", status)
	}
	if err := os.WriteFile(keys.file, []byte(fmt.Sprintf("- %s", token)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.tokens.Reload()
	if status, _ := authorized(t, "GET", url, "Bearer "+token, ""); status != 200 {
		t.Errorf("after a bad file: %d", status)
	}
}
