package processor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/metrics"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// partitionLoop is the loop as tests look into it.
type partitionLoop = partition

// running is a processor at work on all partitions.
type running struct {
	lab       *lab
	processor *Processor
	store     *state.Store
	metrics   *metrics.Metrics
	cancel    context.CancelFunc
	done      chan struct{}
	err       error // of Run, once done is closed
	stopped   bool
	fetches   atomic.Int64 // of events: each begins a turn of a partition's loop
}

// counting counts fetches of events.
type counting struct {
	stream.Fetcher
	n *atomic.Int64
}

func (c counting) Fetch(ctx context.Context, at []stream.Position, o stream.FetchOptions, b *stream.Buffer) ([]stream.Fetched, error) {
	if len(at) > 0 && at[0].Topic == events {
		c.n.Add(1)
	}
	return c.Fetcher.Fetch(ctx, at, o, b)
}

// turns waits until the loop of the only partition has turned n times in full.
func (r *running) turns(n int64) {
	r.lab.t.Helper()
	before := r.fetches.Load()
	eventually(r.lab.t, "some turns", func() bool { return r.fetches.Load() > before+n })
}

// start opens the image and runs a processor as the only member of its group.
func (l *lab) start() *running {
	l.t.Helper()
	r := l.open()
	r.run(func(ctx context.Context) error {
		if err := r.processor.CheckChangelog(ctx); err != nil && errors.As(err, new(*StoppedError)) {
			return err
		}
		if err := r.processor.SettleRules(ctx); err != nil {
			return err
		}
		return r.processor.Run(ctx, l.generation())
	})
	return r
}

// run lets f run the processor until it is ended.
func (r *running) run(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.done)
		r.err = f(ctx)
		if ctx.Err() != nil && errors.Is(r.err, context.Canceled) {
			r.err = nil // it was stopped before it began
		}
	}()
	r.lab.t.Cleanup(func() { _ = r.end() })
}

// open opens the image of a processor that does not run yet.
func (l *lab) open() *running {
	l.t.Helper()
	r := &running{lab: l, done: make(chan struct{})}
	var topics []string
	for _, in := range l.cfg.Inputs {
		topics = append(topics, in.Topic)
	}
	var err error
	r.metrics, err = metrics.New(metrics.Config{PerSegment: true, Topics: topics}, metrics.Deps{})
	must(l.t, err)
	r.store, err = state.Open(l.data, state.Options{Group: l.cfg.Group, Secret: []byte(l.secret), Logger: l.log.logger(),
		WriteDelay: 10 * time.Millisecond, WriteObserved: r.metrics.ObserveStoreWrite})
	must(l.t, err)
	r.processor, err = New(l.cfg, Deps{Rules: l.set, Store: r.store, Secret: r.store.Fingerprint(), Fetcher: counting{l.fetcher, &r.fetches}, Bounds: l.bounds,
		TopicIDs: l.topicIDs, Committed: l.committed, CheckMember: l.checkMember, Transactor: l.transactor, Remains: l.remains, Logger: l.log.logger(), Metrics: r.metrics, Now: l.now})
	must(l.t, err)
	return r
}

func (l *lab) generation() Generation {
	g := Generation{Member: stream.GroupMember{Group: l.cfg.Group, Generation: -1}}
	if l.only != nil {
		g.Partitions = l.only
		return g
	}
	for p := range l.cfg.Partitions {
		g.Partitions = append(g.Partitions, p)
	}
	return g
}

func (l *lab) committed(ctx context.Context, topic string, partition int32) (int64, error) {
	offsets, err := l.client.GroupOffsets(ctx, l.cfg.Group, topic, partition+1)
	if err != nil {
		return 0, err
	}
	return offsets[partition], nil
}

func (l *lab) bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error) {
	marks, err := l.client.Watermarks(ctx, topic, partition+1)
	if err != nil {
		return 0, 0, err
	}
	return marks[partition].Start, marks[partition].End, nil
}

// end stops the processor if it still runs, and returns Run's error.
func (r *running) end() error {
	if !r.stopped {
		r.stopped = true
		r.cancel()
		<-r.done
		r.err = errors.Join(r.err, r.store.Close())
		hearMetrics(r.metrics)
		heard.Hear("errors", fmt.Append(nil, r.err, "\n"))
	}
	return r.err
}

