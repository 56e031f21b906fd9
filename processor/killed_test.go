package processor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state"
)

// victimVariable makes the test binary a processor that kills itself. Its value
// is a victim.
const victimVariable = "SEGMENTD_TEST_VICTIM"

// victim is a processor in a process of its own, which ends (SIGKILL) at a named
// point: when it comes there for the Nth time.
type victim struct {
	Brokers    []string
	Data       string
	Rules      string
	Partitions int32
	BatchBytes int
	Now        time.Time // where its host's clock stands
	Point      string
	Nth        int64
}

// points are where a process is killed. Those of a fresh image come with the
// changelog's restore from the start.
var points = []struct {
	name  string
	fresh bool
}{
	{"before init", false}, {"after init", false},
	{"before produce", false}, {"after produce", false},
	{"before offsets", false}, {"after offsets", false},
	{"before commit", false}, {"after commit", false},
	{"before catching up", false}, {"after catching up", false},
	{"image write", false}, {"image position", false}, {"image written", false},
	{"image write", true}, {"image position", true}, {"image written", true},
	{"image drop", true}, {"image dropping", true}, {"image dropped", true},
	{"before catching up", true}, {"after catching up", true},
}

// TestCrashAtNamedPoints kills a processor (SIGKILL) before and after each step
// of a transaction, of writing its image, and of recovery, each point in turn at
// random times; what it published in the end is what a replay says, once, and its
// image what a restore gives. SEGMENTD_CRASH_ROUNDS sets how often it is killed
// at each point (3; 1 with -short).
func TestCrashAtNamedPoints(t *testing.T) {
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	if text := os.Getenv("SEGMENTD_CRASH_ROUNDS"); text != "" {
		var err error
		rounds, err = strconv.Atoi(text)
		must(t, err)
	}
	const perKill = 60
	n := seed(t)
	rng := rand.New(rand.NewPCG(n, 29))
	kills := rounds * len(points)
	h := newHistory(n, kills*perKill*3/2)
	l := newLab(t, labConfig{rules: rememberingRules})
	l.produce(h.decisions...)
	events := h.events
	for range rounds {
		for _, i := range rng.Perm(len(points)) {
			for few := range slices.Chunk(events[:min(perKill, len(events))], 5) {
				l.produce(few...)
			}
			events = events[min(perKill, len(events)):]
			if points[i].fresh {
				must(t, os.RemoveAll(l.data))
			}
			l.kill(victim{Point: points[i].name, Nth: 1 + rng.Int64N(2), Now: h.events[0].at})
		}
	}
	l.produce(events...)
	l.holdClock(h.events[0].at)
	r := l.start()
	r.read()
	l.releaseClock()
	r.caughtUp()
	digests := r.digests()
	r.stop()
	want, _ := expected(t, l.set, h, time.Now())
	changes := l.changes()
	compare(t, bySubject(changes), want, h.stopped())
	l.verify(changes)
	must(t, os.RemoveAll(l.data))
	r = l.start()
	r.read()
	if restored := r.digests(); !slices.Equal(restored, digests) {
		t.Errorf("a restore gives %v, the image was %v", restored, digests)
	}
	r.stop()
}

// kill runs a victim to its end.
func (l *lab) kill(v victim) {
	l.t.Helper()
	v.Brokers, v.Data, v.Rules, v.Partitions, v.BatchBytes = l.broker.Addrs(), l.data, rememberingRules, l.cfg.Partitions, 1
	text, err := json.Marshal(v)
	must(l.t, err)
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), victimVariable+"="+string(text))
	var log strings.Builder
	child.Stdout, child.Stderr = &log, &log
	err = child.Run()
	heard.Hear("the log of a victim", []byte(log.String()))
	status, _ := child.ProcessState.Sys().(syscall.WaitStatus)
	if ctx.Err() != nil || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		l.t.Fatalf("it was not killed at %q (%d): %v\n%s", v.Point, v.Nth, err, log.String())
	}
}

// beVictim runs the processor of a victim.
func beVictim(text string) {
	var v victim
	err := json.Unmarshal([]byte(text), &v)
	if err == nil {
		err = v.run()
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func (v *victim) run() error {
	client, err := kafka.New(kafka.Config{Brokers: v.Brokers})
	if err != nil {
		return err
	}
	k := &killer{point: v.Point, left: v.Nth}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	store, err := state.Open(v.Data, state.Options{Group: "shop", Secret: []byte(secret), WriteDelay: 10 * time.Millisecond, Logger: log,
		Reached: func(s state.Step) { k.reached("image " + string(s)) }})
	if err != nil {
		return err
	}
	l := &lab{client: client}
	cfg := Config{Group: "shop", Partitions: v.Partitions, Linger: time.Millisecond, Idle: 20 * time.Millisecond, BatchBytes: v.BatchBytes,
		Inputs: []Input{l.input(events, wire.Events), l.input(decisions, wire.Decisions)}}
	set, problems := loadText(v.Rules)
	if set == nil {
		return fmt.Errorf("%v", problems)
	}
	p, err := New(cfg, Deps{Rules: set, Store: store, Secret: store.Fingerprint(), Fetcher: killingFetcher{client, k}, Bounds: l.bounds, Logger: log,
		Now: func() time.Time { return v.Now },
		Transactor: func(id string) stream.Transactor {
			return killingTransactor{client.NewTransactor(kafka.TransactorConfig{TransactionalID: id, Compression: kafka.Zstd}), k}
		}})
	if err != nil {
		return err
	}
	l.cfg = cfg
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return fmt.Errorf("not killed: %w", p.Run(ctx, l.generation()))
}

// killer ends the process at its point.
type killer struct {
	point string
	mu    sync.Mutex
	left  int64 // guarded by mu: how often the point is still to be reached
}

// reached holds who else comes along once the process is to end.
func (k *killer) reached(point string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if point != k.point {
		return
	}
	if k.left--; k.left == 0 {
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		fmt.Fprintln(os.Stderr, err)
		select {}
	}
}

type killingFetcher struct {
	stream.Fetcher
	*killer
}

func (f killingFetcher) Fetch(ctx context.Context, at []stream.Position, o stream.FetchOptions, b *stream.Buffer) ([]stream.Fetched, error) {
	if at[0].Topic != (Topics{"shop"}).Changelog() {
		return f.Fetcher.Fetch(ctx, at, o, b)
	}
	f.reached("before catching up")
	fetched, err := f.Fetcher.Fetch(ctx, at, o, b)
	f.reached("after catching up")
	return fetched, err
}

type killingTransactor struct {
	stream.Transactor
	*killer
}

func (t killingTransactor) Init(ctx context.Context) error {
	t.reached("before init")
	err := t.Transactor.Init(ctx)
	t.reached("after init")
	return err
}

func (t killingTransactor) Produce(ctx context.Context, ms []stream.Message) ([]stream.Produced, error) {
	t.reached("before produce")
	p, err := t.Transactor.Produce(ctx, ms)
	t.reached("after produce")
	return p, err
}

func (t killingTransactor) SendOffsets(ctx context.Context, m stream.GroupMember, at []stream.Position) error {
	t.reached("before offsets")
	err := t.Transactor.SendOffsets(ctx, m, at)
	t.reached("after offsets")
	return err
}

func (t killingTransactor) Commit(ctx context.Context) error {
	t.reached("before commit")
	err := t.Transactor.Commit(ctx)
	t.reached("after commit")
	return err
}
