package processor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/embedded"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// badRecord is a record that cannot be taken, and why.
type badRecord struct {
	name   string
	topic  string
	key    string
	value  string
	reason wire.Reason
}

const canary = "payload-that-must-not-be-copied"

func badRecords(now time.Time) []badRecord {
	event := func(fields string) string {
		return `{"type":"track","event":"Order Completed","properties":{"note":"` + canary + `"},` + fields + `}`
	}
	dated := func(timestamp string) string { return event(`"userId":"u1","timestamp":` + timestamp) }
	choice := func(fields string) string {
		return `{"type":"decision","note":"` + canary + `","timestamp":"` + stamp(now) + `",` + fields + `}`
	}
	return []badRecord{
		{"malformed", events, "u1", `{"userId":"u1","x":"` + canary, wire.Malformed},
		{"no json at all", events, "u1", canary, wire.Malformed},
		{"empty", events, "u1", "", wire.Malformed},
		{"an array", events, "u1", `["` + canary + `"]`, wire.Malformed},
		{"two values", events, "u1", dated(`"`+stamp(now)+`"`) + dated(`"`+stamp(now)+`"`), wire.Malformed},
		{"invalid utf-8", events, "u1", dated(`"` + stamp(now) + `","x":"` + "\xff" + `"`), wire.Malformed},
		{"too deep", events, "u1", strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), wire.Malformed},
		{"duplicate name", events, "u1", event(`"userId":"u1","userId":"u2"`), wire.Malformed},
		{"duplicate name below", events, "u1", event(`"userId":"u1","context":{"a":1,"a":2}`), wire.Malformed},
		{"id is a number", events, "7", event(`"userId":7`), wire.Malformed},
		{"properties is a list", events, "u1", `{"type":"track","userId":"u1","event":"Order Completed","properties":["` + canary + `"]}`, wire.Malformed},
		{"no id", events, "u1", event(`"x":1`), wire.NoSubject},
		{"empty id", events, "", event(`"userId":""`), wire.NoSubject},
		{"null ids", events, "u1", event(`"userId":null,"anonymousId":null`), wire.NoSubject},
		{"id of 10 kB", events, strings.Repeat("u", 10_000), event(`"userId":"` + strings.Repeat("u", 10_000) + `"`), wire.NoSubject},
		{"id with control characters", events, "u\n1", event(`"userId":"u\n1"`), wire.NoSubject},
		{"id with a NUL", events, "u\x001", event(`"userId":"u\u00001"`), wire.NoSubject},
		{"key mismatch", events, "u2", dated(`"` + stamp(now) + `"`), wire.KeyMismatch},
		{"timestamp in milliseconds", events, "u1", dated(`1767225600000`), wire.BadTimestamp},
		{"timestamp is negative", events, "u1", dated(`-5`), wire.BadTimestamp},
		{"timestamp before 1970", events, "u1", dated(`"1890-01-01T00:00:00Z"`), wire.BadTimestamp},
		{"timestamp is no time", events, "u1", dated(`"` + canary + `"`), wire.BadTimestamp},
		{"in 2099", events, "u1", dated(`"2099-01-01T00:00:00Z"`), wire.Future},
		{"10 MB", events, "u1", dated(`"` + stamp(now) + `","x":"` + strings.Repeat("x", 10<<20) + `"`), wire.TooLarge},
		{"alias", events, "u1", `{"type":"alias","userId":"u1","previousId":"` + canary + `"}`, wire.UnsupportedType},
		{"a decision among events", events, "u1", choice(`"userId":"u1","purpose":"marketing","status":"given"`), wire.UnsupportedType},
		{"decision malformed", decisions, "u1", `{"type":"decision",` + canary, wire.Malformed},
		{"decision without id", decisions, "u1", choice(`"purpose":"marketing","status":"given"`), wire.NoSubject},
		{"decision key mismatch", decisions, "u2", choice(`"userId":"u1","purpose":"marketing","status":"given"`), wire.KeyMismatch},
		{"decision on an unknown purpose", decisions, "u1", choice(`"userId":"u1","purpose":"` + canary + `","status":"given"`), wire.UnknownPurpose},
		{"an event among decisions", decisions, "u1", dated(`"` + stamp(now) + `"`), wire.UnsupportedType},
	}
}

