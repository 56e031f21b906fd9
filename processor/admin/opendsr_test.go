package admin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/opendsr"
	"github.com/segmentd/segmentd/state/subject"
)

const (
	dsrTestID = "a7551968-d5d6-44b2-9831-815ac9017798"
	dsrBody   = `{"subject_request_id":"` + dsrTestID + `","subject_request_type":"access","submitted_time":"1970-01-01T00:00:05Z",` +
		`"subject_identities":[{"identity_type":"controller_customer_id","identity_value":"ada","identity_format":"raw"}],"status_callback_urls":["http://127.0.0.1:9000/"]}`
)

// moments are what partitions tell at moments that cannot be waited for.
type moments struct {
	Processor
	requests []processor.RequestInfo // ada's, from one moment to the next; none: of no time
	found    []processor.FoundRequest
	complete bool
	submit   error
}

func (m *moments) Request(context.Context, subject.ID, string) (info processor.RequestInfo, found bool, err error) {
	if len(m.requests) > 0 {
		info, m.requests = m.requests[0], m.requests[1:]
	}
	return info, info.Received != 0, nil
}

func (m *moments) FindRequests(context.Context, string) ([]processor.FoundRequest, bool, error) {
	return m.found, m.complete, nil
}

func (m *moments) ResultsEnd(context.Context, subject.ID) (int32, int64, error) { return 0, 0, nil }

func (m *moments) Submit(context.Context, processor.Submission) error { return m.submit }

// newDSR is the pages of OpenDSR alone, at http://b.
func newDSR(t *testing.T, m *moments) (s *Server, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	p, err := opendsr.New(opendsr.Config{ControllerID: "shop", Domain: "opendsr.example.com", CallbackHosts: []string{"127.0.0.1:9000"}, Dir: dir},
		opendsr.Deps{Signer: key, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return &Server{address: "http://b", deps: Deps{Processor: m, OpenDSR: p, Logger: slog.New(slog.DiscardHandler),
		Pseudonym: func(id subject.ID) string { return id.Value },
		Owners:    func(context.Context) ([]string, error) { return []string{"http://a", "http://b", "http://c"}, nil }}}, dir
}

func postDSR(s *Server) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest("POST", "/opendsr/v2/requests", strings.NewReader(dsrBody)), httptest.NewRecorder()
	r.Header.Set("Content-Type", "application/json")
	s.dsrPosted(w, r)
	return w
}

func asked(kind subject.RequestKind, second subject.Instant) processor.RequestInfo {
	return processor.RequestInfo{RequestState: subject.RequestState{RequestID: dsrTestID, Kind: kind, Effective: second * 1e6, Received: second*1e6 + 1}}
}

// TestPostedTwiceAtOnce: the first was read just before all partitions were asked.
func TestPostedTwiceAtOnce(t *testing.T) {
	for _, c := range []struct {
		read   processor.RequestInfo // the second time that it is looked for; zero: it is another subject's
		status int
	}{{asked(subject.Access, 5), 201}, {asked(subject.Access, 6), 400}, {asked(subject.Portability, 5), 400}, {processor.RequestInfo{}, 400}} {
		s, _ := newDSR(t, &moments{requests: []processor.RequestInfo{{}, c.read}, found: []processor.FoundRequest{{}}, complete: true})
		if w := postDSR(s); w.Code != c.status {
			t.Errorf("%+v: %d %s", c.read, w.Code, w.Body)
		}
	}
}

// TestRefusedIsNotWatched: callbacks of what was not sent are not waited for, those of
// what may have been are.
func TestRefusedIsNotWatched(t *testing.T) {
	for _, c := range []struct {
		err           error
		status, files int
	}{{&processor.NoInputError{}, 409, 0}, {&processor.UnfitError{}, 400, 0}, {errors.New("no broker"), 503, 1}, {nil, 201, 1}} {
		s, dir := newDSR(t, &moments{complete: true, submit: c.err})
		w := postDSR(s)
		if left, err := os.ReadDir(dir); err != nil || w.Code != c.status || len(left) != c.files {
			t.Errorf("%v: %d, files %v, %v", c.err, w.Code, left, err)
		}
	}
}

// TestAllAreAsked: who has a request answers once all others were asked, and only if
// none of them has one.
func TestAllAreAsked(t *testing.T) {
	one := []processor.FoundRequest{{RequestInfo: asked(subject.Access, 5)}}
	for _, c := range []struct {
		name, query string
		found       []processor.FoundRequest
		complete    bool
		status      int
		location    string
	}{
		{"nobody was asked", "", one, true, 307, "http://c?asked=1&found=http://b"},
		{"one is left", "asked=1", one, true, 307, "http://c?asked=2&found=http://b"},
		{"all were asked", "asked=3&found=http://b", one, true, 200, ""},
		{"we are the last", "asked=2", one, true, 200, ""},
		{"another has one too", "asked=1&found=http://a", one, true, 409, ""},
		{"two here", "", append(one, one...), true, 409, ""},
		{"not known here", "asked=1&found=http://a", nil, true, 307, "http://c?asked=2&found=http://a"},
		{"another has it", "asked=2&found=http://a", nil, true, 307, "http://a?asked=3&found=http://a"},
		{"to a stranger", "asked=2&found=http://evil.example", nil, true, 503, ""},
		{"gone meanwhile", "asked=3&found=http://b", nil, true, 503, ""},
		{"nobody has it", "asked=2", nil, true, 404, ""},
		{"a partition cannot tell", "asked=2", nil, false, 503, ""},
		{"a partition cannot tell of another", "asked=2", one, false, 503, ""},
	} {
		s, _ := newDSR(t, &moments{found: c.found, complete: c.complete})
		r, w := httptest.NewRequest("GET", "/?"+c.query, nil), httptest.NewRecorder()
		r.SetPathValue("subjectRequestId", dsrTestID)
		s.dsrStatus(w, r)
		location, err := url.QueryUnescape(strings.Replace(w.Header().Get("Location"), "/?", "?", 1))
		if err != nil || w.Code != c.status || location != c.location {
			t.Errorf("%s: %d %s %s", c.name, w.Code, location, w.Body)
		}
		if w.Code == 503 && w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: it is not said when to ask again", c.name)
		}
	}
}
