package kafka

import (
	"fmt"
	"testing"

	"github.com/segmentd/segmentd/processor/stream"
)

// BenchmarkParse is the part of a fetch that is ours: ns and allocations a record.
func BenchmarkParse(b *testing.B) {
	for name, c := range map[string]Compression{"none": None, "lz4": LZ4, "zstd": Zstd} {
		b.Run(name, func(b *testing.B) {
			msgs := make([]stream.Message, 2000)
			indexes := make([]int, len(msgs))
			for i := range msgs {
				indexes[i] = i
				msgs[i] = stream.Message{Key: fmt.Appendf(nil, "user-%07d", i), Value: fmt.Appendf(nil, `{"type":"track","messageId":"m-%08d","event":"Order Completed","properties":{"total":%d,"currency":"EUR","products":[{"product_id":"p-%d","quantity":%d}]},"context":{"library":{"name":"analytics-node","version":"3.1.0"},"locale":"en-GB"}}`, i, i*7919, i%1000, i%5)}
			}
			e := batchEncoder{packer: packer{compression: c}}
			set, n, err := e.encode(nil, msgs, indexes)
			if err != nil {
				b.Fatal(err)
			}
			var p parser
			var buf stream.Buffer
			b.ReportAllocs()
			b.ResetTimer()
			for got := 0; got < b.N; got += n {
				reset(&buf)
				if _, err := p.recordsOf(set, 0, nil, partitionPlainBytes, &buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
