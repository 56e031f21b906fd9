package processor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// input is an input topic as one partition reads it.
type input struct {
	Input
	decoder  *wire.Decoder
	position int64 // of the next record
	fresh    bool  // nothing was read yet: the position means the topic's start
	end      int64 // the high watermark of the last answer
	sent     time.Time
	fit      partitionerFit
	again    bool // it is read a second time, for changed rules
	starved  bool // the last answer had no room for it: it is asked for first
}

// partition is the loop of one partition. All fields but queries, judging and
// atomic ones belong to its goroutine.
type partition struct {
	id      int32
	cfg     *Config
	deps    *Deps
	topics  Topics
	log     *slog.Logger
	gauges  *metrics.Partition
	member  stream.GroupMember
	tx      stream.Transactor
	image   *state.Partition
	machine *core.Machine
	encoder *wire.Encoder

	events    []*input
	decisions []*input
	requests  []*input
	words     []*input                           // decisions, then requests: what the barrier is passed by
	history   []*input                           // events, then requests: what is read again for changed rules
	topicIDs  map[string]string                  // of inputs, as of the checkpoint or newer; never changed in place
	watched   *atomic.Pointer[map[string]string] // what the watch on inputs last saw
	compared  *map[string]string                 // of watched: what was compared with topicIDs

	target    func() *rules.Set           // the rule set to follow
	checked   func() bool                 // what it removes was looked at already
	refresh   func(context.Context) error // reads which one the group wants now
	admission *admission
	share     *semaphore.Weighted        // with the other partitions of the instance
	admitted  string                     // hash of the rule set that the admission was about
	change    *change                    // of rules; nil: none is under way
	coverage  map[string]subject.Instant // since when segments' evidence is complete, where the topics held less than all
	members   map[string]int64           // of each segment as of the last recovery
	register  *register
	finished  time.Time // when it was last looked for erasures that are done
	left      *sizes    // as of the end of the last session; nil: not known

	gaps      map[string]Gap         // by topic: those that the next transaction passes
	accepted  map[string]AcceptedGap // by topic: the newest that an operator accepted
	accepting *acceptance            // what an operator has accepted and is not on record yet
	rest      *rest

	checkpoint state.Checkpoint
	out        output
	tally      [subject.Outcomes]uint64
	counted    core.Counters
	timers     uint64
	seen       state.Stats // what the cache metrics have counted
	noDecision bool        // all events were no_decision so far: say once what that means
	host       hostClock

	judging   judging
	fetching  fetchBuffers
	lastFetch atomic.Pointer[time.Time] // when the last one was sent that was answered
	lastBatch time.Time
	// progressed reports whether the session has committed anything: only
	// failures in a row lengthen the pause between sessions.
	progressed bool

	ready    atomic.Bool
	table    atomic.Pointer[segmentTable]
	covers   atomic.Pointer[map[string]Coverage] // by segment
	queries  chan query
	announce func(*partition) // the partition is ready
}

type fetchBuffers struct {
	events, words, again stream.Buffer
}

// run owns the partition until ctx ends or an operator is needed. Errors of the
// environment lead to the recovery path, with backoff.
func (p *partition) run(ctx context.Context) error {
	defer p.gauges.Release()
	for failures := 0; ; failures++ {
		p.progressed = false
		err := p.session(ctx)
		p.ready.Store(false)
		p.leave()
		if ctx.Err() != nil {
			return nil
		}
		if gap := (*GapError)(nil); errors.As(err, &gap) {
			if p.awaitAcceptance(ctx, gap.Gap) != nil {
				return nil
			}
			failures = -1
			continue
		}
		if dispose(err) == giveUp {
			p.gauges.SetState(metrics.Stopped)
			return err
		}
		if p.progressed {
			failures = 0
		}
		level := slog.LevelWarn
		switch {
		case failures > 0 && errors.Is(err, errInputMissing):
			level = slog.LevelDebug // it is told for all partitions together, and for as long as that is so
		case failures == 0 || failures < quietFences && errors.Is(err, stream.ErrFenced):
			level = slog.LevelInfo // leaders of new topics are not known everywhere yet; a generation is ending
		}
		p.log.Log(ctx, level, "partition recovers", "error", err, "failures", failures+1)
		if err := sleep(ctx, backoff(failures)); err != nil {
			return nil
		}
	}
}

// quietFences is after how many failures, about ten seconds, it is worth a warning
// that a partition is not ours and our generation does not end.
const quietFences = 8

// session recovers and then processes batch after batch.
func (p *partition) session(ctx context.Context) error {
	p.gauges.SetState(metrics.Restoring)
	work, release := graceful(ctx)
	defer release()
	if err := p.recover(ctx); err != nil {
		return err
	}
	if err := p.admit(ctx); err != nil {
		return err
	}
	for {
		if err := p.pauseIfAsked(ctx); err != nil {
			return err
		}
		if err := p.changeRules(ctx, work); err != nil {
			return err
		}
		if err := p.batch(ctx, work); err != nil {
			return err
		}
		if !p.ready.Load() {
			p.gauges.SetState(metrics.Running)
			p.log.Debug("partition is ready", "clock", p.machine.Clock().String())
			p.announce(p)
		}
	}
}

// endGrace is how long a batch may take to finish once its generation is over.
const endGrace = 2 * time.Second

