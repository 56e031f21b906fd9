package kafka

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/segmentio/kafka-go"
)

// stickyProtocol is the balancer's name in the group protocol.
const stickyProtocol = "segmentd-sticky"

// Introduction is what a member tells its group about itself, as user data of
// the group protocol (JSON): where it can be asked, and what speaks for giving it
// which partitions.
type Introduction struct {
	// Instance names the process; Address is the URL of its HTTP side, "" if none
	// can be reached by others.
	Instance string `json:"instance"`
	Address  string `json:"address,omitempty"`
	// Inputs is a digest of what it reads; "": it is of a version that tells none.
	Inputs string `json:"inputs,omitempty"`
	// Owned are the partitions that it had in Generation, 0 before its first one.
	// Of two members that claim a partition the newer generation is right (KIP-341).
	Owned      []Tenure `json:"owned,omitempty"`
	Generation int32    `json:"generation,omitempty"`
	// Held are the partitions whose local image it has.
	Held []Held `json:"held,omitempty"`
}

// Tenure is a partition that a member has had in each generation since one; in
// JSON [partition, since].
type Tenure struct{ Partition, Since int32 }

// Held is a local image: the larger its transaction, the fresher it is. In JSON it
// is [partition, transaction]: coordinators keep what all members say in one
// record, which is bounded.
type Held struct {
	Partition   int32
	Transaction uint64
}

// MarshalJSON implements json.Marshaler.
func (t Tenure) MarshalJSON() ([]byte, error) { return json.Marshal([2]int32{t.Partition, t.Since}) }

// UnmarshalJSON implements json.Unmarshaler.
func (t *Tenure) UnmarshalJSON(b []byte) error {
	var pair [2]int32
	err := json.Unmarshal(b, &pair)
	t.Partition, t.Since = pair[0], pair[1]
	return err
}

// MarshalJSON implements json.Marshaler.
func (h Held) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "[%d,%d]", h.Partition, h.Transaction), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Held) UnmarshalJSON(b []byte) error {
	var pair [2]uint64
	err := json.Unmarshal(b, &pair)
	h.Partition, h.Transaction = int32(pair[0]), pair[1]
	return err
}

// sticky is the balancer that moves no more partitions than it must, and those
// to where their state is. Safe for concurrent use.
type sticky struct {
	cfg GroupConfig

	mu         sync.Mutex
	owned      []Tenure // guarded by mu
	generation int32    // guarded by mu
	leads      bool     // guarded by mu: it assigned the partitions after the last join
	partitions int      // guarded by mu: as many of them
}

var _ kafka.GroupBalancer = (*sticky)(nil)

// ProtocolName implements kafka.GroupBalancer.
func (s *sticky) ProtocolName() string { return stickyProtocol }

// UserData implements kafka.GroupBalancer: it is asked at each join.
func (s *sticky) UserData() ([]byte, error) {
	in := s.cfg.introduction()
	s.mu.Lock()
	in.Owned, in.Generation = s.owned, s.generation
	s.leads = false
	s.mu.Unlock()
	if s.cfg.Held != nil {
		in.Held = s.cfg.Held()
	}
	return in.encode()
}

func (in Introduction) encode() ([]byte, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("introduce the member: %w", err)
	}
	return b, nil
}

// remember keeps what the member was assigned, for the next join.
func (s *sticky) remember(g Generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owned, s.generation = tenures(s.owned, g), g.ID
}

// given tells how many partitions the group's leader gave out; leads: that it is
// this member.
func (s *sticky) given() (partitions int, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.partitions, s.leads
}

// tenures go on with those of before where the member still has the partition.
func tenures(before []Tenure, g Generation) []Tenure {
	now := make([]Tenure, len(g.Partitions))
	for i, p := range g.Partitions {
		now[i] = Tenure{p, g.ID}
		if at := slices.IndexFunc(before, func(t Tenure) bool { return t.Partition == p }); at >= 0 {
			now[i] = before[at]
		}
	}
	return now
}

// AssignGroups implements kafka.GroupBalancer. A member whose user data cannot be
// read claims nothing, and one that reads other inputs than the leader is given none.
func (s *sticky) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	var candidates []candidate
	for _, m := range members {
		if in := introduced(m.UserData); slices.Contains(m.Topics, s.cfg.Topic) && !unlike(in.Inputs, s.cfg.Inputs) {
			candidates = append(candidates, candidate{m.ID, in})
		}
	}
	var ids []int32
	for _, p := range partitions {
		if p.Topic == s.cfg.Topic {
			ids = append(ids, int32(p.ID))
		}
	}
	s.mu.Lock()
	s.leads, s.partitions = true, len(ids)
	s.mu.Unlock()
	all := kafka.GroupMemberAssignments{}
	for member, owned := range assign(candidates, ids) {
		list := make([]int, len(owned))
		for i, p := range owned {
			list[i] = int(p)
		}
		all[member] = map[string][]int{s.cfg.Topic: list}
	}
	return all
}

// introduced reads user data; what is none is an empty introduction.
func introduced(userData []byte) (in Introduction) {
	if json.Unmarshal(userData, &in) != nil {
		return Introduction{}
	}
	return in
}

// ranged is the range balancer of members of before the sticky one, with where
// they can be asked while it is in use.
type ranged struct {
	kafka.RangeGroupBalancer
	cfg GroupConfig
}

// UserData implements kafka.GroupBalancer.
func (r ranged) UserData() ([]byte, error) {
	return r.cfg.introduction().encode()
}
