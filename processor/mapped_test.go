package processor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/processor/wire/mapping"
	"github.com/segmentd/segmentd/state/subject"
)

// The inputs of another shape in these tests.
const (
	shopEvents  = "shop.events"
	shopConsent = "shop.consent"
	clouds      = "cloud.events"
)

// shapes are the inputs' maps, and how their records come about.
var shapes = map[string]struct {
	kind        wire.Kind
	format      wire.InputFormat
	unit        wire.TimestampUnit
	expressions map[string]string
}{
	shopEvents: {wire.Events, wire.FormatJSON, wire.Milliseconds, map[string]string{
		"userId": "value.customer.id", "type": `has(value.op) ? value.op : "track"`, "event": "value.what", "messageId": `"m" + string(value.n)`,
		"timestamp": "value.at", "properties": `{"total": value.cents / 100, "name": value.name}`, "traits": "value.row"}},
	shopConsent: {wire.Decisions, wire.FormatAuto, wire.Seconds, map[string]string{
		"userId": "value.who", "purpose": "value.topic.lowerAscii()", "status": "value.says", "timestamp": "timestamp(value.when)",
		"explicit": "value.really", "expiresAt": "has(value.until) ? timestamp(value.until) : null"}},
	clouds: {wire.Events, wire.FormatCloudEvents, wire.RFC3339, map[string]string{
		"userId": "value.data.customer", "type": "value.data.op", "messageId": "value.id", "properties": "value.data.body", "traits": "value.data.row"}},
}

// mapInputs adds inputs of another shape to a lab.
func (l *lab) mapInputs(topics ...string) {
	l.t.Helper()
	var create []kafka.NewTopic
	for _, topic := range topics {
		s := shapes[topic]
		m, problems := mapping.Compile(mapping.Kind(s.kind.String()), s.expressions)
		if len(problems) > 0 {
			l.t.Fatal(problems)
		}
		in := l.input(topic, s.kind)
		in.Decoder = wire.DecoderOptions{Format: s.format, TimestampUnit: s.unit, Map: m}
		l.cfg.Inputs = append(l.cfg.Inputs, in)
		create = append(create, kafka.NewTopic{Name: topic, Partitions: l.cfg.Partitions, ReplicationFactor: 1})
	}
	_, err := l.client.CreateTopics(l.t.Context(), create)
	must(l.t, err)
	must(l.t, l.client.WaitTopics(l.t.Context(), topics...))
}

// call is a record of a shopper, read back.
type call struct {
	Type, MessageID, UserID, Event, Name string
	Purpose, Status, ExpiresAt           string
	Explicit                             bool
	Timestamp                            time.Time
	Properties                           map[string]any
	Traits                               map[string]any
}

// reshaped is a record as it stands on a topic of another shape.
func reshaped(t testing.TB, topic string, r record) record {
	t.Helper()
	var c call
	must(t, json.Unmarshal([]byte(r.value), &c))
	var other map[string]any
	switch topic {
	case shopEvents:
		other = map[string]any{"customer": map[string]any{"id": c.UserID, "mail": canary}, "what": c.Event, "at": c.Timestamp.UnixMilli(),
			"n": json.Number(c.MessageID[1:]), "name": c.Properties["name"], "row": c.Traits, "type": 7, "userId": canary}
		if c.Type != "track" {
			other["op"] = c.Type
		}
		if total, ok := c.Properties["total"].(float64); ok {
			other["cents"] = total * 100
		} else {
			other["cents"] = 0
		}
	case shopConsent:
		other = map[string]any{"who": c.UserID, "topic": strings.ToUpper(c.Purpose), "says": c.Status, "when": stamp(c.Timestamp), "really": c.Explicit}
		if c.ExpiresAt != "" {
			other["until"] = c.ExpiresAt
		}
	case clouds:
		other = map[string]any{"specversion": "1.0", "id": c.MessageID, "source": "/shop", "type": c.Event, "time": stamp(c.Timestamp),
			"data": map[string]any{"customer": c.UserID, "op": c.Type, "body": c.Properties, "row": c.Traits}}
		if c.Event == "" {
			other["type"] = "none"
		}
	}
	text, err := json.Marshal(other)
	must(t, err)
	r.topic, r.value = topic, string(text)
	return r
}

