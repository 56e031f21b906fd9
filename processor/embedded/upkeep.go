package embedded

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfake's own upkeep loses records: it applies retention.ms to topics that are
// only compacted, and its compaction lets a record of an open transaction
// supersede a committed one, after which an abort leaves neither. So its ticker
// is put off for good; retention runs here, compaction only when the broker
// starts, before any client is let in, and only where no transaction is open.
const (
	retentionInterval = 5 * time.Minute
	noCleanerBackoff  = 365 * 24 * time.Hour
)

// keepCompacted gives topics that are compacted and not deleted no retention
// time, which is what Kafka understands by it.
func keepCompacted(c *kfake.Cluster) {
	c.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		for i := range req.(*kmsg.CreateTopicsRequest).Topics {
			keepTopic(&req.(*kmsg.CreateTopicsRequest).Topics[i])
		}
		return nil, nil, false
	})
}

func keepTopic(t *kmsg.CreateTopicsRequestTopic) {
	compacted := false
	for _, cfg := range t.Configs {
		switch cfg.Name {
		case "cleanup.policy":
			compacted = cfg.Value != nil && strings.TrimSpace(*cfg.Value) == "compact"
		case "retention.ms":
			return
		}
	}
	if compacted {
		cfg := kmsg.NewCreateTopicsRequestTopicConfig()
		forever := "-1"
		cfg.Name, cfg.Value = "retention.ms", &forever
		t.Configs = append(t.Configs, cfg)
	}
}

// autoCreate creates the topics that a metadata request asks for with leave to
// create them. kfake can do so by itself, and does not write them down: a kill
// would take them, and what was produced to them, away.
func autoCreate(c *kfake.Cluster) {
	c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r := req.(*kmsg.MetadataRequest)
		var names []string
		for _, t := range r.Topics {
			if t.Topic != nil && r.AllowAutoTopicCreation {
				names = append(names, *t.Topic)
			}
		}
		if len(names) > 0 {
			c.SleepControl(func() { // lets the cluster go on meanwhile, which creating needs
				for _, name := range names {
					_ = c.CreateTopic(name, 0, nil) // most exist; what cannot be created will be missed
				}
			})
		}
		return nil, nil, false
	})
}

// compactStable compacts the topics kept in dir unless a transaction is open.
func compactStable(c *kfake.Cluster, dir string, log *slog.Logger) {
	for _, topic := range topicsIn(dir) {
		for _, p := range c.PartitionInfos(topic) {
			if p.LastStableOffset != p.HighWatermark {
				log.Warn("topics are not compacted, a transaction is open", "topic", topic, "partition", p.Partition)
				return
			}
		}
	}
	c.Compact()
}

// topicsIn lists the topics of a data directory, which has a directory named
// topic-partition of each.
func topicsIn(dir string) (topics []string) {
	entries, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if dir == "" || err != nil {
		return nil
	}
	seen := map[string]bool{}
	for _, e := range entries {
		i := strings.LastIndexByte(e.Name(), '-')
		if i < 0 {
			continue
		}
		if topic, err := url.PathUnescape(e.Name()[:i]); err == nil && !seen[topic] {
			seen[topic] = true
			topics = append(topics, topic)
		}
	}
	return topics
}

// retain applies retention until ctx ends.
func retain(ctx context.Context, c *kfake.Cluster) {
	t := time.NewTicker(retentionInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			c.ApplyRetention()
		}
	}
}
