// Package embedded is a Kafka broker inside the process, for trying segmentd out
// on one machine and for tests: any Kafka client can use it. It is kfake with
// its data on disk, guarded against what makes kfake fail as a network server.
//
// One broker, no replication, no authentication. What was acknowledged survives
// the death of the process (SIGKILL too), not the loss of power: nothing is
// fsynced before Close. What a kill leaves of transactions is made whole at the
// next start; group offsets of the one being committed may be missing then.
//
// Topics are compacted when the broker starts, not while it runs.
//
// The guard keeps out what is no Kafka request; a hostile one can still keep the
// broker busy. Listen on loopback.
//
// Timestamps are the producer's: message.timestamp.type=LogAppendTime can be
// set and has no effect.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Config says where the broker listens and what it keeps. The zero Config is a
// broker in memory on a free port of 127.0.0.1.
type Config struct {
	// Dir keeps topics, records, offsets and transactional state; it is created,
	// and locked while the broker runs. "" keeps all in memory.
	Dir string
	// Listen is host:port; "" means 127.0.0.1:0, port 0 any free port.
	Listen string
	// Advertise is the host that clients are told to connect to; "" means the
	// host of Listen, or this machine's name where that is a wildcard.
	Advertise string
	// Partitions of topics that are created without a count; 0 means 12.
	Partitions int
	// AutoCreateTopics lets a client's metadata request create topics.
	AutoCreateTopics bool
	// MaxMessageBytes bounds a record batch; 0 means Kafka's default, 1048588.
	MaxMessageBytes int
	// MinSessionTimeout of consumer groups; 0 means Kafka's default, 6 s.
	MinSessionTimeout time.Duration
	// Kafka4Only refuses requests below the minimum versions of Kafka 4.0, for
	// tests: the broker itself is more lenient than Kafka.
	Kafka4Only bool
	// Logger takes warnings; nil discards them.
	Logger *slog.Logger
}

// Errors of Start.
var (
	ErrLocked     = errors.New("data directory is in use by another broker")
	ErrPortInUse  = errors.New("address is in use by another process")
	errNoListener = errors.New("the broker listens once")
)

// Broker is a running broker. Safe for concurrent use.
type Broker struct {
	cluster *kfake.Cluster
	dir     string
	addr    string
	unlock  func() error
	journal *journal // nil in memory
	stop    context.CancelFunc
	upkeep  sync.WaitGroup
	close   sync.Once
}

// Start runs a broker until Close. What an earlier broker kept in the same
// directory is there again. The errors are ErrLocked, ErrPortInUse and those of
// the file system.
func Start(cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	unlock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	ln, err := listen(cfg)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	b, err := open(cfg, ln)
	if err != nil {
		return nil, errors.Join(err, ln.Close(), unlock())
	}
	b.unlock = unlock
	close(ln.open)
	return b, nil
}

// open does all that has to be done before the first client is let in.
func open(cfg Config, ln *guardedListener) (*Broker, error) {
	b := &Broker{dir: cfg.Dir, addr: ln.Addr().String()}
	if err := b.openJournal(); err != nil {
		return nil, err
	}
	cluster, err := kfake.NewCluster(options(cfg, ln)...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open broker data in %q: %w", cfg.Dir, err), b.closeJournal())
	}
	b.cluster = cluster
	if b.journal != nil {
		b.journal.watch(cluster)
	}
	keepCompacted(cluster)
	if cfg.AutoCreateTopics {
		autoCreate(cluster)
	}
	boundFetchesByPartition(cluster)
	if cfg.Kafka4Only {
		refuseBelowKafka4(cluster)
	}
	compactStable(cluster, cfg.Dir, cfg.Logger)
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.upkeep.Go(func() { retain(ctx, cluster) })
	return b, nil
}

func (b *Broker) openJournal() error {
	if b.dir == "" {
		return nil
	}
	clean, err := wasClean(b.dir)
	if err != nil {
		return err
	}
	if !clean {
		if err := repair(b.dir); err != nil {
			return err
		}
	}
	b.journal, err = newJournal(b.dir)
	return err
}

func (b *Broker) closeJournal() error {
	if b.journal == nil {
		return nil
	}
	return b.journal.close()
}

// Addr is the host:port for clients.
func (b *Broker) Addr() string { return b.addr }

// Cluster gives tests the faults, the clock-free compaction and the leader
// moves of the broker below.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close writes down what only memory holds, closes all connections and unlocks
// the directory. Closing twice is harmless.
func (b *Broker) Close() error {
	var err error
	b.close.Do(func() {
		b.stop()
		b.upkeep.Wait() // a closed cluster would let upkeep wait for ever
		b.cluster.Close()
		err = errors.Join(b.closeJournal(), b.markClean(), b.unlock())
	})
	return err
}

func (b *Broker) markClean() error {
	if b.dir == "" {
		return nil
	}
	return markClean(b.dir)
}

func (cfg Config) withDefaults() Config {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Partitions == 0 {
		cfg.Partitions = 12
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

func options(cfg Config, ln net.Listener) []kfake.Opt {
	broker := map[string]string{"log.cleaner.backoff.ms": strconv.FormatInt(noCleanerBackoff.Milliseconds(), 10)}
	if cfg.MaxMessageBytes > 0 {
		broker["message.max.bytes"] = strconv.Itoa(cfg.MaxMessageBytes)
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("segmentd-embedded"),
		kfake.DefaultNumPartitions(cfg.Partitions),
		kfake.ListenFn(once(ln)),
		kfake.WithLogger(logger{cfg.Logger}),
		kfake.BrokerConfigs(broker),
	}
	if cfg.Dir != "" {
		opts = append(opts, kfake.DataDir(cfg.Dir))
	}
	if cfg.MinSessionTimeout > 0 {
		opts = append(opts, kfake.GroupMinSessionTimeout(cfg.MinSessionTimeout))
	}
	return opts
}

// once hands out a listener that is open already, so that a port in use is
// found before any data is.
func once(ln net.Listener) func(string, string) (net.Listener, error) {
	return func(string, string) (net.Listener, error) {
		if ln == nil {
			return nil, errNoListener
		}
		l := ln
		ln = nil
		return l, nil
	}
}

func listen(cfg Config) (*guardedListener, error) {
	ln, err := net.Listen("tcp", cfg.Listen)
	if addressInUse(err) {
		return nil, fmt.Errorf("listen on %s: %w", cfg.Listen, ErrPortInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return &guardedListener{Listener: ln, addr: advertised(ln.Addr(), cfg.Advertise), log: cfg.Logger, open: make(chan struct{}), shut: make(chan struct{})}, nil
}

// advertised is the address in metadata: kfake tells clients its listener's.
func advertised(addr net.Addr, host string) net.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr
	}
	if host == "" && tcp.IP.IsUnspecified() {
		host, _ = os.Hostname()
	}
	if host == "" {
		return addr
	}
	return hostPort(net.JoinHostPort(host, strconv.Itoa(tcp.Port)))
}

type hostPort string

func (hostPort) Network() string  { return "tcp" }
func (a hostPort) String() string { return string(a) }

// logger passes kfake's warnings and errors on; the rest is a simulation's
// chatter, and so is that a transaction took it some milliseconds.
type logger struct{ log *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	slow := level == kfake.LogLevelWarn && strings.Contains(format, " slow ")
	if (level == kfake.LogLevelError || level == kfake.LogLevelWarn) && !slow {
		l.log.Warn("embedded broker", "detail", fmt.Sprintf(format, args...))
	}
}
