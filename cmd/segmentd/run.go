package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/access"
	"github.com/segmentd/segmentd/processor/admin"
	"github.com/segmentd/segmentd/processor/audit"
	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/embedded"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/processor/opendsr"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
)

func runCommand() command {
	return command{
		name: "run", summary: "Process events: the service itself",
		details: `
Reads events and decisions from Kafka and publishes membership changes, exactly once.

  segmentd run --rules rules --brokers kafka:9092 --config segmentd.yaml
  segmentd run --rules rules --embedded        a broker of its own, for one machine

Instances with one --group share the partitions. Rules that were not seen before, at a start, by SIGHUP or by POST
/v1/admin/reload, are published for all of them; rules that have errors, or must not follow those in force, change
nothing. One of several instances can be asked for any subject.

The exit status is 0 after SIGTERM, 2 where the configuration is wrong, 3 where the environment failed.`,
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			config.AddFlags(fs)
			return func(ctx context.Context, inv *invocation) error {
				cfg, err := loadConfig(inv, config.NeedAll)
				if err != nil {
					return err
				}
				return serve(ctx, inv, cfg, nil)
			}
		},
	}
}

// loadConfig loads the configuration for what a command needs. What is given and
// not read is told here, but for a run that begins: its own log has it.
func loadConfig(inv *invocation, needs config.Need) (*config.Config, error) {
	cfg, err := config.Load(config.Sources{Environ: os.Environ(), Flags: inv.flags, Needs: needs})
	if err != nil || needs != config.NeedAll {
		for _, w := range cfg.Unread() {
			inv.log.Warn(w)
		}
	}
	return cfg, err
}

// service is everything a running process holds, in the order in which it is
// opened; it is closed in the reverse order.
type service struct {
	cfg       *config.Config
	log       *slog.Logger
	set       *rules.Set // at the start
	hangups   <-chan os.Signal
	reached   func(state.Step) // nil: nobody is told
	broker    *embedded.Broker
	client    *kafka.Client
	layout    layout
	store     *state.Store
	metrics   *metrics.Metrics
	processor *processor.Processor
	admin     *admin.Server
	tokens    *access.Tokens // nil: none are configured
	audit     *audit.Log
	dsr       *opendsr.Processor // nil: OpenDSR is not spoken
	closers   []func() error
	absent    atomic.Pointer[[]string] // input topics that are missing
	settings  topicSettings

	mu     sync.Mutex
	topics []string // guarded by mu: that the client knows
}

// serve runs the service until ctx ends or something fatal. ready, if not nil,
// is called once everything is open.
func serve(ctx context.Context, inv *invocation, cfg *config.Config, ready func(*service)) (err error) {
	limitMemory()
	addThreads()
	log, err := newLogger(inv.err, cfg.Log.Format, cfg.Log.Level)
	if err != nil {
		return err
	}
	lines := newCapped(log.Handler())
	defer lines.kinds.close()
	log = slog.New(lines)
	for _, w := range cfg.Warnings() {
		log.Warn(w)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	set, problems := rules.LoadDirWith(cfg.Rules, rules.LoadOptions{NoSegments: cfg.AllowRemovals})
	if set == nil {
		_ = rules.WriteProblems(inv.err, problems)
		return usagef("the rules in %s have errors", cfg.Rules)
	}
	warnOfConsent(cfg, set, log)
	s := &service{cfg: cfg, log: log, set: set, hangups: hangups, reached: inv.reached}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if ready != nil {
		ready(s)
	}
	return s.run(ctx)
}

// warnOfConsent says which purposes nobody can ever be processed for.
func warnOfConsent(cfg *config.Config, set *rules.Set, log *slog.Logger) {
	if len(cfg.InputsOf(config.KindDecision)) > 0 {
		return
	}
	var purposes []string
	for i := range set.Purposes {
		if set.Purposes[i].Basis.NeedsConsent() {
			purposes = append(purposes, set.Purposes[i].Key)
		}
	}
	if len(purposes) > 0 {
		log.Warn("no input has kind decision: purposes that rest on consent are never processed for, but for consent that the group has read before; withdrawals are not read",
			"purposes", purposes)
	}
}

// softMemoryLimit is where the garbage collector begins to work harder, unless
// GOMEMLIMIT says otherwise. Badger's mapped files are not in it.
const softMemoryLimit = 640 << 20

func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemoryLimit)
	}
}

// addThreads lets more goroutines run at once than there are processors, unless
// GOMAXPROCS says otherwise: while Badger's compactions hold all that the runtime has, for 10 ms
// each at a time, an answer of the broker, of which a transaction awaits five, stands in
// line behind them, where the kernel would let it run at once. On two processors
// the 99th percentile of latency was half (BENCHMARKS.md).
var addThreads = sync.OnceFunc(func() { // a process may run it again and again, as tests do
	if os.Getenv("GOMAXPROCS") == "" {
		n := runtime.GOMAXPROCS(0)
		runtime.GOMAXPROCS(n + max(1, n/4))
	}
})

