package processor

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// An erasure is completed, with a receipt, once the image's files hold nothing of its
// subject any more, also after a crash in between.
func TestErasuresAreCompletedOnceScrubbed(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	r := l.start()
	l.produce(given("u1", "marketing", at), track("u1", "Order Completed", "m1", at.Add(time.Second)))
	r.caughtUp()
	l.produce(request("u1", "q-1", "erase", at.Add(time.Minute)), request("u9", "q-2", "erase", at.Add(time.Minute)))
	r.caughtUp()
	r.turns(3)
	same(t, "before the scrub", states(r.dossier("u1")), []string{"q-1 erase in_progress"})
	r.crash()
	r = l.start()
	r.caughtUp()
	r.digests()
	_, err := r.store.Scrub(background(t))
	must(t, err)
	eventually(t, "the erasures are completed", func() bool {
		return slices.Equal(states(r.dossier("u1")), []string{"q-1 erase completed"}) && slices.Equal(states(r.dossier("u9")), []string{"q-2 erase completed"})
	})
	done := r.dossier("u1").Requests[0]
	l.produce(request("u1", "q-3", "erase", at.Add(time.Second)))
	r.caughtUp()
	r.digests() // what is committed is written
	_, err = r.store.Scrub(background(t))
	must(t, err)
	eventually(t, "an older erasure is completed, too", func() bool {
		return slices.Equal(states(r.dossier("u1")), []string{"q-1 erase completed", "q-3 erase completed"})
	})
	if n := r.metric(t, "segmentd_oldest_open_request_timestamp_seconds"); n != 0 {
		t.Errorf("the oldest open request is of %v", n)
	}
	r.stop()
	var receipt struct {
		Stores []struct{ Store, Method string }
		Time   string
	}
	must(t, json.Unmarshal([]byte(done.Detail), &receipt))
	if _, err := subject.ParseInstant(receipt.Time); err != nil || len(receipt.Stores) != 4 || !done.Done.Valid() {
		t.Errorf("the receipt of %+v", done)
	}
	got := l.results()
	if slices.Sort(got[4:]); !slices.Equal(got[:4], []string{"q-1 received", "q-1 in_progress", "q-2 received", "q-2 in_progress"}) ||
		!slices.Equal(got[4:], []string{"q-1 completed", "q-2 completed", "q-3 completed", "q-3 in_progress", "q-3 received"}) {
		t.Errorf("results %v", got)
	}
}