// graceful returns a context that ends endGrace after ctx. release must be called.
func graceful(ctx context.Context) (work context.Context, release func()) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(endGrace, cancel) })
	return work, func() {
		stop()
		cancel()
	}
}

// batch is one turn: fetch what has arrived, pass the barrier, apply, commit.
// Waiting ends with ctx, what is under way then with work. While events are read
// again for changed rules, a turn also has a piece of those, which live reading
// had passed before the barrier; at the end they alone are read.
func (p *partition) batch(ctx, work context.Context) error {
	if err := p.linger(ctx); err != nil {
		return err
	}
	meets := p.meets()
	fetched, err := p.fetchLive(ctx, meets)
	if err != nil {
		return err
	}
	p.lastBatch = p.deps.Now()
	if err := p.passBarrier(work); err != nil {
		return err
	}
	release, err := p.takeShare(work, fetched)
	if err != nil {
		return err
	}
	defer release()
	if err := p.applyEvents(work, fetched); err != nil {
		return err
	}
	if err := p.advance(work, p.machine.Clock()); err != nil {
		return err
	}
	if !meets {
		if err := p.followHost(work); err != nil {
			return err
		}
	}
	if err := p.fillTurn(work, fetched); err != nil {
		return err
	}
	if err := p.finishRequests(); err != nil {
		return err
	}
	if err := p.commit(work); err != nil {
		return err
	}
	p.observe()
	return nil
}

// linger keeps batches at least the configured time apart, so that what
// arrives meanwhile shares a transaction.
func (p *partition) linger(ctx context.Context) error {
	wait := p.cfg.Linger - p.deps.Now().Sub(p.lastBatch)
	if wait <= 0 || wait > p.cfg.Linger || p.isFilling() {
		return ctx.Err()
	}
	return sleep(ctx, wait)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backoff grows from 50 ms to 5 s, with jitter.
func backoff(failures int) time.Duration {
	d := 50 * time.Millisecond << min(failures, 7)
	return min(d, 5*time.Second)/2 + rand.N(min(d, 5*time.Second)/2)
}

// fetchLive fetches events, none where live ones wait for those read again.
func (p *partition) fetchLive(ctx context.Context, meets bool) ([]stream.Fetched, error) {
	if meets {
		p.answerWaiting()
		return nil, ctx.Err()
	}
	return p.fetchEvents(ctx)
}

// fetchEvents long-polls the event inputs and answers queries meanwhile. The
// records are valid until its next call.
func (p *partition) fetchEvents(ctx context.Context) ([]stream.Fetched, error) {
	type answer struct {
		fetched []stream.Fetched
		err     error
	}
	sent := p.deps.Now()
	done := make(chan answer, 1)
	wait := p.cfg.Idle
	if p.isFilling() {
		wait = time.Millisecond
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		f, err := p.fetch(ctx, p.events, &p.fetching.events, stream.FetchOptions{MaxWait: wait, MaxBytes: p.cfg.BatchBytes})
		done <- answer{f, err}
	}()
	for {
		select {
		case a := <-done:
			for _, in := range p.events {
				in.sent = sent
			}
			return a.fetched, a.err
		case q := <-p.queries:
			q.answer(p)
		}
	}
}

// fetch reads the next records of inputs, and answers in their order. It does
// not move their positions.
func (p *partition) fetch(ctx context.Context, inputs []*input, buf *stream.Buffer, opts stream.FetchOptions) ([]stream.Fetched, error) {
	if len(inputs) == 0 {
		return nil, sleep(ctx, opts.MaxWait)
	}
	first := max(0, slices.IndexFunc(inputs, func(in *input) bool { return in.starved }))
	positions := make([]stream.Position, 0, len(inputs))
	for _, in := range slices.Concat(inputs[first:], inputs[:first]) {
		positions = append(positions, stream.Position{Topic: in.Topic, Partition: p.id, Offset: in.position})
	}
	sent := p.deps.Now()
	fetched, err := p.deps.Fetcher.Fetch(ctx, positions, opts, buf)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	if first > 0 {
		fetched = slices.Concat(fetched[len(inputs)-first:], fetched[:len(inputs)-first])
	}
	p.lastFetch.Store(&sent)
	for i := range fetched {
		if err := p.fetchError(ctx, inputs[i], &fetched[i]); err != nil {
			return nil, err
		}
		if fetched[i].HighWatermark < inputs[i].end {
			return nil, fmt.Errorf("%w: %s ends at offset %d, and ended at %d: it may be another topic", errRecover, inputs[i].Topic, fetched[i].HighWatermark, inputs[i].end)
		}
		inputs[i].end = fetched[i].HighWatermark
	}
	return fetched, nil
}

// fetchError sorts the error of one input's answer.
func (p *partition) fetchError(ctx context.Context, in *input, f *stream.Fetched) error {
	if f.Err == nil {
		in.fresh = false
		return nil
	}
	if errors.Is(f.Err, stream.ErrUnknownTopic) {
		return fmt.Errorf("%w: %w", errInputMissing, f.Err)
	}
	if !errors.Is(f.Err, stream.ErrOffsetOutOfRange) {
		return fmt.Errorf("fetch %s: %w", in.Topic, f.Err)
	}
	at, err := p.outOfRange(ctx, in)
	if err != nil {
		return err
	}
	*f = at
	return nil
}

// query asks the partition's goroutine for something between two batches.
type query struct {
	answer func(*partition)
}
