package kafka

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/addoffsetstotxn"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/txnoffsetcommit"
)

// ours marks request types that kafka-go shall encode by our own definition.
const ours protocol.OverrideTypeKey = 1

// init, because the protocol package looks message types up in tables of its
// own, which can be written only before any request is sent.
//
// Fetch is replaced as a whole: answers cannot be overridden one by one. So
// kafka.Client.Fetch cannot be used in a program that imports this package; its
// Reader and Conn can. The others are overridden for requests that carry our key.
func init() {
	protocol.Register(&fetchRequest{}, &fetchResponse{})
	protocol.RegisterOverride(&produceRequest{}, &produce.Response{}, ours)
	protocol.RegisterOverride(&addPartitionsRequest{}, &addpartitionstotxn.Response{}, ours)
	protocol.RegisterOverride(&addOffsetsRequest{}, &addoffsetstotxn.Response{}, ours)
	protocol.RegisterOverride(&endTxnRequest{}, &endtxn.Response{}, ours)
	protocol.RegisterOverride(&txnOffsetCommitRequest{}, &txnoffsetcommit.Response{}, ours)
}

// Fetch v4 to v11: record sets stay undecoded. The other fields are those of
// https://kafka.apache.org/protocol#The_Messages_Fetch.
type (
	fetchRequest struct {
		ReplicaID       int32             `kafka:"min=v4,max=v11"`
		MaxWaitTime     int32             `kafka:"min=v4,max=v11"` // ms
		MinBytes        int32             `kafka:"min=v4,max=v11"`
		MaxBytes        int32             `kafka:"min=v4,max=v11"`
		IsolationLevel  int8              `kafka:"min=v4,max=v11"`
		SessionID       int32             `kafka:"min=v7,max=v11"`
		SessionEpoch    int32             `kafka:"min=v7,max=v11"`
		Topics          []fetchTopic      `kafka:"min=v4,max=v11"`
		ForgottenTopics []fetchPartitions `kafka:"min=v7,max=v11"`
		RackID          string            `kafka:"min=v11,max=v11"`

		leader    protocol.Broker
		positions []int // which of the call's it asks for
	}
	fetchTopic struct {
		Topic      string           `kafka:"min=v4,max=v11"`
		Partitions []fetchPartition `kafka:"min=v4,max=v11"`
	}
	fetchPartition struct {
		Partition          int32 `kafka:"min=v4,max=v11"`
		CurrentLeaderEpoch int32 `kafka:"min=v9,max=v11"`
		FetchOffset        int64 `kafka:"min=v4,max=v11"`
		LogStartOffset     int64 `kafka:"min=v5,max=v11"`
		PartitionMaxBytes  int32 `kafka:"min=v4,max=v11"`
	}
	fetchPartitions struct {
		Topic      string  `kafka:"min=v7,max=v11"`
		Partitions []int32 `kafka:"min=v7,max=v11"`
	}
	fetchResponse struct {
		ThrottleTimeMs int32          `kafka:"min=v4,max=v11"`
		ErrorCode      int16          `kafka:"min=v7,max=v11"`
		SessionID      int32          `kafka:"min=v7,max=v11"`
		Topics         []fetchedTopic `kafka:"min=v4,max=v11"`
	}
	fetchedTopic struct {
		Topic      string             `kafka:"min=v4,max=v11"`
		Partitions []fetchedPartition `kafka:"min=v4,max=v11"`
	}
	fetchedPartition struct {
		Partition            int32                `kafka:"min=v4,max=v11"`
		ErrorCode            int16                `kafka:"min=v4,max=v11"`
		HighWatermark        int64                `kafka:"min=v4,max=v11"`
		LastStableOffset     int64                `kafka:"min=v4,max=v11"`
		LogStartOffset       int64                `kafka:"min=v5,max=v11"`
		Aborted              []abortedTransaction `kafka:"min=v4,max=v11"`
		PreferredReadReplica int32                `kafka:"min=v11,max=v11"`
		RecordSet            recordSet            `kafka:"min=v4,max=v11"`
	}
	abortedTransaction struct {
		ProducerID  int64 `kafka:"min=v4,max=v11"`
		FirstOffset int64 `kafka:"min=v4,max=v11"`
	}
)

