package kafka

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// The record batch, version 2 (https://kafka.apache.org/documentation/#recordbatch).
const (
	headerBytes    = 61
	lengthBytes    = 12 // base offset and length, which the length does not count
	crcStart       = 21 // from the attributes on
	leastRecord    = 7  // a record without key, value and headers
	attrCodec      = 0x07
	attrAppendTime = 0x08
	attrTxn        = 0x10
	attrControl    = 0x20
)

// A partition's record set may unpack to plainTimes as much as was asked for, and
// to partitionPlainBytes, before the rest of it is left to the next fetch.
const (
	plainTimes          = 4
	partitionPlainBytes = 4 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batchHeader is what we use of a batch's header.
type batchHeader struct {
	base       int64
	attributes uint16
	lastDelta  int32
	firstTime  int64 // ms
	maxTime    int64 // ms
	producerID int64
	count      int32
}

func (h *batchHeader) last() int64     { return h.base + int64(h.lastDelta) }
func (h *batchHeader) isControl() bool { return h.attributes&attrControl != 0 }
func (h *batchHeader) isTxn() bool     { return h.attributes&attrTxn != 0 }

// cutBatch takes the first batch off a record set. A batch that is cut short is
// no batch: ok is false, and the broker sends it again.
func cutBatch(set []byte) (batch, rest []byte, ok bool, err error) {
	if len(set) <= 16 {
		return nil, nil, false, nil
	}
	if magic := set[16]; magic != 2 {
		return nil, nil, false, fmt.Errorf("message format v%d is too old, only v2 (Kafka 0.11 and later) can be read: %w", magic, stream.ErrFatal)
	}
	n := int64(lengthBytes) + int64(int32(binary.BigEndian.Uint32(set[8:])))
	if n < headerBytes {
		return nil, nil, false, fmt.Errorf("batch of %d bytes: %w", n, ErrCorrupt)
	}
	if n > int64(len(set)) {
		return nil, nil, false, nil
	}
	return set[:n], set[n:], true, nil
}

func readHeader(b []byte) (h batchHeader, err error) {
	be := binary.BigEndian
	if sum := crc32.Checksum(b[crcStart:], castagnoli); sum != be.Uint32(b[17:]) {
		return h, fmt.Errorf("checksum: %w", ErrCorrupt)
	}
	h = batchHeader{
		base:       int64(be.Uint64(b)),
		attributes: be.Uint16(b[21:]),
		lastDelta:  int32(be.Uint32(b[23:])),
		firstTime:  int64(be.Uint64(b[27:])),
		maxTime:    int64(be.Uint64(b[35:])),
		producerID: int64(be.Uint64(b[43:])),
		count:      int32(be.Uint32(b[57:])),
	}
	if h.base < 0 || h.lastDelta < 0 || h.count < 0 || h.base > math.MaxInt64-math.MaxInt32-1 {
		return h, fmt.Errorf("offset %d+%d, %d records: %w", h.base, h.lastDelta, h.count, ErrCorrupt)
	}
	return h, nil
}

// abortedFilter knows the producers whose open transaction came to nothing, as
// the batches of one partition pass by in offset order.
type abortedFilter struct {
	list []abortedTransaction // by first offset; those still ahead
	open []int64              // producer ids
}

func newAbortedFilter(list []abortedTransaction) abortedFilter {
	slices.SortFunc(list, func(a, b abortedTransaction) int {
		switch {
		case a.FirstOffset < b.FirstOffset:
			return -1
		case a.FirstOffset > b.FirstOffset:
			return 1
		}
		return 0
	})
	return abortedFilter{list: list}
}

// passTo opens the aborted transactions that begin up to offset last.
func (f *abortedFilter) passTo(last int64) {
	for len(f.list) > 0 && f.list[0].FirstOffset <= last {
		if id := f.list[0].ProducerID; !slices.Contains(f.open, id) {
			f.open = append(f.open, id)
		}
		f.list = f.list[1:]
	}
}

func (f *abortedFilter) skips(h *batchHeader) bool {
	return h.isTxn() && slices.Contains(f.open, h.producerID)
}

func (f *abortedFilter) aborted(producerID int64) {
	if i := slices.Index(f.open, producerID); i >= 0 {
		f.open = slices.Delete(f.open, i, i+1)
	}
}

// parser turns record sets into records; what it holds is reused. One goroutine
// at a time.
type parser struct {
	unpack unpacker
	keys   map[string]string // of headers, interned
}

// recordsOf appends the committed data records of a record set at offset from
// and later to buf.Records, until they are room bytes, and returns the offset to fetch next. An error that
// follows good batches is left to be found by the next fetch, which begins at it.
func (p *parser) recordsOf(set []byte, from int64, aborted []abortedTransaction, room int, buf *stream.Buffer) (next int64, err error) {
	filter := newAbortedFilter(aborted)
	next = from
	for plain := len(buf.Plain); len(buf.Plain)-plain < room; {
		batch, rest, ok, err := cutBatch(set)
		if err != nil || !ok {
			return next, firstError(err, next == from, len(set))
		}
		last, err := p.batch(batch, from, &filter, buf)
		if err != nil {
			return next, firstError(err, next == from, len(set))
		}
		next, set = max(next, last+1), rest
	}
	return next, nil
}

// firstError is err where nothing came before it.
func firstError(err error, first bool, left int) error {
	switch {
	case !first:
		return nil
	case err == nil && left > 0:
		return fmt.Errorf("the first batch is incomplete: %w", ErrCorrupt)
	}
	return err
}

func (p *parser) batch(b []byte, from int64, filter *abortedFilter, buf *stream.Buffer) (last int64, err error) {
	h, err := readHeader(b)
	if err != nil {
		return 0, err
	}
	filter.passTo(h.last())
	if h.isControl() {
		if h.count > 0 && isAbortMarker(b[headerBytes:]) {
			filter.aborted(h.producerID)
		}
		return h.last(), nil
	}
	if h.count == 0 || h.last() < from || filter.skips(&h) {
		return h.last(), nil
	}
	body, err := p.unpack.body(b[headerBytes:], h.attributes&attrCodec, buf)
	if err != nil {
		return 0, err
	}
	mark := len(buf.Records)
	if err := p.records(body, &h, from, buf); err != nil {
		buf.Records = buf.Records[:mark]
		return 0, fmt.Errorf("offset %d: %w", h.base, err)
	}
	return h.last(), nil
}

// isAbortMarker reads a control record: its key is a version and a type, 0 of
// which aborts and 1 commits.
func isAbortMarker(body []byte) bool {
	c := cursor{b: body}
	c.varint() // length
	c.skip(1)  // attributes
	c.varint() // time
	c.varint() // offset
	key := c.bytes()
	return !c.bad && len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0
}

func (p *parser) records(body []byte, h *batchHeader, from int64, buf *stream.Buffer) error {
	if int64(h.count)*leastRecord > int64(len(body)) {
		return fmt.Errorf("%d records in %d bytes: %w", h.count, len(body), ErrCorrupt)
	}
	buf.Records = slices.Grow(buf.Records, int(h.count))
	c := cursor{b: body}
	for range h.count {
		var r stream.Record
		if !p.record(&c, h, &r, buf) {
			return fmt.Errorf("record: %w", ErrCorrupt)
		}
		if r.Offset >= from {
			buf.Records = append(buf.Records, r)
		}
	}
	return nil
}

func (p *parser) record(c *cursor, h *batchHeader, r *stream.Record, buf *stream.Buffer) bool {
	length := c.varint()
	if c.bad || length < 0 || length > int64(len(c.b)-c.i) {
		return false
	}
	end := c.i + int(length)
	c.skip(1) // attributes, unused by the format
	sinceFirst := c.varint()
	delta := c.varint()
	r.Key = c.bytes()
	r.Value = c.bytes()
	if n := c.varint(); n != 0 {
		r.Headers = p.recordHeaders(c, n, buf)
	}
	if c.bad || c.i > end || delta < 0 || delta > int64(h.lastDelta) {
		return false
	}
	c.i = end
	r.Offset = h.base + delta
	r.Timestamp = instant(h.firstTime, sinceFirst)
	if h.attributes&attrAppendTime != 0 {
		r.Timestamp = instant(h.maxTime, 0)
	}
	return true
}

// recordHeaders reads n headers into buf's memory.
func (p *parser) recordHeaders(c *cursor, n int64, buf *stream.Buffer) []stream.Header {
	const least = 2 // bytes: two lengths
	if n < 0 || n*least > int64(len(c.b)-c.i) {
		c.bad = true
		return nil
	}
	mark := len(buf.Headers)
	for range n {
		key := p.intern(c.bytes())
		buf.Headers = append(buf.Headers, stream.Header{Key: key, Value: c.bytes()})
	}
	return buf.Headers[mark:len(buf.Headers):len(buf.Headers)]
}

// intern keeps one string of each header key, of which there are few.
func (p *parser) intern(key []byte) string {
	if s, ok := p.keys[string(key)]; ok {
		return s
	}
	s := string(key)
	const most = 1024
	if p.keys == nil || len(p.keys) >= most {
		p.keys = map[string]string{}
	}
	p.keys[s] = s
	return s
}

// instant is ms+delta milliseconds in microseconds, cut to what can be written.
func instant(ms, delta int64) subject.Instant {
	const lo, hi = -62167219200_000, 253402300799_999 // the years 0 to 9999
	ms = min(max(ms, lo), hi)
	delta = min(max(delta, lo-hi), hi-lo)
	return subject.Instant(min(max(ms+delta, lo), hi) * 1000)
}

// cursor reads varints and lengths; after anything that does not fit it is bad
// and returns zeros.
type cursor struct {
	b   []byte
	i   int
	bad bool
}

func (c *cursor) skip(n int) {
	if c.bad || n > len(c.b)-c.i {
		c.bad = true
		return
	}
	c.i += n
}

func (c *cursor) varint() int64 {
	if c.i < len(c.b) {
		if b := c.b[c.i]; b < 0x80 {
			c.i++
			return int64(b>>1) ^ -int64(b&1)
		}
	}
	return c.longVarint()
}

func (c *cursor) longVarint() int64 {
	if c.bad {
		return 0
	}
	v, n := binary.Varint(c.b[c.i:])
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.i += n
	return v
}

// bytes reads a length and so many bytes; nil where the length is -1.
func (c *cursor) bytes() []byte {
	n := c.varint()
	if n == -1 && !c.bad {
		return nil
	}
	if c.bad || n < 0 || n > int64(len(c.b)-c.i) {
		c.bad = true
		return nil
	}
	b := c.b[c.i : c.i+int(n) : c.i+int(n)]
	c.i += int(n)
	return b
}
