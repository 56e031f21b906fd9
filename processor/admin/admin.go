// Package admin is the HTTP side of segmentd: health, metrics and look-ups, who
// may ask for them (page.go has the table), and the entries of the audit log
// about it. Errors are problem details (RFC 9457). It reads the processor through
// a small port.
package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/access"
	"github.com/segmentd/segmentd/processor/audit"
	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/processor/opendsr"
	"github.com/segmentd/segmentd/processor/portable"
	"github.com/segmentd/segmentd/state/subject"
)

// Processor is what the pages read. *processor.Processor implements it.
type Processor interface {
	States() (joined bool, states []processor.PartitionState)
	Lookup(ctx context.Context, id subject.ID) (memberships []processor.Membership, found bool, err error)
	Segments() []processor.SegmentInfo
	Coverages() map[string]processor.Coverage
	Portability(ctx context.Context, id subject.ID, requestID string) (portable.Document, error)
	Consents(ctx context.Context, id subject.ID) (processor.Consents, error)
	Access(ctx context.Context, id subject.ID, requestID string) (processor.AccessDocument, error)
	Request(ctx context.Context, id subject.ID, requestID string) (info processor.RequestInfo, found bool, err error)
	Extend(ctx context.Context, id subject.ID, requestID, reason string, until subject.Instant) (processor.RequestInfo, error)
	Refuse(ctx context.Context, id subject.ID, requestID, reason string) (processor.RequestInfo, error)
	Submit(ctx context.Context, s processor.Submission) error
	Requests(ctx context.Context) (all []processor.RequestInfo, complete bool)
	FindRequests(ctx context.Context, requestID string) (found []processor.FoundRequest, complete bool, err error)
	CancelRequest(ctx context.Context, q processor.FoundRequest, detail string) (processor.FoundRequest, error)
	ResultsEnd(ctx context.Context, id subject.ID) (partition int32, from int64, err error)
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
	Pprof     bool        // serve /debug/pprof
	TLS       *tls.Config // nil: plain HTTP
	// BehindTLSProxy says that a proxy ends TLS in front of Advertise.
	BehindTLSProxy bool
}

// Deps are what the pages show and do. All but Tokens and OpenDSR are required.
type Deps struct {
	// Tokens are those who may ask; nil: whoever is on the machine may.
	Tokens *access.Tokens
	// Audit writes an entry of the audit log, and returns once it is on disk.
	Audit func(audit.Entry) error
	// Pseudonym is what the audit log has of an id. Safe for concurrent use.
	Pseudonym func(subject.ID) string
	Metrics   *metrics.Metrics

	Processor Processor
	Gatherer  prometheus.Gatherer
	Logger    *slog.Logger
	// Accessed completes what is kept about a subject with what it must be told beside
	// it (GDPR article 15(1)). Safe for concurrent use.
	Accessed func(kept processor.AccessDocument) any
	// Reload reads the rule files again and puts them in force. A *RulesError and
	// processor.ErrRefused are the asker's to mend; nothing has changed then.
	Reload func(ctx context.Context, allowRemovals bool) (processor.Reloaded, error)
	// Absent lists the input topics that are missing. Safe for concurrent use.
	Absent func() []string
	// Receipt makes the receipt of a subject's decisions, which is written as JSON.
	Receipt func(processor.Consents) any
	// Owner tells the address of the instance that owns a partition, "" if nobody
	// does. Safe for concurrent use.
	Owner func(ctx context.Context, partition int32) (address string, err error)
	// Owners lists the addresses of all that own a partition, sorted, each once; an error
	// where nobody is known to own one. Safe for concurrent use.
	Owners func(ctx context.Context) (addresses []string, err error)
	// OpenDSR speaks that protocol; nil: nobody does.
	OpenDSR *opendsr.Processor
}

// Server is the HTTP listener.
type Server struct {
	deps     Deps
	listener net.Listener
	http     http.Server
	loopback bool
	address  string
	ours     *http.CrossOriginProtection
	denials  denials
}

// New opens the listener; nothing is served before Run.
func New(cfg Config, deps Deps) (*Server, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP on %s: %w; choose another address with --listen", cfg.Listen, err)
	}
	s := &Server{deps: deps, listener: l, loopback: isLoopback(l.Addr()), address: address(cfg, l.Addr()), ours: http.NewCrossOriginProtection()}
	if cfg.TLS != nil {
		s.listener = tls.NewListener(l, cfg.TLS)
	}
	s.http = http.Server{Handler: s.handler(s.pages(cfg)), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(deps.Logger.Handler(), slog.LevelDebug)}
	return s, nil
}

// Addr is the address listened on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Address is the URL, without a path, under which other instances' askers reach this one.
func (s *Server) Address() string { return s.address }

func address(cfg Config, listened net.Addr) string {
	scheme, at := "http://", cfg.Advertise
	if cfg.TLS != nil || cfg.BehindTLSProxy && at != "" {
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
