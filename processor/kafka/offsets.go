package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/leavegroup"

	"github.com/segmentd/segmentd/processor/stream"
)

// GroupOffsets reads the offsets that a group has committed of partitions 0 to
// n-1 of a topic; -1 where it has none. For tools: what a transaction has not
// committed yet does not show.
func (c *Client) GroupOffsets(ctx context.Context, group, topic string, n int32) ([]int64, error) {
	if c.closed.Load() {
		return nil, ErrClosed
	}
	partitions := make([]int, n)
	offsets := make([]int64, n)
	for p := range partitions {
		partitions[p], offsets[p] = p, -1
	}
	res, err := c.adminClient().OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: partitions}})
	if err == nil {
		err = res.Error
	}
	if errors.Is(err, kafka.GroupIdNotFound) {
		return offsets, nil
	}
	if err != nil {
		return nil, fmt.Errorf("offsets of group %s: %w", group, denied(requestError(err), onGroup("Describe", group)))
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("offsets of group %s on %s/%d: %w", group, topic, p.Partition, requestError(p.Error))
		}
		if p.Partition < len(offsets) {
			offsets[p.Partition] = p.CommittedOffset
		}
	}
	return offsets, nil
}

// SetGroupOffsets commits offsets outside of any transaction. Where the group
// has no members, member's Generation is -1 and its MemberID empty.
func (c *Client) SetGroupOffsets(ctx context.Context, member stream.GroupMember, offsets []stream.Position) error {
	if c.closed.Load() {
		return ErrClosed
	}
	req := &kafka.OffsetCommitRequest{GroupID: member.Group, GenerationID: int(member.Generation), MemberID: member.MemberID,
		Topics: map[string][]kafka.OffsetCommit{}}
	for _, o := range offsets {
		req.Topics[o.Topic] = append(req.Topics[o.Topic], kafka.OffsetCommit{Partition: int(o.Partition), Offset: o.Offset})
	}
	res, err := c.adminClient().OffsetCommit(ctx, req)
	if err != nil {
		return fmt.Errorf("commit offsets of group %s: %w", member.Group, requestError(err))
	}
	for topic, partitions := range res.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return fmt.Errorf("commit offset of group %s on %s/%d: %w", member.Group, topic, p.Partition, requestError(p.Error))
			}
		}
	}
	return nil
}

// LeaveGroup takes a member out of a group that died without leaving it, so that
// the others need not wait for its session to time out. A member that is not
// there any more is no error.
func (c *Client) LeaveGroup(ctx context.Context, group, memberID string) error {
	req := &leavegroup.Request{GroupID: group, Members: []leavegroup.RequestMember{{MemberID: memberID}}}
	res, err := roundTrip[*leavegroup.Response](ctx, c, req, 0)
	if err != nil {
		return fmt.Errorf("leave group %s: %w", group, requestError(c.unreachable(ctx, err)))
	}
	if code := leaveOutcome(res); code != 0 && code != kafka.UnknownMemberId {
		return fmt.Errorf("leave group %s: %w", group, requestError(code))
	}
	return nil
}

// leaveOutcome finds the error of an answer, whose code kafka-go reads at the
// place of the throttle time's upper half and so puts into the lower half of
// what it takes for that time.
func leaveOutcome(res *leavegroup.Response) kafka.Error {
	if code := kafka.Error(int16(res.ThrottleTimeMS)); code != 0 {
		return code
	}
	for _, m := range res.Members {
		if m.ErrorCode != 0 {
			return kafka.Error(m.ErrorCode)
		}
	}
	return 0
}
