package processor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// Several topics are merged by arrival as far as each is known: one that has
// more than was fetched holds up the others, one that is at its end does not.
func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name    string
		topics  []string // the arrivals of each; "+" behind them: there is more
		want    string
		starved string
	}{
		{"one topic", []string{"1 2 3"}, "0:1 0:2 0:3", ""},
		{"one topic of which there is more", []string{"1 2 +"}, "0:1 0:2", ""},
		{"all at their end", []string{"1 4", "2 3", ""}, "0:1 1:2 1:3 0:4", ""},
		{"a dense one holds up the others", []string{"1 2 3 +", "2 9 10"}, "0:1 0:2 1:2 0:3", ""},
		{"the others go on where it ends", []string{"1 2 3", "2 9 +"}, "0:1 0:2 1:2 0:3 1:9", ""},
		{"one without room holds up all", []string{"1 2", "+"}, "", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var fetched []stream.Fetched
			var inputs []*input
			for _, text := range c.topics {
				f, in := stream.Fetched{Next: 10}, &input{position: 10}
				for _, field := range strings.Fields(text) {
					if field == "+" {
						f.LastStable++
						continue
					}
					var at int64
					_, err := fmt.Sscan(field, &at)
					must(t, err)
					f.Records = append(f.Records, stream.Record{Timestamp: subject.Instant(at)})
					f.Next++
				}
				f.LastStable += f.Next
				fetched, inputs = append(fetched, f), append(inputs, in)
			}
			m := newMerge(fetched, inputs)
			var got, starved []string
			for i, r := m.next(); r != nil; i, r = m.next() {
				got = append(got, fmt.Sprintf("%d:%d", i, r.Timestamp))
			}
			for i := range inputs {
				if m.isStarved(i) {
					starved = append(starved, fmt.Sprint(i))
				}
			}
			if strings.Join(got, " ") != c.want || strings.Join(starved, " ") != c.starved {
				t.Errorf("%v, starved %v; want %s, starved %s", got, starved, c.want, c.starved)
			}
		})
	}
}
