package processor

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/rules"
)

// On Apache Kafka, what was erased, and what a withdrawal replaced, is gone from the
// compacted topics as made by us, but for shorter times: for who reads from the start, and from
// the brokers' files. Records of others stay.
func TestCompactionRemovesWhatWasErased(t *testing.T) {
	c := kafkatest.Options{Properties: map[string]string{"log.cleaner.backoff.ms": "100", "log.cleaner.threads": "1"}}.StartCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	shorter := map[string]string{"max.compaction.lag.ms": "1000", "delete.retention.ms": "1000", "file.delete.delay.ms": "1000"}
	compacted := map[string]TopicSpec{}
	for _, spec := range (Topics{Group: "g"}).Specs(&rules.Set{}) {
		if !spec.Personal || spec.Configs["cleanup.policy"] != "compact" {
			continue
		}
		compacted[spec.Name] = spec
		settings := map[string]*string{}
		for name, value := range spec.Configs {
			settings[name] = &value
		}
		for name, value := range shorter {
			settings[name] = &value
		}
		if _, err := admin.CreateTopic(ctx, 1, 1, settings, spec.Name); err != nil {
			t.Fatal(err)
		}
	}
	if len(compacted) != 2 {
		t.Fatalf("%d topics are compacted and tell of subjects, want changelog and members", len(compacted))
	}
	put := func(topic, key, value string) {
		t.Helper()
		r := &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}
		if value == "" {
			r.Value = nil
		}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	const changelog, members = "g-changelog", "g-members"
	put(changelog, "0123456789abcdef", "record of erased-canary@example.org")
	put(changelog, "123456789abcdef0", "record with withdrawn-canary")
	put(changelog, "23456789abcdef01", "record of bystander-canary")
	put(members, "vip/erased-canary@example.org", "row of erased-canary@example.org")
	put(members, "vip/bystander-canary", "row of bystander-canary")
	for topic := range compacted {
		for _, where := range []string{read(t, ctx, client, topic), onDisk(t, c, topic)} {
			if !strings.Contains(where, "erased-canary") || !strings.Contains(where, "bystander-canary") {
				t.Fatalf("%s: before, it is not there: it tests nothing", topic)
			}
		}
	}
	erased := time.Now()
	put(changelog, "0123456789abcdef", "fence")
	put(changelog, "123456789abcdef0", "record without it")
	put(members, "vip/erased-canary@example.org", "")
	for topic, spec := range compacted {
		described, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		settings := map[string]string{}
		for _, s := range described[0].Configs {
			settings[s.Key] = s.MaybeValue()
		}
		bound := RemainsOn(topic, settings, spec.Keyed).Within
		for n := 0; ; n++ {
			seen, files := read(t, ctx, client, topic), onDisk(t, c, topic)
			for _, where := range []string{seen, files} {
				if !strings.Contains(where, "bystander-canary") {
					t.Fatalf("%s: the bystander is gone, too", topic)
				}
			}
			if !strings.Contains(seen+files, "erased-canary") && !strings.Contains(seen+files, "withdrawn-canary") {
				break
			}
			if time.Since(erased) > bound {
				t.Fatalf("%s: it is there after %v", topic, bound)
			}
			put(topic, "checkpoint", fmt.Sprint(n)) // as processing does: a segment is closed by what follows it
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("%s: it is there after %v:\n%s", topic, time.Since(erased), files)
			}
		}
		t.Logf("%s: gone after %v; computed: %v", topic, time.Since(erased).Round(100*time.Millisecond), bound)
	}
}

// read returns all that a topic's only partition holds, as who reads it from the start sees it.
func read(t *testing.T, ctx context.Context, client *kgo.Client, topic string) string {
	t.Helper()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	reader, err := kgo.NewClient(kgo.SeedBrokers(client.OptValue(kgo.SeedBrokers).([]string)...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var text strings.Builder
	for next := int64(0); next < end.Offset; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			fmt.Fprintf(&text, "%s=%s\n", r.Key, r.Value)
			next = r.Offset + 1
		})
	}
	return text.String()
}

func onDisk(t *testing.T, c *kafkatest.Cluster, topic string) string {
	t.Helper()
	text, err := c.Nodes[0].OnDisk(topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
