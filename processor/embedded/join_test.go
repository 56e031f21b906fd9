package embedded_test

import (
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmentd/segmentd/processor/embedded"
)

const joinedGroup = "g"

// answer reads the answer to a request that send sent.
func (r raw) answer(t *testing.T, req kmsg.Request) kmsg.Response {
	t.Helper()
	var size [4]byte
	_, err := io.ReadFull(r, size[:])
	must(t, err)
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err = io.ReadFull(r, body)
	must(t, err)
	resp := req.ResponseKind()
	body = body[4:] // correlation id
	if resp.IsFlexible() {
		body = body[1:] // no tagged fields
	}
	must(t, resp.ReadFrom(body))
	return resp
}

// join is a request to join under an id, "" for a new member.
func join(member string, session time.Duration) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Group, r.MemberID, r.ProtocolType = joinedGroup, member, "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = int32(session.Milliseconds()), 60_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", []byte(member)
	r.Protocols = append(r.Protocols, p)
	return r
}

// member is one that does as it should: it joins when it is told to.
type member struct {
	t          *testing.T
	conn       raw
	id         string
	generation int32
}

func (m *member) join() {
	m.t.Helper()
	req := join(m.id, time.Minute)
	m.conn.send(m.t, req, 1)
	resp := m.conn.answer(m.t, req).(*kmsg.JoinGroupResponse)
	must(m.t, kerr.ErrorForCode(resp.ErrorCode))
	m.id, m.generation = resp.MemberID, resp.Generation
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = joinedGroup, m.id, m.generation
	m.conn.send(m.t, sync, 0)
	m.conn.answer(m.t, sync)
}

// isCalled sends a heartbeat, and says whether the answer is to join again.
func (m *member) isCalled() bool {
	m.t.Helper()
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID, beat.Generation = joinedGroup, m.id, m.generation
	m.conn.send(m.t, beat, 0)
	return m.conn.answer(m.t, beat).(*kmsg.HeartbeatResponse).ErrorCode == kerr.RebalanceInProgress.Code
}

// eventually waits for something for as long as connections have deadlines.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !so(); {
		if time.Now().After(deadline) {
			t.Fatal("in 20 s not: " + what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// A member that is gone when the rebalance that it waits for ends must not stay in
// the group: nobody would serve its partitions, and nothing would end its session.
func TestMemberThatIsGoneWhenItsJoinIsAnsweredLeaves(t *testing.T) {
	for _, tt := range []struct {
		name    string
		version int16
	}{{"as kafka-go joins", 1}, {"with tagged fields", 6}} {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, embedded.Config{})
			stays := member{t: t, conn: rawConn(t, b.Addr())}
			stays.join()
			members := func() int { return len(b.Cluster().GroupInfo(joinedGroup).Members) }

			goes := rawConn(t, b.Addr())
			req, id := join("", time.Minute), ""
			if tt.version >= 4 { // the id comes first (KIP-394)
				goes.send(t, req, tt.version)
				id = goes.answer(t, req).(*kmsg.JoinGroupResponse).MemberID
			}
			req = join(id, time.Minute)
			goes.send(t, req, tt.version)
			eventually(t, "the new member begins a rebalance", stays.isCalled)
			must(t, goes.Close())
			<-time.After(50 * time.Millisecond) // the broker hears of it; should it not yet, the session timeout would end the member

			stays.join()
			if n := members(); n > 2 {
				t.Fatalf("%d members", n)
			}
			eventually(t, "the group calls again, without the one that is gone", func() bool { return members() == 1 || stays.isCalled() })
			if members() != 1 {
				t.Fatalf("%d members", members())
			}
			stays.join()
			eventually(t, "the group is stable", func() bool { return b.Cluster().GroupInfo(joinedGroup).State == "Stable" })
		})
	}
}
