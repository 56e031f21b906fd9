// Package kafka implements the ports of processor/stream on a Kafka cluster,
// with kafka-go's transport and protocol types below and our own record batches
// above: fetching committed records into reused memory, transactions, groups,
// topics.
//
// kafka-go has no transactional producer, and none of its readers leaves
// aborted records out or passes empty batches over; so this package uses
// neither its Reader, Writer nor Conn, except for group membership.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/sasl"

	"github.com/segmentd/segmentd/processor/stream"
)

// What we override of kafka-go's defaults, and why.
const (
	// metadataTTL instead of 6 s: the transport does not look up a partition's
	// new leader when the old one refuses, it only waits for its cache to expire.
	// It is the timeout of a metadata request too.
	metadataTTL = time.Second
	// idleTimeout as the library's; brokers close after 10 min (connections.max.idle.ms).
	idleTimeout = 30 * time.Second
	// dialTimeout includes TLS and SASL.
	dialTimeout = 5 * time.Second
	// requestTimeout where the library has none at all.
	requestTimeout = 10 * time.Second
)

// Config says how to reach a cluster.
type Config struct {
	Brokers  []string // host:port to begin with; at least one
	ClientID string   // "" means "segmentd"
	// Topics are those that are fetched from and produced to. The transport asks
	// for the metadata of these alone; none means all topics of the cluster.
	Topics []string
	// TLS, asked at each connection, by several goroutines at once; nil: plain text.
	TLS  func() (*tls.Config, error)
	SASL SASL
	// RequestTimeout bounds each request beyond the wait that it asks for; 0 means 10 s.
	RequestTimeout time.Duration
	Logger         *slog.Logger // nil discards
}

// Client is the connections to one cluster, shared by all that this package
// offers. Safe for concurrent use. It implements stream.Fetcher.
type Client struct {
	cfg  Config
	addr net.Addr
	// data carries produce, fetch and transactions. admin is another transport
	// with the metadata of all topics: creating a topic that is none of
	// MetadataTopics would wait for its appearance for ever.
	data      atomic.Pointer[kafka.Transport]
	admin     *kafka.Transport
	mechanism sasl.Mechanism
	conns     connections
	parsers   sync.Pool // of *parser
	stop      context.CancelFunc
	transport func(topics []string) *kafka.Transport
	closed    atomic.Bool
}

var _ stream.Fetcher = (*Client)(nil)

// ErrClosed is returned by a closed client.
var ErrClosed = errors.New("kafka client is closed")

// New checks the configuration and connects to nothing yet.
func New(cfg Config) (*Client, error) {
	if len(cfg.Brokers) == 0 {
		return nil, errors.New("no kafka brokers are configured")
	}
	mechanism, err := cfg.SASL.mechanism()
	if err != nil {
		return nil, err
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "segmentd"
	}
	if cfg.RequestTimeout == 0 {
		cfg.RequestTimeout = requestTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Client{cfg: cfg, addr: kafka.TCP(cfg.Brokers...), mechanism: mechanism, stop: stop, conns: connections{tls: cfg.TLS}}
	c.transport = func(topics []string) *kafka.Transport { return c.newTransport(ctx, topics) }
	c.data.Store(c.transport(cfg.Topics))
	c.admin = c.data.Load()
	if len(cfg.Topics) > 0 {
		c.admin = c.transport(nil)
	}
	return c, nil
}

// SetTopics replaces Config.Topics, for a client that was given some. Requests
// under way are not disturbed.
func (c *Client) SetTopics(topics []string) {
	if c.closed.Load() || len(topics) == 0 || c.admin == c.data.Load() {
		return
	}
	c.data.Swap(c.transport(topics)).CloseIdleConnections()
}

func (c *Client) newTransport(ctx context.Context, topics []string) *kafka.Transport {
	return &kafka.Transport{
		Dial:           c.conns.dial,
		DialTimeout:    dialTimeout,
		IdleTimeout:    idleTimeout,
		MetadataTTL:    metadataTTL,
		MetadataTopics: topics,
		ClientID:       c.cfg.ClientID,
		SASL:           c.mechanism,
		Context:        ctx,
	}
}

// Close ends all connections; requests in flight fail. Closing twice is harmless.
func (c *Client) Close() error {
	c.closed.Store(true)
	c.stop()
	c.data.Load().CloseIdleConnections()
	c.admin.CloseIdleConnections()
	c.conns.closeAll()
	return nil
}

// roundTrip sends one request of the data path and waits for its answer, at
// most RequestTimeout and the wait that the request itself asks for.
func roundTrip[R protocol.Message](ctx context.Context, c *Client, req protocol.Message, wait time.Duration) (R, error) {
	return roundTripOn[R](ctx, c, c.data.Load(), request{Message: req, wait: wait})
}

type request struct {
	protocol.Message
	wait time.Duration
	to   net.Addr // nil: wherever the transport sends it
}

func roundTripOn[R protocol.Message](ctx context.Context, c *Client, t *kafka.Transport, req request) (R, error) {
	var none R
	if c.closed.Load() {
		return none, ErrClosed
	}
	// The transport leaks a goroutine where a context without end ends a dial.
	ctx, cancel := context.WithTimeout(ctx, req.wait+c.cfg.RequestTimeout)
	defer cancel()
	if req.to == nil {
		req.to = c.addr
	}
	res, err := t.RoundTrip(ctx, req.to, req.Message)
	if err != nil {
		return none, noAnswer(err)
	}
	answer, ok := res.(R)
	if !ok {
		return none, fmt.Errorf("kafka answered %T to %T", res, req.Message)
	}
	return answer, nil
}

// noAnswer explains an error of the transport. It makes a connection's time-out
// the context's, which it has its deadline from and may be ahead of.
func noAnswer(err error) error {
	err = explain(err)
	if errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("kafka did not answer: %w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// adminClient is kafka-go's client for the requests where nothing is gained by our own.
func (c *Client) adminClient() *kafka.Client {
	return &kafka.Client{Addr: c.addr, Timeout: c.cfg.RequestTimeout, Transport: c.admin}
}

// connections remembers what is open, so that Close ends the requests in flight
// too: the transport itself forgets them until they are answered.
type connections struct {
	tls func() (*tls.Config, error) // nil: plain text

	mu     sync.Mutex
	open   map[io.Closer]struct{} // guarded by mu
	closed bool                   // guarded by mu
}

// dial includes TLS, of which the library says less when it fails.
func (s *connections) dial(ctx context.Context, _, address string) (net.Conn, error) {
	conn, err := open(ctx, address, s.tls)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	tracked := &trackedConn{Conn: conn, owner: s}
	if !s.add(tracked) {
		return nil, errors.Join(ErrClosed, conn.Close())
	}
	return tracked, nil
}

func (s *connections) add(conn io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.open == nil {
		s.open = map[io.Closer]struct{}{}
	}
	s.open[conn] = struct{}{}
	return true
}

func (s *connections) remove(conn io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
}

// closeAll closes what is open and lets nothing be opened any more.
func (s *connections) closeAll() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cut()
}

// cut closes what is open.
func (s *connections) cut() {
	s.mu.Lock()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for conn := range open {
		_ = conn.Close()
	}
}

// cutAfter cuts after d unless done comes first.
func (s *connections) cutAfter(d time.Duration, done <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		s.cut()
	}
}

type trackedConn struct {
	net.Conn
	owner *connections
}

func (c *trackedConn) Close() error {
	c.owner.remove(c)
	return c.Conn.Close()
}
