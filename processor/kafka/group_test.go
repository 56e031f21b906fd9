package kafka_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/stream"
)

func fastGroup() kafka.GroupConfig {
	return kafka.GroupConfig{Group: "g", Topic: "t", SessionTimeout: 2 * time.Second, HeartbeatInterval: 20 * time.Millisecond, PartitionWatchInterval: 20 * time.Millisecond}
}

// memberOf runs a member and tells of its generations.
type memberOf struct {
	generations chan kafka.Generation
	ended       chan error // the cause, of each generation
	stop        context.CancelFunc
	done        chan error
}

func join(t *testing.T, c *kafka.Client, cfg kafka.GroupConfig) *memberOf {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m := &memberOf{generations: make(chan kafka.Generation, 100), ended: make(chan error, 100), stop: cancel, done: make(chan error, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		m.done <- c.RunGroup(ctx, cfg, func(ctx context.Context, g kafka.Generation) error {
			m.generations <- g
			<-ctx.Done()
			m.ended <- context.Cause(ctx)
			return nil
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return m
}

// next waits for the generation with that many partitions.
func (m *memberOf) next(t *testing.T, partitions int) kafka.Generation {
	t.Helper()
	for {
		select {
		case g := <-m.generations:
			if len(g.Partitions) == partitions {
				return g
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no generation with %d partitions", partitions)
		}
	}
}

func fourPartitions(t *testing.T) (*kafkatest.Broker, *kafka.Client) {
	t.Helper()
	b := startBroker(t)
	c := newClient(t, b.Addrs()...)
	createTopic(t, c, kafka.NewTopic{Name: "t", Partitions: 4})
	return b, c
}

func TestGroupMembersShareThePartitions(t *testing.T) {
	_, c := fourPartitions(t)
	first := join(t, c, fastGroup())
	alone := first.next(t, 4)
	if !slices.Equal(alone.Partitions, []int32{0, 1, 2, 3}) || alone.MemberID == "" {
		t.Errorf("%+v", alone)
	}
	second := join(t, c, fastGroup())
	a, b := first.next(t, 2), second.next(t, 2)
	if got := slices.Sorted(slices.Values(append(a.Partitions, b.Partitions...))); !slices.Equal(got, []int32{0, 1, 2, 3}) || a.ID <= alone.ID {
		t.Errorf("%+v and %+v", a, b)
	}
	if cause := <-first.ended; !errors.Is(cause, stream.ErrFenced) {
		t.Errorf("the first generation ended by %v", cause)
	}
	second.stop()
	must(t, <-second.done)
	first.next(t, 4) // long before the session of the other would have timed out
}

func TestGroupFollowsNewPartitions(t *testing.T) {
	b, c := fourPartitions(t)
	m := join(t, c, fastGroup())
	m.next(t, 4)
	admin := kafkago.Client{Addr: kafkago.TCP(b.Addrs()...), Transport: &kafkago.Transport{}}
	defer admin.Transport.(*kafkago.Transport).CloseIdleConnections()
	_, err := admin.CreatePartitions(context.Background(), &kafkago.CreatePartitionsRequest{Topics: []kafkago.TopicPartitionsConfig{{Name: "t", Count: 6}}})
	must(t, err)
	m.next(t, 6)
}

// A topic that is missing ends no generation before it is back; one that was
// joined without it does then.
func TestGroupWaitsForAMissingTopic(t *testing.T) {
	b, c := fourPartitions(t)
	m := join(t, c, fastGroup())
	m.next(t, 4)
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(b.Addrs()...))
	must(t, err)
	defer admin.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = admin.DeleteTopic(ctx, "t")
	must(t, err)
	quiet := func() {
		t.Helper()
		select {
		case g := <-m.generations:
			t.Fatalf("generation %+v begins", g)
		case <-time.After(500 * time.Millisecond): // 25 counts
		}
	}
	quiet()
	second := join(t, c, fastGroup())
	second.next(t, 0)
	m.next(t, 0)
	quiet()
	createTopic(t, c, kafka.NewTopic{Name: "t", Partitions: 2})
	m.next(t, 1)
	second.next(t, 1)
}

func TestGroupEndsWithTheCallbacksError(t *testing.T) {
	_, c := fourPartitions(t)
	boom := errors.New("boom")
	err := c.RunGroup(context.Background(), fastGroup(), func(context.Context, kafka.Generation) error { return boom })
	if !errors.Is(err, boom) {
		t.Error(err)
	}
}

// A callback that has returned leaves its member in the generation.
func TestGroupHoldsTheGeneration(t *testing.T) {
	b, c := fourPartitions(t)
	ctx, cancel := context.WithCancel(context.Background())
	beats := hooks(b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Observe: true, Count: -1})
	calls := 0
	time.AfterFunc(400*time.Millisecond, cancel)
	must(t, c.RunGroup(ctx, fastGroup(), func(context.Context, kafka.Generation) error { calls++; return nil }))
	if calls != 1 || beats.Hits() < 3 {
		t.Errorf("%d calls, %d heartbeats", calls, beats.Hits())
	}
}

func TestGroupTriesAgain(t *testing.T) {
	b, c := fourPartitions(t)
	hooks(b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorLoadInProgress, Count: 1})
	join(t, c, fastGroup()).next(t, 4)
}

func TestGroupRefusedForGood(t *testing.T) {
	b, c := fourPartitions(t)
	hooks(b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.GroupAuthorizationFailed, Count: -1})
	err := c.RunGroup(context.Background(), fastGroup(), nil)
	if !errors.Is(err, stream.ErrFatal) {
		t.Error(err)
	}
}

// A stop while the broker holds the join back does not wait for it.
func TestGroupStopsWhileJoining(t *testing.T) {
	b, c := fourPartitions(t)
	joining, release := make(chan struct{}), make(chan struct{})
	hooks(b).ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(joining)
		hooks(b).SleepControl(func() { <-release })
		return nil, nil, false
	})
	cfg := fastGroup()
	cfg.RebalanceTimeout = time.Minute
	m := join(t, c, cfg)
	<-joining
	m.stop()
	select {
	case err := <-m.done:
		must(t, err)
	case <-time.After(15 * time.Second):
		t.Error("still joining")
	}
	close(release)
}

// A member that died without leaving is taken out by its id.
func TestLeaveGroupForTheDead(t *testing.T) {
	b, c := fourPartitions(t)
	cfg := fastGroup()
	cfg.SessionTimeout = time.Minute
	dead := join(t, newClient(t, b.Addrs()...), cfg)
	id := dead.next(t, 4).MemberID
	refusal := kfake.Fault{Keys: []kmsg.Key{kmsg.LeaveGroup}, Err: kerr.CoordinatorNotAvailable, Count: 1}
	hooks(b).Fault(refusal)
	dead.stop()
	<-dead.done
	refusal.TopLevel = true
	hooks(b).Fault(refusal)
	if err := c.LeaveGroup(context.Background(), "g", id); !errors.Is(err, kafkago.GroupCoordinatorNotAvailable) {
		t.Errorf("refused: %v", err)
	}
	must(t, c.LeaveGroup(context.Background(), "g", id))
	must(t, c.LeaveGroup(context.Background(), "g", id))
	join(t, c, cfg).next(t, 4)
}
