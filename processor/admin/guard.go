package admin

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/segmentd/segmentd/processor/access"
	"github.com/segmentd/segmentd/processor/audit"
)

// guard lets only those through to a page who may ask for it, and writes the
// audit log. A page that panics is answered 500.
func (s *Server) guard(p page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{ResponseWriter: w, server: s, page: p, entry: audit.Entry{Method: methodOf(r), Route: p.template()}}
		defer a.recover()
		if p.scope == access.Anybody {
			p.serve(a, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		asker, denied := s.admit(p, r)
		a.entry.Who, a.entry.Role = asker.Name, string(asker.Role)
		if denied == nil {
			denied = a.readTicket(r)
		}
		if denied != nil {
			a.deny(denied)
			return
		}
		if p.act && !a.begin() {
			return
		}
		p.serve(a, withAnswer(r, a))
		a.finish()
	})
}

// methodOf is the request's method; anything can stand there.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// denial is why somebody is refused.
type denial struct {
	reason    string // of the metric
	status    int
	challenge string // of WWW-Authenticate, "" for none
	detail    string
}

func unauthorized(reason, code, detail string) *denial {
	d := &denial{reason: reason, status: http.StatusUnauthorized, challenge: `Bearer realm="segmentd"`, detail: detail}
	if code != "" {
		d.challenge += `, error="` + code + `"`
	}
	return d
}

func forbidden(reason, detail string) *denial {
	return &denial{reason: reason, status: http.StatusForbidden, detail: detail}
}

// admit tells who asks, and why they may not. Where tokens are configured they
// decide alone; else whoever is on the machine may ask, but no page of another
// site (that names us otherwise, or says that it is one).
func (s *Server) admit(p page, r *http.Request) (access.Asker, *denial) {
	asker, denied := s.identify(r)
	switch {
	case denied != nil:
		return asker, denied
	case s.ours.Check(r) != nil:
		return asker, forbidden("foreign_origin", "the request comes from a page of another origin")
	case p.scope == access.Nobody || s.deps.Tokens != nil && !asker.Role.May(p.scope):
		d := forbidden("role", fmt.Sprintf("the token's role is %s; this page is for %s", asker.Role, p.scope.Holders()))
		d.challenge = `Bearer realm="segmentd", error="insufficient_scope"`
		return asker, d
	}
	return asker, nil
}

func (s *Server) identify(r *http.Request) (access.Asker, *denial) {
	if s.deps.Tokens == nil {
		if denied := s.beyond(r); denied != nil {
			return access.Asker{}, denied
		}
		return access.Asker{Name: access.Local}, nil
	}
	if q := r.URL.Query(); q.Has("access_token") || q.Has("token") {
		return access.Asker{}, unauthorized("token_in_query", "invalid_request", "a token belongs into the Authorization header; the one in the query may be in logs by now: replace it")
	}
	header := r.Header.Values("Authorization")
	if len(header) > 1 {
		return access.Asker{}, unauthorized("malformed_token", "invalid_request", "there is more than one Authorization header")
	}
	asker, err := s.deps.Tokens.Identify(strings.Join(header, ""), time.Now())
	switch {
	case errors.Is(err, access.ErrNoToken):
		return asker, unauthorized("no_token", "", err.Error())
	case errors.Is(err, access.ErrMalformed):
		return asker, unauthorized("malformed_token", "invalid_request", err.Error())
	case errors.Is(err, access.ErrExpired):
		return asker, unauthorized("expired_token", "invalid_token", err.Error())
	case err != nil:
		return asker, unauthorized("unknown_token", "invalid_token", err.Error())
	}
	return asker, nil
}

// beyond refuses, where there are no tokens, requests from beyond the machine
// and those that do not name it as it is named there: a page of another site must
// not reach it by a name that resolves to loopback.
func (s *Server) beyond(r *http.Request) *denial {
	switch {
	case !s.loopback:
		return forbidden("beyond_loopback", "without tokens only /metrics, /livez, /healthz and /readyz are served on a listener beyond loopback; "+
			"ask on the machine itself with http.listen on 127.0.0.1, or set http.tokens_file")
	case !namesLoopback(r.Host):
		return forbidden("foreign_host", "the request's Host is not this machine's loopback address")
	}
	return nil
}

func namesLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// deny answers a refusal. It is counted, and as far as denials are listed in the
// audit log; it is refused whether the log can be written or not.
func (a *answer) deny(d *denial) {
	a.server.deps.Metrics.CountDenied(d.reason)
	if list, omitted := a.server.denials.admit(a.entry.Who, time.Now()); list {
		a.entry.Status, a.entry.Denied, a.entry.Omitted = d.status, d.reason, omitted
		_ = a.server.deps.Audit(a.entry) // the log says what is wrong with it
	}
	a.sent = true
	if d.challenge != "" {
		a.Header().Set("WWW-Authenticate", d.challenge)
	}
	problem(a.ResponseWriter, d.status, d.detail)
}

// recover answers 500 where the page panicked. What it panicked with may hold a
// subject's data: only its type is told.
func (a *answer) recover() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	a.server.deps.Metrics.CountPanic()
	a.server.deps.Logger.Error("a page panicked", "route", a.entry.Route, "method", a.entry.Method, "with", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	if a.sent {
		panic(http.ErrAbortHandler) // so that what was sent is not taken for a whole answer
	}
	clear(a.Header())
	problem(a, http.StatusInternalServerError, "the page failed; the log says where")
}
