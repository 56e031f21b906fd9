package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/embedded"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

const (
	fleetPartitions = 6
	fleetGroup      = "fleet"
)

// fleetRules are of windows that end with no test.
const fleetRules = `
revision: 1
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
let:
  orders: events("Order Completed")
segments:
  - {key: buyer, purpose: marketing, when: 'orders.exists()'}
  - {key: regular, purpose: marketing, when: 'orders.within("300d").count() >= 2'}
`

// fleet is instances of the service that share a group on one broker.
type fleet struct {
	t        *testing.T
	dir      string
	broker   *kafkatest.Broker
	client   *kafka.Client
	producer *kafka.Producer
	orders   map[string]int // sent, by subject
	session  time.Duration  // time-out of the group's sessions
	environ  []string       // of all instances, beyond what all fleets have
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	if len(kafkatest.Real(t)) == 0 {
		t.Parallel() // on a broker of its own
	}
	broker := kafkatest.Start(t, embedded.Config{MinSessionTimeout: time.Second})
	f := &fleet{t: t, dir: t.TempDir(), broker: broker, orders: map[string]int{}, session: 6 * time.Second}
	var err error
	f.client, err = kafka.New(kafka.Config{Brokers: broker.Addrs()})
	f.must(err)
	t.Cleanup(func() { _ = f.client.Close() })
	f.producer = f.client.NewProducer(kafka.ProducerConfig{})
	return f
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// member is one instance, with its own rule files and data directory.
type member struct {
	fleet   *fleet
	name    string
	service *service
	log     *syncBuffer // of all its lives
	cancel  context.CancelFunc
	ended   chan error
}

// writeRules writes the rule file of an instance.
func (f *fleet) writeRules(name, text string) {
	f.t.Helper()
	dir := filepath.Join(f.dir, name, "rules")
	f.must(os.MkdirAll(dir, 0o700))
	f.must(os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(text), 0o600))
}

// add is a further instance, not started yet.
func (f *fleet) add(name, rules string) *member {
	f.t.Helper()
	f.writeRules(name, rules)
	m := &member{fleet: f, name: name, log: new(syncBuffer)}
	f.t.Cleanup(func() { m.stop(); m.tell() })
	return m
}

// settings configure an instance of the fleet, for this process or a child.
func (f *fleet) settings(name string) (args, environ []string) {
	dir := filepath.Join(f.dir, name)
	return []string{"--rules", filepath.Join(dir, "rules"), "--data", filepath.Join(dir, "data"), "--brokers", strings.Join(f.broker.Addrs(), ","), "--group", fleetGroup, "--listen", "127.0.0.1:0"},
		append([]string{crashSecret, "SEGMENTD_TOPICS_CREATE=true", fmt.Sprintf("SEGMENTD_TOPICS_PARTITIONS=%d", fleetPartitions),
			"SEGMENTD_INPUTS=[{topic: events, kind: event}, {topic: decisions, kind: decision}]", "SEGMENTD_KAFKA_SESSION_TIMEOUT=" + f.session.String()}, f.environ...)
}

func (m *member) config() *config.Config {
	m.fleet.t.Helper()
	args, environ := m.fleet.settings(m.name)
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	config.AddFlags(fs)
	m.fleet.must(fs.Parse(args))
	cfg, err := config.Load(config.Sources{Environ: environ, Flags: fs, Needs: config.NeedAll})
	m.fleet.must(err)
	return cfg
}

// start runs the instance and waits until it is ready.
func (m *member) start() {
	m.fleet.t.Helper()
	if err := m.launch(m.config()); err != nil {
		m.fleet.t.Fatalf("%s ended with %v\n%s", m.name, err, m.log.String())
	}
	eventuallyStatus(m.fleet.t, m.url()+"/readyz", http.StatusOK)
}

// launch runs the instance; an error is why it ended before it was open.
func (m *member) launch(cfg *config.Config) error {
	m.fleet.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel, m.ended = cancel, make(chan error, 1)
	started := make(chan *service, 1)
	go func() {
		m.ended <- serve(ctx, &invocation{streams: streams{out: io.Discard, err: m.log}}, cfg, func(s *service) { started <- s })
	}()
	select {
	case m.service = <-started:
		return nil
	case err := <-m.ended:
		m.cancel = nil
		return err
	}
}

// tell prints the instance's log where the test has failed.
func (m *member) tell() {
	if m.fleet.t.Failed() {
		m.fleet.t.Logf("%s:\n%s", m.name, m.log.String())
	}
}

