package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor"
)

// What is answered to who asks for a subject that is not here.
func TestRedirect(t *testing.T) {
	const own = "http://here:8080"
	for _, c := range []struct {
		name, query, owner string
		owned              error // why it is not answered here
		asking             error // of who owns it
		status             int
		says               string
	}{
		{"elsewhere", "?idType=anonymousId", "https://there:8443", &processor.NotOwnedError{Partition: 3}, nil, 307, ""},
		{"sent here", "?redirected=true", "https://there:8443", &processor.NotOwnedError{Partition: 3}, nil, 503, "partition 3 is not here any more"},
		{"nobody's", "", "", &processor.NotOwnedError{Partition: 3}, nil, 503, "nobody owns partition 3"},
		{"not known", "", "", &processor.NotOwnedError{Partition: 3}, errors.New("no broker"), 503, "it cannot be told"},
		{"ours by now", "", own, &processor.NotOwnedError{Partition: 3}, nil, 503, "http.advertise"},
		{"one of several", "", "https://there:8443", &processor.NotOwnedError{Partition: -1}, nil, 503, "ask the others"},
		{"not caught up", "", "https://there:8443", processor.ErrNotReady, nil, 503, "caught up"},
		{"unreadable", "", "https://there:8443", errors.New("disk"), nil, 500, "the log says why"},
	} {
		s := &Server{address: own, deps: Deps{Logger: slog.New(slog.DiscardHandler),
			Owner: func(context.Context, int32) (string, error) { return c.owner, c.asking }}}
		w := httptest.NewRecorder()
		s.lookupProblem(w, httptest.NewRequest("GET", "/v1/subjects/a%2Fb%3F"+c.query, nil), c.owned)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
		if again := w.Header().Get("Retry-After"); (again != "") != (c.status == http.StatusServiceUnavailable) {
			t.Errorf("%s: Retry-After %q", c.name, again)
		}
		want := ""
		if c.status == http.StatusTemporaryRedirect {
			want = "https://there:8443/v1/subjects/a%2Fb%3F?idType=anonymousId&redirected=true"
		}
		if at := w.Header().Get("Location"); at != want {
			t.Errorf("%s: Location %q, want %q", c.name, at, want)
		}
	}
}

// A warning is for somebody who can do something: that an asker hung up is none.
func TestAskerHangsUp(t *testing.T) {
	for _, hungUp := range []bool{true, false} {
		var log strings.Builder
		s := &Server{deps: Deps{Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Owner: func(context.Context, int32) (string, error) { return "", errors.New("no answer") }}}
		ctx, hangUp := context.WithCancel(t.Context())
		if hungUp {
			hangUp()
		}
		s.lookupProblem(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/v1/subjects/u1", nil), &processor.NotOwnedError{Partition: 3})
		hangUp()
		if warned := strings.Contains(log.String(), "level=WARN"); warned == hungUp {
			t.Errorf("hung up %v: %q", hungUp, log.String())
		}
	}
}

// What others are told to ask, where nothing is configured and where something is.
func TestAddress(t *testing.T) {
	for _, c := range []struct{ listen, advertise, want string }{
		{"127.0.0.1:0", "", "http://127.0.0.1:"},
		{"127.0.0.1:0", "segmentd-0.example:80", "http://segmentd-0.example:80"},
		{"0.0.0.0:0", "", "http://"},
	} {
		s, err := New(Config{Listen: c.listen, Advertise: c.advertise}, Deps{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Address(); !strings.HasPrefix(got, c.want) || strings.Contains(got, "0.0.0.0") || strings.Contains(got, "[::]") {
			t.Errorf("%+v: %s", c, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
