package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// TestCrashAtAGap lets a topic's retention overtake the processor while it is
// away: the partition stops and says what is missing, on every page and after
// every kill (kill -9), until the command accepts it; then never again.
func TestCrashAtAGap(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	c := newCrash(t)
	c.startBroker()
	c.createInputs()
	c.decide("given")
	p := c.startProcessor()
	c.serves("/readyz?verbose", "partition 0: ready")
	c.until("decisions are read", func() bool {
		body, err := get("http://" + c.http + "/metrics")
		return err == nil && strings.Contains(body, `segmentd_decisions_total{status="given"} 1`)
	})
	p.stops(0)
	c.decide("withdrawn")
	c.forget("decisions", 0, 2)

	p = c.startProcessor()
	c.serves("/readyz?verbose", "partition 0: stopped, decisions or requests are missing: decisions partition 0, offsets 1 to 1 (1 records)")
	c.serves("/readyz?verbose", "partition 1: ready")
	c.serves("/v1/status", `{"partition":0,"state":"stopped","gap":{"topic":"decisions","from":1,"to":2}}`)
	p.kill()
	p = c.startProcessor()
	c.serves("/v1/status", `"state":"stopped"`)
	c.resumes(2, "segmentd resume --partition 0 --accept-gap", "--partition", "0")
	c.resumes(2, "there is none to accept", "--partition", "1", "--accept-gap")
	c.resumes(2, "no partition 9", "--partition", "9")
	c.resumes(2, "give the partition")
	c.resumes(0, "partition 0 goes on\naccepted at ", "--partition", "0", "--accept-gap")
	p.kill()
	p = c.startProcessor()
	c.serves("/readyz?verbose", "partition 0: ready")
	c.serves("/v1/status", `{"partition":0,"state":"ready","acceptedGaps":[{"topic":"decisions","from":1,"to":2,"accepted":"`)

	// Paused by a request, and let go on by the command.
	c.posts("/v1/admin/pause?partition=2", 200, `{"partition":2,"state":"paused"}`)
	c.posts("/v1/admin/pause?partition=two", 400, "a number from 0")
	for _, query := range []string{"partition=", "partition=1;x=2", "partition=%zz", "partition=-1"} { // which must not mean all
		c.posts("/v1/admin/pause?"+query, 400, "a number from 0")
	}
	c.posts("/v1/admin/pause?partition=3", 404, "there is no partition 3")
	c.posts("/v1/admin/resume?acceptGap=perhaps", 400, "true or false")
	c.posts("/v1/admin/resume?acceptGap=true", 409, "one partition at a time")
	c.serves("/readyz?verbose", "partition 2: paused")
	c.resumes(0, "partition 2 goes on", "--partition", "2")
	c.serves("/readyz?verbose", "partition 2: ready")
	p.stops(0)
	c.verifies()
}

// decide sends a decision of one subject to partition 0.
func (c *crash) decide(status string) {
	c.t.Helper()
	value := fmt.Sprintf(`{"type":"decision","userId":"u0","purpose":"marketing","status":%q,"timestamp":%q}`, status, time.Now().UTC().Format(time.RFC3339))
	key := "u0"
	for i := 1; ; i++ {
		if p, _ := kafka.Murmur2.Partition([]byte(key), crashPartitions); p == 0 {
			break
		}
		value = strings.ReplaceAll(value, `"`+key+`"`, fmt.Sprintf(`"u%d"`, i))
		key = fmt.Sprint("u", i)
	}
	err := sendAll(c.t.Context(), c.client.NewProducer(kafka.ProducerConfig{}), []stream.Message{
		{Topic: "decisions", Timestamp: subject.FromTime(time.Now()), Key: []byte(key), Value: []byte(value)}})
	c.must(err)
}

// forget deletes a partition's records before an offset, as retention does.
func (c *crash) forget(topic string, partition int32, before int64) {
	c.t.Helper()
	c.admin(func(ctx context.Context, admin *kadm.Client) error {
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before})
		res, err := admin.DeleteRecords(ctx, offsets)
		if err == nil {
			err = res.Error()
		}
		return err
	})
}

// serves waits until a page has a text.
func (c *crash) serves(page, want string) {
	c.t.Helper()
	last := ""
	defer func() {
		if c.t.Failed() {
			c.t.Logf("the last answer was\n%s", last)
		}
	}()
	c.until(page+" has "+want, func() bool {
		last, _ = get("http://" + c.http + page)
		return strings.Contains(last, want)
	})
}

func (c *crash) posts(page string, status int, want string) {
	c.t.Helper()
	if got, _, text := request(c.t, "POST", "http://"+c.http+page, "", ""); got != status || !strings.Contains(text, want) {
		c.t.Errorf("%s: %d %s, want %d with %q", page, got, text, status, want)
	}
}

// resumes runs the command.
func (c *crash) resumes(status int, want string, args ...string) {
	c.t.Helper()
	p := c.start(append([]string{"resume", "--url", "http://" + c.http}, args...)...)
	<-p.ended
	if got := p.cmd.ProcessState.ExitCode(); got != status || !strings.Contains(p.log.String(), want) {
		c.t.Errorf("resume %v ended with %d, want %d with %q:\n%s", args, got, status, want, p.log.String())
	}
}
