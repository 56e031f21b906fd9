package state

import (
	"encoding/binary"
	"math"

	"github.com/segmentd/segmentd/state/subject"
)

// CodecVersion is the first byte of every record this version writes, and the
// newest it reads. Records of versions before it are read too, and written anew
// when they next change.
const CodecVersion = 3

// The format of a record, version 3. Version 2 has no rights and no stop by an
// erasure; version 1 has no shadows, no runs of memberships, and nothing held, either. Integers are varints unless said otherwise (uvarint: unsigned; hashes and leaf keys: fixed, big-endian).
//
//	version byte | flags byte | id | uvarint Version
//	time Clock (from 0) | time Next
//	where the flags say so: time Held.Since, Held.Until
//	where the flags say so, rights: time Erased | uvarint n, then n restrictions: time At | byte lifted
//	    | uvarint n, then n corrections: key | time | value
//	where the flags say so, a table: uvarint n | run of n different times
//	uvarint n, then n purposes:
//	    key | basis flags byte | time Since, Until, Stop.At
//	    uvarint n, then n grants: time At, Expires
//	    uvarint n, then n traits: key | time | value
//	    uvarint n, then n leaves: key 4 | uvarint count<<2 | truncated<<1 | has values
//	        | run of count times, or references to the table | values, newest last
//	    uvarint n, then n members: segment 4 | time since; or, from 4 members on,
//	        uvarint m | run of m different times, and n members: segment 4 | its
//	        place in the run, counted from the newest (m is 0, and the members
//	        are as above, where one was in long ago)
//	uvarint n, then n messages: hash 8 | time (from the one before)
//	where the flags say so, to the end: the shadow, a record of the present
//	version, without an id and without a shadow
//
// A run is the newest time and, going back in time, the uvarint gaps in units;
// references are the uvarint gaps between places in the table, likewise.
// Strings are a uvarint length and bytes. A time is a number of units (flags:
// microseconds, milliseconds or seconds, the coarsest that all times of the
// record are whole numbers of) from a reference, which is Clock unless said
// otherwise, zigzag-coded and moved up by timeCodes; the numbers below those
// are the instants that have no place on that scale.
const (
	flagAnonymous  = 1 << 0
	flagUnitShift  = 1
	flagUnitMask   = 3 << flagUnitShift
	flagTable      = 1 << 3
	flagShadow     = 1 << 4
	flagHeld       = 1 << 5
	flagRights     = 1 << 6
	flagsV1        = flagAnonymous | flagUnitMask | flagTable
	flagsV2        = flagsV1 | flagShadow | flagHeld
	flagsAll       = flagsV2 | flagRights
	basisKnown     = 1 << 0
	basisLapsed    = 1 << 1
	basisStopShift = 2
	leafHasValues  = 1 << 0
	leafTruncated  = 1 << 1
	leafCountShift = 2
)

const (
	timeNever = iota
	timeLongAgo
	timeZero
	timeRaw // 8 bytes follow, big-endian: too far from the reference
	timeCodes
)

// maxTimeDelta bounds the deltas that are written as such.
const maxTimeDelta = 1 << 61

var timeUnits = [...]int64{1, 1_000, 1_000_000}

// encoder appends one record's parts to b.
type encoder struct {
	b      []byte
	unit   int64
	clock  subject.Instant   // the reference of times
	shared []subject.Instant // the table; empty: none
}

// AppendRecord appends the encoding of r to b. Equal records have equal bytes;
// Armed and Indexed are not stored, nor are leaves without evidence. It panics
// if r breaks an INVARIANT of its type that DecodeRecord would reject.
func AppendRecord(b []byte, r *subject.Record) []byte {
	var e Encoder
	return e.Append(b, r)
}

// Encoder encodes records one after the other and keeps its working memory. The
// zero Encoder is ready. Not safe for concurrent use.
type Encoder struct{ room []subject.Instant }

// Append is AppendRecord.
func (x *Encoder) Append(b []byte, r *subject.Record) []byte {
	shared, tabled := tableOf(r, x.room[:0])
	x.room = shared
	unit := unitOf(r, shared, tabled)
	flags := byte(unit<<flagUnitShift) | byte(r.ID.Type)&flagAnonymous
	if tabled {
		flags |= flagTable
	}
	if r.Shadow != nil {
		flags |= flagShadow
	}
	if r.Held != (subject.Held{}) {
		flags |= flagHeld
	}
	if hasRights(r) {
		flags |= flagRights
	}
	e := encoder{b: append(b, CodecVersion, flags), unit: timeUnits[unit]}
	e.text(storedID(r))
	e.uvarint(r.Version)
	e.time(r.Clock)
	e.clock = reference(r.Clock)
	e.time(r.Next)
	if r.Held != (subject.Held{}) {
		mustAscend(r.Held.Until > r.Next)
		e.time(r.Held.Since)
		e.time(r.Held.Until)
	}
	if hasRights(r) {
		e.rights(r)
	}
	if tabled {
		e.uvarint(uint64(len(shared)))
		e.times(shared)
		e.shared = shared
	}
	e.uvarint(uint64(len(r.Purposes)))
	for i := range r.Purposes {
		mustAscend(i == 0 || r.Purposes[i-1].Key < r.Purposes[i].Key)
		e.purpose(&r.Purposes[i])
	}
	e.messages(r.Messages)
	if r.Shadow != nil {
		return x.shadow(e.b, r.Shadow)
	}
	return e.b
}

