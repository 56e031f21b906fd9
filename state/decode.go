package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// ErrNewerVersion means that something was written by a newer version of
// segmentd, in a format this one does not know.
var ErrNewerVersion = errors.New("written by a newer version of segmentd")

// ErrRecord means that bytes are no record.
var ErrRecord = errors.New("not a subject record")

// DecodeRecord reads what AppendRecord wrote and rejects all else (ErrRecord),
// trailing bytes and other spellings of a record included. A version that this
// one does not know is ErrNewerVersion. The record keeps nothing of b.
func DecodeRecord(b []byte) (*subject.Record, error) {
	var d Decoder
	return d.Decode(b)
}

// Decoder decodes records one after the other and keeps its working memory.
// The zero Decoder is ready. Not safe for concurrent use.
type Decoder struct {
	b       []byte // what is left
	bad     bool
	version byte
	unit    int64
	clock   subject.Instant
	names   map[string]string // purpose and trait keys met so far

	shadowed bool // the record has a shadow
	held     bool // what is due is held
	rights   bool // there was an erasure or a restriction
	tabled   bool // and a table of times
	shared   []subject.Instant
	used     []bool // which of them leaves refer to
	merge    []subject.Instant
	sinces   []subject.Instant // of memberships

	record   subject.Record
	purposes []subject.Purpose
	spans    []span
	grants   []subject.Grant
	traits   []subject.Trait
	leaves   []subject.Leaf
	counts   []int // times of each leaf; negative: without values
	times    []subject.Instant
	values   []subject.Value
	members  []subject.Membership
	messages []subject.Message

	shadow *Decoder // of shadows
}

// span is how much of the shared arrays one purpose has.
type span struct{ grants, traits, leaves, members int }

// maxNames bounds the memory for keys that repeat between records.
const maxNames = 4096

// Decode decodes a record that is the caller's.
func (d *Decoder) Decode(b []byte) (*subject.Record, error) {
	if err := d.parse(b, true); err != nil {
		return nil, err
	}
	return d.owned(), nil
}

// owned returns what was parsed in memory of its own.
func (d *Decoder) owned() *subject.Record {
	r := d.record
	r.Messages = slices.Clone(d.messages)
	own := Decoder{spans: d.spans, counts: d.counts,
		purposes: slices.Clone(d.purposes), grants: slices.Clone(d.grants), traits: slices.Clone(d.traits), leaves: slices.Clone(d.leaves),
		times: slices.Clone(d.times), values: slices.Clone(d.values), members: slices.Clone(d.members)}
	own.assemble()
	r.Purposes = own.purposes
	if d.shadowed {
		r.Shadow = d.shadow.owned()
		r.Shadow.ID = r.ID
	}
	return &r
}

// Peek decodes a record that is valid until the Decoder's next use.
func (d *Decoder) Peek(b []byte) (*subject.Record, error) {
	if err := d.parse(b, true); err != nil {
		return nil, err
	}
	return d.lent(), nil
}

// lent returns what was parsed in the Decoder's memory.
func (d *Decoder) lent() *subject.Record {
	d.assemble()
	d.record.Purposes, d.record.Messages = d.purposes, d.messages
	if d.shadowed {
		d.record.Shadow = d.shadow.lent()
		d.record.Shadow.ID = d.record.ID
	}
	return &d.record
}

// parse reads a record; may says whether it may have a shadow.
func (d *Decoder) parse(b []byte, may bool) error {
	d.begin(b)
	version := d.byte()
	if !d.bad && version > CodecVersion {
		return fmt.Errorf("record format %d: %w", version, ErrNewerVersion)
	}
	d.require(version >= 1)
	d.version = version
	flags := d.byte()
	unit := int(flags&flagUnitMask) >> flagUnitShift
	if flags&^knownFlags(version) != 0 || unit >= len(timeUnits) || d.bad {
		return ErrRecord
	}
	d.unit, d.tabled = timeUnits[unit], flags&flagTable != 0
	d.shadowed, d.held, d.rights = flags&flagShadow != 0, flags&flagHeld != 0, flags&flagRights != 0
	d.body(subject.IDType(flags & flagAnonymous))
	if d.bad || len(d.b) > 0 != d.shadowed || d.shadowed && !may || !d.unitIsCoarsest(unit) || !d.tableIsRight() {
		return ErrRecord
	}
	if d.shadowed {
		return d.parseShadow(version)
	}
	return nil
}

func knownFlags(version byte) byte {
	switch version {
	case 1:
		return flagsV1
	case 2:
		return flagsV2
	}
	return flagsAll
}

