package state

import (
	"fmt"

	"github.com/segmentd/segmentd/state/subject"
)

// DossierVersion is the first byte of every dossier this version writes, and the
// newest it reads. It has the high bit, which no record's first byte has: a value
// of the changelog says by it which of the two it is.
const DossierVersion = dossierBit | 1

const dossierBit = 0x80

// The format of a dossier, version 1, in the terms of a record's:
//
//	version byte | flags byte | id
//	uvarint n, then n requests: head byte | request id | time Effective, Received, Done | detail [| time Extended]
//	uvarint Dropped
//	uvarint n, then n proofs: head byte | purpose | time Time, Arrival, Expires
//	    | notice version | method | record id | source's topic, uvarint partition, uvarint offset
//
// Times count from 0. Of the flags there are flagAnonymous and the unit. A request's
// head is its kind and, moved up, its status, and whether Extended follows; a proof's
// its status and whether it is explicit.
const (
	flagsDossier         = flagAnonymous | flagUnitMask
	requestStatusShift   = 3
	requestKindMask      = 1<<requestStatusShift - 1
	requestExtended      = 1 << 7
	proofExplicit        = 1 << 3
	minDossierEntryBytes = 6 // of a request; a proof takes more
)

// IsDossier reports whether a value of the changelog is that of a dossier, and no record.
func IsDossier(value []byte) bool { return len(value) > 0 && value[0]&dossierBit != 0 }

// isBlank reports whether a dossier says nothing. It is not kept.
func isBlank(d *subject.Dossier) bool {
	return len(d.Proofs) == 0 && len(d.Requests) == 0 && d.Dropped == 0
}

// AppendDossier appends the encoding of d to b. Equal dossiers have equal bytes. It
// panics if d breaks an INVARIANT that DecodeDossier would reject.
func AppendDossier(b []byte, d *subject.Dossier) []byte {
	mustFit(!isBlank(d) && len(d.Proofs) <= subject.MaxProofs && len(d.Requests) <= subject.MaxRequests)
	unit := dossierUnit(d)
	e := encoder{b: append(b, DossierVersion, byte(unit<<flagUnitShift)|byte(d.ID.Type)&flagAnonymous), unit: timeUnits[unit]}
	e.text(d.ID.Value)
	e.uvarint(uint64(len(d.Requests)))
	for i := range d.Requests {
		e.request(&d.Requests[i])
	}
	e.uvarint(d.Dropped)
	e.uvarint(uint64(len(d.Proofs)))
	for i := range d.Proofs {
		e.proof(&d.Proofs[i])
	}
	return e.b
}

func mustFit(ok bool) {
	if !ok {
		panic("state: a dossier is empty, too large, or of no known kind")
	}
}

func dossierUnit(d *subject.Dossier) int {
	u := unitFinder{at: len(timeUnits) - 1}
	for i := range d.Requests {
		q := &d.Requests[i]
		u.see(q.Effective)
		u.see(q.Received)
		u.see(q.Done)
		u.see(q.Extended)
	}
	for i := range d.Proofs {
		p := &d.Proofs[i]
		u.see(p.Time)
		u.see(p.Arrival)
		u.see(p.Expires)
	}
	return u.at
}

func (e *encoder) request(q *subject.RequestState) {
	mustFit(q.Kind < subject.RequestKinds && q.Status < subject.RequestStatuses)
	head := byte(q.Kind) | byte(q.Status)<<requestStatusShift
	if q.Extended != 0 {
		head |= requestExtended
	}
	e.b = append(e.b, head)
	e.text(q.RequestID)
	e.time(q.Effective)
	e.time(q.Received)
	e.time(q.Done)
	e.text(q.Detail)
	if q.Extended != 0 {
		e.time(q.Extended)
	}
}

func (e *encoder) proof(p *subject.Proof) {
	mustFit(p.Status >= subject.Given && p.Status <= subject.Objected)
	head := byte(p.Status)
	if p.Explicit {
		head |= proofExplicit
	}
	e.b = append(e.b, head)
	e.text(p.Purpose)
	e.time(p.Time)
	e.time(p.Arrival)
	e.time(p.Expires)
	e.text(p.NoticeVersion)
	e.text(p.Method)
	e.text(p.RecordID)
	e.text(p.Source.Topic)
	e.uvarint(uint64(uint32(p.Source.Partition)))
	e.uvarint(uint64(p.Source.Offset))
}

// DecodeDossier reads what AppendDossier wrote and rejects all else (ErrRecord),
// other spellings included. A version that this one does not know is
// ErrNewerVersion. The dossier keeps nothing of b.
func DecodeDossier(b []byte) (*subject.Dossier, error) {
	var d Decoder
	d.begin(b)
	version, flags := d.byte(), d.byte()
	if !d.bad && version > DossierVersion {
		return nil, fmt.Errorf("dossier format %d: %w", version&^dossierBit, ErrNewerVersion)
	}
	unit := int(flags&flagUnitMask) >> flagUnitShift
	if d.bad || version != DossierVersion || flags&^flagsDossier != 0 || unit >= len(timeUnits) {
		return nil, ErrRecord
	}
	d.unit = timeUnits[unit]
	var out subject.Dossier
	out.ID = subject.ID{Type: subject.IDType(flags & flagAnonymous), Value: d.string()}
	for range d.entries(subject.MaxRequests) {
		out.Requests = append(out.Requests, d.request())
	}
	out.Dropped = d.uvarint()
	for range d.entries(subject.MaxProofs) {
		out.Proofs = append(out.Proofs, d.proof())
	}
	if d.bad || len(d.b) > 0 || isBlank(&out) || dossierUnit(&out) != unit {
		return nil, ErrRecord
	}
	return &out, nil
}

// entries reads how many requests or proofs follow.
func (d *Decoder) entries(most int) int {
	n := d.count(minDossierEntryBytes)
	d.require(n <= most)
	if d.bad {
		return 0
	}
	return n
}

func (d *Decoder) string() string { return string(d.bytes()) }

func (d *Decoder) request() subject.RequestState {
	head := d.byte()
	q := subject.RequestState{Kind: subject.RequestKind(head & requestKindMask), Status: subject.RequestStatus(head &^ requestExtended >> requestStatusShift)}
	d.require(q.Kind < subject.RequestKinds && q.Status < subject.RequestStatuses)
	q.RequestID = d.string()
	q.Effective, q.Received, q.Done = d.time(), d.time(), d.time()
	q.Detail = d.string()
	if head&requestExtended != 0 {
		q.Extended = d.time()
		d.require(q.Extended != 0)
	}
	return q
}

func (d *Decoder) proof() subject.Proof {
	head := d.byte()
	p := subject.Proof{Status: subject.Status(head &^ proofExplicit), Explicit: head&proofExplicit != 0}
	d.require(p.Status >= subject.Given && p.Status <= subject.Objected)
	p.Purpose = d.string()
	p.Time, p.Arrival, p.Expires = d.time(), d.time(), d.time()
	p.NoticeVersion, p.Method, p.RecordID = d.string(), d.string(), d.string()
	p.Source.Topic = d.string()
	partition, offset := d.uvarint(), d.uvarint()
	p.Source.Partition, p.Source.Offset = int32(uint32(partition)), int64(offset)
	d.require(partition <= 1<<32-1)
	return p
}
