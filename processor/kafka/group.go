package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/processor/stream"
)

// GroupConfig says which group to join for which topic. The partitions assigned
// are those of Topic; who has p of it has p of every other topic too.
type GroupConfig struct {
	Group string
	Topic string
	// SessionTimeout after which a member that does not answer is out; 0 means 10 s.
	SessionTimeout time.Duration
	// HeartbeatInterval is also the time in which a member learns that a
	// generation is over; 0 means a tenth of SessionTimeout. One that is not
	// answered for half of SessionTimeout, at most 5 s, ends the generation.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long the others wait for a member to join again; 0
	// means SessionTimeout.
	RebalanceTimeout time.Duration
	// PartitionWatchInterval is how often the group's leader counts the topic's
	// partitions. Another number than it gave out begins a generation; a topic that
	// is missing does not, before it is back. 0 means 5 s.
	PartitionWatchInterval time.Duration
	// Instance and Address introduce the member to the others; see Introduction.
	Instance, Address string
	// Inputs is a digest of what the member reads. Members with different ones are
	// not of one group: see ErrUnlike. "": it is not compared.
	Inputs string
	// Held lists the partitions whose images this member has, at each join; nil: none.
	Held func() []Held
}

// ErrSessionTimeout means that the brokers do not take GroupConfig.SessionTimeout.
var ErrSessionTimeout = errors.New("session timeout")

// maxHeartbeatWait bounds how long a request of the group protocol waits for its
// answer, beyond what it asks to wait for.
const maxHeartbeatWait = 5 * time.Second

// joinBackoff after a failed join, instead of 5 s.
const joinBackoff = 500 * time.Millisecond

// leavePatience bounds how long a stop waits for a join under way, which the
// library would see through to its end, a rebalance timeout away.
const leavePatience = 2 * time.Second

// Generation is one membership in a group's generation.
type Generation struct {
	ID         int32
	MemberID   string
	Partitions []int32 // ascending; may be empty
}

// Member is the generation as a transaction commits offsets under it.
func (g Generation) Member(group string) stream.GroupMember {
	return stream.GroupMember{Group: group, Generation: g.ID, MemberID: g.MemberID}
}

// RunGroup is a member of the group until ctx ends, and calls fn for each
// generation, one after another. fn's ctx ends with the generation, with
// stream.ErrFenced as its cause, or with ctx. From then on no heartbeat is sent:
// fn must return well within SessionTimeout, or this member is thrown out and
// the others wait for it. Where fn returns nil before, the generation goes on
// without it.
//
// RunGroup leaves the group and returns nil when ctx ends, fn's error when it
// returns one, ErrUnlike where others read other inputs, and an error that is
// stream.ErrFatal when the broker does not want the member for good
// (ErrSessionTimeout: because of that). Other failures are logged and joining is tried again.
func (c *Client) RunGroup(ctx context.Context, cfg GroupConfig, fn func(context.Context, Generation) error) error {
	if c.closed.Load() {
		return ErrClosed
	}
	conns := &connections{tls: c.cfg.TLS}
	cfg = cfg.withDefaults()
	if err := c.awaitAlike(ctx, cfg); err != nil || ctx.Err() != nil {
		return err
	}
	balancer := &sticky{cfg: cfg}
	cg, err := kafka.NewConsumerGroup(c.groupConfig(cfg, conns, balancer))
	if err != nil {
		return fmt.Errorf("join group %s: %w: %w", cfg.Group, stream.ErrFatal, err)
	}
	var closing errgroup.Group
	leave := sync.OnceFunc(func() {
		closed := make(chan struct{})
		closing.Go(func() error { defer close(closed); return cg.Close() })
		closing.Go(func() error { conns.cutAfter(leavePatience, closed); return nil })
	})
	m := member{client: c, cfg: cfg, group: cg, balancer: balancer, leave: leave}
	err = m.run(ctx, fn)
	leave()
	return errors.Join(err, closing.Wait())
}

// groupConfig has range behind the sticky balancer: the group uses what all its
// members know, those of older versions too.
func (c *Client) groupConfig(cfg GroupConfig, conns *connections, balancer *sticky) kafka.ConsumerGroupConfig {
	return kafka.ConsumerGroupConfig{
		ID:      cfg.Group,
		Brokers: c.cfg.Brokers,
		Topics:  []string{cfg.Topic},
		Dialer: &kafka.Dialer{
			ClientID:      c.cfg.ClientID,
			Timeout:       dialTimeout,
			DialFunc:      conns.dial,
			SASLMechanism: c.mechanism,
		},
		GroupBalancers:    []kafka.GroupBalancer{balancer, ranged{cfg: cfg}},
		Timeout:           min(cfg.SessionTimeout/2, maxHeartbeatWait),
		HeartbeatInterval: cfg.HeartbeatInterval,
		SessionTimeout:    cfg.SessionTimeout,
		RebalanceTimeout:  cfg.RebalanceTimeout,
		JoinGroupBackoff:  joinBackoff,
		StartOffset:       kafka.FirstOffset,
	}
}

