package processor

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// elsewhere returns a partition that is not the subject's.
func (l *lab) notOf(id string) int32 { return (l.of(id) + 1) % l.cfg.Partitions }

// An event on another partition than its key's is rejected; a decision there is
// passed on, in a transaction, and in force where it belongs.
func TestWrongPartition(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 3})
	at := ago(time.Hour)
	r := l.start()
	grant := given("u1", "marketing", at)
	grant.wrong, grant.to = true, l.notOf("u1")
	l.produce(grant)
	eventually(t, "the grant is in force", func() bool { return r.ready("u1") && l.membersOf(r, "u1") == "known" })
	event := track("u1", "Order Completed", "m1", at)
	event.wrong, event.to = true, l.notOf("u1")
	l.produce(event)
	r.read()
	bare := track("u1", "Order Completed", "m2", at)
	bare.wrong, bare.to, bare.bare = true, l.notOf("u1"), true
	l.produce(bare)
	r.read()
	if n := r.metric(t, "segmentd_passed_on_total"); n != 1 {
		t.Errorf("%v decisions were passed on", n)
	}
	r.stop()
	if got := l.membersIn(l.changes()); got != "u1:known" {
		t.Errorf("members are %s", got)
	}
	want := fmt.Sprintf("events:%d:0 wrong_partition, events:%d:1 wrong_partition", l.notOf("u1"), l.notOf("u1"))
	if got := strings.Join(l.rejects(), ", "); got != want {
		t.Errorf("rejects %s, want %s", got, want)
	}
	moved := l.readPartition(decisions, l.of("u1"))
	if len(moved) != 1 || string(moved[0].Key) != "u1" || string(moved[0].Value) != grant.value || moved[0].Timestamp != subject.FromTime(at) {
		t.Errorf("the decision was passed on as %+v", moved)
	}
}

// ready reports whether the subject's partition is.
func (r *running) ready(id string) bool {
	return r.inspect(r.lab.of(id), func(*partitionLoop) {})
}

func (l *lab) membersIn(changes []subject.Change) string {
	var all []string
	for id, cs := range bySubject(changes) {
		if in := endOf(cs); in != "" {
			all = append(all, id.Value+":"+in)
		}
	}
	return strings.Join(all, " ")
}

// rejects reads the rejected topic as "topic:partition:offset reason".
func (l *lab) rejects() (all []string) {
	l.t.Helper()
	for _, r := range l.readTopic(Topics{l.cfg.Group}.Rejected()) {
		var j struct {
			Topic             string
			Partition, Offset int64
			Reason            string
		}
		must(l.t, json.Unmarshal(r.Value, &j))
		all = append(all, fmt.Sprintf("%s:%d:%d %s", j.Topic, j.Partition, j.Offset, j.Reason))
		if r.Key != nil {
			l.t.Error("a rejected record's reference has a key")
		}
	}
	return all
}

// A decision that was passed on is never passed on again: groups that disagree on
// the partitioner would do so to each other for ever. What it stops holds where
// something of the subject is kept.
func TestPassedOnOnce(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 3})
	at := ago(time.Hour)
	r := l.start()
	misplaced := func(m record, id string, headers ...stream.Header) record {
		m.wrong, m.to, m.headers = true, l.notOf(id), headers
		return m
	}
	other := stream.Header{Key: "segmentd-passed-on", Value: []byte("other")}
	origin := stream.Header{Key: "origin", Value: []byte("web")}
	l.produce(misplaced(given("u1", "marketing", at), "u1", origin), misplaced(given("u2", "marketing", at), "u2", other))
	l.produce(given("u3", "marketing", at))
	eventually(t, "the grants are in force", func() bool {
		return r.ready("u1") && l.membersOf(r, "u1") == "known" && r.ready("u3") && l.membersOf(r, "u3") == "known"
	})
	// What other groups passed on here counts in no verdict.
	var many []record
	for i := 0; len(many) < fitFrom; i++ {
		if id := fmt.Sprintf("v%d", i); l.notOf(id) == l.of("u3") {
			many = append(many, misplaced(decision(id, "marketing", "withdrawn", at), id, other))
		}
	}
	l.produce(many...)
	event := track("u3", "Order Completed", "m1", at)
	l.produce(event)
	r.read()
	if n := r.metric(t, "segmentd_passed_on_total"); n != 1 {
		t.Errorf("%v decisions were passed on", n)
	}
	r.stop()
	if got, want := len(l.rejects()), 1+len(many); got != want {
		t.Errorf("%d rejects, want %d", got, want)
	}
	for _, reject := range l.rejects() {
		if !strings.HasPrefix(reject, "decisions:") || !strings.HasSuffix(reject, " wrong_partition") {
			t.Errorf("reject %s", reject)
		}
	}
	var moved []stream.Header
	for _, m := range l.readPartition(decisions, l.of("u1")) {
		if string(m.Key) == "u1" {
			moved = m.Headers
		}
	}
	if diff := cmp.Diff([]stream.Header{origin, {Key: "segmentd-passed-on", Value: []byte(l.cfg.Group)}}, moved); diff != "" {
		t.Errorf("the headers of what was passed on (-want +got):\n%s", diff)
	}
	if got := l.membersIn(l.changes()); strings.Contains(got, "u2") {
		t.Errorf("a misplaced grant is in force: %s", got)
	}
}

