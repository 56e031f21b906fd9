package kafka

import (
	"fmt"
	"hash/crc32"
)

// Partitioner is how a producer chooses the partition of a key. Equal partition
// counts do not make topics co-partitioned: their producers must hash alike.
type Partitioner uint8

// The partitioners. Murmur2, the zero value, is Java's; CRC32 is librdkafka's
// ("consistent"); FNV1a is Sarama's default and kafka-go's Hash. Any is none
// that we could check.
const (
	Murmur2 Partitioner = iota
	CRC32
	FNV1a
	Any
)

var partitionerNames = [...]string{"murmur2", "crc32", "fnv1a", "any"}

// ParsePartitioner reads a partitioner's name; "" is murmur2.
func ParsePartitioner(name string) (Partitioner, error) {
	if name == "" {
		return Murmur2, nil
	}
	for i, n := range partitionerNames {
		if n == name {
			return Partitioner(i), nil
		}
	}
	return 0, fmt.Errorf("partitioner %q: must be murmur2, crc32, fnv1a or any", name)
}

// String is the partitioner's name in the configuration.
func (p Partitioner) String() string { return partitionerNames[p] }

// Partition is where a record with this key belongs among n > 0 partitions. ok
// is false for Any, which cannot say.
func (p Partitioner) Partition(key []byte, n int32) (partition int32, ok bool) {
	switch p {
	case Murmur2:
		return int32(murmur2(key)&0x7fffffff) % n, true
	case CRC32:
		return int32(crc32.ChecksumIEEE(key) % uint32(n)), true
	case FNV1a:
		// Signed as in Sarama: the remainder's sign is dropped, not the hash's.
		return max(int32(fnv1a(key))%n, -(int32(fnv1a(key)) % n)), true
	}
	return 0, false
}

// fnv1a is the 32-bit FNV-1a hash.
func fnv1a(key []byte) uint32 {
	h := uint32(2166136261)
	for _, b := range key {
		h = (h ^ uint32(b)) * 16777619
	}
	return h
}

// murmur2 is the variant of org.apache.kafka.common.utils.Utils.
func murmur2(key []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
	)
	h := seed ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> 24
		h = h*m ^ k*m
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
