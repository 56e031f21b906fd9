package processor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/stream"
)

const traceRules = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 60d}
  - {key: profiling, description: Profiles, lawful_basis: explicit_consent, retention: 20d}
segments:
  - {key: quiet, purpose: marketing, when: 'events("Order Completed").within("10d").count() == 0'}
  - {key: german, purpose: marketing, when: 'traits.country == "DE"'}
  - {key: browses, purpose: profiling, when: 'events("Page Viewed").within("3d").distinct(properties.name) >= 2'}
`

// A subject without consent leaves no trace: neither its id nor what it did is
// in any file of the data directory, in any topic but the inputs, in the log or
// in a metric. That the search finds what is there, a consenting subject shows.
func TestNoConsentLeavesNoTrace(t *testing.T) {
	l := newLab(t, labConfig{rules: traceRules, partitions: 2})
	l.produceTraces("canary-silent-7c1", "")
	l.produceTraces("canary-refuses-7c2", "refused")
	l.produceTraces("canary-consents-7c3", "given")
	r := l.start()
	r.caughtUp()
	metrics := r.gathered()
	during := l.places(t, "canary-consents-7c3")
	r.stop()
	for _, id := range []string{"canary-silent-7c1", "payload of canary-silent-7c1", "payload of canary-refuses-7c2"} {
		if found := l.places(t, id); len(found) > 0 {
			t.Errorf("a trace without consent: %v", found)
		}
		if strings.Contains(l.log.String()+metrics, id) {
			t.Error("a trace without consent in the log or the metrics")
		}
	}
	// The control: the id of who consents, and a property that a rule keeps.
	for _, text := range []string{"canary-consents-7c3", "payload of canary-consents-7c3"} {
		found := strings.Join(l.places(t, text), " ")
		if !strings.Contains(found, "file ") || !strings.Contains(found, "topic shop-changelog") {
			t.Errorf("the search does not find what is kept of who consents: %s", found)
		}
	}
	if len(during) == 0 {
		t.Error("nothing was found while the processor ran")
	}
	if strings.Contains(l.log.String()+metrics, "canary-consents") {
		t.Error("an id is in the log or the metrics")
	}
}

// After a withdrawal nothing but the decision and the way out is left of what
// was kept for the purpose: the newest record of the changelog has no payload.
func TestWithdrawalDeletesWhatWasKept(t *testing.T) {
	const id = "canary-withdraws-9d1"
	l := newLab(t, labConfig{rules: traceRules, partitions: 1})
	l.produceTraces(id, "given")
	r := l.start()
	r.read()
	l.produce(decision(id, "profiling", "withdrawn", ago(time.Minute)), decision(id, "marketing", "withdrawn", ago(time.Minute)))
	r.caughtUp()
	r.stop()
	newest := map[string]stream.Record{}
	for _, rec := range l.readTopic(Topics{l.cfg.Group}.Changelog()) {
		newest[string(rec.Key)] = rec
	}
	for _, rec := range newest {
		if bytes.Contains(rec.Value, []byte("payload of")) {
			t.Error("the newest record still holds what was kept")
		}
	}
	if got := l.membersIn(l.changes()); got != "" {
		t.Errorf("still in %s", got)
	}
}

// produceTraces sends what a subject decided about all purposes, and events and
// traits whose contents bear its id.
func (l *lab) produceTraces(id, status string) {
	l.t.Helper()
	at := ago(time.Hour)
	if status != "" {
		for _, purpose := range []string{"marketing", "profiling"} {
			d := decision(id, purpose, status, at)
			d.value = strings.Replace(d.value, "}", `,"explicit":true}`, 1)
			l.produce(d)
		}
	}
	l.produce(
		record{topic: events, key: id, at: at, value: fmt.Sprintf(`{"type":"page","messageId":"message of %s","userId":%q,"timestamp":%q,"properties":{"name":"payload of %s"}}`, id, id, stamp(at), id)},
		record{topic: events, key: id, at: at, value: fmt.Sprintf(`{"type":"identify","messageId":"traits of %s","userId":%q,"timestamp":%q,"traits":{"country":"payload of %s"}}`, id, id, stamp(at), id)},
		record{topic: events, key: id, at: at, value: fmt.Sprintf(`{"type":"track","event":"Order Completed","messageId":"order of %s","userId":%q,"timestamp":%q,"properties":{"total":"payload of %s"}}`, id, id, stamp(at), id)},
		record{topic: events, key: id, at: at, value: fmt.Sprintf(`{"type":"track","userId":%q,"timestamp":"payload of %s"}`, id, id)},
	)
}

// places lists where a text is, but for the inputs.
func (l *lab) places(t testing.TB, text string) (found []string) {
	t.Helper()
	for _, topic := range l.ownTopics() {
		for _, rec := range l.readTopic(topic) {
			all := append(append([]byte(nil), rec.Key...), rec.Value...)
			for _, h := range rec.Headers {
				all = append(append(all, h.Key...), h.Value...)
			}
			if bytes.Contains(all, []byte(text)) {
				found = append(found, "topic "+topic)
				break
			}
		}
	}
	must(t, filepath.WalkDir(l.data, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() {
			return nil
		}
		b, readErr := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			found = append(found, "file "+d.Name())
		}
		if errors.Is(readErr, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, readErr)
	}))
	return found
}

// gathered is all metrics as text.
func (r *running) gathered() string {
	r.lab.t.Helper()
	families, err := r.metrics.Gatherer().Gather()
	must(r.lab.t, err)
	b, err := json.Marshal(families)
	must(r.lab.t, err)
	return string(b)
}
