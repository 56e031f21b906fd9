package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"

	"github.com/segmentd/segmentd/processor/stream"
)

// made describes a batch to write by hand.
type made struct {
	base       int64
	lastDelta  int32 // beyond the records' where some were compacted away
	producer   int64
	attributes uint16
	control    string // "commit" or "abort"
	values     []string
}

func (m made) bytes(t testing.TB) []byte {
	t.Helper()
	var msgs []stream.Message
	for _, v := range m.values {
		msgs = append(msgs, stream.Message{Value: []byte(v), Timestamp: 5_000})
	}
	if m.control != "" {
		m.attributes |= attrControl | attrTxn
		msgs = []stream.Message{{Key: []byte{0, 0, 0, byte(strings.Index("abort commit", m.control) / 6)}, Value: make([]byte, 6)}}
	}
	var body []byte
	for i := range msgs {
		at := recordPlace{size: recordBytes(&msgs[i], 0, i), delta: i}
		body = appendRecord(body, &msgs[i], at)
	}
	if c := compress.Compression(m.attributes & attrCodec).Codec(); c != nil {
		body = packedBy(t, c, body)
	}
	return m.frame(body, len(msgs))
}

func (m made) frame(body []byte, count int) []byte {
	b := append(make([]byte, headerBytes), body...)
	putHeader(b, batchHeader{base: m.base, attributes: m.attributes, lastDelta: max(m.lastDelta, int32(count-1), 0), firstTime: 5, maxTime: 7, count: int32(count)})
	seal(b, producerState{id: m.producer, txn: m.attributes&attrTxn != 0}, 0)
	return b
}

func packedBy(t testing.TB, c compress.Codec, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := c.NewWriter(&out)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func set(t testing.TB, batches ...made) (all []byte) {
	t.Helper()
	for _, m := range batches {
		all = append(all, m.bytes(t)...)
	}
	return all
}

// offsets of records, in the form offset=value.
func parsed(set []byte, from int64, aborted ...abortedTransaction) (got []string, next int64, err error) {
	var buf stream.Buffer
	next, err = new(parser).recordsOf(set, from, aborted, partitionPlainBytes, &buf)
	for _, r := range buf.Records {
		got = append(got, fmt.Sprintf("%d=%s", r.Offset, r.Value))
	}
	return got, next, err
}

func TestRecordsOfSets(t *testing.T) {
	txn := uint16(attrTxn)
	for _, tt := range []struct {
		name    string
		set     []byte
		from    int64
		aborted []abortedTransaction
		want    []string
		next    int64
	}{
		{"an empty set", nil, 4, nil, nil, 4},
		{"records below the offset are left out", set(t, made{base: 10, values: []string{"a", "b", "c"}}), 11, nil, []string{"11=b", "12=c"}, 13},
		{"the tail of a batch was compacted away", set(t, made{base: 10, lastDelta: 9, values: []string{"a"}}), 10, nil, []string{"10=a"}, 20},
		{"empty batches, one after another", set(t, made{base: 0, lastDelta: 4}, made{base: 5, lastDelta: 4}, made{base: 10, values: []string{"a"}}), 0, nil, []string{"10=a"}, 11},
		{"an empty batch alone", set(t, made{base: 0, lastDelta: 4}), 0, nil, nil, 5},
		{"a trailing control batch", set(t, made{base: 0, producer: 7, attributes: txn, values: []string{"a"}}, made{base: 1, producer: 7, control: "commit"}), 0, nil, []string{"0=a"}, 2},
		{"a control batch alone", set(t, made{base: 1, producer: 7, control: "commit"}), 1, nil, nil, 2},
		{"a compacted control batch", set(t, made{base: 1, producer: 7, attributes: attrControl | txn}), 1, nil, nil, 2},
		{"an aborted transaction between two others", set(t,
			made{base: 0, producer: 7, attributes: txn, values: []string{"a"}},
			made{base: 1, producer: 8, attributes: txn, values: []string{"b"}},
			made{base: 2, producer: 7, attributes: txn, values: []string{"c"}},
			made{base: 3, producer: 7, control: "abort"},
			made{base: 4, producer: 8, control: "commit"},
			made{base: 5, producer: 7, attributes: txn, values: []string{"d"}},
			made{base: 6, producer: 7, control: "commit"},
		), 0, []abortedTransaction{{7, 0}}, []string{"1=b", "5=d"}, 7},
		{"the same producer aborts twice", set(t,
			made{base: 0, producer: 7, attributes: txn, values: []string{"a"}},
			made{base: 1, producer: 7, control: "abort"},
			made{base: 2, producer: 7, attributes: txn, values: []string{"b"}},
			made{base: 3, producer: 7, control: "abort"},
		), 0, []abortedTransaction{{7, 2}, {7, 0}}, nil, 4},
		{"not transactional though the producer aborts", set(t, made{base: 0, producer: 7, values: []string{"a"}}), 0, []abortedTransaction{{7, 0}}, []string{"0=a"}, 1},
		{"an aborted transaction that began before the offset", set(t,
			made{base: 4, producer: 7, attributes: txn, values: []string{"a", "b"}},
			made{base: 6, producer: 7, control: "abort"}), 5, []abortedTransaction{{7, 2}}, nil, 7},
		{"a batch cut short at the end", slices.Concat(set(t, made{base: 0, values: []string{"a"}}), set(t, made{base: 1, values: []string{"b"}})[:66]), 0, nil, []string{"0=a"}, 1},
		{"a bad batch behind a good one is left to the next fetch", slices.Concat(set(t, made{base: 0, values: []string{"a"}}), broken(set(t, made{base: 1, values: []string{"b"}}))), 0, nil, []string{"0=a"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, next, err := parsed(tt.set, tt.from, tt.aborted...)
			if err != nil || next != tt.next || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, next %d, %v; want %v, next %d", got, next, err, tt.want, tt.next)
			}
		})
	}
}

