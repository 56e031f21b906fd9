package kafka

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/segmentd/segmentd/processor/stream"
)

// An answer of many small batches, as a changelog of small transactions gives,
// is not copied for each of them (it was 2,500 times as much; the race detector takes some).
func TestManySmallBatchesAreUnpackedInPlace(t *testing.T) {
	var p packer
	body := bytes.Repeat([]byte("a record of a subject "), 40)
	packed, codec, err := p.pack(nil, body)
	if err != nil || codec != codecZstd {
		t.Fatal(codec, err)
	}
	var u unpacker
	var buf stream.Buffer
	if _, err := u.body(packed, codec, new(stream.Buffer)); err != nil { // the decoder's own memory
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const batches = 5000
	for range batches {
		plain, err := u.body(packed, codec, &buf)
		if err != nil || !bytes.Equal(plain, body) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if took, held := after.TotalAlloc-before.TotalAlloc, uint64(batches*len(body)); took > 100*held {
		t.Errorf("%d bytes of plain text took %d bytes of memory", held, took)
	}
}
