package processor

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/segmentd/segmentd/processor/stream"
)

// What the partitions of an instance may work on at a time, in bytes of their
// events: a batch that is decoded, judged and laid out as a transaction takes several
// times as much memory, and more of them at once than there are cores only wait for
// each other. Small batches are not counted: what they wait for is the broker.
const (
	sharedBytes     = 12 << 20
	smallBatchBytes = 64 << 10
)

func newShare() *semaphore.Weighted { return semaphore.NewWeighted(sharedBytes) }

// takeShare waits until the partition may work on a batch, and answers queries
// meanwhile. release must be called once the batch is committed.
func (p *partition) takeShare(ctx context.Context, fetched []stream.Fetched) (release func(), err error) {
	bytes := int64(0)
	for i := range fetched {
		for j := range fetched[i].Records {
			bytes += int64(len(fetched[i].Records[j].Key) + len(fetched[i].Records[j].Value))
		}
	}
	if bytes < smallBatchBytes {
		return func() {}, nil
	}
	bytes = min(bytes, sharedBytes)
	taken := make(chan error, 1)
	go func() { taken <- p.share.Acquire(ctx, bytes) }()
	for {
		select {
		case err := <-taken:
			if err != nil {
				return nil, err
			}
			return func() { p.share.Release(bytes) }, nil
		case q := <-p.queries:
			q.answer(p)
		}
	}
}
