package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/embedded"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	spelling "github.com/segmentd/segmentd/state/canary"
	"github.com/segmentd/segmentd/state/subject"
)

// wipeRules keep texts and numbers of events and traits, for two purposes.
const wipeRules = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
  - {key: service, description: Help, lawful_basis: consent, retention: 400d}
let:
  orders: events("Order")
segments:
  - {key: big, purpose: marketing, when: 'orders.sum(properties.total) >= 200'}
  - {key: buyer, purpose: marketing, when: 'orders.exists()'}
  - {key: picky, purpose: marketing, when: 'orders.distinct(properties.sku) >= 2'}
  - {key: named, purpose: service, when: 'traits.email != traits.login'}
`

// wipe is a group of processes and the topics it works on, with people of whom
// every value can be told from everybody else's.
type wipe struct {
	*crash
	embedded *kafkatest.Broker  // nil: on a Kafka
	cluster  *kafkatest.Cluster // nil: on the embedded broker
	fillers  int
}

// newWipe is on an Apache Kafka of its own that compacts and deletes soon, where
// there are jars, else on an embedded broker on disk.
func newWipe(t *testing.T, group string) *wipe {
	t.Helper()
	w := &wipe{}
	var brokers []string
	if os.Getenv("SEGMENTD_TEST_KAFKA") != "" {
		w.cluster = kafkatest.Options{Properties: map[string]string{"log.cleaner.backoff.ms": "100", "log.retention.check.interval.ms": "300",
			"log.cleaner.threads": "1", "group.min.session.timeout.ms": "1000"}}.StartCluster(t)
		brokers = w.cluster.Brokers()
	} else {
		w.embedded = kafkatest.StartOwn(t, embedded.Config{Dir: t.TempDir(), MinSessionTimeout: time.Second})
		brokers = w.embedded.Addrs()
	}
	w.crash = newCrashOn(t, brokers)
	w.write("rules/shop.yaml", wipeRules)
	w.write("c.yaml", w.config(group, "data"))
	w.startBroker()
	w.createInputs()
	_, err := w.client.CreateTopics(t.Context(), []kafka.NewTopic{{Name: "requests", Partitions: crashPartitions, ReplicationFactor: -1}})
	w.must(err)
	w.must(w.client.WaitTopics(t.Context(), "requests"))
	return w
}

func (w *wipe) config(group, data string) string {
	return fmt.Sprintf("group: %s\nrules: %s/rules\ndata: %s\ninputs: [{topic: events, kind: event}, {topic: decisions, kind: decision}, {topic: requests, kind: request}]\n"+
		"topics: {create: true}\nkafka: {session_timeout: 2s}\nlog: {level: debug}\nprivacy: {erase_within: 1m}\n", group, w.dir, filepath.Join(w.dir, data))
}

// startQuick starts the service as a victim, which scrubs within two seconds.
func (w *wipe) startQuick(v victim, args ...string) *process {
	w.t.Helper()
	v.EraseWithin = 2 * time.Second
	text, err := json.Marshal(v)
	w.must(err)
	self, err := os.Executable()
	w.must(err)
	args = append([]string{self, "--config", filepath.Join(w.dir, "c.yaml"), "--listen", w.http}, args...)
	return startProcess(w.t, []string{crashSecret, "SEGMENTD_KAFKA_BROKERS=" + w.broker, victimVariable + "=" + string(text)}, args)
}

func personOf(n int) string { return fmt.Sprintf("person-%04d@canary.example", n) }

// send sends records of one subject in turn, each by its topic.
func (w *wipe) send(topic, id, value string) {
	w.t.Helper()
	p, _ := kafka.Murmur2.Partition([]byte(id), crashPartitions)
	err := sendAll(w.t.Context(), w.client.NewProducer(kafka.ProducerConfig{}), []stream.Message{{Topic: topic, Partition: p, Key: []byte(id), Value: []byte(value),
		Timestamp: subject.FromTime(time.Now())}})
	w.must(err)
}

// live lets a person consent and do all that leaves traces.
func (w *wipe) live(n int) {
	w.t.Helper()
	id := personOf(n)
	for _, purpose := range []string{"marketing", "service"} {
		w.send("decisions", id, fmt.Sprintf(`{"type":"decision","userId":%q,"purpose":%q,"status":"given","recordId":"record-%04d-of-canary","method":"method-%04[3]d-of-canary"}`, id, purpose, n))
	}
	w.send("events", id, fmt.Sprintf(`{"type":"identify","userId":%q,"messageId":"name-%04[2]d-of-canary","traits":{"email":"mail-%04[2]d-of-canary","login":"login-%04[2]d-of-canary","phone":"phone-%04[2]d-of-canary"}}`, id, n))
	for i := range 2 {
		w.send("events", id, fmt.Sprintf(`{"type":"track","event":"Order","userId":%q,"messageId":"order-%04[2]d-of-canary-%[3]d","properties":{"total":%[4]d,"sku":"sku-%04[2]d-of-canary-%[3]d","coupon":"coupon-%04[2]d-of-canary"}}`,
			id, n, i, totalOf(n)))
	}
}

func totalOf(n int) int64 { return 1_800_000_000_123 + int64(n)*7_000_000 }

// Places where a person leaves traces, beside the topics by their names.
const (
	onDisk  = "data directory"
	inLog   = "log"
	inPages = "metrics"
)

// traces are what is left of a person, and where it is for as long as nothing is
// erased.
func (w *wipe) traces(n int) (cs []spelling.Canary, where map[string][]string) {
	topics := processor.Topics{Group: crashGroup}
	changelog, changes, members := topics.Changelog(), topics.Changes(""), topics.Members("")
	where = map[string][]string{}
	for _, trace := range []struct {
		name, text string
		places     []string
	}{
		{"id", personOf(n), []string{onDisk, changelog, changes, members, "decisions", "events"}},
		{"record", fmt.Sprintf("record-%04d-of-canary", n), []string{onDisk, changelog, "decisions"}},
		{"method", fmt.Sprintf("method-%04d-of-canary", n), []string{onDisk, changelog, "decisions"}},
		{"mail", fmt.Sprintf("mail-%04d-of-canary", n), []string{onDisk, changelog, "events"}},
		{"login", fmt.Sprintf("login-%04d-of-canary", n), []string{onDisk, changelog, "events"}},
		{"sku", fmt.Sprintf("sku-%04d-of-canary", n), []string{onDisk, changelog, "events"}},
		{"message", fmt.Sprintf("order-%04d-of-canary", n), []string{changes, "events"}},
		{"message of traits", fmt.Sprintf("name-%04d-of-canary", n), []string{changes, "events"}},
		{"unread property", fmt.Sprintf("coupon-%04d-of-canary", n), []string{"events"}},
		{"unread trait", fmt.Sprintf("phone-%04d-of-canary", n), []string{"events"}},
	} {
		name := fmt.Sprintf("%s of %d", trace.name, n)
		cs, where[name] = append(cs, spelling.Text(name, trace.text)), trace.places
	}
	name := fmt.Sprintf("sum of %d", n)
	cs, where[name] = append(cs, spelling.Number(name, 2*totalOf(n))), []string{onDisk, changelog}
	return cs, where
}

// sought are people, and all traces that they may leave.
func (w *wipe) sought(people []int) (cs []spelling.Canary, where map[string][]string) {
	where = map[string][]string{}
	for _, n := range people {
		of, at := w.traces(n)
		cs = append(cs, of...)
		maps.Copy(where, at)
	}
	return cs, where
}

// look returns where what is sought is found, of what a process has and says, and
// of the topics; sorted by name.
func (w *wipe) look(p *process, cs []spelling.Canary, topics ...string) map[string][]string {
	w.t.Helper()
	finds, err := spelling.ScanProcess(strconv.Itoa(p.cmd.Process.Pid), cs, filepath.Join(w.dir, "data"))
	w.must(err)
	for i := range finds {
		finds[i].File = onDisk
	}
	page, err := get("http://" + w.http + "/metrics")
	w.must(err)
	finds = slices.Concat(finds, spelling.ScanBytes(cs, inLog, []byte(p.log.String())), spelling.ScanBytes(cs, inPages, []byte(page)))
	for _, topic := range topics {
		finds = append(finds, spelling.ScanBytes(cs, topic, []byte(w.contentOf(topic)))...)
	}
	found := map[string][]string{}
	for _, f := range finds {
		if !slices.Contains(found[f.Canary], f.File) {
			found[f.Canary] = append(found[f.Canary], f.File)
		}
	}
	for _, places := range found {
		slices.Sort(places)
	}
	return found
}

// contentOf is what a topic has committed, and what is in the files of a Kafka.
func (w *wipe) contentOf(topic string) string {
	w.t.Helper()
	var text strings.Builder
	for p := range int32(crashPartitions) {
		w.must(readPartition(w.t.Context(), w.client, topic, p, func(_ string, _ int32, r *stream.Record) {
			fmt.Fprintf(&text, "%s=%s", r.Key, r.Value)
			for _, h := range r.Headers {
				fmt.Fprintf(&text, " %s=%s", h.Key, h.Value)
			}
			text.WriteByte('\n')
		}))
		if w.cluster != nil && !slices.Contains(inputTopics, topic) {
			b, err := w.cluster.Nodes[0].OnDisk(topic, p)
			w.must(err)
			text.WriteString(b)
		}
	}
	return text.String()
}

var inputTopics = []string{"events", "decisions", "requests"}

// ownTopics are those of the group that tell of subjects, and those that must not.
func ownTopics() []string {
	t := processor.Topics{Group: crashGroup}
	return []string{t.Changelog(), t.Changes(""), t.Members(""), t.Rejected(), t.RequestResults()}
}

// expect demands that what is sought is found in exactly these places.
func (w *wipe) expect(when string, got, want map[string][]string) {
	w.t.Helper()
	for _, places := range want {
		slices.Sort(places)
	}
	if d := cmp.Diff(want, got); d != "" {
		w.t.Fatalf("%s (-must be found +is found)\n%s", when, d)
	}
}

// onlyOn keeps of traces the places that are named, and no trace without one.
func onlyOn(where map[string][]string, places ...string) map[string][]string {
	kept := map[string][]string{}
	for name, at := range where {
		if in := slices.DeleteFunc(slices.Clone(at), func(place string) bool { return !slices.Contains(places, place) }); len(in) > 0 {
			kept[name] = in
		}
	}
	return kept
}

// asksToBeErased sends a request, which has no trace but the id.
func (w *wipe) asksToBeErased(n int, requestID string) {
	w.t.Helper()
	w.send("requests", personOf(n), eraseRequest(n, requestID))
}

// eraseRequest is dated in milliseconds, as arrival at a broker is.
func eraseRequest(n int, requestID string) string {
	return fmt.Sprintf(`{"type":"request","requestId":%q,"userId":%q,"request":"erase","timestamp":%q}`, requestID, personOf(n), time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
}

// results are the statuses of requests as they were told, by request.
func (w *wipe) results(group string) map[string][]string {
	w.t.Helper()
	told := map[string][]string{}
	for p := range int32(crashPartitions) {
		err := readPartition(w.t.Context(), w.client, processor.Topics{Group: group}.RequestResults(), p, func(_ string, _ int32, r *stream.Record) {
			var result struct{ RequestID, Status string }
			w.must(json.Unmarshal(r.Value, &result))
			told[result.RequestID] = append(told[result.RequestID], result.Status)
		})
		if err != nil { // of a group that is just beginning there is no topic yet
			return nil
		}
	}
	return told
}

var toCompletion = []string{"received", "in_progress", "completed"}

// awaitCompleted waits until requests are done, and wants each step to be told once.
func (w *wipe) awaitCompleted(group string, requests ...string) {
	w.t.Helper()
	var told map[string][]string
	w.until(fmt.Sprintf("%q are completed", requests), func() bool {
		told = w.results(group)
		return !slices.ContainsFunc(requests, func(id string) bool { return !slices.Contains(told[id], "completed") })
	})
	for _, id := range requests {
		if !slices.Equal(told[id], toCompletion) {
			w.t.Errorf("of %s it is told %q", id, told[id])
		}
	}
}

var moments = regexp.MustCompile(`"(asOf|at|clock|time|now)":"[^"]*",?`)

