// Package admin is the HTTP side of segmentd: health, metrics and look-ups.
// Errors are problem details (RFC 9457). It reads the processor through a small
// port and holds no state of its own.
package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/state/subject"
)

// Processor is what the pages read. *processor.Processor implements it.
type Processor interface {
	States() (joined bool, states []processor.PartitionState)
	Lookup(ctx context.Context, id subject.ID) (memberships []processor.Membership, found bool, err error)
	Segments() []processor.SegmentInfo
	Coverages() map[string]processor.Coverage
	Explain(ctx context.Context, id subject.ID, segment string) (processor.Explanations, error)
	Pause(ctx context.Context, partition int32) error
	Resume(ctx context.Context, partition int32, acceptGap bool) error
}

// Config says what is served where.
type Config struct {
	Listen string // host:port; port 0 takes a free one
	// Advertise is the host:port under which others reach this instance; "" is
	// what is listened on, with the machine's name in the place of a wildcard.
	Advertise string
	Pprof     bool        // serve /debug/pprof, on loopback only
	TLS       *tls.Config // nil: plain HTTP
}

// Deps are what the pages show and do. All are required.
type Deps struct {
	Processor Processor
	Gatherer  prometheus.Gatherer
	Logger    *slog.Logger
	// Reload reads the rule files again and puts them in force. A *RulesError and
	// processor.ErrRefused are the asker's to mend; nothing has changed then.
	Reload func(ctx context.Context, allowRemovals bool) (processor.Reloaded, error)
	// Absent lists the input topics that are missing. Safe for concurrent use.
	Absent func() []string
	// Owner tells the address of the instance that owns a partition, "" if nobody
	// does. Safe for concurrent use.
	Owner func(ctx context.Context, partition int32) (address string, err error)
}

// Server is the HTTP listener.
type Server struct {
	deps     Deps
	listener net.Listener
	http     http.Server
	loopback bool
	address  string
}

// New opens the listener; nothing is served before Run.
func New(cfg Config, deps Deps) (*Server, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP on %s: %w; choose another address with --listen", cfg.Listen, err)
	}
	s := &Server{deps: deps, listener: l, loopback: isLoopback(l.Addr()), address: address(cfg, l.Addr())}
	if cfg.TLS != nil {
		s.listener = tls.NewListener(l, cfg.TLS)
	}
	s.http = http.Server{Handler: s.routes(cfg), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(deps.Logger.Handler(), slog.LevelDebug)}
	return s, nil
}

// Addr is the address listened on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Address is the URL, without a path, under which other instances' askers reach this one.
func (s *Server) Address() string { return s.address }

func address(cfg Config, listened net.Addr) string {
	scheme, at := "http://", cfg.Advertise
	if cfg.TLS != nil {
		scheme = "https://"
	}
	if at == "" {
		at = listened.String()
		tcp, ok := listened.(*net.TCPAddr)
		if name, err := os.Hostname(); ok && tcp.IP.IsUnspecified() && err == nil {
			at = net.JoinHostPort(name, strconv.Itoa(tcp.Port))
		}
	}
	return scheme + at
}

// Run serves until ctx ends, then lets requests under way finish for a second.
func (s *Server) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.http.Shutdown(end); err != nil {
		_ = s.http.Close() // what did not finish in time is cut off
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// Close closes the listener of a server that never ran.
func (s *Server) Close() error { return s.listener.Close() }

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func (s *Server) routes(cfg Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.deps.Gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", live)
	mux.HandleFunc("GET /healthz", live)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /v1/subjects/{id}", s.local(s.subject))
	mux.Handle("POST /v1/subjects/lookup", s.local(s.lookup))
	mux.Handle("GET /v1/subjects/{id}/explain", s.local(s.explain))
	mux.Handle("POST /v1/subjects/explain", s.local(s.explainPosted))
	mux.Handle("GET /v1/segments", s.local(s.segments))
	mux.Handle("GET /v1/status", s.local(s.status))
	mux.Handle("POST /v1/admin/reload", s.local(s.reload))
	mux.Handle("POST /v1/admin/pause", s.local(s.pause))
	mux.Handle("POST /v1/admin/resume", s.local(s.resume))
	noPage := unmatched(mux)
	mux.Handle("/v1/", s.local(noPage))
	if cfg.Pprof && s.loopback {
		mux.Handle("/debug/pprof/", s.local(pprof.Index))
		mux.Handle("/debug/pprof/profile", s.local(pprof.Profile))
		mux.Handle("/debug/pprof/trace", s.local(pprof.Trace))
	}
	mux.HandleFunc("/", noPage)
	// A page of another site, open in a browser on this machine, must not pause us.
	ours := http.NewCrossOriginProtection()
	ours.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusForbidden, "the request comes from a page of another origin")
	}))
	return ours.Handler(mux)
}

// unmatched answers requests that no page takes: for another method than the
// path's, or for a path that is none.
func unmatched(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
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
	problem(w, http.StatusNotFound, "there is no such page; see GET /v1/segments, /v1/status, /v1/subjects/{id}, /v1/subjects/{id}/explain, /metrics, /livez, /readyz, "+
		"and POST /v1/subjects/lookup, /v1/subjects/explain, /v1/admin/{pause,resume,reload}")
}

// local serves a page only on loopback and only for requests that name it so
// (a page of another site must not reach it by a name that resolves to loopback).
func (s *Server) local(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !s.loopback:
			problem(w, http.StatusForbidden, "without tokens only /metrics, /livez, /healthz and /readyz are served on a listener beyond loopback; "+
				"ask on the machine itself with http.listen on 127.0.0.1")
		case !namesLoopback(r.Host):
			problem(w, http.StatusForbidden, "the request's Host is not this machine's loopback address")
		default:
			w.Header().Set("Cache-Control", "no-store")
			next(w, r)
		}
	})
}

func namesLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