func (*fetchRequest) ApiKey() protocol.ApiKey  { return protocol.Fetch }
func (*fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch }

func (r *fetchRequest) Broker(protocol.Cluster) (protocol.Broker, error) { return r.leader, nil }

// recordSet is the bytes of the batches of one partition, as the broker keeps them.
type recordSet struct{ raw []byte }

// maxSetBytes bounds what one partition's answer may hold: far beyond any
// max.message.bytes, short of what a broken length could ask for.
const maxSetBytes = 256 << 20

// setBuffers is the memory of record sets between fetches. It is global since
// kafka-go makes the messages it decodes by reflection, out of nothing.
var setBuffers sync.Pool // of *[]byte

// ReadFrom reads the set's length and bytes into memory of setBuffers, which
// whoever holds the set gives back.
func (s *recordSet) ReadFrom(r io.Reader) (int64, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return 0, err
	}
	n := int(int32(binary.BigEndian.Uint32(size[:])))
	if n <= 0 {
		return 4, nil
	}
	if n > maxSetBytes {
		return 4, fmt.Errorf("record set of %d bytes: %w", n, ErrCorrupt)
	}
	s.raw = borrowSet(n)
	m, err := io.ReadFull(r, s.raw)
	return int64(4 + m), err
}

// WriteTo makes the library read and write a set as a whole; none is ever written.
func (s *recordSet) WriteTo(io.Writer) (int64, error) { return 0, ErrCorrupt }

func borrowSet(n int) []byte {
	if p, _ := setBuffers.Get().(*[]byte); p != nil && cap(*p) >= n {
		return (*p)[:n]
	}
	const least = 64 << 10
	return make([]byte, n, max(least, 1<<bits.Len(uint(n-1))))
}

func returnSets(sets [][]byte) {
	for _, b := range sets {
		setBuffers.Put(&b)
	}
}

// Produce v3 to v8 with batches that are encoded already.
type (
	produceRequest struct {
		TransactionalID string         `kafka:"min=v3,max=v8,nullable"`
		Acks            int16          `kafka:"min=v3,max=v8"`
		Timeout         int32          `kafka:"min=v3,max=v8"` // ms
		Topics          []produceTopic `kafka:"min=v3,max=v8"`

		leader protocol.Broker
		lanes  []*lane
	}
	produceTopic struct {
		Topic      string             `kafka:"min=v3,max=v8"`
		Partitions []producePartition `kafka:"min=v3,max=v8"`
	}
	producePartition struct {
		Partition int32        `kafka:"min=v3,max=v8"`
		RecordSet encodedBatch `kafka:"min=v3,max=v8"`
	}
)

func (*produceRequest) ApiKey() protocol.ApiKey           { return protocol.Produce }
func (*produceRequest) TypeKey() protocol.OverrideTypeKey { return ours }

func (r *produceRequest) Broker(protocol.Cluster) (protocol.Broker, error) { return r.leader, nil }

// encodedBatch is one record batch.
type encodedBatch struct{ bytes []byte }

// WriteTo writes the batch behind its length.
func (b *encodedBatch) WriteTo(w io.Writer) (int64, error) {
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(b.bytes)))
	if _, err := w.Write(size[:]); err != nil {
		return 0, err
	}
	n, err := w.Write(b.bytes)
	return int64(4 + n), err
}

