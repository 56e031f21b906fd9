package processor

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// watched is a transactor that tells of its calls.
type watched struct {
	stream.Transactor
	inits   *atomic.Int64
	produce func(context.Context) error // before each Produce; nil: nothing
}

func (w watched) Init(ctx context.Context) error {
	w.inits.Add(1)
	return w.Transactor.Init(ctx)
}

func (w watched) Produce(ctx context.Context, ms []stream.Message) ([]stream.Produced, error) {
	if w.produce != nil {
		if err := w.produce(ctx); err != nil {
			return nil, err
		}
	}
	return w.Transactor.Produce(ctx, ms)
}

// watch lets a lab's partition 0 tell of its transactions.
func (l *lab) watch(produce func(context.Context) error) (inits *atomic.Int64) {
	inner, inits := l.transactor, new(atomic.Int64)
	l.transactor = func(id string) stream.Transactor {
		if id != l.cfg.Group+"-0" {
			return inner(id)
		}
		return watched{inner(id), inits, produce}
	}
	return inits
}

// One that is no member of the present generation fences nobody; a member whose
// producer a zombie has fenced takes the recovery path and goes on.
func TestOnlyAMemberFences(t *testing.T) {
	l := newLab(t, labConfig{partitions: 1})
	l.holdClock(ago(time.Hour))
	var stranger atomic.Bool
	var checks atomic.Int64
	l.checkMember = func(context.Context, stream.GroupMember) error {
		checks.Add(1)
		if stranger.Load() {
			return fmt.Errorf("it was away: %w", stream.ErrFenced)
		}
		return nil
	}
	inits := l.watch(nil)
	l.produce(given("u1", "marketing", ago(48*time.Hour)))
	r := l.start()
	r.read()
	stranger.Store(true)
	owner := l.transactor("shop-0")
	must(t, owner.Init(background(t)))
	before, asked := inits.Load(), checks.Load()
	l.produce(track("u1", "Order Completed", "m1", ago(47*time.Hour)))
	eventually(t, "it asks again and again", func() bool { return checks.Load() > asked+3 })
	if n := inits.Load(); n != before {
		t.Errorf("a stranger has fenced others %d times", n-before)
	}
	if _, states := r.processor.States(); states[0].Ready {
		t.Error("a stranger is ready")
	}
	stranger.Store(false)
	r.read()
	r.stop()
	if inits.Load() != before+1 {
		t.Errorf("the member took over %d times", inits.Load()-before)
	}
	l.verify(l.changes())
}