func broken(set []byte) []byte {
	set[len(set)-1] ^= 1
	return set
}

func TestSetsThatCannotBeRead(t *testing.T) {
	old := set(t, made{base: 0, values: []string{"a"}})
	old[16] = 1
	short := set(t, made{base: 0, values: []string{"a"}})
	binary.BigEndian.PutUint32(short[8:], 3)
	for _, tt := range []struct {
		name string
		set  []byte
		want string
		is   error
	}{
		{"checksum", broken(set(t, made{base: 0, values: []string{"a"}})), "checksum: corrupt record batch", ErrCorrupt},
		{"format v1", old, "message format v1 is too old, only v2 (Kafka 0.11 and later) can be read", stream.ErrFatal},
		{"a length below the header's", short, "batch of 15 bytes", ErrCorrupt},
		{"only half a batch", set(t, made{base: 0, values: []string{"a"}})[:65], "the first batch is incomplete", ErrCorrupt},
		{"codec 6", made{attributes: 6}.frame([]byte("1234567"), 1), "compression codec 6 is unknown", stream.ErrFatal},
		{"more records than bytes", made{}.frame(nil, 1000), "1000 records in 0 bytes", ErrCorrupt},
		{"zstd that is none", made{attributes: codecZstd}.frame([]byte("nonsense"), 1), "decompress: corrupt record batch", ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, next, err := parsed(tt.set, 0)
			if len(got) != 0 || next != 0 || !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, next %d, %v", got, next, err)
			}
		})
	}
}

func TestEveryCodecOfAnotherMake(t *testing.T) {
	values := []string{strings.Repeat("ab", 5000), "x", ""}
	for codec := range uint16(codecZstd + 1) {
		sets := set(t, made{base: 0, attributes: codec, values: values}, made{base: 3, attributes: codec, values: values})
		got, next, err := parsed(sets, 0)
		if err != nil || next != 6 || len(got) != 6 || got[3] != "3="+values[0] || got[5] != "5=" {
			t.Errorf("codec %d: %d records, next %d, %v", codec, len(got), next, err)
		}
	}
}

// A batch may unpack to a lot more than it is; a gigabyte of zeros is refused.
func TestBombsAreRefused(t *testing.T) {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	zeros := make([]byte, maxPlainBytes+1)
	for _, m := range []struct {
		codec  uint16
		packed []byte
	}{{codecZstd, e.EncodeAll(zeros, nil)}, {codecGzip, packedBy(t, compress.Gzip.Codec(), zeros)}, {codecSnappy, packedBy(t, compress.Snappy.Codec(), zeros)}} {
		_, _, err := parsed(made{attributes: m.codec}.frame(m.packed, 1), 0)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "unpacks to more than") {
			t.Errorf("codec %d: %v", m.codec, err)
		}
	}
}