// parseShadow reads the shadow of a record of a version from what is left.
func (d *Decoder) parseShadow(version byte) error {
	if d.shadow == nil {
		d.shadow = &Decoder{}
	}
	if d.b[0] != version || d.shadow.parse(d.b, false) != nil || d.shadow.record.ID != (subject.ID{}) {
		return ErrRecord
	}
	return nil
}

func (d *Decoder) begin(b []byte) {
	d.b, d.bad, d.clock, d.record = b, false, 0, subject.Record{}
	d.purposes, d.spans, d.grants, d.traits = d.purposes[:0], d.spans[:0], d.grants[:0], d.traits[:0]
	d.leaves, d.counts, d.times, d.values = d.leaves[:0], d.counts[:0], d.times[:0], d.values[:0]
	d.members, d.messages = d.members[:0], d.messages[:0]
	if d.names == nil || len(d.names) > maxNames {
		d.names = map[string]string{}
	}
}

func (d *Decoder) body(t subject.IDType) {
	r := &d.record
	r.ID = subject.ID{Type: t, Value: string(d.bytes())}
	r.Version = d.uvarint()
	r.Clock = d.time()
	d.clock = reference(r.Clock)
	r.Next = d.time()
	if d.held {
		r.Held = subject.Held{Since: d.time(), Until: d.time()}
		d.require(r.Held != subject.Held{} && r.Held.Until > r.Next)
	}
	if d.rights {
		d.readRights()
	}
	if d.tabled {
		d.readTable()
	}
	for range d.count(minPurposeBytes) {
		d.purpose()
	}
	d.readMessages()
	fence := r.Erased != 0 && len(d.purposes) == 0
	d.require(!fence || r.ID.Value == "" && !d.held && len(d.messages) == 0 && len(r.Corrections) == 0 && !d.shadowed)
}

func (d *Decoder) readRights() {
	r := &d.record
	r.Erased = d.time()
	for range d.count(minRestrictionBytes) {
		x := subject.Restriction{At: d.time()}
		lifted := d.byte()
		x.Lifted = lifted == 1
		d.require(lifted <= 1 && restrictionFits(r.Erased, r.Restrictions, x))
		r.Restrictions = append(r.Restrictions, x)
	}
	for range d.count(minTraitBytes) {
		c := d.trait()
		d.require(correctionFits(r.Erased, r.Corrections, &c))
		r.Corrections = append(r.Corrections, c)
	}
	d.require(hasRights(r))
}

// The fewest bytes that parts of a record take: counts are held against what
// is left before anything is allocated.
const (
	minRestrictionBytes = 2
	minPurposeBytes     = 9
	minGrantBytes       = 2
	minTraitBytes       = 3
	minLeafBytes        = 6
	minMemberBytes      = 5
	minMessageBytes     = 9
)

func (d *Decoder) purpose() {
	p := subject.Purpose{Key: d.name()}
	if n := len(d.purposes); n > 0 {
		d.require(d.purposes[n-1].Key < p.Key)
	}
	var s span
	s.grants = d.basis(&p.Basis)
	s.traits = d.readTraits()
	s.leaves = d.readLeaves()
	s.members = d.readMembers()
	d.purposes, d.spans = append(d.purposes, p), append(d.spans, s)
}

func (d *Decoder) basis(s *subject.Basis) (grants int) {
	flags := d.byte()
	s.Known, s.Lapsed = flags&basisKnown != 0, flags&basisLapsed != 0
	s.Stop.Status = subject.Status(flags >> basisStopShift)
	d.require(s.Stop.Status <= subject.Objected || s.Stop.Status == subject.Forgotten && d.version >= 3)
	s.Since, s.Until, s.Stop.At = d.time(), d.time(), d.time()
	grants = d.count(minGrantBytes)
	before := notBefore(s)
	for range grants {
		g := subject.Grant{At: d.time(), Expires: d.time()}
		d.require(g.At >= before)
		before = g.At
		d.grants = append(d.grants, g)
	}
	return grants
}

func (d *Decoder) readTraits() int {
	n := d.count(minTraitBytes)
	for i := range n {
		t := d.trait()
		d.require(i == 0 || d.traits[len(d.traits)-1].Key < t.Key)
		d.traits = append(d.traits, t)
	}
	return n
}

func (d *Decoder) trait() subject.Trait {
	return subject.Trait{Key: d.name(), Time: d.time(), Value: d.value(0)}
}

func (d *Decoder) readLeaves() int {
	n := d.count(minLeafBytes)
	for i := range n {
		l := subject.Leaf{Key: d.uint32()}
		d.require(i == 0 || d.leaves[len(d.leaves)-1].Key < l.Key)
		head := d.uvarint()
		l.Truncated = head&leafTruncated != 0
		times := head >> leafCountShift
		if times == 0 || times > uint64(len(d.b)) {
			d.fail()
			return i
		}
		d.readTimes(int(times))
		count := -int(times)
		if head&leafHasValues != 0 {
			count = int(times)
			for range times {
				d.values = append(d.values, d.value(0))
			}
		}
		d.leaves, d.counts = append(d.leaves, l), append(d.counts, count)
	}
	return n
}

