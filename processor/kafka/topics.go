package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/segmentd/segmentd/processor/stream"
)

// Topic is a topic as the cluster describes it.
type Topic struct {
	Name              string
	Partitions        int32
	ReplicationFactor int
}

// Topics describes the topics that exist among those named; of all (but Kafka's
// own, and those we may not see) where none is named. What is not there is left
// out, without an error.
func (c *Client) Topics(ctx context.Context, names ...string) (map[string]Topic, error) {
	ask := request{Message: &metadataCall{names}}
	res, err := roundTripOn[*metadataAnswer](ctx, c, c.admin, ask)
	if isHangUp(err) { // the connection was idle, and its broker had ended it
		res, err = roundTripOn[*metadataAnswer](ctx, c, c.admin, ask)
	}
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", requestError(c.diagnosed(ctx, err)))
	}
	if err := c.awaitCluster(ctx); err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	topics := make(map[string]Topic, len(res.Topics))
	var hidden []string
	for _, t := range res.Topics {
		switch code := kafka.Error(t.ErrorCode); {
		case code == kafka.UnknownTopicOrPartition, t.IsInternal:
			continue
		case code == kafka.TopicAuthorizationFailed:
			hidden = append(hidden, t.Name)
			continue
		case code != 0:
			return nil, fmt.Errorf("describe topic %s: %w", t.Name, requestError(code))
		}
		topics[t.Name] = describe(t)
	}
	if len(hidden) > 0 {
		slices.Sort(hidden)
		return nil, fmt.Errorf("describe topics: %w", denied(kafka.TopicAuthorizationFailed, onTopic("Describe", strings.Join(hidden, ", "))))
	}
	return topics, nil
}

// awaitCluster waits until the library has heard of the cluster, too, as other
// requests need it: after a failure it does not ask again for up to a second.
func (c *Client) awaitCluster(ctx context.Context) error {
	for wait := newBackoff(); ; {
		_, err := c.adminClient().Metadata(ctx, &kafka.MetadataRequest{})
		if err == nil || c.closed.Load() {
			return requestError(err)
		}
		if over := wait.sleep(ctx); over != nil {
			return requestError(err)
		}
	}
}

// metadataCall asks a broker. The library would answer metadata.Request from what
// it knows, in which topics that we may not see are just not there.
type metadataCall struct{ names []string } // nil: all

type metadataAnswer struct{ *metadata.Response }

func (*metadataCall) ApiKey() protocol.ApiKey { return protocol.Metadata }

// Split implements protocol.Splitter.
func (m *metadataCall) Split(protocol.Cluster) ([]protocol.Message, protocol.Merger, error) {
	return []protocol.Message{&metadata.Request{TopicNames: m.names}}, m, nil
}

// Merge implements protocol.Merger.
func (*metadataCall) Merge(_ []protocol.Message, results []any) (protocol.Message, error) {
	msg, err := protocol.Result(results[0])
	if err != nil {
		return nil, err
	}
	res, ok := msg.(*metadata.Response)
	if !ok {
		return nil, fmt.Errorf("kafka answered %T to a request for metadata", msg)
	}
	return &metadataAnswer{res}, nil
}

func describe(t metadata.ResponseTopic) Topic {
	d := Topic{Name: t.Name, Partitions: int32(len(t.Partitions))}
	if len(t.Partitions) > 0 {
		d.ReplicationFactor = len(t.Partitions[0].ReplicaNodes)
	}
	return d
}

// NewTopic asks for a topic.
type NewTopic struct {
	Name              string
	Partitions        int32             // -1: the broker's default
	ReplicationFactor int               // -1: the broker's default
	Configs           map[string]string // settings of the topic
}

// CreateTopics creates the topics that do not exist and returns the names of
// those it created. Its error joins those of all topics that it could not create.
func (c *Client) CreateTopics(ctx context.Context, topics []NewTopic) (created []string, err error) {
	if c.closed.Load() {
		return nil, ErrClosed
	}
	req := &kafka.CreateTopicsRequest{}
	for _, t := range topics {
		req.Topics = append(req.Topics, t.config())
	}
	res, err := c.adminClient().CreateTopics(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("create topics: %w", requestError(err))
	}
	var problems []error
	for _, t := range topics {
		switch err := res.Errors[t.Name]; {
		case err == nil:
			created = append(created, t.Name)
		case !errors.Is(err, kafka.TopicAlreadyExists):
			problems = append(problems, fmt.Errorf("create topic %s: %w", t.Name, denied(requestError(err), onTopic("Create", t.Name))))
		}
	}
	return created, errors.Join(problems...)
}

