// Package opendsr speaks OpenDSR 2.0 (github.com/opengdpr/OpenDSR, specification.md)
// as a processor: it reads the requests of a controller, writes and signs what is
// answered, and sends callbacks. It knows no HTTP server and no Kafka: package admin
// has the pages, and what becomes of requests comes from outside (Deps.Results).
package opendsr

import (
	"crypto"
	"log/slog"
	"net/http"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// Version is the version of OpenDSR that is spoken.
const Version = "2.0"

// Headers of what is signed (section 8.3).
const (
	HeaderDomain    = "X-OpenDSR-Processor-Domain"
	HeaderSignature = "X-OpenDSR-Signature"
)

// Path is what the paths of all pages begin with.
const Path = "/opendsr/v2"

// Status is how far a request is, in OpenDSR's words (section 8).
type Status string

// The statuses.
const (
	Pending    Status = "pending"
	InProgress Status = "in_progress"
	Completed  Status = "completed"
	Cancelled  Status = "cancelled"
)

// StatusOf is a status of ours in OpenDSR's words. An access or portability is done for
// OpenDSR once there is something to fetch; for us it is open until somebody has, and in
// progress where more time was taken.
// OpenDSR has no word for failed: of the kinds that it knows a request fails only where
// it was cancelled or refused.
func StatusOf(kind subject.RequestKind, s subject.RequestStatus) Status {
	if kind != subject.Erase && s.IsOpen() {
		return Completed
	}
	return [subject.RequestStatuses]Status{Pending, InProgress, Completed, Cancelled}[s]
}

// IsFinal reports whether the status can change no more.
func (s Status) IsFinal() bool { return s == Completed || s == Cancelled }

// kinds are the types of requests (section 6.2) that are taken, in the order in which
// discovery lists them.
var kinds = []struct {
	word string
	kind subject.RequestKind
}{{"access", subject.Access}, {"portability", subject.Portability}, {"erasure", subject.Erase}}

// Config says as whom OpenDSR is spoken. All but CallbackHosts is required.
type Config struct {
	ControllerID string // what we call the controller
	Domain       string // ours
	URL          string // under which controllers reach us, without a path
	Certificate  string // URL of the certificate with whose key is signed
	// CallbackHosts are those that callbacks may be sent to: a host, at the port of
	// its scheme, or host:port. Only https, but for loopback addresses.
	CallbackHosts []string
	EraseWithin   time.Duration // by when an erasure is expected to be completed
	Dir           string        // of the callbacks that are not sent yet; made where it is absent
}

// Deps are what a Processor needs. Count, Waiting and Transport may be nil.
type Deps struct {
	Signer  crypto.Signer // an RSA or ECDSA key (FIPS 186-4)
	Results Results
	Logger  *slog.Logger
	Count   func(outcome string) // counts a callback: one of Outcomes
	Waiting func(callbacks int)  // is told how many callbacks are not sent yet
	// Transport sends callbacks; nil: http.DefaultTransport.
	Transport http.RoundTripper
}

// Processor speaks OpenDSR for one controller. Safe for concurrent use.
type Processor struct {
	cfg       Config
	deps      Deps
	sent      sent
	callbacks callbacks
}

// New reads the callbacks that were not sent yet; none is sent before Run.
func New(cfg Config, deps Deps) (*Processor, error) {
	if deps.Count == nil {
		deps.Count = func(string) {}
	}
	if deps.Waiting == nil {
		deps.Waiting = func(int) {}
	}
	if deps.Transport == nil {
		deps.Transport = http.DefaultTransport
	}
	p := &Processor{cfg: cfg, deps: deps}
	return p, p.openCallbacks()
}

// Expected is when a request that was received then is expected to be completed: an
// erasure once it is gone from the files, all else within the month that the law
// gives from when the subject asked, as it waits to be fetched.
func (p *Processor) Expected(kind subject.RequestKind, received, due subject.Instant) subject.Instant {
	if kind == subject.Erase {
		return received + subject.Instant(p.cfg.EraseWithin/time.Microsecond)
	}
	return due
}

// ResultsURL is where the results of a request are; "" for an erasure, which has none.
func (p *Processor) ResultsURL(kind subject.RequestKind, id string) string {
	if kind == subject.Erase {
		return ""
	}
	return p.cfg.URL + Path + "/requests/" + id + "/results"
}
