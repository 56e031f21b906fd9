package kafka

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"slices"
	"sync"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// Limits of one batch, before compression: below Kafka's default max.message.bytes
// (1048588). One larger message makes a batch of its own.
const (
	maxBatchBytes   = 1_000_000
	maxBatchRecords = 10_000
)

// producerState is what the broker knows a producer by.
type producerState struct {
	id    int64 // -1: none
	epoch int16
	txn   bool
}

// batchEncoder writes record batches. Its memory is reused; one goroutine at a time.
type batchEncoder struct {
	packer packer
	plain  []byte
}

// encoders are those that are not at work, by compression: each has memory for a
// batch and its compressor's tables.
var encoders [None + 1]sync.Pool

func borrowEncoder(c Compression) *batchEncoder {
	if e, ok := encoders[c].Get().(*batchEncoder); ok {
		return e
	}
	return &batchEncoder{packer: packer{compression: c}}
}

func (e *batchEncoder) giveBack() { encoders[e.packer.compression].Put(e) }

// encode writes as many of the messages whose indexes are given as fit into one
// batch over dst's memory, and returns the batch and how many those are.
func (e *batchEncoder) encode(dst []byte, messages []stream.Message, indexes []int) (batch []byte, count int, err error) {
	first := unixMilli(messages[indexes[0]].Timestamp)
	latest := first
	e.plain = e.plain[:0]
	for _, i := range indexes[:min(len(indexes), maxBatchRecords)] {
		m := &messages[i]
		at := unixMilli(m.Timestamp)
		size := recordBytes(m, at-first, count)
		if count > 0 && headerBytes+len(e.plain)+size+bytesOfVarint(int64(size)) > maxBatchBytes {
			break
		}
		e.plain = appendRecord(e.plain, m, recordPlace{size: size, sinceFirst: at - first, delta: count})
		latest = max(latest, at)
		count++
	}
	dst = slices.Grow(dst[:0], headerBytes)[:headerBytes]
	clear(dst)
	packed, codec, err := e.packer.pack(dst, e.plain)
	if err != nil {
		return nil, 0, err
	}
	if codec == codecNone {
		packed = append(dst, e.plain...)
	}
	putHeader(packed, batchHeader{attributes: codec, lastDelta: int32(count - 1), firstTime: first, maxTime: latest, count: int32(count)})
	return packed, count, nil
}

func putHeader(b []byte, h batchHeader) {
	be := binary.BigEndian
	be.PutUint64(b, uint64(h.base))
	be.PutUint32(b[8:], uint32(len(b)-lengthBytes))
	be.PutUint32(b[12:], ^uint32(0)) // the leader's epoch, which the broker sets
	b[16] = 2
	be.PutUint16(b[21:], h.attributes)
	be.PutUint32(b[23:], uint32(h.lastDelta))
	be.PutUint64(b[27:], uint64(h.firstTime))
	be.PutUint64(b[35:], uint64(h.maxTime))
	be.PutUint32(b[57:], uint32(h.count))
	seal(b, producerState{id: -1, epoch: -1}, -1)
}

// seal marks a batch as a producer's, with its place in the sequence, and
// computes the checksum.
func seal(b []byte, p producerState, sequence int32) {
	be := binary.BigEndian
	attributes := be.Uint16(b[21:])
	if p.txn {
		attributes |= attrTxn
	}
	be.PutUint16(b[21:], attributes)
	be.PutUint64(b[43:], uint64(p.id))
	be.PutUint16(b[51:], uint16(p.epoch))
	be.PutUint32(b[53:], uint32(sequence))
	be.PutUint32(b[17:], crc32.Checksum(b[crcStart:], castagnoli))
}

// recordPlace is what a record's bytes owe to its batch.
type recordPlace struct {
	size       int // of the record without this length itself
	sinceFirst int64
	delta      int
}

func appendRecord(b []byte, m *stream.Message, at recordPlace) []byte {
	b = binary.AppendVarint(b, int64(at.size))
	b = append(b, 0) // attributes, unused by the format
	b = binary.AppendVarint(b, at.sinceFirst)
	b = binary.AppendVarint(b, int64(at.delta))
	b = appendBytes(b, m.Key)
	b = appendBytes(b, m.Value)
	b = binary.AppendVarint(b, int64(len(m.Headers)))
	for i := range m.Headers {
		h := &m.Headers[i]
		b = append(binary.AppendVarint(b, int64(len(h.Key))), h.Key...)
		b = appendBytes(b, h.Value)
	}
	return b
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(v))), v...)
}

func recordBytes(m *stream.Message, sinceFirst int64, delta int) int {
	n := 1 + bytesOfVarint(sinceFirst) + bytesOfVarint(int64(delta)) +
		bytesOf(m.Key) + bytesOf(m.Value) + bytesOfVarint(int64(len(m.Headers)))
	for i := range m.Headers {
		h := &m.Headers[i]
		n += bytesOfVarint(int64(len(h.Key))) + len(h.Key) + bytesOf(h.Value)
	}
	return n
}

func bytesOf(v []byte) int {
	if v == nil {
		return 1
	}
	return bytesOfVarint(int64(len(v))) + len(v)
}

func bytesOfVarint(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	return (bits.Len64(u|1) + 6) / 7
}

// unixMilli cuts towards the past.
func unixMilli(t subject.Instant) int64 {
	ms := int64(t) / 1000
	if int64(t)%1000 < 0 {
		ms--
	}
	return ms
}

// nextSequence wraps as the broker's does.
func nextSequence(sequence int32, count int) int32 {
	return int32((int64(sequence) + int64(count)) & 0x7fffffff)
}