func TestEncodedBatchesAreReadBack(t *testing.T) {
	msgs := []stream.Message{
		{Key: []byte("k"), Value: []byte("v"), Timestamp: 1_700_000_000_123_456, Headers: []stream.Header{{Key: "h", Value: []byte("1")}, {Key: "n"}}},
		{Value: nil, Timestamp: 1_600_000_000_000_000},
		{Key: []byte{}, Value: []byte{}, Timestamp: -1},
		{Key: []byte("big"), Value: bytes.Repeat([]byte("segment "), 1000), Timestamp: 1_700_000_000_000_000},
	}
	for _, c := range []Compression{Zstd, LZ4, None} {
		e := batchEncoder{packer: packer{compression: c}}
		indexes := []int{0, 1, 2, 3}
		b, n, err := e.encode(nil, msgs, indexes)
		if err != nil || n != 4 {
			t.Fatalf("%d encoded, %v", n, err)
		}
		var buf stream.Buffer
		if _, err := new(parser).recordsOf(b, 0, nil, partitionPlainBytes, &buf); err != nil {
			t.Fatal(err)
		}
		for i, r := range buf.Records {
			want := stream.Record{Offset: int64(i), Key: msgs[i].Key, Value: msgs[i].Value, Headers: msgs[i].Headers, Timestamp: msgs[i].Timestamp}
			want.Timestamp = instant(unixMilli(want.Timestamp), 0)
			if diff := cmp.Diff(want, r); diff != "" {
				t.Errorf("compression %d, record %d: %s", c, i, diff)
			}
		}
	}
}

func TestBatchesAreSplitBelowTheLimit(t *testing.T) {
	msgs := make([]stream.Message, 5)
	indexes := make([]int, len(msgs))
	for i := range msgs {
		indexes[i], msgs[i].Value = i, make([]byte, 400_000)
	}
	msgs[4].Value = make([]byte, 2_000_000)
	e := batchEncoder{packer: packer{compression: None}}
	var counts []int
	for len(indexes) > 0 {
		b, n, err := e.encode(nil, msgs, indexes)
		if err != nil || n > 1 && len(b) > maxBatchBytes {
			t.Fatalf("%d messages in %d bytes, %v", n, len(b), err)
		}
		counts, indexes = append(counts, n), indexes[n:]
	}
	if !slices.Equal(counts, []int{2, 2, 1}) {
		t.Error(counts)
	}
}

func TestSequencesWrap(t *testing.T) {
	if got := nextSequence(1<<31-3, 5); got != 2 {
		t.Error(got)
	}
}

func FuzzRecordsOf(f *testing.F) {
	values := []string{"a", strings.Repeat("b", 300)}
	for codec := range uint16(codecZstd + 1) {
		f.Add(set(f, made{attributes: codec, values: values}), int64(0), true)
	}
	f.Add(set(f, made{producer: 1, attributes: attrTxn, values: values}, made{base: 2, producer: 1, control: "abort"}), int64(1), true)
	f.Fuzz(func(t *testing.T, b []byte, from int64, fix bool) {
		if fix { // the checksum keeps most mutations from getting further
			for s := b; len(s) >= headerBytes; {
				n := lengthBytes + int(int32(binary.BigEndian.Uint32(s[8:])))
				if n < headerBytes || n > len(s) {
					break
				}
				binary.BigEndian.PutUint32(s[17:], crc32.Checksum(s[crcStart:n], castagnoli))
				s = s[n:]
			}
		}
		var buf stream.Buffer
		next, err := new(parser).recordsOf(b, max(from, 0), []abortedTransaction{{1, 0}}, partitionPlainBytes, &buf)
		if err == nil && next < max(from, 0) {
			t.Errorf("next %d before %d", next, from)
		}
		for _, r := range buf.Records {
			if r.Offset < max(from, 0) || r.Offset >= next && err == nil {
				t.Errorf("offset %d, from %d, next %d", r.Offset, from, next)
			}
		}
	})
}
