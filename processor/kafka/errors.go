package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/segmentio/kafka-go"

	"github.com/segmentd/segmentd/processor/stream"
)

// ErrCorrupt means that a record batch is not what its format demands: a CRC
// that does not match, a length beyond its end, a decompressed size beyond all
// measure. Fetching again may help, where the network was at fault.
var ErrCorrupt = errors.New("corrupt record batch")

// errNoCluster means that no broker has told of the cluster yet.
var errNoCluster = errors.New("no broker has answered yet")

// errNoLeader means that a partition has none that is known at the moment.
var errNoLeader = errors.New("partition has no leader")

// verdict is what an error of the broker asks for.
type verdict uint8

const (
	verdictRetry       verdict = iota // the same request later
	verdictCoordinator                // the same request, to another coordinator
	verdictFenced                     // somebody else has taken over
	verdictFatal                      // retrying cannot help
	verdictFailed                     // this transaction cannot go on
)

// judge sorts the errors of requests that write or take part in a transaction
// (https://kafka.apache.org/protocol#protocol_error_codes).
func judge(code kafka.Error) verdict {
	switch code {
	case kafka.NotCoordinatorForGroup, kafka.GroupCoordinatorNotAvailable:
		return verdictCoordinator
	case kafka.ConcurrentTransactions, kafka.GroupLoadInProgress, kafka.UnknownTopicOrPartition,
		kafka.LeaderNotAvailable, kafka.NotLeaderForPartition, kafka.RequestTimedOut, kafka.NotEnoughReplicas,
		kafka.NotEnoughReplicasAfterAppend, kafka.KafkaStorageError, kafka.ThrottlingQuotaExceeded:
		return verdictRetry
	case kafka.ProducerFenced, kafka.InvalidProducerEpoch, kafka.IllegalGeneration, kafka.UnknownMemberId,
		kafka.RebalanceInProgress, kafka.FencedInstanceID:
		return verdictFenced
	case kafka.TopicAuthorizationFailed, kafka.GroupAuthorizationFailed, kafka.ClusterAuthorizationFailed,
		kafka.TransactionalIDAuthorizationFailed, kafka.UnsupportedVersion, kafka.UnsupportedForMessageFormat, kafka.UnsupportedCompressionType,
		kafka.InvalidTransactionTimeout, kafka.MessageSizeTooLarge, kafka.RecordListTooLarge,
		kafka.InvalidRecord, kafka.PolicyViolation, kafka.InvalidTopic, kafka.InvalidGroupId, kafka.InvalidRequiredAcks,
		kafka.SecurityDisabled:
		return verdictFatal
	}
	return verdictFailed
}

// refusal wraps a broker's refusal in the port's error that it amounts to,
// otherwise in stream.ErrTransaction.
func refusal(code kafka.Error) error {
	switch judge(code) {
	case verdictFenced:
		return fmt.Errorf("%w: %w", stream.ErrFenced, code)
	case verdictFatal:
		return fmt.Errorf("%w: %w", stream.ErrFatal, code)
	}
	return fmt.Errorf("%w: %w", stream.ErrTransaction, code)
}

// fetchError is what a partition's error code of a fetch amounts to.
func fetchError(code int16) error {
	switch e := kafka.Error(code); e {
	case 0:
		return nil
	case kafka.OffsetOutOfRange:
		return stream.ErrOffsetOutOfRange
	case kafka.UnknownTopicOrPartition, kafka.UnknownTopicID:
		return stream.ErrUnknownTopic
	case kafka.TopicAuthorizationFailed, kafka.UnsupportedVersion, kafka.UnsupportedCompressionType:
		return fmt.Errorf("%w: %w", stream.ErrFatal, e)
	default:
		return e
	}
}

// hopeless reports whether the same request would fail for the same reason at once.
func hopeless(err error) bool {
	return errors.Is(err, ErrClosed) || errors.Is(err, stream.ErrFatal) || errors.Is(err, ErrAccess)
}

// requestError wraps an error of the transport, ErrFatal where it says that the
// broker does not want us.
func requestError(err error) error {
	if err = explain(err); err == nil {
		return nil
	}
	var code kafka.Error
	if errors.As(err, &code) && judge(code) == verdictFatal {
		return fmt.Errorf("%w: %w", stream.ErrFatal, unwrapped(err))
	}
	return unwrapped(err)
}

// unwrapped takes off the name of the library's method that an error begins with.
func unwrapped(err error) error {
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "kafka.(*") {
		return inner
	}
	return err
}

// neverSent reports whether err arose before a byte of the request was written.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.Is(err, errNoCluster) || errors.Is(err, errNoLeader) || errors.Is(err, kafka.BrokerNotAvailable) ||
		errors.As(err, &op) && op.Op == "dial"
}

// unreachable finds out why the cluster is not known.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if !errors.Is(err, errNoCluster) {
		return err
	}
	if _, cause := c.adminClient().Metadata(ctx, &kafka.MetadataRequest{}); cause != nil {
		return fmt.Errorf("%w: %w", err, c.diagnosed(ctx, cause))
	}
	return err
}