// standing is what pages and the members topic say of people, without the instant
// at which they say so.
func (w *wipe) standing(people []int) (all []string) {
	w.t.Helper()
	for _, n := range people {
		for _, page := range []string{"", "/explain"} {
			url, text := "http://"+w.http+"/v1/subjects/"+personOf(n)+page, ""
			poll(w.t, url, func() bool { // it may be moving, or busy
				status, _, body := request(w.t, "GET", url, "", "")
				text = body
				return status == http.StatusOK
			})
			all = append(all, moments.ReplaceAllString(text, ""))
		}
	}
	members := w.membersOf(crashGroup)
	for _, n := range people {
		for _, row := range members {
			if strings.HasPrefix(row, personOf(n)+" ") {
				all = append(all, row)
			}
		}
	}
	return all
}

// stir lets somebody new on each partition consent and order, so that every topic
// of the group has later records.
func (w *wipe) stir() {
	w.t.Helper()
	for seen := map[int32]bool{}; len(seen) < crashPartitions; w.fillers++ {
		id := fmt.Sprintf("filler-%d", w.fillers)
		if p, _ := kafka.Murmur2.Partition([]byte(id), crashPartitions); !seen[p] {
			seen[p] = true
			w.send("decisions", id, fmt.Sprintf(`{"type":"decision","userId":%q,"purpose":"marketing","status":"given"}`, id))
			w.send("events", id, fmt.Sprintf(`{"type":"track","event":"Order","userId":%q,"messageId":"m-%[1]s"}`, id))
		}
	}
}

