package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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
		return exit == exitOK && strings.Contains(out, "4 decisions of 3 subjects on the topics, 3 proofs kept (0 of records that the topics do not have any more, 0 imported), 1 grant in force (0 more are")
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
	for _, want := range []string{"3 proofs kept (1 of records that the topics do not have any more, 0 imported)",
		"subject " + keyer.AuditID(subject.ID{Value: "gone"}) + ": there is no proof of decisions:",
		"subject " + keyer.AuditID(subject.ID{Value: "gone"}) + ": consent to marketing of 2026-01-01T00:00:00Z is kept without a proof",
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

// What was imported is no fault, and has the import's place in a receipt; a consent of
// somebody too young is not counted as in force.
func TestLedgerOfImportsAndAges(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(`purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
  - {key: wine, description: Offers of wine, lawful_basis: consent, retention: 400d, min_age: 18, birthdate_trait: birthdate}
segments:
  - {key: buyers, purpose: marketing, when: 'events("Bought").exists()'}
  - {key: drinkers, purpose: wine, when: 'events("Bought").exists()'}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServiceWith(t, "127.0.0.1:0", dir)
	base := "http://" + s.admin.Addr().String()
	eventuallyStatus(t, base+"/readyz", 200)
	for p := range s.partitions() { // so that the place that the document names has been read here, of somebody else
		send(t, s, "decisions", fmt.Sprint("other-", p), `{"type":"decision","userId":"other-`+fmt.Sprint(p)+`","purpose":"marketing","status":"given","timestamp":"2026-01-01T00:00:00Z"}`)
	}
	send(t, s, "decisions", "young", `{"type":"decision","userId":"young","purpose":"wine","status":"given","timestamp":"2026-01-01T00:00:00Z"}`)
	send(t, s, "requests", "taken", `{"type":"import","requestId":"q-1","userId":"taken","document":{"format":"segmentd/portability/1","userId":"taken","idType":"userId","ruleSet":"x",
		"decisions":[{"provenance":"provided","purpose":"marketing","status":"given","explicit":false,"eventTime":"2026-01-01T00:00:00Z","received":"2026-01-01T00:00:00Z","source":"decisions:0:0"}],"purposes":[]}}`)
	eventuallyBody(t, base+"/v1/subjects/taken/access", `"source":"requests:`)
	eventuallyBody(t, base+"/v1/subjects/taken/receipt", `"source":"requests:`)
	eventuallyBody(t, base+"/v1/subjects/young/receipt", `"consent_status":"dpv:ConsentInvalidated","consent_status_reason":"it does not count: the purpose has a minimum age of 18`)
	n := int(s.partitions())
	want := fmt.Sprintf("%d decisions of %d subjects on the topics, %d proofs kept (0 of records that the topics do not have any more, 1 imported), %s in force (1 more are kept and do not count: they have ended, are ahead, or of somebody too young): 0 faults",
		n+1, n+1, n+2, count(n+1, "grant"))
	poll(t, "the ledger agrees", func() bool {
		var b bytes.Buffer
		err := verifyConsents(t.Context(), &invocation{streams: streams{out: &b, err: &b}, log: s.log}, s.cfg)
		t.Log(b.String())
		return err == nil && strings.Contains(b.String(), want)
	})
}

func placeOf(t *testing.T, s *service, user string, offset int64) subject.Position {
	t.Helper()
	p, _ := kafka.Murmur2.Partition([]byte(user), s.partitions())
	return subject.Position{Topic: "decisions", Partition: p, Offset: offset}
}