// At the end of a generation what hangs is abandoned, so that the others need
// not wait; what it would have written is done by the next owner.
func TestGenerationEndsInTime(t *testing.T) {
	l := newLab(t, labConfig{partitions: 1})
	var hangs atomic.Bool
	hung := make(chan struct{}, 1)
	l.watch(func(ctx context.Context) error {
		if !hangs.Load() {
			return nil
		}
		hung <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	l.produce(given("u1", "marketing", ago(48*time.Hour)))
	r := l.start()
	r.read()
	hangs.Store(true)
	l.produce(track("u1", "Order Completed", "m1", ago(47*time.Hour)))
	<-hung
	began := time.Now()
	r.stop()
	if took := time.Since(began); took < endGrace/2 || took > endGrace+15*time.Second {
		t.Errorf("the generation ended after %s", took)
	}
	hangs.Store(false)
	r = l.start()
	r.read()
	r.stop()
	l.verify(l.changes())
	if len(l.changes()) == 0 {
		t.Error("what was abandoned is lost")
	}
}

// forgetOffsets deletes the group, as the expiry of its offsets would.
func (l *lab) forgetOffsets() {
	l.t.Helper()
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	admin := &kafkago.Client{Addr: kafkago.TCP(l.broker.Addrs()...), Transport: transport}
	res, err := admin.DeleteGroups(l.t.Context(), &kafkago.DeleteGroupsRequest{GroupIDs: []string{l.cfg.Group}})
	must(l.t, err)
	must(l.t, res.Errors[l.cfg.Group])
}

// Whatever becomes of the group's offsets, the checkpoint says where to go on.
func TestGroupOffsetsAreNotObeyed(t *testing.T) {
	for name, offset := range map[string]func(l *lab, topic string) int64{
		"reset to 0":       func(*lab, string) int64 { return 0 },
		"reset to the end": func(l *lab, topic string) int64 { return int64(len(l.readTopic(topic))) },
		"expired":          nil,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, labConfig{partitions: 1})
			l.holdClock(ago(time.Hour))
			l.produce(given("u1", "marketing", ago(48*time.Hour)), track("u1", "Order Completed", "m1", ago(47*time.Hour)))
			r := l.start()
			r.read()
			r.stop()
			l.produce(given("u2", "marketing", ago(48*time.Hour)), track("u2", "Order Completed", "m2", ago(46*time.Hour)))
			if offset == nil {
				l.forgetOffsets()
			} else {
				must(t, l.client.SetGroupOffsets(t.Context(), stream.GroupMember{Group: l.cfg.Group, Generation: -1}, []stream.Position{
					{Topic: events, Offset: offset(l, events)}, {Topic: decisions, Offset: offset(l, decisions)}}))
			}
			r = l.start()
			r.read()
			r.stop()
			changes := l.changes()
			l.verify(changes)
			by := bySubject(changes)
			for i, id := range []string{"u1", "u2"} {
				message := fmt.Sprintf("m%d", i+1)
				caused := 0
				for _, c := range by[subject.ID{Value: id}] {
					if c.CausedBy == message && c.Kind == subject.Entered && c.Segment == "buyer" {
						caused++
					}
				}
				if caused != 1 {
					t.Errorf("%s has entered %d times:%s", id, caused, lines(changes))
				}
			}
		})
	}
}

// slowChangelog lets the changelog of one partition be read in small pieces, each
// once it is let.
type slowChangelog struct {
	stream.Fetcher
	topic     string
	partition int32
	next      chan struct{}
}

