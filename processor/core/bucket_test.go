package core_test

import (
	"crypto/sha256"
	"encoding/binary"
	"math/big"

	"github.com/segmentd/segmentd/state/subject"
)

// definedBucket is the first 53 bits of SHA-256 over salt, type of id and id,
// separated by zero bytes, as a fraction of 2^53.
func definedBucket(id subject.ID, salt string) *big.Rat {
	sum := sha256.Sum256([]byte(salt + "\x00" + id.Type.String() + "\x00" + id.Value))
	n := binary.BigEndian.Uint64(sum[:8]) >> 11
	return new(big.Rat).SetFrac(new(big.Int).SetUint64(n), new(big.Int).Lsh(big.NewInt(1), 53))
}
