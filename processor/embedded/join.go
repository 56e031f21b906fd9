package embedded

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// joining takes a member out of its group whose join is answered when its
// connection has ended: kfake starts a session only for answers that it could
// give, so such a member would have partitions for good. The end is kept from
// kfake until the answer is there, and then comes after a request to leave.
type joining struct {
	mu       sync.Mutex
	request  *kmsg.JoinGroupRequest // that has no answer yet; nil: there is none
	number   uint32                 // its correlation id
	ended    bool                   // nobody reads answers any more
	answered chan string            // takes the member's id, "" for none; nil: nobody waits
}

// await notes a request that the broker will read, maybe before it has answered
// the one before.
func (j *joining) await(r *kmsg.JoinGroupRequest, number uint32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.request, j.number = r, number
}

// end says that the client has hung up. It returns the join that has no answer,
// and where the id of its member will come; nil if there is none.
func (j *joining) end() (*kmsg.JoinGroupRequest, <-chan string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended = true
	if j.request == nil {
		return nil, nil
	}
	j.answered = make(chan string, 1)
	return j.request, j.answered
}

// answer notes an answer of the broker, and says whether anybody reads it.
func (j *joining) answer(frame []byte) (isRead bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.request == nil || len(frame) < answerBytes || binary.BigEndian.Uint32(frame[4:]) != j.number {
		return !j.ended
	}
	if j.answered != nil {
		j.answered <- memberIn(j.request, frame)
	}
	j.request = nil
	return !j.ended
}

// answerBytes are those of an answer's length and correlation id.
const answerBytes = 8

// memberIn is the member's id in a frame that answers a join, "" where that failed.
func memberIn(r *kmsg.JoinGroupRequest, frame []byte) string {
	resp := r.ResponseKind().(*kmsg.JoinGroupResponse)
	body := frame[answerBytes:]
	if resp.IsFlexible() {
		body = body[1:] // no tagged fields
	}
	if resp.ReadFrom(body) != nil || resp.ErrorCode != 0 {
		return ""
	}
	return resp.MemberID
}

// joinIn reads a join in a frame without its length; nil where that cannot be.
func joinIn(frame []byte) *kmsg.JoinGroupRequest {
	header := kbin.Reader{Src: frame}
	header.Int16() // api key
	r := kmsg.NewPtrJoinGroupRequest()
	r.SetVersion(header.Int16())
	header.Int32() // correlation id
	header.NullableString()
	if r.IsFlexible() {
		kmsg.SkipTags(&header)
	}
	if !header.Ok() || r.ReadFrom(header.Src) != nil {
		return nil // the broker will say so
	}
	return r
}

// leaveFrame is a request to leave, of the version that names one member.
func leaveFrame(group, member string) []byte {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Group, r.MemberID = group, member
	b := binary.BigEndian.AppendUint32(nil, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Key()))
	b = binary.BigEndian.AppendUint16(b, 0)         // version
	b = binary.BigEndian.AppendUint32(b, 0)         // correlation id
	b = binary.BigEndian.AppendUint16(b, 0)         // client id
	b = r.AppendTo(b)                               // version 0, as nothing else is set
	binary.BigEndian.PutUint32(b, uint32(len(b)-4)) // length
	return b
}

// outlive returns the frame that the broker shall read after the client has hung
// up with err, and err where there is none.
func (c *guardedConn) outlive(err error) error {
	join, answered := c.join.end()
	if join == nil {
		return err
	}
	select {
	case member := <-answered:
		if member == "" {
			return err
		}
		c.head = leaveFrame(join.Group, member)
		return nil
	case <-c.shut:
		return err
	}
}

// readJoin reads the rest of a join's frame, so that it is known before the broker has it.
func (c *guardedConn) readJoin(header []byte, length int) error {
	frame := make([]byte, 4+length)
	n := copy(frame, header)
	if _, err := io.ReadFull(c.Conn, frame[n:]); err != nil {
		return err
	}
	if r := joinIn(frame[4:]); r != nil {
		c.join.await(r, binary.BigEndian.Uint32(frame[8:]))
	}
	c.head = frame
	return nil
}

// Write writes an answer; kfake writes each as a whole.
func (c *guardedConn) Write(p []byte) (int, error) {
	if !c.join.answer(p) {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Close ends what waits for an answer, too.
func (c *guardedConn) Close() error {
	c.once.Do(func() { close(c.shut) })
	return c.Conn.Close()
}
