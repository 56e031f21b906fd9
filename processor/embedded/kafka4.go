package embedded

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafka4Minimum are the lowest request versions of Kafka 4.0 that are above 0
// (KIP-896); produce's advertised minimum is 0, its effective one 3.
var kafka4Minimum = map[int16]int16{
	0: 3, 1: 4, 2: 1, 8: 2, 9: 1, 11: 2, 19: 2, 20: 1, 23: 2, 27: 1, 29: 1, 30: 1, 31: 1, 32: 1, 34: 1, 35: 1,
}

// refuseBelowKafka4 closes the connection of a request that Kafka 4.0 would refuse.
func refuseBelowKafka4(c *kfake.Cluster) {
	c.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if v := req.GetVersion(); v < kafka4Minimum[req.Key()] {
			return nil, fmt.Errorf("%s version %d is below Kafka 4.0's minimum", kmsg.NameForKey(req.Key()), v), true
		}
		return nil, nil, false
	})
}