// forgetSoon lets the topics forget within seconds what they would within days: a
// Kafka by itself, the embedded broker at a restart.
func (w *wipe) forgetSoon(topics ...string) {
	w.t.Helper()
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(strings.Split(w.broker, ",")...))
	w.must(err)
	defer admin.Close()
	second := "1000"
	var set []kadm.AlterConfig
	for _, name := range []string{"max.compaction.lag.ms", "delete.retention.ms", "segment.ms", "file.delete.delay.ms"} {
		set = append(set, kadm.AlterConfig{Name: name, Value: &second})
	}
	for _, topic := range topics {
		set := set
		if topic != (processor.Topics{Group: crashGroup}).Changelog() && !strings.HasSuffix(topic, "-members") {
			set = append(slices.Clone(set), kadm.AlterConfig{Name: "retention.ms", Value: &second})
		}
		res, err := admin.AlterTopicConfigs(w.t.Context(), set, topic)
		w.must(err)
		for _, one := range res {
			w.must(one.Err)
		}
	}
	if w.embedded != nil {
		w.embedded.Embedded().Cluster().ApplyRetention()
		w.embedded.Down() // compacts at the start
		w.embedded.Up()
		w.until("the broker is back", func() bool {
			_, err := w.client.Watermarks(w.t.Context(), topics[0], crashPartitions)
			return err == nil
		})
		w.embedded.Embedded().Cluster().ApplyRetention()
	}
}