// Every kind of bad record is referenced with its place and reason, and never
// copied; processing goes on after each.
func TestBadRecordsAreReferencedNeverCopied(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 2, broker: embedded.Config{MaxMessageBytes: 32 << 20}})
	now := ago(time.Minute)
	r := l.start()
	l.produce(given("after", "marketing", now))
	var want []string
	for i, bad := range badRecords(now) {
		produced := l.produce(record{topic: bad.topic, key: bad.key, value: bad.value, at: now})
		want = append(want, fmt.Sprintf("%s:%d:%d %s", bad.topic, produced[0].Partition, produced[0].BaseOffset, bad.reason))
		l.produce(track("after", "Order Completed", fmt.Sprintf("good-%d", i), now))
	}
	r.read()
	counted := r.metric(t, "segmentd_rejected_total")
	admitted := r.metric(t, "segmentd_events_total", "outcome", "admitted")
	r.stop()
	got := l.rejects()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("rejects\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	if counted != float64(len(want)) {
		t.Errorf("%v rejects are counted, want %d", counted, len(want))
	}
	if admitted != float64(len(want)) {
		t.Errorf("%v events between the bad ones were admitted, want %d", admitted, len(want))
	}
	if got := l.membersIn(l.changes()); got != "after:buyer,known" {
		t.Errorf("members are %s", got)
	}
	for _, topic := range l.ownTopics() {
		for _, rec := range l.readTopic(topic) {
			if strings.Contains(string(rec.Key)+string(rec.Value), canary) {
				t.Errorf("%s holds a payload: %s", topic, rec.Value)
			}
		}
	}
	if strings.Contains(l.log.String(), canary) {
		t.Error("the log holds a payload")
	}
}

func (l *lab) ownTopics() (names []string) {
	for _, s := range (Topics{l.cfg.Group}).Specs(l.set) {
		names = append(names, s.Name)
	}
	return names
}

// Odd records that can be taken are no rejects.
func TestOddRecordsAreTaken(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	now := ago(time.Minute)
	body := func(more string) string {
		return `{"type":"track","userId":"u1","event":"Order Completed"` + more + `}`
	}
	all := []record{
		{topic: events, key: "u1", value: body(``), at: now}, // no timestamp: the record's own
		{topic: events, key: "u1", value: body(`,"timestamp":null,"messageId":null`), at: now},
		{topic: events, key: "u1", value: "  " + body(`,"properties":{"a":{"b":[1,2,{}]}}`) + "\n", at: now},
		{topic: events, key: "u1", value: "\x00\x00\x00\x00\x07" + body(``), at: now}, // a schema registry's prefix
		{topic: events, key: "u1", value: body(`,"timestamp":"` + stamp(now.Add(4*time.Minute)) + `"`), at: now},
		{topic: events, key: "u1", value: body(`,"properties":{"total":"ten"}`), at: now},
		{topic: events, bare: true, value: body(``), at: now},
	}
	l.produce(given("u1", "marketing", now.Add(-time.Hour)))
	r := l.start()
	l.produce(all...)
	r.read()
	admitted := r.metric(t, "segmentd_events_total", "outcome", "admitted") + r.metric(t, "segmentd_events_total", "outcome", "late_no_effect")
	r.stop()
	if got := l.rejects(); len(got) > 0 || admitted != float64(len(all)) {
		t.Errorf("rejects %v, %v of %d admitted", got, admitted, len(all))
	}
}

// A decision that parses and cannot be understood counts as refused: for the
// purpose it names, else for all.
func TestMisunderstoodDecisionsAreRefusals(t *testing.T) {
	l := newLab(t, labConfig{partitions: 1})
	at := ago(2 * time.Hour)
	r := l.start()
	ids := []string{"u1", "u2", "u3"}
	for _, id := range ids {
		l.produce(given(id, "marketing", at), record{topic: decisions, key: id, at: at, value: fmt.Sprintf(
			`{"type":"decision","userId":%q,"purpose":"profiling","status":"given","explicit":true,"timestamp":%q}`, id, stamp(at))})
		l.produce(track(id, "Order Completed", id, at))
	}
	r.read()
	odd := map[string]string{
		"u1": `{"type":"decision","userId":"u1","purpose":"marketing","status":"perhaps"}`,
		"u2": `{"type":"decision","userId":"u2","status":"given"}`,
		"u3": `{"type":"decision","userId":"u3","purpose":"marketing","status":"given","timestamp":"yesterday"}`,
	}
	for _, id := range ids {
		l.produce(record{topic: decisions, key: id, value: odd[id]})
	}
	r.read()
	got := map[string]string{}
	for _, id := range ids {
		got[id] = l.membersOf(r, id)
	}
	misunderstood, refused := r.metric(t, "segmentd_decisions_misunderstood_total"), r.metric(t, "segmentd_decisions_total", "status", "refused")
	r.stop()
	if want := map[string]string{"u1": "ever_bought", "u2": "", "u3": "ever_bought"}; !maps.Equal(got, want) {
		t.Errorf("memberships %v, want %v", got, want)
	}
	if misunderstood != 3 || refused < 3 {
		t.Errorf("%v misunderstood, %v refused", misunderstood, refused)
	}
	for _, c := range l.changes() {
		if c.Kind == subject.Exited && c.Segment != "quiet" && c.Reason != subject.ByRefused {
			t.Errorf("an exit for %s", c.Reason)
		}
	}
}

