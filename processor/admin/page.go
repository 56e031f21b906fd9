package admin

import (
	"net/http"
	"net/http/pprof"
	"path"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/segmentd/segmentd/processor/access"
)

// page is one page, or a group of them, with what must be so before it is
// answered. The zero scope lets nobody ask.
type page struct {
	pattern string       // method and path, as http.ServeMux has them; without a method: all
	scope   access.Scope // who may ask
	serve   http.HandlerFunc
	// subject: the answer holds a subject's data. It is sent once the audit log has
	// it, and only if the page has named the subject (about).
	subject bool
	// act: asking changes something. The audit log has it before it is done, and its
	// outcome before it is answered.
	act bool
	// ticket: what the access is for must be named (Segmentd-Ticket).
	ticket bool
	// ticketed: it may be named in the body too, and the page says when it must be.
	ticketed bool
	// dsr: a page of OpenDSR. Its subject_request_id, in the path or the body, says
	// what the access is for.
	dsr bool
}

// pages is the table of all pages. What is not in it is not answered.
func (s *Server) pages(cfg Config) []page {
	all := []page{
		{pattern: "GET /metrics", scope: access.Anybody, serve: promhttp.HandlerFor(s.deps.Gatherer, promhttp.HandlerOpts{}).ServeHTTP},
		{pattern: "GET /livez", scope: access.Anybody, serve: live},
		{pattern: "GET /healthz", scope: access.Anybody, serve: live},
		{pattern: "GET /readyz", scope: access.Anybody, serve: s.readyz},
		{pattern: "GET /v1/subjects/{id}", scope: access.Subjects, subject: true, serve: s.subject},
		{pattern: "POST /v1/subjects/lookup", scope: access.Subjects, subject: true, serve: s.lookup},
		{pattern: "GET /v1/subjects/{id}/explain", scope: access.Subjects, subject: true, serve: s.explain},
		{pattern: "POST /v1/subjects/explain", scope: access.Subjects, subject: true, serve: s.explainPosted},
		{pattern: "GET /v1/segments", scope: access.Service, serve: s.segments},
		{pattern: "GET /v1/subjects/{id}/access", scope: access.Requests, subject: true, serve: s.access},
		{pattern: "POST /v1/subjects/access", scope: access.Requests, subject: true, serve: s.accessPosted},
		{pattern: "GET /v1/subjects/{id}/portability", scope: access.Requests, subject: true, serve: s.portability},
		{pattern: "POST /v1/subjects/portability", scope: access.Requests, subject: true, serve: s.portabilityPosted},
		{pattern: "POST /v1/subjects/import", scope: access.Requests, subject: true, act: true, serve: s.imports},
		{pattern: "GET /v1/subjects/{id}/receipt", scope: access.Requests, subject: true, serve: s.receipt},
		{pattern: "POST /v1/subjects/receipt", scope: access.Requests, subject: true, serve: s.receiptPosted},
		{pattern: "GET /v1/requests", scope: access.Requests, serve: s.requests},
		{pattern: "POST /v1/requests", scope: access.Requests, subject: true, act: true, ticketed: true, serve: s.requestPosted},
		{pattern: "GET /v1/requests/{requestId}", scope: access.Requests, subject: true, serve: s.request},
		{pattern: "POST /v1/subjects/request", scope: access.Requests, subject: true, serve: s.requestLookup},
		{pattern: "POST /v1/subjects/request/extend", scope: access.Requests, subject: true, act: true, serve: s.extended},
		{pattern: "POST /v1/subjects/request/refuse", scope: access.Requests, subject: true, act: true, serve: s.refused},
		{pattern: "POST /v1/decisions", scope: access.Requests, subject: true, act: true, serve: s.decisionPosted},
		{pattern: "GET /v1/status", scope: access.Service, serve: s.status},
		{pattern: "POST /v1/admin/reload", scope: access.Administration, act: true, serve: s.reload},
		{pattern: "POST /v1/admin/pause", scope: access.Administration, act: true, serve: s.pause},
		{pattern: "POST /v1/admin/resume", scope: access.Administration, act: true, serve: s.resume},
		{pattern: "GET /opendsr/v2/discovery", scope: access.Requests, dsr: true, serve: s.dsrDiscovery},
		{pattern: "POST /opendsr/v2/requests", scope: access.Requests, dsr: true, subject: true, act: true, serve: s.dsrPosted},
		{pattern: "GET /opendsr/v2/requests/{subjectRequestId}", scope: access.Requests, dsr: true, serve: s.dsrStatus},
		{pattern: "GET /opendsr/v2/status/{subjectRequestId}", scope: access.Requests, dsr: true, serve: s.dsrStatus}, // section 3.1; the other is 8.1
		{pattern: "GET /opendsr/v2/requests/{subjectRequestId}/results", scope: access.Requests, dsr: true, subject: true, serve: s.dsrResults},
		{pattern: "DELETE /opendsr/v2/requests/{subjectRequestId}", scope: access.Requests, dsr: true, act: true, serve: s.dsrCancelled},
	}
	if s.deps.OpenDSR == nil {
		for i := range all {
			if all[i].dsr {
				all[i].serve = notSpoken
			}
		}
	}
	if cfg.Pprof {
		all = append(all,
			page{pattern: "/debug/pprof/", scope: access.Administration, act: true, serve: pprof.Index},
			page{pattern: "/debug/pprof/profile", scope: access.Administration, act: true, serve: pprof.Profile},
			page{pattern: "/debug/pprof/trace", scope: access.Administration, act: true, serve: pprof.Trace})
	}
	return all
}

