package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// The consent ledger agrees with the topics, until somebody writes to the changelog:
// proofs that are gone, changed or made up are found, and consent without one. An
// erasure leaves nothing to be found.
func TestLedgerOfConsents(t *testing.T) {
	s := startServiceWith(t, "127.0.0.1:0", exampleRules)
	base := "http://" + s.admin.Addr().String()
	eventuallyStatus(t, base+"/readyz", 200)
	for _, user := range []string{"gone", "changed", "erased"} {
		send(t, s, "decisions", user, `{"type":"decision","userId":"`+user+`","purpose":"marketing","status":"given","noticeVersion":"1","recordId":"c-1","timestamp":"2026-01-01T00:00:00Z"}`)
		eventuallyBody(t, base+"/v1/subjects/"+user+"/access", `"recordId":"c-1"`)
	}
	send(t, s, "decisions", "changed", `{"type":"decision","userId":"changed","purpose":"marketing","status":"withdrawn","timestamp":"2026-01-02T00:00:00Z"}`)
	eventuallyBody(t, base+"/v1/subjects/changed/access", `"status":"withdrawn"`)
	send(t, s, "requests", "erased", `{"type":"request","requestId":"q-1","userId":"erased","request":"erase"}`)
	eventuallyBody(t, base+"/v1/subjects/erased/access", `"decisions":[]`)

	verify := func() (exit int, out string) {
		var b bytes.Buffer
		err := verifyConsents(t.Context(), &invocation{streams: streams{out: &b, err: &b}, log: s.log}, s.cfg)
		return status(err), b.String()
	}
	poll(t, "the ledger agrees", func() bool {
		exit, out := verify()
		return exit == exitOK && strings.Contains(out, "4 decisions of 3 subjects on the topics, 3 proofs kept (0 of records that the topics do not have any more), 1 grant in force: 0 faults")
	})

	secret, err := s.cfg.ReadSecret()
	if err != nil {
		t.Fatal(err)
	}
	keyer := state.NewKeyer(secret)
	id := subject.ID{Value: "changed"}
	at := subject.Instant(1_767_225_600_000_000)
	made := subject.Dossier{ID: id, Proofs: []subject.Proof{
		{Purpose: "marketing", Status: subject.Withdrawn, Time: at, Arrival: at, Expires: subject.Never, Source: placeOf(t, s, "changed", 0)},
		{Purpose: "marketing", Status: subject.Given, Time: at, Arrival: at, Expires: subject.Never, Source: placeOf(t, s, "changed", 4711)},
		{Purpose: "marketing", Status: subject.Given, Time: at, Arrival: at, Expires: subject.Never, Source: subject.Position{Topic: "former", Offset: 1}},
	}}
	var messages []stream.Message
	for user, value := range map[string][]byte{"gone": nil, "changed": state.AppendDossier(nil, &made)} {
		key := keyer.Key(subject.ID{Value: user}).Dossier()
		p, _ := kafka.Murmur2.Partition([]byte(user), s.partitions())
		messages = append(messages, stream.Message{Topic: s.cfg.Group + "-changelog", Partition: p, Timestamp: at, Key: key[:], Value: value})
	}
	if _, err := s.client.NewProducer(kafka.ProducerConfig{}).Send(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	got, out := verify()
	for _, want := range []string{"3 proofs kept (1 of records that the topics do not have any more)",
		"subject " + keyer.AuditID(subject.ID{Value: "gone"}) + ": there is no proof of decisions:",
		"subject " + keyer.AuditID(subject.ID{Value: "gone"}) + ": consent to marketing is in force since 2026-01-01T00:00:00Z without a proof",
		"subject " + keyer.AuditID(id) + ": there is no proof of decisions:", ":4711 on marketing, where no such decision is"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not found", want)
		}
	}
	if got != exitInput {
		t.Errorf("the exit status is %d", got)
	}
	if t.Failed() {
		t.Log(out)
	}
}

func placeOf(t *testing.T, s *service, user string, offset int64) subject.Position {
	t.Helper()
	p, _ := kafka.Murmur2.Partition([]byte(user), s.partitions())
	return subject.Position{Topic: "decisions", Partition: p, Offset: offset}
}