func (d *Decoder) readMessages() {
	ref := d.clock
	for range d.count(minMessageBytes) {
		var m subject.Message
		if b := d.take(8); len(b) == 8 {
			m.Hash = binary.BigEndian.Uint64(b)
		}
		m.At = d.timeFrom(ref)
		ref = reference(m.At)
		d.messages = append(d.messages, m)
	}
}

// assemble gives every purpose and leaf its part of the shared arrays, with no
// room to grow into the next one's.
func (d *Decoder) assemble() {
	grants, traits, leaves, members := d.grants, d.traits, d.leaves, d.members
	times, values, counts := d.times, d.values, d.counts
	for i := range d.purposes {
		p, s := &d.purposes[i], d.spans[i]
		p.Basis.Grants, grants = cut(grants, s.grants)
		p.Traits, traits = cut(traits, s.traits)
		p.Leaves, leaves = cut(leaves, s.leaves)
		p.Members, members = cut(members, s.members)
		for j := range p.Leaves {
			n := counts[j]
			if n > 0 {
				p.Leaves[j].Values, values = cut(values, n)
			}
			p.Leaves[j].Times, times = cut(times, max(n, -n))
		}
		counts = counts[len(p.Leaves):]
	}
}

func cut[T any](s []T, n int) (head, tail []T) {
	if n == 0 {
		return nil, s
	}
	return s[:n:n], s[n:]
}

// unitIsCoarsest reports whether the encoder would have chosen the unit.
func (d *Decoder) unitIsCoarsest(unit int) bool {
	u := unitFinder{at: len(timeUnits) - 1}
	u.see(d.record.Clock)
	u.see(d.record.Next)
	u.see(d.record.Held.Since)
	u.see(d.record.Held.Until)
	u.rights(&d.record)
	for i := range d.purposes {
		u.see(d.purposes[i].Basis.Since)
		u.see(d.purposes[i].Basis.Until)
		u.see(d.purposes[i].Basis.Stop.At)
	}
	for i := range d.grants {
		u.see(d.grants[i].At)
		u.see(d.grants[i].Expires)
	}
	for i := range d.traits {
		u.see(d.traits[i].Time)
	}
	for i := range d.members {
		u.see(d.members[i].Since)
	}
	for i := range d.messages {
		u.see(d.messages[i].At)
	}
	u.leaf(d.times)
	return u.at == unit
}

func (d *Decoder) fail() { d.bad, d.b = true, nil }

func (d *Decoder) require(ok bool) {
	if !ok {
		d.fail()
	}
}

func (d *Decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *Decoder) uint32() uint32 {
	if len(d.b) < 4 {
		d.fail()
		return 0
	}
	v := binary.BigEndian.Uint32(d.b)
	d.b = d.b[4:]
	return v
}

// uvarint reads a uvarint in its shortest form.
func (d *Decoder) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 {
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	return d.longUvarint()
}

func (d *Decoder) longUvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || d.b[n-1] == 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *Decoder) varint() int64 { return unzigzag(d.uvarint()) }

// count reads how many parts of at least size bytes follow.
func (d *Decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

// take returns the next n bytes of the input.
func (d *Decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *Decoder) bytes() []byte { return d.take(d.uvarint()) }

// name reads a key that repeats between records; they share one copy of it.
func (d *Decoder) name() string {
	b := d.bytes()
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	s := string(b)
	d.names[s] = s
	return s
}

func (d *Decoder) time() subject.Instant { return d.timeFrom(d.clock) }

func (d *Decoder) timeFrom(ref subject.Instant) subject.Instant {
	code := d.uvarint()
	switch code {
	case timeNever:
		return subject.Never
	case timeLongAgo:
		return subject.LongAgo
	case timeZero:
		return 0
	case timeRaw:
		return d.rawTime(ref)
	}
	units := unzigzag(code - timeCodes)
	t := subject.Instant(int64(ref) + units*d.unit)
	// The same instant must have come out of delta.
	back, ok := delta(ref, t)
	d.require(ok && back == units*d.unit && back/d.unit == units && t != 0 && t != subject.Never && t != subject.LongAgo)
	return t
}

func (d *Decoder) rawTime(ref subject.Instant) subject.Instant {
	b := d.take(8)
	if len(b) < 8 {
		return 0
	}
	t := subject.Instant(binary.BigEndian.Uint64(b))
	_, ok := delta(ref, t)
	d.require(!ok && t != 0 && t != subject.Never && t != subject.LongAgo)
	return t
}