// erasedChanges counts by person the changes that tell of an erasure.
func (w *wipe) erasedChanges(group string) map[string]int {
	w.t.Helper()
	n := map[string]int{}
	readSettled(w.t, w.client, processor.Topics{Group: group}.Changes(""), crashPartitions, func(r *stream.Record) {
		p, err := wire.ParseChange(r.Value)
		w.must(err)
		if p.Change.Kind == subject.Erased {
			n[p.Change.Subject.Value]++
		}
	})
	return n
}

// awaitLives waits until people are in all segments, for all to read.
func (w *wipe) awaitLives(group string, people ...int) {
	w.t.Helper()
	w.until("everybody is in every segment", func() bool {
		rows := map[string]bool{}
		for p := range int32(crashPartitions) {
			if readPartition(w.t.Context(), w.client, processor.Topics{Group: group}.Members(""), p, func(_ string, _ int32, r *stream.Record) { rows[string(r.Key)] = r.Value != nil }) != nil {
				return false // the topic is just being made
			}
		}
		for _, n := range people {
			for _, segment := range []string{"big", "buyer", "named", "picky"} {
				if !rows["u|"+personOf(n)+"|"+segment] {
					return false
				}
			}
		}
		return true
	})
}

// TestErasureEndToEnd lets people live, looks where traces of them are, lets half of
// them be erased, and looks again: once an erasure is completed nothing is left in
// files, pages and logs, and within the lag and retention of topics on none but the inputs. Of
// the others everything is there, as it was.
func TestErasureEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and waits for a scrub")
	}
	w := newWipe(t, crashGroup)
	p := w.startProcessor()
	var leaving, staying, everybody []int
	for n := range 8 {
		w.live(n)
		everybody = append(everybody, n)
		if n%2 == 0 {
			leaving = append(leaving, n)
		} else {
			staying = append(staying, n)
		}
	}
	w.awaitLives(crashGroup, everybody...)
	all := slices.Concat(ownTopics(), inputTopics)
	cs, where := w.sought(everybody)
	var found map[string][]string
	for end := time.Now().Add(30 * time.Second); ; { // the image is written behind
		if found = w.look(p, cs, all...); len(onlyOn(found, onDisk)) == len(onlyOn(where, onDisk)) || time.Now().After(end) {
			break
		}
	}
	w.expect("before", found, where)
	before := w.standing(staying)

	var requests []string
	for _, n := range leaving {
		requests = append(requests, fmt.Sprintf("q-%d", n))
		w.asksToBeErased(n, requests[len(requests)-1])
	}
	w.awaitCompleted(crashGroup, requests...)
	gone, goneWhere := w.sought(leaving)
	w.expect("completed: data directory, open files, log and pages", w.look(p, gone), map[string][]string{})
	stays, staysWhere := w.sought(staying)
	w.expect("of bystanders", w.look(p, stays, all...), staysWhere)
	for id, n := range w.erasedChanges(crashGroup) {
		if n != 1 {
			t.Errorf("%d changes tell that %s is erased", n, id)
		}
	}
	if n := len(w.erasedChanges(crashGroup)); n != len(leaving) {
		t.Errorf("%d people are told to be erased, want %d", n, len(leaving))
	}
	w.verifies()

	began := time.Now()
	w.stir()
	w.forgetSoon(ownTopics()...)
	only := onlyOn(goneWhere, inputTopics...)
	for _, n := range leaving { // who asks must say who asks
		only[fmt.Sprintf("id of %d", n)] = append(only[fmt.Sprintf("id of %d", n)], "requests")
	}
	w.expectSoon("on no topic but the inputs", only, func() map[string][]string { return w.look(p, gone, all...) })
	t.Logf("gone from the topics %v after their settings were shortened", time.Since(began).Round(100*time.Millisecond))
	changes := processor.Topics{Group: crashGroup}.Changes("")
	kept := slices.DeleteFunc(slices.Clone(all), func(topic string) bool { return topic == changes })
	w.expect("of bystanders in the end", w.look(p, stays, kept...), onlyOn(staysWhere, append(kept, onDisk)...))
	if d := cmp.Diff(before, w.standing(staying)); d != "" {
		t.Errorf("bystanders stand otherwise (-before +after)\n%s", d)
	}
	p.stops(0)
}

// expectSoon is expect within a minute, while others go on.
func (w *wipe) expectSoon(when string, want map[string][]string, look func() map[string][]string) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		got := look()
		for _, places := range want {
			slices.Sort(places)
		}
		if cmp.Equal(want, got) || time.Now().After(end) {
			w.expect(when, got, want)
			return
		}
		w.stir()
		<-time.After(200 * time.Millisecond)
	}
}