// handler serves pages, each behind its guard. Nothing else adds routes.
func (s *Server) handler(pages []page) http.Handler {
	mux := http.NewServeMux()
	// Whoever may not ask is not told which pages there are.
	for _, below := range []string{"/v1/", "/opendsr/"} {
		pages = append(pages, page{pattern: below, scope: access.Service, serve: unmatched(mux)})
	}
	pages = append(pages, page{pattern: "/", scope: access.Anybody, serve: unmatched(mux)})
	for _, p := range pages {
		mux.Handle(p.pattern, s.guard(p))
	}
	return clean(mux, s.guard(page{pattern: "/", scope: access.Anybody, serve: unclean}))
}

// clean keeps from a mux the paths that it would clean and redirect: what is left of
// the path of a subject "..", or of one without an id, is another page's.
func clean(mux, otherwise http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r.URL.EscapedPath()
		if cleaned := path.Clean(asked); asked != cleaned && asked != cleaned+"/" {
			otherwise.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func unclean(w http.ResponseWriter, _ *http.Request) {
	problem(w, http.StatusNotFound, "no page has a path with an empty part, . or ..; a subject of such an id is found by POST, with the id in the body: /v1/subjects/lookup, /v1/subjects/explain, "+
		"/v1/subjects/access, /v1/subjects/portability, /v1/subjects/receipt, /v1/subjects/request")
}

// template is the page's path, as the audit log and the error log name it.
func (p page) template() string {
	if _, path, hasMethod := strings.Cut(p.pattern, " "); hasMethod {
		return path
	}
	return p.pattern
}

// unmatched answers requests that no page takes: for another method than the
// path's, or for a path that is none.
func unmatched(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
			if _, pattern := mux.Handler(&http.Request{Method: method, Host: r.Host, URL: r.URL}); strings.Contains(pattern, " ") {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			notFound(w)
			return
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		problem(w, http.StatusMethodNotAllowed, "this page takes "+strings.Join(allowed, ", "))
	}
}

func notFound(w http.ResponseWriter) {
	problem(w, http.StatusNotFound, "there is no such page; see GET /v1/segments, /v1/requests, /v1/status, /v1/subjects/{id}, /v1/subjects/{id}/explain, /v1/subjects/{id}/access, /v1/subjects/{id}/portability, /v1/subjects/{id}/receipt, /v1/requests/{requestId}, /metrics, /livez, /readyz, "+
		"and POST /v1/subjects/lookup, /v1/subjects/explain, /v1/subjects/access, /v1/subjects/portability, /v1/subjects/import, /v1/subjects/receipt, /v1/subjects/request, /v1/subjects/request/{extend,refuse}, /v1/requests, /v1/decisions, /v1/admin/{pause,resume,reload}; /opendsr/v2/discovery says what is spoken of OpenDSR")
}
