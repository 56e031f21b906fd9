package kafka_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
)

// event is of the size of a Segment track call.
func event(i int) []byte {
	return fmt.Appendf(nil, `{"type":"track","messageId":"m-%08d","userId":"user-%07d","event":"Order Completed","timestamp":"2026-01-31T10:00:%02dZ","properties":{"order_id":"o-%d","total":%d.%02d,"currency":"EUR","products":[{"product_id":"p-%d","quantity":%d}]},"context":{"library":{"name":"analytics-node","version":"3.1.0"},"locale":"en-GB"}}`,
		i, i*7919%1_000_000, i%60, i, i%300, i%100, i%1000, i%5)
}

// BenchmarkFetch reads batches of 1000 records; ns and allocations are a record's.
func BenchmarkFetch(b *testing.B) {
	for name, compression := range map[string]kafka.Compression{"none": kafka.None, "lz4": kafka.LZ4, "zstd": kafka.Zstd} {
		b.Run(name, func(b *testing.B) {
			_, c := cluster(b, "t")
			p := c.NewProducer(kafka.ProducerConfig{Compression: compression})
			const n = 100_000
			for i := 0; i < n; i += 1000 {
				msgs := make([]stream.Message, 1000)
				for j := range msgs {
					msgs[j] = stream.Message{Topic: "t", Key: fmt.Appendf(nil, "user-%07d", i+j), Value: event(i + j)}
				}
				if _, err := p.Send(context.Background(), msgs); err != nil {
					b.Fatal(err)
				}
			}
			var buf stream.Buffer
			pos := stream.Position{Topic: "t"}
			b.ReportAllocs()
			b.ResetTimer()
			for got := 0; got < b.N; {
				f := fetchOne(b, c, pos, &buf)
				got += len(f.Records)
				if pos.Offset = f.Next; pos.Offset == n {
					pos.Offset = 0
				}
			}
		})
	}
}

// BenchmarkTransaction produces 1000 records to two topics with group offsets
// and commits, to a broker that forgets them.
func BenchmarkTransaction(b *testing.B) {
	for name, compression := range map[string]kafka.Compression{"none": kafka.None, "lz4": kafka.LZ4, "zstd": kafka.Zstd} {
		b.Run(name, func(b *testing.B) {
			k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "in", "changes", "log"), kfake.BlackholeProduce())
			must(b, err)
			b.Cleanup(k.Close)
			c := newClient(b, k.ListenAddrs()...)
			ctx := context.Background()
			tx := c.NewTransactor(kafka.TransactorConfig{TransactionalID: "tx", Compression: compression})
			must(b, tx.Init(ctx))
			msgs := make([]stream.Message, 1000)
			for i := range msgs {
				msgs[i] = stream.Message{Topic: []string{"changes", "log"}[i%2], Key: fmt.Appendf(nil, "user-%07d", i), Value: event(i)}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				_, err := tx.Produce(ctx, msgs)
				must(b, err)
				must(b, tx.SendOffsets(ctx, stream.GroupMember{Group: "g", Generation: -1}, []stream.Position{{Topic: "in", Offset: int64(i)}}))
				must(b, tx.Commit(ctx))
			}
			b.ReportMetric(float64(b.N*len(msgs))/b.Elapsed().Seconds(), "records/s")
		})
	}
}