// stop ends the instance in order, if it runs.
func (m *member) stop() {
	m.fleet.t.Helper()
	if m.cancel == nil {
		return
	}
	m.cancel()
	m.cancel = nil
	if err := <-m.ended; err != nil {
		m.fleet.t.Errorf("%s ended with %v\n%s", m.name, err, m.log.String())
	}
}

func (m *member) url() string { return "http://" + m.service.admin.Addr().String() }

// owners waits until so many instances share all partitions, and returns whose
// address has which.
func (f *fleet) owners(n int) map[int32]string {
	f.t.Helper()
	owners := map[int32]string{}
	poll(f.t, fmt.Sprintf("%d instances share the partitions", n), func() bool {
		clear(owners)
		members, err := f.client.Members(f.t.Context(), fleetGroup, "events")
		f.must(err)
		for _, m := range members {
			for _, p := range m.Partitions {
				owners[p] = m.Address
			}
		}
		return len(members) == n && len(owners) == fleetPartitions
	})
	return owners
}

func (f *fleet) partition(id string) int32 {
	p, _ := kafka.Murmur2.Partition([]byte(id), fleetPartitions)
	return p
}

// send sends a subject's record.
func (f *fleet) send(topic, id, value string) {
	f.t.Helper()
	err := sendAll(f.t.Context(), f.producer, []stream.Message{{Topic: topic, Partition: f.partition(id), Timestamp: subject.FromTime(time.Now()), Key: []byte(id), Value: []byte(value)}})
	f.must(err)
}

// order sends an order, and before a subject's first one its consent.
func (f *fleet) order(id string) {
	f.t.Helper()
	if f.orders[id] == 0 {
		f.send("decisions", id, fmt.Sprintf(`{"type":"decision","userId":%q,"purpose":"marketing","status":"given"}`, id))
	}
	f.orders[id]++
	f.send("events", id, fmt.Sprintf(`{"type":"track","messageId":"%s-%d","userId":%q,"event":"Order Completed","properties":{"total":1}}`, id, f.orders[id], id))
}

func subjects(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("u%d", i))
	}
	return ids
}

// want is what a look-up of a subject must say.
func (f *fleet) want(id string) []string {
	switch {
	case f.orders[id] == 0:
		return nil
	case f.orders[id] == 1:
		return []string{"buyer"}
	}
	return []string{"buyer", "regular"}
}

// segmentsIn reads an answer's segments, sorted.
func (f *fleet) segmentsIn(body string) (segments []string) {
	f.t.Helper()
	var answer struct{ Memberships []struct{ Segment string } }
	f.must(json.Unmarshal([]byte(body), &answer))
	for _, m := range answer.Memberships {
		segments = append(segments, m.Segment)
	}
	slices.Sort(segments)
	return segments
}

// published waits until what is published of members is what was sent.
func (f *fleet) published(ids []string) {
	f.t.Helper()
	poll(f.t, "the members are as they must be", func() bool {
		rows := map[string]bool{}
		for p := range int32(fleetPartitions) {
			f.must(readPartition(f.t.Context(), f.client, fleetGroup+"-members", p, func(_ string, _ int32, r *stream.Record) { rows[string(r.Key)] = r.Value != nil }))
		}
		for _, id := range ids {
			for _, segment := range f.want(id) {
				if !rows["u|"+id+"|"+segment] {
					return false
				}
			}
		}
		return true
	})
}

// verify runs the command that checks what was published.
func (f *fleet) verify() {
	f.t.Helper()
	var out bytes.Buffer
	if code := run(context.Background(), []string{"verify", "--brokers", strings.Join(f.broker.Addrs(), ","), "--group", fleetGroup}, streams{nil, &out, &out}); code != 0 || !strings.Contains(out.String(), " 0 faults") {
		f.t.Errorf("verify ended with %d:\n%s", code, &out)
	}
}

// ruleSets are the rule sets of each partition's checkpoints in their order, each
// once for as long as it stays.
func (f *fleet) ruleSets() [][]string {
	f.t.Helper()
	all := make([][]string, fleetPartitions)
	for p := range int32(fleetPartitions) {
		f.must(readPartition(f.t.Context(), f.client, processor.Topics{Group: fleetGroup}.Changelog(), p, func(_ string, _ int32, r *stream.Record) {
			if !bytes.Equal(r.Key, state.CheckpointKey) {
				return
			}
			cp, err := state.DecodeCheckpoint(r.Value)
			f.must(err)
			if n := len(all[p]); n == 0 || all[p][n-1] != cp.RuleSet {
				all[p] = append(all[p], cp.RuleSet)
			}
		}))
	}
	return all
}
