package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmentd/segmentd/processor/access"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// canaryID begins every id, value and token of TestNothingIsTold; nothing else has it.
const canaryID = "Kx7Qpanary"

var canaryText = regexp.MustCompile(`(?i)kx7qpanary`)

// canaries are records with something wrong in them, by topic, and good ones.
var canaries = map[string][]string{
	"decisions": {
		`{"type":"decision","userId":"%s","purpose":"%[1]s","status":"given"}`,
		`{"type":"decision","userId":"%s","purpose":"marketing","status":"%[1]s"}`,
		`{"type":"decision","userId":"%s","purpose":"marketing","status":"given","expiresAt":"%[1]s"}`,
		`{"type":"decision","userId":"%s","purpose":"marketing","status":"given"}`,
		`{"type":"decision","userId":"%s`,
		`{"type":"%s"}`,
		`%s`,
	},
	"events": {
		`{"type":"track","userId":"%s","messageId":"%[1]s-1","event":"Order Completed","properties":{"total":700,"%[1]s":"%[1]s"},"context":{"ip":"%[1]s"}}`,
		`{"type":"track","userId":"%s","event":"Order Completed","timestamp":"%[1]s"}`,
		`{"type":"track","userId":"%s","event":"Order Completed","timestamp":"2199-01-01T00:00:00Z"}`,
		`{"type":"track","userId":"%s","event":"Order Completed","properties":"%[1]s"}`,
		`{"type":"track","userId":"%s","event":"Order Completed","properties":{"total":"%[1]s"}}`,
		`{"type":"track","userId":"other-%s","event":"Order Completed"}`,
		`{"type":"track","event":"%s"}`,
		`{"type":"alias","userId":"%s","previousId":"%[1]s"}`,
		`{"type":"%s","userId":"%[1]s"}`,
		`{"type":"track","userId":{"%s":1}}`,
		`{"specversion":"%s","id":"%[1]s","type":"%[1]s","source":"%[1]s"}`,
		`{"type":"track","userId":"%s","event":`,
		`%s`,
	},
}

// TestNothingIsTold lets a service with its log at debug read good and bad records,
// lose requests to its broker, and be asked in wrong ways; and looks for ids,
// payloads and tokens in all that it says beside its answers.
func TestNothingIsTold(t *testing.T) {
	keys, log := newKeyring(t), new(syncBuffer)
	secret := strings.Repeat(canaryID, 4)
	s := startServiceAs(t, serviceSetup{listen: "127.0.0.1:0", rules: exampleRules, log: log, environ: append(keys.environ(), "SEGMENTD_SECRET="+secret)})
	base := "http://" + s.admin.Addr().String()
	eventuallyStatus(t, base+"/readyz", http.StatusOK)
	sendCanaries(t, s, "decisions")
	sendCanaries(t, s, "events")
	// After those that count as refusals.
	send(t, s, "decisions", canaryID, fmt.Sprintf(`{"type":"decision","userId":"%s","purpose":"marketing","status":"given"}`, canaryID))
	send(t, s, "events", canaryID, fmt.Sprintf(`{"type":"track","userId":"%s","event":"Order Completed","properties":{"total":700}}`, canaryID))
	authorization := "Bearer " + keys.byRole[access.Reader]
	member := func() bool {
		_, text := authorized(t, "GET", base+"/v1/subjects/"+canaryID, authorization, "")
		return strings.Contains(text, `"segment":"big_spenders"`)
	}
	poll(t, "the subject is a member", member)

	cluster := s.broker.Cluster()
	for i, f := range []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.Produce}, Topic: "segmentd-changelog"}, {Keys: []kmsg.Key{kmsg.TxnOffsetCommit}}, {Keys: []kmsg.Key{kmsg.EndTxn}},
		{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "events"},
	} {
		f.Err, f.Count = kerr.UnknownServerError, 1
		fault := cluster.Fault(f)
		n := 0
		poll(t, fmt.Sprintf("request %d fails", i), func() bool {
			n++
			send(t, s, "events", canaryID, fmt.Sprintf(`{"type":"track","userId":"%s","messageId":"%[1]s-%d-%d","event":"Order Completed","properties":{"total":1}}`, canaryID, i, n))
			return fault.Hits() > 0
		})
	}
	poll(t, "the partition is at work again", member)
	told := askWrongly(t, base, keys)
	poll(t, "what is rejected is counted", func() bool {
		_, text := authorized(t, "GET", base+"/metrics", "", "")
		told["/metrics"] = text
		return strings.Contains(text, `segmentd_rejected_total{reason="unsupported_type",topic="events"} `) &&
			!strings.Contains(text, `segmentd_rejected_total{reason="unsupported_type",topic="events"} 0`)
	})
	told["the log"] = log.String()
	for _, file := range auditFiles(t, s) {
		told["the audit log"] += file
	}
	for what, text := range told {
		if at := canaryText.FindStringIndex(text); at != nil {
			t.Errorf("%s: … %s …", what, text[max(0, at[0]-200):min(len(text), at[1]+50)])
		}
		for _, token := range keys.byRole {
			if strings.Contains(text, token) {
				t.Errorf("a token is in %s", what)
			}
		}
	}
	for _, line := range []string{"level=DEBUG", "partition recovers", "cannot be understood", "cannot be read", "is passed on", "the audit log's head"} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("nothing of %q was logged:\n%s", line, log.String())
		}
	}
}