// Topics of another shape, beside one that needs no map, give what all of it
// gives in segmentd's own shapes.
func TestMappedInputsEqualReplay(t *testing.T) {
	h := newHistory(seed(t), 2000)
	l := newLab(t, labConfig{rules: rememberingRules, partitions: 2})
	l.cfg.BatchBytes = 20_000 // so that no topic is fetched as a whole
	l.mapInputs(shopEvents, shopConsent, clouds)
	topics := []string{events, shopEvents, clouds}
	var records []record
	for i, d := range h.decisions {
		if i%2 == 1 {
			d = reshaped(t, shopConsent, d)
		}
		records = append(records, d)
	}
	for i, e := range h.events {
		if topic := topics[i%len(topics)]; topic != events {
			e = reshaped(t, topic, e)
		}
		records = append(records, e)
	}
	l.produce(records...)
	r := l.start()
	r.caughtUp()
	if n := r.metric(t, "segmentd_rejected_total"); n != 0 {
		t.Errorf("%g records are rejected", n)
	}
	r.stop()
	want, members := expected(t, l.set, h, time.Now())
	changes := l.changes()
	compare(t, bySubject(changes), want, h.stopped())
	l.verify(changes)
	compareMembers(t, l.members(), members)
	for _, topic := range (Topics{l.cfg.Group}).Specs(l.set) {
		for _, record := range l.readTopic(topic.Name) {
			if strings.Contains(string(record.Value), canary) {
				t.Errorf("%s holds what no rule reads", topic.Name)
			}
		}
	}
}

// What a map cannot read is a reject that names the expression; a decision of a
// certain subject is a refusal.
func TestMappedRejectsAndRefusals(t *testing.T) {
	l := newLab(t, labConfig{partitions: 1})
	l.mapInputs(shopEvents, shopConsent)
	now := ago(time.Hour)
	l.produce(given("u1", "marketing", now.Add(-time.Hour)),
		record{topic: shopEvents, key: "u1", at: now, value: `{"customer":"` + canary + `","what":"Order Completed"}`},
		record{topic: shopEvents, key: "u1", at: now, value: `{"customer":{"id":"u1"},"what":"Order Completed","n":1,"at":1,"cents":"` + canary + `"}`},
		record{topic: shopEvents, key: "u2", at: now, value: fmt.Sprintf(`{"customer":{"id":"u1"},"what":"Order Completed","n":2,"at":%d,"cents":5}`, now.UnixMilli())},
		record{topic: shopEvents, key: "u1", at: now, value: fmt.Sprintf(`{"customer":{"id":"u1"},"what":"Order Completed","n":3,"at":%d,"cents":5}`, now.UnixMilli())},
		record{topic: shopConsent, key: "7", at: now, value: `{"who":7,"topic":"marketing","says":"given"}`},
		record{topic: shopConsent, key: "u3", at: now, value: `{"who":"u3","topic":"marketing","says":"given","when":"` + canary + `"}`})
	r := l.start()
	r.caughtUp()
	r.stop()
	var got []string
	for _, record := range l.readTopic(Topics{l.cfg.Group}.Rejected()) {
		var reject struct{ Topic, Reason, Detail string }
		must(t, json.Unmarshal(record.Value, &reject))
		got = append(got, reject.Topic+" "+reject.Reason+": "+reject.Detail)
	}
	slices.Sort(got)
	want := []string{
		"shop.consent bad_mapping: map.userId: gives a number, not text; write string(…)",
		"shop.events bad_mapping: map.properties: column 23: / does not take a string and a number",
		`shop.events bad_mapping: map.userId: a string is asked for its member "id"`,
		"shop.events key_mismatch: the record's key is not its userId",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	states := bySubject(l.changes())
	if len(states[subject.ID{Value: "u1"}]) == 0 {
		t.Errorf("u1 is in no segment: %v", slices.Collect(maps.Keys(states)))
	}
	if !strings.Contains(l.log.String(), "map.timestamp: column 10: timestamp() of a string fails") || strings.Contains(l.log.String(), canary) {
		t.Errorf("the log does not say what was not understood, or holds payload:\n%s", l.log.String())
	}
}

// Where a record belongs is told by its key, and without one by the subject
// that its map gives.
func TestMappedRecordsOnTheWrongPartition(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 3})
	l.mapInputs(shopEvents, shopConsent)
	at := ago(time.Hour)
	grant := reshaped(t, shopConsent, given("u1", "marketing", at))
	grant.wrong, grant.to, grant.bare = true, l.notOf("u1"), true
	r := l.start()
	l.produce(grant)
	eventually(t, "the grant is in force", func() bool { return r.ready("u1") && l.membersOf(r, "u1") == "known" })
	order := reshaped(t, shopEvents, track("u1", "Order Completed", "m1", at))
	order.bare = true
	misplaced := order
	misplaced.wrong, misplaced.to = true, l.notOf("u1")
	l.produce(misplaced, order)
	eventually(t, "one event is admitted", func() bool {
		return r.metric(t, "segmentd_events_total", "outcome", "admitted") == 1 && r.metric(t, "segmentd_events_total", "outcome", "rejected") == 1
	})
	r.stop()
	if got, want := strings.Join(l.rejects(), ", "), fmt.Sprintf("%s:%d:0 wrong_partition", shopEvents, l.notOf("u1")); got != want {
		t.Errorf("rejects %s, want %s", got, want)
	}
}