// storedID is the id that is written: none of a subject that was erased.
func storedID(r *subject.Record) string {
	if r.IsFence() {
		return ""
	}
	return r.ID.Value
}

func hasRights(r *subject.Record) bool {
	return r.Erased != 0 || len(r.Restrictions) > 0 || len(r.Corrections) > 0
}

func (e *encoder) rights(r *subject.Record) {
	mustAscend(!r.IsFence() || r.Held == (subject.Held{}) && len(r.Messages) == 0 && len(r.Corrections) == 0 && r.Shadow == nil)
	e.time(r.Erased)
	e.uvarint(uint64(len(r.Restrictions)))
	for i, x := range r.Restrictions {
		mustAscend(restrictionFits(r.Erased, r.Restrictions[:i], x))
		e.time(x.At)
		lifted := byte(0)
		if x.Lifted {
			lifted = 1
		}
		e.b = append(e.b, lifted)
	}
	e.uvarint(uint64(len(r.Corrections)))
	for i := range r.Corrections {
		mustAscend(correctionFits(r.Erased, r.Corrections[:i], &r.Corrections[i]))
		e.trait(&r.Corrections[i])
	}
}

// correctionFits reports whether a correction may come after others.
func correctionFits(erased subject.Instant, before []subject.Trait, c *subject.Trait) bool {
	if erased != 0 && c.Time <= erased {
		return false
	}
	if len(before) == 0 {
		return true
	}
	last := &before[len(before)-1]
	return last.Time < c.Time || last.Time == c.Time && last.Key < c.Key
}

// restrictionFits reports whether a restriction may come after others.
func restrictionFits(erased subject.Instant, before []subject.Restriction, x subject.Restriction) bool {
	return (erased == 0 || x.At > erased) && (len(before) == 0 || before[len(before)-1].Before(x))
}

// shadow appends a shadow, whose id is its record's.
func (x *Encoder) shadow(b []byte, s *subject.Record) []byte {
	if s.Shadow != nil {
		panic("state: a shadow has a shadow")
	}
	nameless := *s
	nameless.ID = subject.ID{}
	return x.Append(b, &nameless)
}

// reference is what times are counted from, given the record's clock.
func reference(clock subject.Instant) subject.Instant {
	if clock == subject.LongAgo || clock == subject.Never {
		return 0
	}
	return clock
}

func mustAscend(ok bool) {
	if !ok {
		panic("state: a record's parts are out of order")
	}
}

// unitOf returns the index of the coarsest unit of which all times are whole
// numbers. Those of leaves are in a table if there is one.
func unitOf(r *subject.Record, table []subject.Instant, tabled bool) int {
	u := unitFinder{at: len(timeUnits) - 1}
	u.see(r.Clock)
	u.see(r.Next)
	u.see(r.Held.Since)
	u.see(r.Held.Until)
	u.rights(r)
	for i := range r.Purposes {
		u.purpose(&r.Purposes[i], tabled)
	}
	if tabled {
		u.leaf(table)
	}
	for i := range r.Messages {
		u.see(r.Messages[i].At)
	}
	return u.at
}

type unitFinder struct{ at int }

func (u *unitFinder) see(t subject.Instant) {
	if t == subject.Never || t == subject.LongAgo {
		return
	}
	for u.at > 0 && int64(t)%timeUnits[u.at] != 0 {
		u.at--
	}
}

func (u *unitFinder) rights(r *subject.Record) {
	u.see(r.Erased)
	for _, x := range r.Restrictions {
		u.see(x.At)
	}
	for i := range r.Corrections {
		u.see(r.Corrections[i].Time)
	}
}

func (u *unitFinder) purpose(p *subject.Purpose, tabled bool) {
	u.see(p.Basis.Since)
	u.see(p.Basis.Until)
	u.see(p.Basis.Stop.At)
	for i := range p.Basis.Grants {
		u.see(p.Basis.Grants[i].At)
		u.see(p.Basis.Grants[i].Expires)
	}
	for i := range p.Traits {
		u.see(p.Traits[i].Time)
	}
	for i := range p.Members {
		u.see(p.Members[i].Since)
	}
	for i := range p.Leaves {
		if !tabled {
			u.leaf(p.Leaves[i].Times)
		}
	}
}

