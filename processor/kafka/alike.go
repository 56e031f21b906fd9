package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrUnlike means that members of the group read other inputs: partitions would
// be judged by other records, depending on who has them.
var ErrUnlike = errors.New("the group's instances read other inputs")

// unlike reports whether two digests are of different inputs; "" is not known.
func unlike(a, b string) bool { return a != "" && b != "" && a != b }

func (cfg GroupConfig) introduction() Introduction {
	return Introduction{Instance: cfg.Instance, Address: cfg.Address, Inputs: cfg.Inputs}
}

// Bounds of waiting for what the coordinator says of members.
const (
	alikeEvery  = 500 * time.Millisecond
	alikeLeeway = 2 * time.Second // beyond a session: how long a member that died is there
)

// awaitAlike returns once no member reads other inputs; ErrUnlike if they are
// there for longer than members that died would be. What cannot be asked is left
// to joining, which says more of it.
func (c *Client) awaitAlike(ctx context.Context, cfg GroupConfig) error {
	deadline := time.Now().Add(cfg.SessionTimeout + alikeLeeway)
	for told := false; ; told = true {
		members, err := c.Members(ctx, cfg.Group, cfg.Topic)
		other := unlikeMember(members, cfg)
		if err != nil || other == nil {
			return nil
		}
		if !told {
			c.cfg.Logger.Warn("instances of the group read other inputs than this one, waiting whether they go", "group", cfg.Group, "instance", other.Instance)
		}
		if time.Now().After(deadline) {
			return unlikeError(other)
		}
		if !pauseAlike(ctx) {
			return nil
		}
	}
}

// givenNothing finds out why a member has no partitions: ErrUnlike if it reads
// other inputs than those who have some, and joined at the same time.
func (c *Client) givenNothing(ctx context.Context, cfg GroupConfig, g Generation) error {
	if len(g.Partitions) > 0 || cfg.Inputs == "" {
		return nil
	}
	for {
		members, err := c.Members(ctx, cfg.Group, cfg.Topic)
		if err != nil {
			return nil // joining the next generation says more of it
		}
		if other := unlikeMember(members, cfg); other != nil && len(other.Partitions) > 0 {
			return unlikeError(other)
		}
		if len(members) > 0 || !pauseAlike(ctx) { // else not all know of the generation yet
			return nil
		}
	}
}

func pauseAlike(ctx context.Context) (goOn bool) {
	select {
	case <-time.After(alikeEvery):
		return true
	case <-ctx.Done():
		return false
	}
}

// unlikeMember finds a member that reads other inputs; nil: there is none.
func unlikeMember(members []Member, cfg GroupConfig) *Member {
	for i := range members {
		if unlike(members[i].Inputs, cfg.Inputs) {
			return &members[i]
		}
	}
	return nil
}

func unlikeError(other *Member) error {
	return fmt.Errorf("%w than this one (among them %s): give all instances the same inputs (topic, kind and partitioner, in one order); "+
		"to change them stop all instances, then start them with the new ones", ErrUnlike, other.Instance)
}