func (s slowChangelog) Fetch(ctx context.Context, at []stream.Position, o stream.FetchOptions, b *stream.Buffer) ([]stream.Fetched, error) {
	if at[0].Topic == s.topic && at[0].Partition == s.partition {
		o.MaxBytes = 1
		select {
		case <-s.next:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Fetcher.Fetch(ctx, at, o, b)
}

// While one partition is restored, which the log and the metric tell, the other
// one works and answers.
func TestRestoreTellsItsProgress(t *testing.T) {
	l := newLab(t, labConfig{partitions: 2})
	l.holdClock(ago(time.Hour))
	ids := map[int32]string{}
	for i := 0; len(ids) < 2; i++ {
		ids[l.of(fmt.Sprint("u", i))] = fmt.Sprint("u", i)
	}
	r := l.start()
	for i := range 10 { // transactions of their own
		for _, id := range ids {
			l.produce(given(id, "marketing", ago(48*time.Hour)), track(id, "Order Completed", fmt.Sprint(id, i), ago(47*time.Hour)))
		}
		r.read()
	}
	r.stop()
	l.data = t.TempDir() + "/data"
	l.cfg.progressEvery = time.Nanosecond
	l.releaseClock()
	next := make(chan struct{})
	l.fetcher = slowChangelog{l.fetcher, Topics{l.cfg.Group}.Changelog(), 1, next}
	r = l.start()
	next <- struct{}{}
	remaining := func() float64 { return r.metric(t, "segmentd_restore_remaining_records", "partition", "1") }
	eventually(t, "the metric tells what is left", func() bool { return remaining() > 0 })
	first := remaining()
	eventually(t, "partition 0 answers", func() bool { return strings.Contains(l.membersOf(r, ids[0]), "buyer") })
	l.produce(given("other", "marketing", ago(time.Hour)))
	if l.membersOf(r, ids[1]) != ErrNotReady.Error() {
		t.Error("a partition that is being restored answers")
	}
	next <- struct{}{}
	next <- struct{}{}
	eventually(t, "less is left", func() bool { return remaining() > 0 && remaining() < first })
	close(next)
	eventually(t, "partition 1 answers", func() bool { return strings.Contains(l.membersOf(r, ids[1]), "buyer") })
	if remaining() != 0 {
		t.Errorf("%v records are left", remaining())
	}
	r.stop()
	if !strings.Contains(l.log.String(), `msg="partition is being restored from the changelog" partition=1 records=`) {
		t.Errorf("the log does not tell:\n%s", l.log.String())
	}
}

// deaf hears nothing of the events while it is on.
type deaf struct {
	stream.Fetcher
	on *atomic.Bool
}

func (d deaf) Fetch(ctx context.Context, at []stream.Position, o stream.FetchOptions, b *stream.Buffer) ([]stream.Fetched, error) {
	for d.on.Load() && at[0].Topic == events {
		if err := sleep(ctx, time.Millisecond); err != nil {
			return nil, err
		}
	}
	return d.Fetcher.Fetch(ctx, at, o, b)
}

// An owner that has heard nothing of the broker for a part of a session timeout
// may be none any more, and says nothing.
func TestSilentOwnerDoesNotAnswer(t *testing.T) {
	l := newLab(t, labConfig{partitions: 1})
	l.cfg.SessionTimeout = 500 * time.Millisecond
	on := new(atomic.Bool)
	l.fetcher = deaf{l.fetcher, on}
	l.produce(given("u1", "marketing", ago(48*time.Hour)))
	r := l.start()
	answers := func() bool { _, _, err := r.processor.Lookup(t.Context(), subject.ID{Value: "u1"}); return err == nil }
	eventually(t, "it answers", answers)
	on.Store(true)
	eventually(t, "it is silent", func() bool { return !answers() })
	if _, states := r.processor.States(); !states[0].Ready {
		t.Error("it is silent for another reason")
	}
	on.Store(false)
	eventually(t, "it answers again", answers)
	r.stop()
}

// A partition that stays through the end of a generation is not counted again,
// and its segments have the sizes that a count would give; one that went on
// elsewhere meanwhile is.
func TestPartitionsThatStayAreNotCounted(t *testing.T) {
	h := newHistory(seed(t), 600)
	l := newLab(t, labConfig{partitions: 1})
	l.produce(h.all()...)
	r := l.start()
	r.caughtUp()
	again := func() (counted int64, sizes map[string]int64) {
		t.Helper()
		r.cancel()
		<-r.done
		must(t, r.err)
		r.done = make(chan struct{})
		r.run(func(ctx context.Context) error { return r.processor.Run(ctx, l.generation()) })
		r.caughtUp()
		eventually(t, "sizes", func() bool {
			return r.inspect(0, func(p *partitionLoop) { counted, sizes = p.image.Stats().Subjects, p.table.Load().members() })
		})
		return counted, sizes
	}
	counted, sizes := again()
	if counted >= 0 {
		t.Errorf("%d subjects were counted", counted)
	}
	var actual map[string]int64
	eventually(t, "a count", func() bool {
		return r.inspect(0, func(p *partitionLoop) {
			p.members = map[string]int64{}
			must(t, p.countImage())
			actual = p.members
		})
	})
	if d := cmp.Diff(actual, sizes); d != "" || len(sizes) == 0 {
		t.Errorf("(-counted +kept)\n%s", d)
	}
	r.cancel()
	<-r.done
	l.produce(given("latecomer", "marketing", ago(time.Hour)), track("latecomer", "Order Completed", "new", ago(time.Hour)))
	l.elsewhere(1)
	if counted, sizes := again(); counted <= 0 || sizes["buyer"] == 0 {
		t.Errorf("%d subjects were counted after another owner: %v", counted, sizes)
	}
	r.stop()
}