// leaf has no exception for Never and LongAgo: gaps between times must be
// whole numbers of units too.
func (u *unitFinder) leaf(times []subject.Instant) {
	for _, t := range times {
		if u.at == 0 {
			return
		}
		for u.at > 0 && int64(t)%timeUnits[u.at] != 0 {
			u.at--
		}
	}
}

func (e *encoder) uvarint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }

func (e *encoder) text(s string) {
	e.uvarint(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) time(t subject.Instant) { e.timeFrom(e.clock, t) }

func (e *encoder) timeFrom(ref, t subject.Instant) {
	switch t {
	case subject.Never:
		e.b = append(e.b, timeNever)
		return
	case subject.LongAgo:
		e.b = append(e.b, timeLongAgo)
		return
	case 0:
		e.b = append(e.b, timeZero)
		return
	}
	d, ok := delta(ref, t)
	if !ok {
		e.b = append(e.b, timeRaw)
		e.b = binary.BigEndian.AppendUint64(e.b, uint64(t))
		return
	}
	e.uvarint(zigzag(d/e.unit) + timeCodes)
}

// delta returns t - ref if it can be written as a delta.
func delta(ref, t subject.Instant) (int64, bool) {
	d := int64(t) - int64(ref)
	if (d < 0) != (t < ref) || d > maxTimeDelta || d < -maxTimeDelta {
		return 0, false
	}
	return d, true
}

func zigzag(d int64) uint64   { return uint64(d)<<1 ^ uint64(d>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func (e *encoder) purpose(p *subject.Purpose) {
	e.text(p.Key)
	e.basis(&p.Basis)
	e.uvarint(uint64(len(p.Traits)))
	for i := range p.Traits {
		t := &p.Traits[i]
		mustAscend(i == 0 || p.Traits[i-1].Key < t.Key)
		e.trait(t)
	}
	e.leaves(p.Leaves)
	e.members(p.Members)
}

func (e *encoder) trait(t *subject.Trait) {
	e.text(t.Key)
	e.time(t.Time)
	e.b = appendValue(e.b, t.Value)
}

func (e *encoder) basis(s *subject.Basis) {
	flags := byte(s.Stop.Status) << basisStopShift
	if s.Known {
		flags |= basisKnown
	}
	if s.Lapsed {
		flags |= basisLapsed
	}
	e.b = append(e.b, flags)
	e.time(s.Since)
	e.time(s.Until)
	e.time(s.Stop.At)
	e.uvarint(uint64(len(s.Grants)))
	before := notBefore(s)
	for i := range s.Grants {
		g := &s.Grants[i]
		mustAscend(g.At >= before)
		before = g.At
		e.time(g.At)
		e.time(g.Expires)
	}
}

// notBefore is the earliest instant that a first grant may have: after the stop, if there was one.
func notBefore(s *subject.Basis) subject.Instant {
	switch {
	case s.Stop.Status == subject.NoDecision:
		return subject.LongAgo
	case s.Stop.At == math.MaxInt64:
		return subject.Never
	}
	return s.Stop.At + 1
}

func (e *encoder) leaves(ls []subject.Leaf) {
	n := 0
	for i := range ls {
		mustAscend(i == 0 || ls[i-1].Key < ls[i].Key)
		if len(ls[i].Times) > 0 {
			n++
		}
	}
	e.uvarint(uint64(n))
	for i := range ls {
		if len(ls[i].Times) > 0 {
			e.leaf(&ls[i])
		}
	}
}

func (e *encoder) leaf(l *subject.Leaf) {
	head := uint64(len(l.Times)) << leafCountShift
	if l.Truncated {
		head |= leafTruncated
	}
	if l.Values != nil {
		mustAscend(len(l.Values) == len(l.Times))
		head |= leafHasValues
	}
	e.b = binary.BigEndian.AppendUint32(e.b, l.Key)
	e.uvarint(head)
	if len(e.shared) > 0 {
		e.references(l.Times)
	} else {
		e.times(l.Times)
	}
	for i := range l.Values {
		e.b = appendValue(e.b, l.Values[i])
	}
}

func (e *encoder) messages(ms []subject.Message) {
	e.uvarint(uint64(len(ms)))
	ref := e.clock
	for i := range ms {
		e.b = binary.BigEndian.AppendUint64(e.b, ms[i].Hash)
		e.timeFrom(ref, ms[i].At)
		ref = reference(ms[i].At)
	}
}
