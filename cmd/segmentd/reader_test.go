package main

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// franz is a client of another make, which no delay concerns. It is closed with the test.
func (l *live) franz(opts ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(strings.Split(l.brokers, ",")...), kgo.Dialer(kafkatest.DialDirect))...)
	l.must(err)
	l.t.Cleanup(client.Close)
	return client
}

// read reads what a topic has committed, with a client of another make.
func (l *live) read(topic string, each func(*kgo.Record)) {
	ends, err := l.client.Watermarks(context.Background(), topic, l.partitions)
	l.must(err)
	offsets, left := map[int32]kgo.Offset{}, 0
	next := make([]int64, len(ends))
	for p, w := range ends {
		offsets[int32(p)] = kgo.NewOffset().AtStart()
		if w.Start < w.End {
			left++
		}
	}
	reader := l.franz(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}), kgo.KeepControlRecords())
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for left > 0 {
		fetches := reader.PollFetches(ctx)
		l.must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if next[r.Partition] < ends[r.Partition].End && r.Offset+1 >= ends[r.Partition].End {
				left--
			}
			next[r.Partition] = r.Offset + 1
			if !r.Attrs.IsControl() {
				each(r)
			}
		})
	}
}

// changes reads the changes, and sees that keys, headers and partitions are
// theirs.
func (l *live) changes() (all []subject.Change) {
	l.ruleSets = map[string]int{}
	l.read("segmentd-changes", func(r *kgo.Record) {
		p, err := wire.ParseChange(r.Value)
		l.must(err)
		all = append(all, p.Change)
		l.ruleSets[p.RuleSet]++
		if at := l.partitionOf(string(r.Key)); string(r.Key) != p.Change.Subject.Value || at != r.Partition {
			l.t.Errorf("a change of %s has the key %q and is on partition %d, not %d", p.Change.Subject.Value, r.Key, r.Partition, at)
		}
		l.checkHeaders(&p, r)
	})
	return all
}

// checkHeaders compares the CloudEvent that the headers are with the value.
func (l *live) checkHeaders(p *wire.Published, r *kgo.Record) {
	c, got := p.Change, headersOf(r)
	want := map[string]string{"ce_id": p.ID, "ce_source": "/segmentd/segmentd", "ce_type": "segmentd.segment." + c.Kind.String(), "ce_subject": c.Subject.Value,
		"ce_time": c.Time.String(), "ce_specversion": "1.0", "ce_segment": c.Segment, "ce_reason": c.Reason.String(),
		"ce_version": strconv.FormatUint(c.Version, 10), "content-type": "application/json"}
	if c.Kind == subject.Erased { // of the subject as a whole
		want["ce_type"] = "segmentd.subject.erased"
		delete(want, "ce_segment")
	}
	for key, value := range want {
		if got[key] != value {
			l.t.Errorf("offset %d of partition %d: %s is %q, want %q", r.Offset, r.Partition, key, got[key], value)
		}
	}
	if len(r.Headers) != len(want) {
		l.t.Errorf("offset %d of partition %d has %d headers, want %d", r.Offset, r.Partition, len(r.Headers), len(want))
	}
}

func headersOf(r *kgo.Record) map[string]string {
	all := map[string]string{}
	for _, h := range r.Headers {
		all[h.Key] = string(h.Value)
	}
	return all
}

// row is a record of the members topic: the newest of its key.
type row struct {
	UserID, IDType, Segment string
	Since, Time, Reason     string
	Version                 uint64
}

// checkMembers holds the members topic, as compaction leaves it, against the changes.
func (l *live) checkMembers(changes []subject.Change) {
	got, want := map[string]row{}, map[string]row{}
	l.read("segmentd-members", func(r *kgo.Record) {
		m := l.row(r)
		if before := got[string(r.Key)]; m.Version <= before.Version {
			l.t.Errorf("%s: version %d comes after %d", r.Key, m.Version, before.Version)
		}
		got[string(r.Key)] = m
	})
	for _, c := range changes {
		if c.Kind == subject.Erased {
			continue
		}
		m := row{Time: c.Time.String(), Reason: c.Reason.String(), Version: c.Version}
		if c.Kind == subject.Entered {
			m.UserID, m.IDType, m.Segment, m.Since = c.Subject.Value, c.Subject.Type.String(), c.Segment, m.Time
		}
		want["u|"+c.Subject.Value+"|"+c.Segment] = m
	}
	for key, m := range want {
		row, kept := got[key]
		if row != m && (kept || m.Since != "") { // compaction drops tombstones in the end
			l.t.Errorf("the members topic has of %s\n%+v, changes say\n%+v", key, row, m)
		}
		delete(got, key)
	}
	if len(got) > 0 {
		l.t.Errorf("the members topic has %d rows that no change explains", len(got))
	}
}

// row reads a record of the members topic.
func (l *live) row(r *kgo.Record) (m row) {
	headers := headersOf(r)
	version, err := strconv.ParseUint(headers["version"], 10, 64)
	l.must(err)
	if r.Value != nil {
		l.must(json.Unmarshal(r.Value, &m))
	}
	id := strings.Split(string(r.Key), "|")[1]
	if at := l.partitionOf(id); at != r.Partition || r.Value != nil && m.Version != version || len(r.Headers) != 3 {
		l.t.Errorf("the row %s on partition %d (not %d) says version %d, its headers are %v", r.Key, r.Partition, at, m.Version, headers)
	}
	m.Time, m.Reason, m.Version = headers["time"], headers["reason"], version
	return m
}

// partitionOf is where a key belongs by the partitioner of another make.
func (l *live) partitionOf(key string) int32 {
	return int32(kgo.StickyKeyPartitioner(nil).ForTopic("").Partition(&kgo.Record{Key: []byte(key)}, int(l.partitions)))
}
