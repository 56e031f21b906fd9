package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// addressBookAge is how long an AddressBook's page is believed: about as long as
// a group takes to make a generation.
const addressBookAge = time.Second

// AddressBook tells who has a partition, and where that member can be asked. It
// asks the coordinator at most once a second. Safe for concurrent use.
type AddressBook struct {
	client       *Client
	group, topic string

	mu     sync.Mutex
	read   time.Time        // guarded by mu
	owners map[int32]string // guarded by mu: addresses by partition
}

// NewAddressBook returns the address book of a group that shares a topic's partitions.
func (c *Client) NewAddressBook(group, topic string) *AddressBook {
	return &AddressBook{client: c, group: group, topic: topic}
}

// Owner returns the address (Introduction) of the member that has a partition;
// "" if nobody has it at the moment, or its owner told none.
func (b *AddressBook) Owner(ctx context.Context, partition int32) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.refresh(ctx)
	return b.owners[partition], err
}

// Owners returns the addresses of all members that have one of so many partitions,
// sorted, each once. It is an error that nobody has one, or that its owner told no address.
func (b *AddressBook) Owners(ctx context.Context, partitions int32) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(ctx); err != nil {
		return nil, err
	}
	for p := range partitions {
		if b.owners[p] == "" {
			return nil, fmt.Errorf("nobody owns partition %d at the moment, or its owner tells no address", p)
		}
	}
	return slices.Compact(slices.Sorted(maps.Values(b.owners))), nil
}

// refresh asks the coordinator where the page is old. b.mu is held.
func (b *AddressBook) refresh(ctx context.Context) error {
	if time.Since(b.read) < addressBookAge {
		return nil
	}
	b.owners = nil
	members, err := b.client.Members(ctx, b.group, b.topic)
	if err != nil {
		return err
	}
	b.owners = map[int32]string{}
	for _, m := range members {
		for _, p := range m.Partitions {
			b.owners[p] = m.Address
		}
	}
	b.read = time.Now()
	return nil
}
