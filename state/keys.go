package state

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/segmentd/segmentd/state/subject"
)

// KeyBytes is the length of a Key.
const KeyBytes = 16

// Key names a subject in the local image and on the changelog: the first 16
// bytes of HMAC-SHA-256 over the typed id. Without the secret it cannot be
// traced back to the id, nor computed from it.
type Key [KeyBytes]byte

// Dossier returns the key of the dossier of the subject whose record has the key k,
// and the other way round: of a subject that was erased no id is kept from which
// either could be computed, and when its record is scrubbed its requests are done.
func (k Key) Dossier() Key {
	for i := range k {
		k[i] = ^k[i]
	}
	return k
}

// What the keyed hash is taken of begins with one of these bytes, so that no
// use of it can be taken for another. Ids begin with their type (0, 1).
const (
	domainAudit       = 0xfd
	domainLog         = 0xfe
	domainFingerprint = 0xff
)

// Keyer computes keys. It is not safe for concurrent use: each partition
// goroutine owns one.
type Keyer struct {
	mac hash.Hash
	buf []byte
	sum [sha256.Size]byte
}

// NewKeyer returns a Keyer of a secret, which is copied.
func NewKeyer(secret []byte) *Keyer {
	return &Keyer{mac: hmac.New(sha256.New, secret), buf: make([]byte, 0, 1+subject.MaxIDBytes)}
}

// Key returns the key of a subject.
func (k *Keyer) Key(id subject.ID) (key Key) {
	copy(key[:], k.hash(byte(id.Type), id.Value))
	return key
}

// Fingerprint tells secrets apart without revealing them: 16 hexadecimal digits.
func (k *Keyer) Fingerprint() string {
	return hex.EncodeToString(k.hash(domainFingerprint, "secret")[:8])
}

// LogID returns what log lines write instead of an id: 12 hexadecimal digits,
// equal for equal ids, that are no part of the subject's key.
func (k *Keyer) LogID(id string) string { return hex.EncodeToString(k.hash(domainLog, id)[:6]) }

// AuditID returns what the audit log writes instead of an id: 32 hexadecimal
// digits, equal for equal ids of one type, that are no part of the subject's key.
func (k *Keyer) AuditID(id subject.ID) string {
	return hex.EncodeToString(k.hash(domainAudit, string([]byte{byte(id.Type)})+id.Value)[:16])
}

// hash returns the keyed hash, valid until the next call.
func (k *Keyer) hash(domain byte, text string) []byte {
	k.buf = append(append(k.buf[:0], domain), text...)
	k.mac.Reset()
	k.mac.Write(k.buf)
	return k.mac.Sum(k.sum[:0])
}

// Keys in Badger. Numbers are big-endian, so that keys sort as what they name.
//
//	<partition 4> 'm' <name>                    of the partition: its position, the values of fixed keys
//	<partition 4> 'r' <subject key 16>          the subject's record, as on the changelog
//	<partition 4> 'd' <Key.Dossier 16>          the subject's dossier, likewise
//	<partition 4> 't' <instant 8> <subject key 16>   a timer; the value is empty
//	<partition 4> 'j' <subject key 16>          the subject waits to be scrubbed; since when, 8 bytes of µs
//
// The instant is stored with its sign bit flipped, which sorts negative ones first.
const (
	kindMeta    = 'm'
	kindRecord  = 'r'
	kindDossier = 'd'
	kindTimer   = 't'
	kindScrub   = 'j'

	partitionKeyBytes = 4
	recordKeyBytes    = partitionKeyBytes + 1 + KeyBytes
	timerKeyBytes     = partitionKeyBytes + 1 + 8 + KeyBytes
)

// timer is one armed instant of a subject. Timers are ordered by instant, then key.
type timer struct {
	at  subject.Instant
	key Key
}

func (t timer) before(u timer) bool {
	if t.at != u.at {
		return t.at < u.at
	}
	return string(t.key[:]) < string(u.key[:])
}

func (t timer) compare(u timer) int {
	switch {
	case t.before(u):
		return -1
	case u.before(t):
		return 1
	}
	return 0
}

// keyspace is the part of Badger's keys that belongs to one partition.
type keyspace int32

func (k keyspace) prefix(kind ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(k)), kind...)
}

func (k keyspace) meta(name string) []byte { return append(k.prefix(kindMeta), name...) }

func (k keyspace) appendRecord(b []byte, key Key) []byte { return k.appendKey(b, kindRecord, key) }

// appendKey appends the key of a record or a dossier.
func (k keyspace) appendKey(b []byte, kind byte, key Key) []byte {
	b = append(binary.BigEndian.AppendUint32(b, uint32(k)), kind)
	return append(b, key[:]...)
}

func (k keyspace) appendTimer(b []byte, t timer) []byte {
	b = append(binary.BigEndian.AppendUint32(b, uint32(k)), kindTimer)
	b = binary.BigEndian.AppendUint64(b, uint64(t.at)^1<<63)
	return append(b, t.key[:]...)
}

// timerOf reads a timer key; ok is false if it is none.
func timerOf(b []byte) (t timer, ok bool) {
	if len(b) != timerKeyBytes || b[partitionKeyBytes] != kindTimer {
		return timer{}, false
	}
	b = b[partitionKeyBytes+1:]
	t.at = subject.Instant(binary.BigEndian.Uint64(b) ^ 1<<63)
	copy(t.key[:], b[8:])
	return t, true
}

// recordOf reads the subject's key from a record key; ok is false if it is none.
func recordOf(b []byte) (key Key, ok bool) { return keyOfKind(b, kindRecord) }

func keyOfKind(b []byte, kind byte) (key Key, ok bool) {
	if len(b) != recordKeyBytes || b[partitionKeyBytes] != kind {
		return Key{}, false
	}
	return Key(b[partitionKeyBytes+1:]), true
}
