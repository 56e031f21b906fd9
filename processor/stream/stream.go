// Package stream is the partition loop's view of a log: the records it fetches
// and produces, and the ports through which it does. processor/kafka implements
// the ports on a Kafka cluster.
package stream

import (
	"context"
	"errors"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one committed record of a log.
type Record struct {
	Offset    int64
	Timestamp subject.Instant // the record's own (CreateTime) or the broker's (LogAppendTime)
	Key       []byte          // nil: none. Valid until the Buffer is used again
	Value     []byte          // nil: a tombstone. Valid until the Buffer is used again
	Headers   []Header        // valid until the Buffer is used again
}

// Position is where to read one partition of one topic.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64 // of the next record
}

// FetchOptions bound one fetch.
type FetchOptions struct {
	MaxWait  time.Duration // for MinBytes to arrive
	MinBytes int           // 0 and 1: return as soon as anything is there
	MaxBytes int           // a partition; one larger record is returned all the same
}

// Fetched is what one fetch returned of one partition: committed data records
// only, in offset order; aborted and control records are left out but passed over.
type Fetched struct {
	Topic          string
	Partition      int32
	Records        []Record
	Next           int64 // offset to fetch next: beyond all that was returned or passed over
	HighWatermark  int64
	LastStable     int64 // committed data is complete up to here
	LogStart       int64
	Err            error // ErrOffsetOutOfRange and other errors of this partition
	BytesOnTheWire int
}

// Buffer is memory a caller owns and lends to Fetch; records of the fetch
// before are invalid once it is lent again. The zero Buffer is ready.
type Buffer struct {
	Raw     []byte
	Plain   []byte
	Fetched []Fetched
	Records []Record
	Headers []Header
	Sets    [][]byte // memory on loan from the Fetcher, which takes it back when the Buffer is lent again
}

// Errors of the ports that the loop tells apart. All others are retryable
// environment errors.
var (
	ErrOffsetOutOfRange = errors.New("offset out of range")
	ErrUnknownTopic     = errors.New("unknown topic or partition")
	// ErrFenced: another producer took over the transactional id, or the group
	// generation is over.
	ErrFenced = errors.New("fenced by another owner of the partition")
	// ErrTransaction: the outcome is unknown or the transaction cannot go on; the
	// caller must recover as after a crash.
	ErrTransaction = errors.New("transaction failed")
	// ErrFatal: retrying cannot help (authorisation, unsupported version, misconfiguration).
	ErrFatal = errors.New("broker refused for good")
)

// Fetcher reads committed records (isolation level read_committed). Safe for
// concurrent use with different buffers.
type Fetcher interface {
	// Fetch reads from all positions, which may have different leaders, and
	// returns one Fetched each, in their order, in buf's memory.
	Fetch(ctx context.Context, positions []Position, opts FetchOptions, buf *Buffer) ([]Fetched, error)
}

// Message is one record to produce.
type Message struct {
	Topic     string
	Partition int32
	Timestamp subject.Instant
	Key       []byte
	Value     []byte // nil: a tombstone
	Headers   []Header
}

// Produced is where the messages of one topic partition went.
type Produced struct {
	Topic         string
	Partition     int32
	BaseOffset    int64
	Count         int
	LogAppendTime subject.Instant // the broker's clock where the topic is LogAppendTime, else Never
}

// Producer produces outside of transactions. Not safe for concurrent use.
type Producer interface {
	// Send returns once all replicas in sync have the messages. After an error some
	// may have been produced and some not.
	Send(ctx context.Context, messages []Message) ([]Produced, error)
}

// GroupMember is the consumer group generation that offsets are committed under (KIP-447).
type GroupMember struct {
	Group      string
	Generation int32
	MemberID   string
}

// Transactor is the transactional producer of one partition (one
// transactional.id). Not safe for concurrent use.
type Transactor interface {
	// Init fences predecessors, aborts what they left open and begins sequences anew.
	Init(ctx context.Context) error
	// Produce adds messages to the transaction, which it begins if none is open;
	// messages of one topic partition keep their order.
	Produce(ctx context.Context, messages []Message) ([]Produced, error)
	// SendOffsets adds consumer group offsets to the transaction.
	SendOffsets(ctx context.Context, member GroupMember, offsets []Position) error
	// Commit and Abort end the transaction. After an error the outcome is unknown
	// and only Init is allowed.
	Commit(ctx context.Context) error
	Abort(ctx context.Context) error
}