func (s *service) onClose(f func() error) { s.closers = append(s.closers, f) }

func (s *service) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}

func (s *service) open(ctx context.Context) error {
	if s.cfg.Embedded {
		if err := s.openBroker(s.cfg.BrokerListen); err != nil {
			return err
		}
	}
	if err := s.openMetrics(); err != nil {
		return err
	}
	secret, err := s.cfg.ReadSecret()
	if err != nil {
		return usageError(err)
	}
	claim, err := state.Take(filepath.Join(s.cfg.Data, "image"), nil)
	if err != nil {
		return storeError(err)
	}
	s.onClose(claim.Release)
	s.topics = topicNames(s.cfg, s.set)
	client, err := connect(s.cfg, slices.Clone(s.topics), s.log)
	if err != nil {
		return err
	}
	s.client = client
	s.onClose(client.Close)
	if s.layout, err = prepareTopics(ctx, client, s.cfg, s.set, s.log); err != nil {
		return err
	}
	// A wrong secret must not cost the image, nor disturb the group; nor must inputs that lack one.
	if err := s.checkGroup(ctx, secret); err != nil {
		return err
	}
	if err := s.openStore(claim, secret); err != nil {
		return err
	}
	if s.processor, err = s.newProcessor(); err != nil {
		return err
	}
	s.readSettings(ctx)
	if err := patiently(ctx, s.log, "look at the changelog", func() error { return s.checkChangelog(ctx) }); err != nil {
		return err
	}
	if err := s.processor.SettleRules(ctx); err != nil {
		return err
	}
	return s.openAdmin(secret)
}

func (s *service) openBroker(listen string) error {
	broker, err := startBroker(filepath.Join(s.cfg.Data, "broker"), listen, s.cfg.Topics.Partitions, s.log)
	if err != nil {
		return err
	}
	s.broker = broker
	s.cfg.Kafka.Brokers = []string{broker.Addr()}
	s.onClose(broker.Close)
	s.log.Info("embedded broker is listening", "address", broker.Addr())
	return nil
}

func (s *service) openMetrics() (err error) {
	v, r := buildVersion()
	var topics []string
	for _, in := range s.cfg.Inputs {
		topics = append(topics, in.Topic)
	}
	s.metrics, err = metrics.New(metrics.Config{PerSegment: s.cfg.Metrics.PerSegment, Topics: topics, Version: v, Revision: r},
		metrics.Deps{Registerer: metrics.NewRegistry()})
	return err
}

// checkGroup compares secret and inputs with what the changelog was written with, patiently.
func (s *service) checkGroup(ctx context.Context, secret []byte) error {
	cfg := processor.Config{Group: s.cfg.Group, Partitions: s.layout.partitions, DropInputs: s.cfg.DropInputs}
	for _, in := range s.cfg.Inputs {
		cfg.Inputs = append(cfg.Inputs, processor.Input{Topic: in.Topic})
	}
	deps := processor.Deps{Fetcher: s.client, Bounds: s.bounds, Secret: state.NewKeyer(secret).Fingerprint()}
	return patiently(ctx, s.log, "compare secret and inputs", func() error {
		err := processor.CheckGroup(ctx, cfg, deps)
		var configured *processor.ConfigError
		if errors.As(err, &configured) {
			return usageError(err)
		}
		return err
	})
}

func (s *service) openStore(claim *state.Claim, secret []byte) (err error) {
	s.store, err = claim.Open(state.Options{Secret: secret, Group: s.cfg.Group, Logger: s.log, WriteObserved: s.metrics.ObserveStoreWrite, Reached: s.reached})
	if err != nil {
		return storeError(err)
	}
	s.onClose(s.store.Close)
	return nil
}

// storeError tells what the operator has to change from what the machine lacks.
func storeError(err error) error {
	if errors.Is(err, state.ErrInUse) || errors.Is(err, state.ErrForeign) || errors.Is(err, state.ErrNewerVersion) {
		return usageError(err)
	}
	return err
}

func (s *service) partitions() int32 { return s.layout.partitions }

