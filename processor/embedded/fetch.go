package embedded

import (
	"math"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchSlackBytes is more than the batch with which a partition overruns its limit.
const fetchSlackBytes = 64 << 20

// boundFetchesByPartition lifts the limit of a whole fetch above the sum of its
// partitions' limits. kfake forgets the list of aborted transactions of the
// partition in which the whole limit is reached, and read_committed clients
// would take aborted records for committed ones.
func boundFetchesByPartition(cluster *kfake.Cluster) {
	cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req, ok := r.(*kmsg.FetchRequest)
		if !ok {
			return nil, nil, false
		}
		sum := int64(fetchSlackBytes)
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				sum += int64(req.Topics[i].Partitions[j].PartitionMaxBytes)
			}
		}
		req.MaxBytes = int32(min(sum, math.MaxInt32))
		return nil, nil, false
	})
}