func (t NewTopic) config() kafka.TopicConfig {
	cfg := kafka.TopicConfig{Topic: t.Name, NumPartitions: int(t.Partitions), ReplicationFactor: t.ReplicationFactor}
	for name, value := range t.Configs {
		cfg.ConfigEntries = append(cfg.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	sort.Slice(cfg.ConfigEntries, func(i, j int) bool { return cfg.ConfigEntries[i].ConfigName < cfg.ConfigEntries[j].ConfigName })
	return cfg
}

// WaitTopics waits until every partition of the topics has a leader that Fetch
// and Produce know of: creating a topic returns before that.
func (c *Client) WaitTopics(ctx context.Context, names ...string) error {
	for wait := newBackoff(); ; {
		missing, err := c.withoutLeader(ctx, names)
		if err == nil && len(missing) == 0 {
			return nil
		}
		if hopeless(err) {
			return err
		}
		if over := wait.sleep(ctx); over != nil {
			return fmt.Errorf("wait for topics %q: %w", missing, errors.Join(over, err))
		}
	}
}

func (c *Client) withoutLeader(ctx context.Context, names []string) (missing []string, err error) {
	if c.closed.Load() {
		return names, ErrClosed
	}
	data := kafka.Client{Addr: c.addr, Timeout: c.cfg.RequestTimeout, Transport: c.data.Load()}
	res, err := data.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return names, requestError(err)
	}
	for _, t := range res.Topics {
		if errors.Is(t.Error, kafka.TopicAuthorizationFailed) {
			return names, denied(t.Error, onTopic("Describe", t.Name))
		}
		led := t.Error == nil && len(t.Partitions) > 0 &&
			!slices.ContainsFunc(t.Partitions, func(p kafka.Partition) bool { return p.Leader.Host == "" })
		if !led {
			missing = append(missing, t.Name)
		}
	}
	return missing, nil
}

// Configs reads the settings of a topic: the effective values, set or default.
func (c *Client) Configs(ctx context.Context, topic string) (map[string]string, error) {
	if c.closed.Load() {
		return nil, ErrClosed
	}
	res, err := c.adminClient().DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}},
	})
	if err != nil {
		return nil, fmt.Errorf("describe settings of topic %s: %w", topic, requestError(err))
	}
	configs := map[string]string{}
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, fmt.Errorf("describe settings of topic %s: %w", topic, denied(asTopicError(r.Error), onTopic("DescribeConfigs", topic)))
		}
		for _, e := range r.ConfigEntries {
			configs[e.ConfigName] = e.ConfigValue
		}
	}
	return configs, nil
}

func asTopicError(err error) error {
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return stream.ErrUnknownTopic
	}
	return requestError(err)
}

// Watermarks are the offsets of one partition.
type Watermarks struct {
	Partition  int32
	Start      int64 // of the oldest record
	LastStable int64 // committed data is complete up to here
	End        int64 // the high watermark
}

// The timestamps that ListOffsets takes for positions.
const (
	earliest = -2
	latest   = -1
)

// offsetQuery is what ListOffsets is asked of each partition.
type offsetQuery struct {
	timestamp int64 // ms, or earliest or latest
	isolation int8
}

// Watermarks lists the offsets of partitions 0 to n-1 of a topic.
func (c *Client) Watermarks(ctx context.Context, topic string, n int32) ([]Watermarks, error) {
	all := make([]Watermarks, n)
	for _, want := range []struct {
		offsetQuery
		put func(*Watermarks, int64)
	}{
		{offsetQuery{timestamp: earliest}, func(w *Watermarks, o int64) { w.Start = o }},
		{offsetQuery{timestamp: latest, isolation: readCommitted}, func(w *Watermarks, o int64) { w.LastStable = o }},
		{offsetQuery{timestamp: latest}, func(w *Watermarks, o int64) { w.End = o }},
	} {
		offsets, err := c.listOffsets(ctx, topic, n, want.offsetQuery)
		if err != nil {
			return nil, fmt.Errorf("list offsets of topic %s: %w", topic, err)
		}
		for p := range all {
			all[p].Partition = int32(p)
			want.put(&all[p], offsets[p])
		}
	}
	return all, nil
}

// OffsetsAt lists, for partitions 0 to n-1, the first offset whose record's
// timestamp is at or after t; the end where there is none.
func (c *Client) OffsetsAt(ctx context.Context, topic string, n int32, t time.Time) ([]int64, error) {
	offsets, err := c.listOffsets(ctx, topic, n, offsetQuery{timestamp: t.UnixMilli()})
	if err != nil {
		return nil, fmt.Errorf("list offsets of topic %s: %w", topic, err)
	}
	if !slices.Contains(offsets, -1) {
		return offsets, nil
	}
	end, err := c.listOffsets(ctx, topic, n, offsetQuery{timestamp: latest})
	if err != nil {
		return nil, fmt.Errorf("list offsets of topic %s: %w", topic, err)
	}
	for p := range offsets {
		if offsets[p] < 0 {
			offsets[p] = end[p]
		}
	}
	return offsets, nil
}

func (c *Client) listOffsets(ctx context.Context, topic string, n int32, q offsetQuery) ([]int64, error) {
	t := listoffsets.RequestTopic{Topic: topic}
	for p := range n {
		t.Partitions = append(t.Partitions, listoffsets.RequestPartition{Partition: p, CurrentLeaderEpoch: -1, Timestamp: q.timestamp})
	}
	req := &listoffsets.Request{ReplicaID: -1, IsolationLevel: q.isolation, Topics: []listoffsets.RequestTopic{t}}
	res, err := roundTrip[*listoffsets.Response](ctx, c, req, 0)
	if err != nil {
		return nil, requestError(c.unreachable(ctx, err))
	}
	offsets := make([]int64, n)
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return nil, fmt.Errorf("partition %d: %w", p.Partition, denied(fetchError(p.ErrorCode), onTopic("Describe", topic)))
			}
			if p.Partition >= 0 && p.Partition < n {
				offsets[p.Partition] = p.Offset
			}
		}
	}
	return offsets, nil
}
