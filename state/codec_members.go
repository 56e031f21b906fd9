package state

import (
	"encoding/binary"
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// Subjects enter many segments at few instants, and all of them long before the
// record's clock: from membersFrom memberships on these are written once, as a
// run, and memberships refer to them.
const membersFrom = 4

// sincesOf appends the different instants since when memberships are, ascending;
// ok is false where there are too few memberships, or one without such an instant.
func sincesOf(members []subject.Membership, room []subject.Instant) (sinces []subject.Instant, ok bool) {
	if len(members) < membersFrom {
		return room, false
	}
	for i := range members {
		if members[i].Since == subject.LongAgo || members[i].Since == subject.Never {
			return room, false
		}
		room = append(room, members[i].Since)
	}
	slices.Sort(room)
	return slices.Compact(room), true
}

func (e *encoder) members(members []subject.Membership) {
	e.uvarint(uint64(len(members)))
	var room [64]subject.Instant
	sinces, shared := sincesOf(members, room[:0])
	switch {
	case shared:
		e.uvarint(uint64(len(sinces)))
		e.times(sinces)
	case len(members) >= membersFrom:
		e.uvarint(0)
	}
	for i := range members {
		m := &members[i]
		mustAscend(i == 0 || members[i-1].Segment < m.Segment)
		e.b = binary.BigEndian.AppendUint32(e.b, m.Segment)
		if !shared {
			e.time(m.Since)
			continue
		}
		at, _ := slices.BinarySearch(sinces, m.Since)
		e.uvarint(uint64(len(sinces) - 1 - at))
	}
}

// readMembers reads memberships and returns their number.
func (d *Decoder) readMembers() int {
	n := d.count(minMemberBytes)
	var sinces []subject.Instant
	if d.version > 1 && n >= membersFrom {
		sinces = d.readSinces(n)
	}
	first := len(d.members)
	for i := range n {
		m := subject.Membership{Segment: d.uint32()}
		if sinces == nil {
			m.Since = d.time()
		} else if back := d.uvarint(); back < uint64(len(sinces)) {
			m.Since = sinces[len(sinces)-1-int(back)]
		} else {
			d.fail()
		}
		d.require(i == 0 || d.members[len(d.members)-1].Segment < m.Segment)
		d.members = append(d.members, m)
	}
	if d.version > 1 && n >= membersFrom && !d.bad {
		again, shared := sincesOf(d.members[first:], d.merge[:0])
		d.require(shared == (sinces != nil) && (!shared || slices.Equal(again, sinces)))
		d.merge = again
	}
	return n
}

// readSinces reads the run that n memberships refer to; nil: there is none.
func (d *Decoder) readSinces(n int) []subject.Instant {
	m := d.uvarint()
	if d.require(m <= uint64(n) && m <= uint64(len(d.b))); m == 0 || d.bad {
		return nil
	}
	d.sinces = append(d.sinces[:0], make([]subject.Instant, m)...)
	d.readRun(d.sinces)
	return d.sinces
}
