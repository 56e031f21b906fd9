package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// CheckpointFormat is the format of the checkpoints this version writes and the
// newest it reads.
const CheckpointFormat = 1

// Fixed keys on the changelog. Subjects have keys of KeyBytes bytes, so these
// cannot collide with them. The values under all but the first are opaque to
// this package; see Partition.Fixed.
var (
	CheckpointKey       = []byte("checkpoint")
	DictionaryKey       = []byte("dictionary")        // what the numbers in records mean
	RulesKey            = []byte("rules")             // the rule files in force
	FormerDictionaryKey = []byte("former-dictionary") // while rules are changed: the ones before
	FormerRulesKey      = []byte("former-rules")
)

// fixedKeys are those whose values the image keeps.
var fixedKeys = [][]byte{DictionaryKey, FormerDictionaryKey, RulesKey, FormerRulesKey}

func isFixed(key []byte) bool {
	return slices.ContainsFunc(fixedKeys, func(k []byte) bool { return bytes.Equal(k, key) })
}

// ErrCheckpoint means that bytes are no checkpoint.
var ErrCheckpoint = errors.New("not a checkpoint")

// Checkpoint says where a partition goes on: one record on the changelog, in
// every transaction, under CheckpointKey.
type Checkpoint struct {
	Format      int              `json:"format"`
	Group       string           `json:"group"`
	Partition   int32            `json:"partition"`
	History     string           `json:"history"` // drawn when the partition began; another one is another changelog
	Transaction uint64           `json:"transaction"`
	Positions   map[string]int64 `json:"positions"` // next offset by topic
	// Topics are the ids of the topics that positions are of, by name, where they
	// are known. It is shared between checkpoints and must not be changed.
	Topics  map[string]string `json:"topics,omitempty"`
	Clock   subject.Instant   `json:"clock"` // the partition's, µs
	RuleSet string            `json:"ruleSet"`
	// Cursors are positions of what is done beside the inputs, by name.
	Cursors map[string]string `json:"cursors,omitempty"`
	Secret  string            `json:"secret"` // fingerprint of the keyed hash's secret
}

// Encode returns the checkpoint as canonical JSON: equal checkpoints have equal bytes.
func (c Checkpoint) Encode() ([]byte, error) {
	if c.Positions == nil {
		c.Positions = map[string]int64{}
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint: %w", err)
	}
	return b, nil
}

// DecodeCheckpoint reads what Encode wrote, and nothing else: unknown members
// and other spellings are errors (ErrCheckpoint), and so is a format that this
// version does not know (ErrNewerVersion).
func DecodeCheckpoint(b []byte) (Checkpoint, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &version); err != nil || version.Format < 1 {
		return Checkpoint{}, ErrCheckpoint
	}
	if version.Format > CheckpointFormat {
		return Checkpoint{}, fmt.Errorf("checkpoint format %d: %w", version.Format, ErrNewerVersion)
	}
	var c Checkpoint
	if err := json.Unmarshal(b, &c); err != nil {
		return Checkpoint{}, ErrCheckpoint
	}
	if again, err := c.Encode(); err != nil || !bytes.Equal(again, b) {
		return Checkpoint{}, ErrCheckpoint
	}
	return c, nil
}

// position is where an image stands in its partition's changelog.
type position struct {
	Next       int64           `json:"next"` // changelog offset after Checkpoint's transaction
	Checkpoint json.RawMessage `json:"checkpoint"`
}

func encodePosition(cp Checkpoint, next int64) ([]byte, error) {
	b, err := cp.Encode()
	if err != nil {
		return nil, err
	}
	if b, err = json.Marshal(position{next, b}); err != nil {
		return nil, fmt.Errorf("encode position: %w", err)
	}
	return b, nil
}

func decodePosition(b []byte) (Checkpoint, int64, error) {
	var p position
	if err := json.Unmarshal(b, &p); err != nil {
		return Checkpoint{}, 0, fmt.Errorf("position: %w", ErrDamaged)
	}
	cp, err := DecodeCheckpoint(p.Checkpoint)
	if errors.Is(err, ErrCheckpoint) {
		err = fmt.Errorf("position: %w", ErrDamaged)
	}
	return cp, p.Next, err
}
