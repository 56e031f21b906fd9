package processor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/processor/consent"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
)

// Generation is what a consumer group generation assigns to this instance.
type Generation struct {
	Member     stream.GroupMember
	Partitions []int32
}

// Processor runs the partitions that the consumer group assigns. Safe for
// concurrent use, except that one generation runs at a time.
type Processor struct {
	cfg    Config
	deps   Deps
	topics Topics

	reloading sync.Mutex    // held by Reload
	sending   chan struct{} // of size 1: full while something is sent with deps.Producer
	book      *ruleBook
	following sync.Mutex // held while another rule set is put in force
	edition   string     // guarded by following: hash of the one in force; "": of this instance's files, not published yet

	announcing sync.Mutex // held while a partition becomes ready

	mu      sync.RWMutex
	running map[int32]*partition              // guarded by mu
	left    map[int32]*sizes                  // guarded by mu: of partitions that ran before
	rests   map[int32]*rest                   // guarded by mu: of the partitions of the generation, or else of the one before
	pausing atomic.Bool                       // all partitions are to rest, those that are assigned later too
	watched atomic.Pointer[map[string]string] // ids of the inputs' topics as of the last look
	joined  bool                              // guarded by mu
	set     *rules.Set                        // guarded by mu: that partitions follow
	checked bool                              // guarded by mu: what it removes was looked at when it was published
}

// New returns a processor. It does nothing until a generation runs.
func New(cfg Config, deps Deps) (*Processor, error) {
	cfg = cfg.withDefaults()
	deps, err := deps.withDefaults()
	if err != nil {
		return nil, err
	}
	if !consent.Gated {
		cfg.Inputs = slices.DeleteFunc(slices.Clone(cfg.Inputs), func(in Input) bool { return in.Kind != wire.Events })
	}
	if cfg.Group == "" || cfg.Partitions < 1 || len(cfg.Inputs) == 0 {
		return nil, errors.New("a processor needs a group, partitions and inputs")
	}
	p := &Processor{cfg: cfg, sending: make(chan struct{}, 1), deps: deps, topics: Topics{cfg.Group}, running: map[int32]*partition{}, left: map[int32]*sizes{}, rests: map[int32]*rest{}}
	p.book = newRuleBook(cfg.Group, &p.deps)
	p.setRules(deps.Rules, false)
	return p, nil
}

// Run processes the generation's partitions until ctx ends, which finishes or
// abandons what is under way, or until one of them needs an operator: then all
// stop and its error is returned. It leaves no goroutine behind.
func (p *Processor) Run(ctx context.Context, gen Generation) error {
	group, ctx := errgroup.WithContext(ctx)
	admission, share := newAdmission(gen.Partitions), newShare()
	p.keepRests(gen.Partitions)
	loops := make([]*partition, len(gen.Partitions))
	for i, id := range gen.Partitions { // all are known before we have joined: one that is not open yet is not ready
		loops[i] = p.newPartition(id, gen.Member)
		loops[i].admission, loops[i].share = admission, share
		p.own(id, loops[i])
		defer p.disown(id, loops[i])
	}
	p.setJoined(true)
	defer p.setJoined(false)
	for _, loop := range loops {
		group.Go(func() error { return p.runPartition(ctx, loop) })
	}
	group.Go(func() error { p.watchBusy(ctx, loops); return nil }) // until ctx ends, also without any partition
	group.Go(func() error { p.watchTopics(ctx); return nil })
	return group.Wait()
}

// runPartition opens the partition's image, lets the loop own it, and writes
// what the image still holds back when the loop ends.
func (p *Processor) runPartition(ctx context.Context, loop *partition) error {
	image, err := p.deps.Store.Partition(loop.id)
	if err != nil {
		return storeError(fmt.Errorf("open partition %d: %w", loop.id, err))
	}
	loop.image = image
	err = loop.run(ctx)
	// The image is closed after the loop: its last write-behind includes the
	// last commit.
	return errors.Join(err, storeError(image.Close()))
}

func (p *Processor) newPartition(id int32, member stream.GroupMember) *partition {
	var topics []string
	for _, in := range p.cfg.Inputs {
		topics = append(topics, in.Topic)
	}
	loop := &partition{
		id: id, cfg: &p.cfg, deps: &p.deps, topics: p.topics, member: member,
		log:     p.deps.Logger.With("partition", id),
		gauges:  p.deps.Metrics.Assign(id, topics),
		tx:      p.deps.Transactor(fmt.Sprintf("%s-%d", p.cfg.Group, id)),
		queries: make(chan query),
		gaps:    map[string]Gap{},
		watched: &p.watched,
	}
	loop.announce, loop.target, loop.checked, loop.refresh = p.announce, p.Rules, p.rulesAreChecked, p.refreshRules
	loop.table.Store(&segmentTable{set: &rules.Set{}})
	for _, in := range p.cfg.Inputs {
		switch in.Kind {
		case wire.Decisions:
			loop.decisions = append(loop.decisions, &input{Input: in})
		case wire.Requests:
			loop.requests = append(loop.requests, &input{Input: in})
		default:
			loop.events = append(loop.events, &input{Input: in})
		}
	}
	loop.words = slices.Concat(loop.decisions, loop.requests)
	loop.history = slices.Concat(loop.events, loop.requests)
	return loop
}

// announce lets a partition be ready, and logs it where it is the last of those
// that are assigned: one at a time, as otherwise two could be.
func (p *Processor) announce(loop *partition) {
	p.announcing.Lock()
	defer p.announcing.Unlock()
	loop.ready.Store(true)
	_, states := p.States()
	for _, s := range states {
		if !s.Ready {
			return
		}
	}
	p.deps.Logger.Info("all assigned partitions are ready", "partitions", len(states))
}

func (p *Processor) own(id int32, loop *partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[id] = loop
	loop.left, loop.rest = p.left[id], p.rests[id]
	loop.rest.set(working, nil)
}

func (p *Processor) disown(id int32, loop *partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, id)
	loop.rest.set(gone, nil)
	p.left[id] = loop.left
}

func (p *Processor) setJoined(joined bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.joined = joined
}

// PartitionState says how far one assigned partition is.
type PartitionState struct {
	Partition int32
	Ready     bool // restored and past its first barrier, and neither paused, stopped nor busy
	Paused    bool
	Busy      *Busy         // with one batch for more than 10 s; nil: it is not
	Gap       *Gap          // why it has stopped; nil: it has not
	Accepted  []AcceptedGap // on record: the newest of each topic
}

// States tells whether the instance has joined its group, and how far each
// assigned partition is.
func (p *Processor) States() (joined bool, states []PartitionState) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for id := range p.cfg.Partitions {
		if loop := p.running[id]; loop != nil {
			states = append(states, loop.state())
		}
	}
	return p.joined, states
}