// hearMetrics hears the values of all labels.
func hearMetrics(m *metrics.Metrics) {
	families, err := m.Gatherer().Gather()
	heard.Hear("errors", fmt.Append(nil, err, "\n"))
	for _, f := range families {
		for _, series := range f.GetMetric() {
			heard.Hear("metrics", fmt.Appendf(nil, "%s %v\n", f.GetName(), series.GetLabel()))
		}
	}
}

// stop ends the processor in order.
func (r *running) stop() {
	r.lab.t.Helper()
	must(r.lab.t, r.end())
}

// fails waits until Run returns by itself, and returns its error.
func (r *running) fails() error {
	r.lab.t.Helper()
	select {
	case <-r.done:
	case <-time.After(30 * time.Second):
		r.lab.t.Fatalf("the processor runs on\n%s", r.lab.log.String())
	}
	return r.end()
}

// crash leaves the image as kill -9 at this moment would: a copy of the files
// as they are is what the next start finds.
func (r *running) crash() {
	r.lab.t.Helper()
	copied := r.lab.t.TempDir() + "/data"
	copyImage(r.lab.t, r.lab.data, copied)
	r.stop()
	r.lab.data = copied
}

// copyImage copies a data directory that may be in use: a file that goes away
// meanwhile is left out.
func copyImage(t testing.TB, from, to string) {
	t.Helper()
	must(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || d.IsDir() {
			return errors.Join(err, os.MkdirAll(filepath.Join(to, rel), 0o700))
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, os.WriteFile(filepath.Join(to, rel), b, 0o600))
	}))
}

// inspect lets f look at a partition between two batches. It reports false if
// the partition did not answer.
func (r *running) inspect(id int32, f func(*partitionLoop)) bool {
	r.processor.mu.RLock()
	loop := r.processor.running[id]
	r.processor.mu.RUnlock()
	if loop == nil || !loop.ready.Load() {
		return false
	}
	done := make(chan struct{})
	select {
	case loop.queries <- query{func(p *partition) { f(p); close(done) }}:
		<-done
		return true
	case <-time.After(200 * time.Millisecond):
		return false
	}
}

// caughtUp waits until everything that is in the inputs is applied and, where
// the clock follows the host, all that is due has fired.
func (r *running) caughtUp() {
	r.lab.t.Helper()
	r.reaches("caught up", func(p *partitionLoop) bool { return p.machine.Clock().Time().After(r.lab.now().Add(-time.Minute)) })
}

// read waits until everything that is in the inputs is applied.
func (r *running) read() {
	r.lab.t.Helper()
	r.reaches("read to the end", func(*partitionLoop) bool { return true })
}

func (r *running) reaches(what string, so func(*partitionLoop) bool) {
	r.lab.t.Helper()
	ends := map[string][]int64{}
	for _, in := range r.lab.cfg.Inputs {
		for _, m := range r.lab.watermarks(in.Topic) {
			ends[in.Topic] = append(ends[in.Topic], m.LastStable)
		}
	}
	for id := range r.lab.cfg.Partitions {
		eventually(r.lab.t, fmt.Sprintf("partition %d is %s", id, what), func() bool {
			select {
			case <-r.done:
				r.lab.t.Fatalf("the processor stopped: %v", r.err)
			default:
			}
			is := false
			answered := r.inspect(id, func(p *partitionLoop) {
				is = so(p)
				for _, in := range p.inputs() {
					is = is && in.position >= ends[in.Topic][id]
				}
			})
			return answered && is
		})
	}
}

// digests returns the digest of every partition's image.
func (r *running) digests() (all []string) {
	r.lab.t.Helper()
	for id := range r.lab.cfg.Partitions {
		var digest string
		var err error
		eventually(r.lab.t, "digest", func() bool {
			return r.inspect(id, func(p *partitionLoop) { digest, err = p.image.Digest() })
		})
		must(r.lab.t, err)
		all = append(all, digest)
	}
	return all
}

// of returns the partition of a subject.
func (l *lab) of(id string) int32 { return murmur2([]byte(id), l.cfg.Partitions) }

// clock returns the partition's clock.
func (r *running) clock(id int32) (at subject.Instant) {
	r.lab.t.Helper()
	eventually(r.lab.t, "clock", func() bool { return r.inspect(id, func(p *partitionLoop) { at = p.machine.Clock() }) })
	return at
}