// Requests of a transaction, sent straight to a coordinator that is known: the
// library's own ask for it each time, a round trip more. The definitions are
// those of kafka-go's packages of these names.
type (
	addPartitionsRequest struct {
		_ struct{} `kafka:"min=v3,max=v3,tag"`

		TransactionalID string               `kafka:"min=v0,max=v2|min=v3,max=v3,compact"`
		ProducerID      int64                `kafka:"min=v0,max=v3"`
		ProducerEpoch   int16                `kafka:"min=v0,max=v3"`
		Topics          []addPartitionsTopic `kafka:"min=v0,max=v3"`

		coordinator
	}
	addPartitionsTopic struct {
		_ struct{} `kafka:"min=v3,max=v3,tag"`

		Name       string  `kafka:"min=v0,max=v2|min=v3,max=v3,compact"`
		Partitions []int32 `kafka:"min=v0,max=v3"`
	}
	addOffsetsRequest struct {
		_ struct{} `kafka:"min=v3,max=v3,tag"`

		TransactionalID string `kafka:"min=v0,max=v2|min=v3,max=v3,compact"`
		ProducerID      int64  `kafka:"min=v0,max=v3"`
		ProducerEpoch   int16  `kafka:"min=v0,max=v3"`
		GroupID         string `kafka:"min=v0,max=v2|min=v3,max=v3,compact"`

		coordinator
	}
	endTxnRequest struct {
		_ struct{} `kafka:"min=v3,max=v3,tag"`

		TransactionalID string `kafka:"min=v0,max=v2|min=v3,max=v3,compact"`
		ProducerID      int64  `kafka:"min=v0,max=v3"`
		ProducerEpoch   int16  `kafka:"min=v0,max=v3"`
		Committed       bool   `kafka:"min=v0,max=v3"`

		coordinator
	}
	txnOffsetCommitRequest struct {
		_ struct{} `kafka:"min=v3,max=v3,tag"`

		TransactionalID string           `kafka:"min=v3,max=v3,compact"`
		GroupID         string           `kafka:"min=v3,max=v3,compact"`
		ProducerID      int64            `kafka:"min=v3,max=v3"`
		ProducerEpoch   int16            `kafka:"min=v3,max=v3"`
		GenerationID    int32            `kafka:"min=v3,max=v3"`
		MemberID        string           `kafka:"min=v3,max=v3,compact"`
		GroupInstanceID string           `kafka:"min=v3,max=v3,compact,nullable"`
		Topics          []txnOffsetTopic `kafka:"min=v3,max=v3"`

		coordinator
	}
	txnOffsetTopic struct {
		_ struct{} `kafka:"min=v3,max=v3,tag"`

		Name       string               `kafka:"min=v3,max=v3,compact"`
		Partitions []txnOffsetPartition `kafka:"min=v3,max=v3"`
	}
	txnOffsetPartition struct {
		_ struct{} `kafka:"min=v3,max=v3,tag"`

		Partition            int32  `kafka:"min=v3,max=v3"`
		CommittedOffset      int64  `kafka:"min=v3,max=v3"`
		CommittedLeaderEpoch int32  `kafka:"min=v3,max=v3"`
		CommittedMetadata    string `kafka:"min=v3,max=v3,nullable,compact"`
	}
)

func (*addPartitionsRequest) ApiKey() protocol.ApiKey   { return protocol.AddPartitionsToTxn }
func (*addOffsetsRequest) ApiKey() protocol.ApiKey      { return protocol.AddOffsetsToTxn }
func (*endTxnRequest) ApiKey() protocol.ApiKey          { return protocol.EndTxn }
func (*txnOffsetCommitRequest) ApiKey() protocol.ApiKey { return protocol.TxnOffsetCommit }

// coordinator routes a request that it is part of to the broker of this id.
type coordinator struct{ node int32 }

func (coordinator) TypeKey() protocol.OverrideTypeKey { return ours }

func (c coordinator) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	b, ok := cluster.Brokers[c.node]
	if !ok {
		return protocol.Broker{}, errNoCluster
	}
	return b, nil
}