func auditFiles(t *testing.T, s *service) (texts []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(auditDir(s.cfg.Data), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	return texts
}

func sendCanaries(t *testing.T, s *service, topic string) {
	t.Helper()
	key := []byte(canaryID)
	p, _ := kafka.Murmur2.Partition(key, s.partitions())
	producer := s.client.NewProducer(kafka.ProducerConfig{})
	for _, text := range canaries[topic] {
		m := stream.Message{Topic: topic, Partition: p, Key: key, Value: []byte(fmt.Sprintf(text, canaryID)), Timestamp: subject.FromTime(time.Now())}
		elsewhere := m
		elsewhere.Partition = 1 - p
		if err := sendAll(t.Context(), producer, []stream.Message{m, elsewhere}); err != nil {
			t.Fatal(err)
		}
	}
}

// askWrongly asks for what is refused, and returns the answers.
func askWrongly(t *testing.T, base string, keys *keyring) map[string]string {
	t.Helper()
	told := map[string]string{}
	reader, operator := "Bearer "+keys.byRole[access.Reader], "Bearer "+keys.byRole[access.Operator]
	for _, c := range []struct{ method, path, authorization, body string }{
		{"GET", "/v1/subjects/" + canaryID, "", ""},
		{"GET", "/v1/subjects/" + canaryID, "Bearer " + strings.Repeat(canaryID, 5), ""},
		{"GET", "/v1/subjects/" + canaryID, canaryID, ""},
		{"GET", "/v1/subjects/" + canaryID + "?access_token=" + strings.Repeat(canaryID, 5), reader, ""},
		{"GET", "/v1/subjects/" + canaryID, operator, ""},
		{"GET", "/v1/subjects/" + canaryID + "?ticket=" + url.QueryEscape(canaryID+"@shop.example"), reader, ""},
		{"GET", "/v1/subjects/" + canaryID + "?idType=" + canaryID, reader, ""},
		{"GET", "/v1/subjects/" + canaryID + "%0A", reader, ""},
		{"GET", "/v1/subjects/" + strings.Repeat(canaryID, 100), reader, ""},
		{"GET", "/v1/subjects/" + canaryID + "/" + canaryID, reader, ""},
		{"DELETE", "/v1/subjects/" + canaryID, reader, ""},
		{canaryID, "/v1/subjects/" + canaryID, reader, ""},
		{"POST", "/v1/subjects/lookup", reader, `{"userId":"` + canaryID},
		{"POST", "/v1/subjects/lookup", reader, `{"` + canaryID + `":"` + canaryID + `"}`},
		{"POST", "/v1/subjects/explain", reader, `{"userId":"` + canaryID + `","segment":7}`},
		{"POST", "/v1/admin/pause?partition=" + canaryID, operator, canaryID},
		{"POST", "/v1/admin/reload?allowRemovals=" + canaryID, operator, ""},
		{"GET", "/" + canaryID, "", ""},
	} {
		status, text := authorized(t, c.method, base+c.path, c.authorization, c.body)
		if status < 400 {
			t.Errorf("%s %s: %d", c.method, c.path, status)
		}
		told[fmt.Sprintf("%d %s %s", status, c.method, c.path)] = text
	}
	return told
}
