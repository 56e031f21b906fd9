package kafka

import (
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"

	"github.com/segmentd/segmentd/processor/stream"
)

// right is what an ACL may allow: an operation on a resource, as kafka-acls.sh
// has them, and the code of its absence.
type right struct {
	operation, resource string
	code                kafka.Error
}

func onTopic(operation, topic string) right {
	return right{operation, "topic " + topic, kafka.TopicAuthorizationFailed}
}

func onGroup(operation, group string) right {
	return right{operation, "group " + group, kafka.GroupAuthorizationFailed}
}

func onTransactions(operation, id string) right {
	return right{operation, "transactional id " + id, kafka.TransactionalIDAuthorizationFailed}
}

// idempotence is what a producer outside of transactions needs.
var idempotence = right{"Write", "any topic, nor IdempotentWrite on the cluster", kafka.ClusterAuthorizationFailed}

// denied names the right, of those that a request needs, which an error says to
// be missing. Such an error is stream.ErrFatal.
func denied(err error, needed ...right) error {
	var code kafka.Error
	if !errors.As(err, &code) {
		return err
	}
	for _, r := range needed {
		if r.code == code {
			err = fmt.Errorf("no ACL allows %s on %s: %w", r.operation, r.resource, unwrapped(err))
			if !errors.Is(err, stream.ErrFatal) {
				err = fmt.Errorf("%w: %w", stream.ErrFatal, err)
			}
			return err
		}
	}
	return err
}