// A decision that ends nothing, as the lawful basis of its purpose is not ended by it,
// is told of, with neither id nor member; one that does is not.
func TestDecisionsThatEndNothingAreTold(t *testing.T) {
	l := newLab(t, labConfig{partitions: 1, rules: `
purposes:
  - {key: orders, description: Orders, lawful_basis: contract, retention: 400d}
  - {key: fraud, description: Fraud, lawful_basis: legitimate_interests, legitimate_interest: security, retention: 400d}
  - {key: ads, description: Offers, lawful_basis: consent, retention: 400d}
segments:
  - {key: payer, purpose: orders, when: 'events("Paid").exists()'}
  - {key: suspect, purpose: fraud, when: 'events("Paid").exists()'}
  - {key: buyer, purpose: ads, when: 'events("Paid").exists()'}
`})
	r := l.start()
	at := ago(time.Hour)
	l.produce(decision(canary, "orders", "withdrawn", at), decision(canary, "orders", "objected", at), decision(canary, "fraud", "refused", at),
		decision(canary, "orders", "given", at), decision(canary, "fraud", "objected", at), decision(canary, "ads", "withdrawn", at), decision(canary, "ads", "objected", at))
	r.read()
	told := r.metric(t, "segmentd_decisions_ineffective_total")
	r.stop()
	if told != 3 {
		t.Errorf("%v decisions are told of, want 3", told)
	}
	text := l.log.String()
	for what, n := range map[string]int{"a decision ends nothing": 3, "orders has the lawful basis contract, and no decision ends that": 2,
		"there is no consent to fraud, whose lawful basis is legitimate_interests; what ends it is an objection": 1, canary: 0} {
		if got := strings.Count(text, what); got != n {
			t.Errorf("the log has %q %d times, want %d:\n%s", what, got, n, text)
		}
	}
}

// So many rejects that their references are capped are all counted.
func TestRejectsAreCapped(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	var all []record
	for range maxRejects + 500 {
		all = append(all, record{topic: events, key: "u1", value: "{", at: ago(time.Hour)})
	}
	l.produceAtOnce(all)
	r := l.start()
	r.read()
	counted, capped := r.metric(t, "segmentd_rejected_total", "reason", "malformed"), r.metric(t, "segmentd_rejected_capped_total")
	r.stop()
	published := len(l.rejects())
	if counted != maxRejects+500 || published != maxRejects || capped != 500 {
		t.Errorf("%v counted, %d published, %v capped", counted, published, capped)
	}
}

// A changelog that this configuration must not go on from stops the process
// with the way out in the message, and nothing is changed.
func TestChangelogOfAnotherConfiguration(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*lab)
		parts  []string
	}{
		{"secret", func(l *lab) { l.secret = "another secret of sixteen bytes" }, []string{"the secret is not the one", "give the same secret as before", "SEGMENTD_SECRET", "use another group"}},
		{"rules", func(l *lab) { l.set = loadRules(l.t, strings.Replace(clockRules, "key: known", "key: unknown", 1)) }, []string{"removes segments that hold members", "known (1 member)", "--allow-removals"}},
	} {
		for _, image := range []string{"with its image", "without an image"} {
			t.Run(c.name+" "+image, func(t *testing.T) {
				l := newLab(t, labConfig{rules: clockRules, partitions: 2})
				l.holdClock(ago(time.Hour))
				l.produce(given("u1", "marketing", ago(2*time.Hour)), track("u1", "Order Completed", "m1", ago(time.Hour)))
				r := l.start()
				r.read()
				before := r.digests()
				r.stop()
				changelog := len(l.readTopic(Topics{l.cfg.Group}.Changelog()))
				secret, set, data := l.secret, l.set, l.data
				if image == "without an image" {
					l.data = t.TempDir() + "/data"
				}
				c.change(l)
				err := l.start().fails()
				var configured *ConfigError
				if !errors.As(err, &configured) {
					t.Fatalf("the error is %v", err)
				}
				for _, part := range c.parts {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q does not say %q", err, part)
					}
				}
				if n := len(l.readTopic(Topics{l.cfg.Group}.Changelog())); n != changelog {
					t.Errorf("the changelog has %d records, had %d", n, changelog)
				}
				l.secret, l.set, l.data = secret, set, data
				r = l.start()
				r.read()
				if after := r.digests(); !slices.Equal(before, after) {
					t.Error("with the former configuration the state is another")
				}
				r.stop()
			})
		}
	}
}