func (s *service) newProcessor() (*processor.Processor, error) {
	cfg := processor.Config{Group: s.cfg.Group, SessionTimeout: s.cfg.Kafka.SessionTimeout, Partitions: s.layout.partitions, LogAppend: s.layout.logAppend, AllowRemovals: s.cfg.AllowRemovals, DropInputs: s.cfg.DropInputs,
		Linger: s.cfg.Processing.Linger, BatchBytes: s.cfg.Processing.BatchBytes, CETypePrefix: s.cfg.Output.CETypePrefix,
		Core: core.Config{DedupeWindow: s.cfg.Processing.DedupeWindow, MaxSubjectBytes: s.cfg.Processing.MaxSubjectBytes}}
	var err error
	if cfg.OutputFormat, err = wire.ParseOutputFormat(s.cfg.Output.Format); err != nil {
		return nil, usageError(err)
	}
	for _, in := range s.cfg.Inputs {
		input, err := s.input(in)
		if err != nil {
			return nil, usageError(err)
		}
		cfg.Inputs = append(cfg.Inputs, input)
	}
	return processor.New(cfg, processor.Deps{Rules: s.set, Store: s.store, Secret: s.store.Fingerprint(), Fetcher: s.client,
		Bounds: s.bounds, TopicIDs: s.client.TopicIDs, Committed: s.committed, Produces: s.addTopics, CheckMember: s.client.CheckMember, Logger: s.log, Metrics: s.metrics,
		Remains: s.remains, Producer: s.client.NewProducer(kafka.ProducerConfig{}),
		Transactor: func(id string) stream.Transactor {
			return s.client.NewTransactor(kafka.TransactorConfig{TransactionalID: id, Compression: kafka.Zstd})
		}})
}

// input turns an input's configuration into what the processor needs.
func (s *service) input(in config.Input) (processor.Input, error) {
	out := processor.Input{Topic: in.Topic, Kind: inputKind(in), Partitioner: in.Partitioner}
	partitioner, err := kafka.ParsePartitioner(in.Partitioner)
	if err != nil {
		return out, err
	}
	if partitioner != kafka.Any {
		out.Partition = func(key []byte, n int32) int32 {
			p, _ := partitioner.Partition(key, n)
			return p
		}
	}
	out.Decoder, err = inputDecoder(in)
	out.Decoder.MaxFutureSkew = s.cfg.Processing.MaxFutureSkew
	return out, err
}

func (s *service) bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error) {
	marks, err := s.client.Watermarks(ctx, topic, partition+1)
	if err != nil {
		return 0, 0, err
	}
	m := marks[partition]
	return m.Start, m.End, nil
}

// checkChangelog makes an end where the changelog was lost, before anything begins.
func (s *service) checkChangelog(ctx context.Context) error {
	err := s.processor.CheckChangelog(ctx)
	var stopped *processor.StoppedError
	if errors.As(err, &stopped) {
		return environmentError(err)
	}
	return err
}

func (s *service) committed(ctx context.Context, topic string, partition int32) (int64, error) {
	offsets, err := s.client.GroupOffsets(ctx, s.cfg.Group, topic, partition+1)
	if err != nil {
		return 0, err
	}
	return offsets[partition], nil
}

// run joins the group and serves HTTP until ctx ends or one of them fails. The
// HTTP side stops last, so that health can be asked while partitions drain.
func (s *service) run(ctx context.Context) error {
	set := s.processor.Rules()
	s.log.Info("segmentd is running", "version", versionLine(), "group", s.cfg.Group, "segments", len(set.Segments), "rule_set", set.Hash[:12],
		"address", s.admin.Address(), "http", s.admin.Addr().String(), "brokers", strings.Join(s.cfg.Kafka.Brokers, ","))
	group, ctx := errgroup.WithContext(ctx)
	pages, stopPages := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return s.admin.Run(pages) })
	group.Go(func() error { return s.watchStore(ctx) })
	group.Go(func() error { return s.keepStore(ctx) })
	group.Go(func() error { return s.watchTopics(ctx) })
	group.Go(func() error { return s.followSettings(ctx) })
	group.Go(func() error { return s.reloadOnHangup(ctx) })
	group.Go(func() error { return s.publishHead(pages) })
	if s.tokens != nil {
		group.Go(func() error { return s.tokens.Follow(ctx) })
	}
	if s.dsr != nil {
		group.Go(func() error { return s.dsr.Run(ctx) })
	}
	group.Go(func() error { return s.processor.FollowRules(ctx) })
	group.Go(func() error {
		defer stopPages()
		return s.join(ctx)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	s.log.Info("segmentd has stopped")
	return nil
}

// keepStore keeps what is promised of the local store's files.
func (s *service) keepStore(ctx context.Context) error {
	within := s.cfg.Privacy.EraseWithin
	return storeError(s.store.Keep(ctx, state.Upkeep{EraseWithin: within, KeepUnowned: min(s.cfg.Privacy.KeepUnowned, within),
		Observe:  func(st state.ScrubState) { s.metrics.SetScrub(st.Waiting, st.Oldest, within) },
		Scrubbed: func(r state.ScrubReport, took time.Duration) { s.metrics.ObserveScrub(r.Entries, took) },
		Dropped:  func(int32) { s.metrics.CountImageDropped() }}))
}

// watchStore measures the local store's size.
func (s *service) watchStore(ctx context.Context) error {
	for {
		s.metrics.SetStoreBytes(s.store.SizeBytes())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Second):
		}
	}
}
