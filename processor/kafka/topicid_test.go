package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmentd/segmentd/processor/embedded"
	"github.com/segmentd/segmentd/processor/kafka"
)

// A topic keeps its id until it is deleted; made anew it has another.
func TestTopicIDs(t *testing.T) {
	b, c := cluster(t, "events", "decisions")
	ids, err := c.TopicIDs(t.Context(), "events", "decisions", "none")
	must(t, err)
	if len(ids) != 2 || len(ids["events"]) != 22 || ids["events"] == ids["decisions"] {
		t.Errorf("the ids are %q", ids)
	}
	b.DeleteTopic("events")
	createTopic(t, c, kafka.NewTopic{Name: "events", Partitions: 1})
	eventually(t, "the topic made anew has another id", func() bool {
		now, err := c.TopicIDs(t.Context(), "events", "decisions")
		must(t, err)
		return now["events"] != "" && now["events"] != ids["events"] && now["decisions"] == ids["decisions"]
	})
}

// An embedded broker keeps its topics' ids when it is started again.
func TestTopicIDsOutliveTheBroker(t *testing.T) {
	cfg := embedded.Config{Dir: t.TempDir()}
	var before string
	for range 2 {
		b, err := embedded.Start(cfg)
		must(t, err)
		c := newClient(t, b.Addr())
		if before == "" {
			createTopic(t, c, kafka.NewTopic{Name: "events", Partitions: 1})
		}
		ids, err := c.TopicIDs(t.Context(), "events")
		must(t, err)
		if before != "" && ids["events"] != before {
			t.Errorf("the id is %q, was %q", ids["events"], before)
		}
		before = ids["events"]
		must(t, c.Close())
		must(t, b.Close())
	}
}

// Brokers that give topics no ids say so by what they know.
func TestTopicIDsOfOldBrokers(t *testing.T) {
	b, _ := cluster(t, "events")
	hooks(b).ControlKey(int16(kmsg.ApiVersions), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		hooks(b).KeepControl()
		if kreq.GetVersion() > 0 {
			return nil, nil, false
		}
		res := kreq.ResponseKind().(*kmsg.ApiVersionsResponse)
		res.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: int16(kmsg.Metadata), MaxVersion: 9}}
		return res, nil, true
	})
	c := newClient(t, b.Addrs()...) // its connections learn the same
	ids, err := c.TopicIDs(t.Context(), "events", "none")
	if id, there := ids["events"]; err != nil || !there || id != "" || len(ids) != 1 {
		t.Errorf("the ids are %q, %v", ids, err)
	}
}
