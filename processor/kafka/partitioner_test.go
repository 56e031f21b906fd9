package kafka_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/segmentd/segmentd/processor/kafka"
)

// Hashes that org.apache.kafka.common.utils.UtilsTest.testMurmur2 expects, as
// the partitions of 2^31-1 that they lead to.
func TestMurmur2IsJavas(t *testing.T) {
	for key, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		const n = 1<<31 - 1
		if got, _ := kafka.Murmur2.Partition([]byte(key), n); got != (hash&0x7fffffff)%n {
			t.Errorf("%q: partition %d, want of hash %d", key, got, hash)
		}
	}
}

func TestPartitionersAreThoseOfOtherClients(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	balancers := map[kafka.Partitioner]kafkago.Balancer{
		kafka.Murmur2: kafkago.Murmur2Balancer{Consistent: true},
		kafka.CRC32:   kafkago.CRC32Balancer{Consistent: true},
		kafka.FNV1a:   &kafkago.Hash{},
	}
	for range 2000 {
		key := make([]byte, rnd.IntN(40))
		for i := range key {
			key[i] = byte(rnd.Uint32())
		}
		all := make([]int, 1+rnd.IntN(50))
		for i := range all {
			all[i] = i
		}
		for p, b := range balancers {
			got, ok := p.Partition(key, int32(len(all)))
			if want := b.Balance(kafkago.Message{Key: key}, all...); !ok || int(got) != want {
				t.Fatalf("%v of %x among %d: %d, want %d", p, key, len(all), got, want)
			}
		}
	}
}

func TestPartitionerNames(t *testing.T) {
	for _, p := range []kafka.Partitioner{kafka.Murmur2, kafka.CRC32, kafka.FNV1a, kafka.Any} {
		if got, err := kafka.ParsePartitioner(p.String()); err != nil || got != p {
			t.Errorf("%v: %v, %v", p, got, err)
		}
	}
	if _, err := kafka.ParsePartitioner("md5"); fmt.Sprint(err) != `partitioner "md5": must be murmur2, crc32, fnv1a or any` {
		t.Error(err)
	}
	if _, ok := kafka.Any.Partition([]byte("k"), 3); ok {
		t.Error("any knows a partition")
	}
}
