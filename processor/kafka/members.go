package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/heartbeat"

	"github.com/segmentd/segmentd/processor/stream"
)

// Member is one member of a group, as the coordinator knows it.
type Member struct {
	ID string
	// Introduction is as of its last join; empty where it gave none.
	Introduction
	Partitions []int32 // ascending; it has them in the present generation
}

// groupStable is the state of a group in which partitions have owners.
const groupStable = "Stable"

// Members describes the members of a group that share the partitions of a topic.
// There are none while a generation is being made.
func (c *Client) Members(ctx context.Context, group, topic string) ([]Member, error) {
	if c.closed.Load() {
		return nil, ErrClosed
	}
	res, err := c.adminClient().DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return nil, fmt.Errorf("describe group %s: %w", group, requestError(c.unreachable(ctx, err)))
	}
	if len(res.Groups) != 1 {
		return nil, fmt.Errorf("describe group %s: %d groups were described", group, len(res.Groups))
	}
	g := &res.Groups[0]
	if g.GroupState != groupStable && g.GroupState != "" {
		return nil, nil // what is said of members then is not complete, and no error
	}
	if g.Error != nil {
		return nil, fmt.Errorf("describe group %s: %w", group, requestError(g.Error))
	}
	members := make([]Member, len(g.Members))
	for i, m := range g.Members {
		members[i] = Member{ID: m.MemberID, Introduction: introduced(m.MemberMetadata.UserData)}
		for _, t := range m.MemberAssignments.Topics {
			for _, p := range t.Partitions {
				if t.Topic == topic {
					members[i].Partitions = append(members[i].Partitions, int32(p))
				}
			}
		}
		slices.Sort(members[i].Partitions)
	}
	return members, nil
}

// CheckMember asks the coordinator whether a member belongs to the group's
// present generation, and none is being made after it; otherwise the error is
// stream.ErrFenced.
func (c *Client) CheckMember(ctx context.Context, member stream.GroupMember) error {
	at, err := c.coordinator(ctx, member.Group)
	if err != nil {
		return fmt.Errorf("coordinator of group %s: %w", member.Group, err)
	}
	// kafka-go sends a heartbeat to the address given, as it does not know that it
	// is the coordinator's business.
	beat := &heartbeat.Request{GroupID: member.Group, GenerationID: member.Generation, MemberID: member.MemberID}
	res, err := roundTripOn[*heartbeat.Response](ctx, c, c.data.Load(), request{Message: beat, to: at})
	if err != nil {
		return fmt.Errorf("heartbeat of group %s: %w", member.Group, requestError(err))
	}
	// The code is read at the place of the throttle time's upper half, and so put
	// into the lower half of what is taken for that time.
	if code := kafka.Error(int16(res.ThrottleTimeMs)); code != 0 {
		return fmt.Errorf("heartbeat of group %s: %w", member.Group, refusal(code))
	}
	if res.ErrorCode != 0 {
		return fmt.Errorf("heartbeat of group %s: %w", member.Group, refusal(kafka.Error(res.ErrorCode)))
	}
	return nil
}

func (c *Client) coordinator(ctx context.Context, group string) (net.Addr, error) {
	if c.closed.Load() {
		return nil, ErrClosed
	}
	res, err := c.adminClient().FindCoordinator(ctx, &kafka.FindCoordinatorRequest{Key: group, KeyType: kafka.CoordinatorKeyTypeConsumer})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return nil, requestError(c.unreachable(ctx, err))
	}
	if res.Coordinator == nil {
		return nil, errors.New("the broker names none")
	}
	return kafka.TCP(net.JoinHostPort(res.Coordinator.Host, strconv.Itoa(res.Coordinator.Port))), nil
}
