package kafka_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/kafka"
)

// reading is a member's configuration that reads some inputs.
func reading(inputs string) kafka.GroupConfig {
	cfg := fastGroup()
	cfg.Instance, cfg.Inputs = "reader of "+inputs, inputs
	return cfg
}

// refused waits until a member is refused for its inputs.
func (m *memberOf) refused(t *testing.T, other string) {
	t.Helper()
	select {
	case err := <-m.done:
		if !errors.Is(err, kafka.ErrUnlike) || !strings.Contains(err.Error(), "reader of "+other) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a member with other inputs was not refused")
	}
}

// A member with other inputs is refused, and disturbs nobody; the same inputs, or
// none that are told, are not. Once the others have gone it may join.
func TestUnlikeMembersAreRefused(t *testing.T) {
	_, c := fourPartitions(t)
	first := join(t, c, reading("a"))
	first.next(t, 4)
	join(t, c, reading("b")).refused(t, "a")
	if len(first.ended) > 0 {
		t.Error("the group was disturbed")
	}
	second := join(t, c, reading("a"))
	second.next(t, 2)
	join(t, c, reading("")).next(t, 1)
	first.stop()
	second.stop()
	for _, m := range []*memberOf{first, second} {
		if err := <-m.done; err != nil {
			t.Error(err)
		}
	}
}

// Of two members with different inputs that join at once one is given all
// partitions, and the other ends.
func TestUnlikeMembersThatJoinAtOnce(t *testing.T) {
	_, c := fourPartitions(t)
	a, b := join(t, c, reading("a")), join(t, c, reading("b"))
	select {
	case err := <-a.done:
		a.done <- err
		a.refused(t, "b")
		b.next(t, 4)
	case err := <-b.done:
		b.done <- err
		b.refused(t, "a")
		a.next(t, 4)
	case <-time.After(30 * time.Second):
		t.Fatal("two members with different inputs are in one group")
	}
}