// A group whose partitioner was another one before keeps subjects where they no
// longer belong. What stops them there holds, though it was passed on.
func TestPassedOnStopHolds(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 2})
	at := ago(time.Hour)
	l.produce(given("u1", "marketing", at))
	r := l.start()
	eventually(t, "the grant is in force", func() bool { return r.ready("u1") && l.membersOf(r, "u1") == "known" })
	r.stop()
	kept := l.of("u1")
	for i := range l.cfg.Inputs {
		l.cfg.Inputs[i].Partition = func(key []byte, n int32) int32 { return (murmur2(key, n) + 1) % n }
	}
	r = l.start()
	header := []stream.Header{{Key: "segmentd-passed-on", Value: []byte(l.cfg.Group)}}
	grant, stop := given("u1", "marketing", ago(time.Minute)), decision("u1", "marketing", "withdrawn", ago(time.Second))
	grant.headers, stop.headers = header, header
	l.produce(stop)
	eventually(t, "u1 exits", func() bool { return l.membersIn(l.changes()) == "" })
	grant = given("u1", "marketing", time.Now())
	grant.headers = header
	l.produce(grant)
	eventually(t, "the grant is rejected", func() bool { return len(l.rejects()) == 1 })
	r.stop()
	if got, want := l.rejects()[0], fmt.Sprintf("decisions:%d:2 wrong_partition", kept); got != want {
		t.Errorf("the reject is %s, want %s", got, want)
	}
	if got := l.membersIn(l.changes()); got != "" {
		t.Errorf("members are %s", got)
	}
}

// Most of an input's first records on the wrong partition: the producers hash
// otherwise than configured. Nothing of the batch is committed.
func TestWrongPartitionerStops(t *testing.T) {
	for name, tt := range map[string]struct {
		topic string
		ids   int
	}{"events": {events, 150}, "decisions": {decisions, 150}, "more decisions than a transaction takes": {decisions, 2 * maxBatchWords}} {
		t.Run(name, func(t *testing.T) {
			l, topic := newLab(t, labConfig{rules: clockRules, partitions: 2}), tt.topic
			var all []record
			for i := range tt.ids {
				id := fmt.Sprintf("u%d", i)
				if l.of(id) == 0 || i%10 == 0 {
					m := track(id, "Order Completed", id, ago(time.Hour))
					if topic == decisions {
						m = given(id, "marketing", ago(time.Hour))
						noise := make([]byte, 200) // so that many do not fit into one fetch
						_, _ = rand.Read(noise)    // never fails
						m.headers = []stream.Header{{Key: "noise", Value: noise}}
					}
					m.wrong, m.to = true, 1
					all = append(all, m, m)
				}
			}
			l.produceAtOnce(all)
			before := l.watermarks(topic)
			err := l.start().fails()
			var configured *ConfigError
			if !errors.As(err, &configured) {
				t.Fatalf("the error is %v", err)
			}
			for _, part := range []string{"are not where partitioner murmur2 puts their keys", "set the input's partitioner", "crc32: librdkafka", topic} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if n := len(l.readTopic(Topics{l.cfg.Group}.Rejected())) + len(l.readPartition(Topics{l.cfg.Group}.Changelog(), 1)); n != 0 {
				t.Errorf("%d records were committed", n)
			}
			if after := l.watermarks(topic); !slices.Equal(before, after) {
				t.Errorf("decisions were passed on: %v, then %v", before, after)
			}
		})
	}
}

// Where the operator vouches for the producers nothing is checked, and look-ups
// find a subject wherever it is.
func TestAnyPartitioner(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 3})
	for i := range l.cfg.Inputs {
		l.cfg.Inputs[i].Partition, l.cfg.Inputs[i].Partitioner, l.cfg.Inputs[i].Decoder.AnyKey = nil, "any", true
	}
	r := l.start()
	for p := range l.cfg.Partitions {
		id := fmt.Sprintf("u%d", p)
		grant, event := given(id, "marketing", ago(time.Hour)), track(id, "Order Completed", id, ago(time.Hour))
		grant.wrong, grant.to, event.wrong, event.to = true, p, true, p
		l.produce(grant, event)
	}
	r.read()
	for p := range l.cfg.Partitions {
		if got := l.membersOf(r, fmt.Sprintf("u%d", p)); got != "buyer,known" {
			t.Errorf("u%d is in %q", p, got)
		}
	}
	r.stop()
	if got := l.rejects(); len(got) > 0 {
		t.Errorf("rejects %v", got)
	}
}