func (cfg GroupConfig) withDefaults() GroupConfig {
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = 10 * time.Second
	}
	if cfg.HeartbeatInterval == 0 {
		cfg.HeartbeatInterval = cfg.SessionTimeout / 10
	}
	if cfg.RebalanceTimeout == 0 {
		cfg.RebalanceTimeout = cfg.SessionTimeout
	}
	if cfg.PartitionWatchInterval == 0 {
		cfg.PartitionWatchInterval = 5 * time.Second
	}
	return cfg
}

type member struct {
	client   *Client
	cfg      GroupConfig
	group    *kafka.ConsumerGroup
	balancer *sticky
	leave    func() // begins to leave, once
}

func (m *member) run(ctx context.Context, fn func(context.Context, Generation) error) error {
	for {
		// The group does not try again before its error has been taken.
		gen, err := m.group.Next(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, kafka.ErrGroupClosed):
			return nil
		case err != nil:
			if err := m.joinError(err); err != nil {
				return err
			}
		default:
			if err := m.generation(ctx, gen, fn); err != nil {
				return err
			}
		}
	}
}

// joinError logs an error after which the group tries again and returns others.
func (m *member) joinError(err error) error {
	var code kafka.Error
	err = denied(explain(err), onGroup("Read", m.cfg.Group), onTopic("Read", m.cfg.Topic))
	if errors.Is(err, stream.ErrFatal) {
		return fmt.Errorf("join group %s: %w", m.cfg.Group, err)
	}
	if errors.As(err, &code) {
		switch {
		case code == kafka.InvalidSessionTimeout:
			return fmt.Errorf("join group %s: kafka.session_timeout is %s, which the brokers do not take (by default they take 6s to 30m: "+
				"group.min.session.timeout.ms, group.max.session.timeout.ms): %w: %w: %w", m.cfg.Group, m.cfg.SessionTimeout, ErrSessionTimeout, stream.ErrFatal, err)
		case judge(code) == verdictFatal, code == kafka.InconsistentGroupProtocol:
			return fmt.Errorf("join group %s: %w: %w", m.cfg.Group, stream.ErrFatal, err)
		}
	}
	m.client.cfg.Logger.Warn("joining the group failed, trying again", "group", m.cfg.Group, "error", err)
	return nil
}

// generation runs fn as part of the generation, which the library ends only
// after the function given to Start has returned.
func (m *member) generation(ctx context.Context, gen *kafka.Generation, fn func(context.Context, Generation) error) error {
	g := Generation{ID: gen.ID, MemberID: gen.MemberID}
	for _, a := range gen.Assignments[m.cfg.Topic] {
		g.Partitions = append(g.Partitions, int32(a.ID))
	}
	slices.Sort(g.Partitions)
	m.balancer.remember(g)
	if given, leads := m.balancer.given(); leads {
		gen.Start(func(ended context.Context) { m.watchPartitions(ended, given) })
	}
	result := make(chan error, 1)
	gen.Start(func(ended context.Context) {
		result <- m.hold(ctx, ended, func(ctx context.Context) error {
			if err := m.client.givenNothing(ctx, m.cfg, g); err != nil {
				return err
			}
			return fn(ctx, g)
		})
	})
	return <-result
}

// watchPartitions returns, which ends the generation, when the topic has another
// number of partitions than were given out. (The library's own watch ends it at
// once where the topic is missing, and the next one, hundreds of times a second.)
// Brokers that do not answer are the heartbeat's matter.
func (m *member) watchPartitions(ended context.Context, given int) {
	ticker := time.NewTicker(m.cfg.PartitionWatchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ended.Done():
			return
		case <-ticker.C:
		}
		topics, err := m.client.Topics(ended, m.cfg.Topic)
		if t, there := topics[m.cfg.Topic]; err == nil && there && int(t.Partitions) != given {
			return
		}
	}
}

// hold runs fn and returns when the generation has ended. To return before
// would end it and join the next.
func (m *member) hold(ctx, ended context.Context, fn func(context.Context) error) error {
	if ended.Err() != nil {
		return nil
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ended, func() { cancel(fmt.Errorf("generation has ended: %w", stream.ErrFenced)) })
	defer stop()
	err := fn(run)
	if err == nil {
		<-run.Done()
	}
	if err != nil || ctx.Err() != nil {
		m.leave()
	}
	<-ended.Done()
	return err
}
