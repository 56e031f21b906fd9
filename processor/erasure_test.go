package processor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// receiptOf reads the detail of a request that an erasure completed.
func receiptOf(t *testing.T, s subject.RequestState) (receipt struct{ ErasedBefore, Kept string }) {
	t.Helper()
	must(t, json.Unmarshal([]byte(s.Detail), &receipt))
	return receipt
}

// A second erasure is completed as the first is, and tells of it; one that is dated
// before a newer consent tells what stays.
func TestErasuresTellOfWhatCameBefore(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	r := l.start()
	erased := func(id, requestID string) (s subject.RequestState) {
		t.Helper()
		r.caughtUp()
		r.digests() // what is committed is written
		_, err := r.store.Scrub(background(t))
		must(t, err)
		eventually(t, requestID+" is completed", func() bool {
			all := r.dossier(id).Requests
			s = all[len(all)-1]
			return s.RequestID == requestID && s.Status == subject.Completed
		})
		return s
	}
	l.produce(given("u1", "marketing", at), track("u1", "Order Completed", "m1", at.Add(time.Second)), request("u1", "q-1", "erase", at.Add(time.Minute)))
	if got := receiptOf(t, erased("u1", "q-1")); got.ErasedBefore != "" || got.Kept != "" {
		t.Errorf("the first: %+v", got)
	}
	for i, when := range []time.Time{at.Add(time.Minute), at.Add(time.Second), at.Add(2 * time.Minute)} {
		id := fmt.Sprintf("q-1%d", i)
		l.produce(request("u1", id, "erase", when))
		if got := receiptOf(t, erased("u1", id)); got.ErasedBefore == "" || got.Kept != "" {
			t.Errorf("one dated %s: %+v", stamp(when), got)
		}
	}
	l.produce(given("u2", "marketing", at), given("u2", "marketing", at.Add(10*time.Minute)), track("u2", "Order Completed", "m2", at.Add(11*time.Minute)),
		request("u2", "q-2", "erase", at.Add(time.Minute)))
	dated := subject.FromTime(at.Add(time.Minute)).String()
	if got := receiptOf(t, erased("u2", "q-2")); !strings.Contains(got.Kept, "after "+dated) || l.membersOf(r, "u2") != "buyer,known" {
		t.Errorf("one before a newer consent: %+v, in %s", got, l.membersOf(r, "u2"))
	}
	r.stop()
}

// An erasure is completed, with a receipt, once the image's files hold nothing of its
// subject any more, also after a crash in between.
func TestErasuresAreCompletedOnceScrubbed(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	l.remains = testRemains
	at := ago(time.Hour)
	r := l.start()
	l.produce(given("u1", "marketing", at), track("u1", "Order Completed", "m1", at.Add(time.Second)))
	r.caughtUp()
	l.produce(request("u1", "q-1", "erase", at.Add(time.Minute)), request("u9", "q-2", "erase", at.Add(time.Minute)))
	r.caughtUp()
	l.skew.Store(int64(finishEvery)) // so that it is looked for what is done
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
	checkReceipt(t, done, l.set)
	got := l.results()
	if slices.Sort(got[4:]); !slices.Equal(got[:4], []string{"q-1 received", "q-1 in_progress", "q-2 received", "q-2 in_progress"}) ||
		!slices.Equal(got[4:], []string{"q-1 completed", "q-2 completed", "q-3 completed", "q-3 in_progress", "q-3 received"}) {
		t.Errorf("results %v", got)
	}
}

// checkReceipt holds the receipt of an erasure against the topics of its group: each that
// tells of subjects has a means and a time of its own, by its settings, or says why not.
func checkReceipt(t *testing.T, done subject.RequestState, set *rules.Set) {
	t.Helper()
	receipt, ok := core.ParseErasureReceipt(done.Detail)
	if !ok {
		t.Fatalf("no receipt: %q", done.Detail)
	}
	stores := map[string]core.ErasedFrom{}
	for _, e := range receipt.Stores {
		stores[e.Store] = e
	}
	files := stores["data directory"]
	if at, err := subject.ParseInstant(files.Done); err != nil || at > done.Done || files.Method == "" || files.By != "" {
		t.Errorf("the files: %+v, done %v", files, done.Done)
	}
	topics := 0
	for _, spec := range (Topics{"shop"}).Specs(set) {
		e, told := stores[spec.Name]
		if told != spec.Personal {
			t.Errorf("%s tells of subjects: %v, in the receipt: %v", spec.Name, spec.Personal, told)
		}
		if !told {
			continue
		}
		topics++
		r, known := testRemains(spec.Name)
		by, err := subject.ParseInstant(e.By)
		switch {
		case e.Method == "" || e.Done != "":
			t.Errorf("%+v", e)
		case !known && (e.By != "" || !strings.Contains(e.Note, "not known")), known && r.Within == Forever && (e.By != "" || !strings.Contains(e.Note, r.Cause)):
			t.Errorf("there is no bound, and the receipt says %+v", e)
		case known && r.Within != Forever && (err != nil || by.Time().Sub(done.Done.Time()).Round(time.Minute) != r.Within || e.Note != r.Cause):
			t.Errorf("%+v: %v after %v, want %v", e, by, done.Done, r.Within)
		}
	}
	if topics < 4 || len(receipt.Stores) != topics+1 || len(receipt.Stays) < 4 {
		t.Errorf("%d topics in %+v", topics, receipt)
	}
}

// testRemains is what is known of the topics of labs: one bound, one that nothing
// bounds, and nothing of the others.
func testRemains(topic string) (Remains, bool) {
	switch topic {
	case "shop-changelog":
		return Remains{Within: 25 * time.Hour, Cause: "max.compaction.lag.ms=1"}, true
	case "shop-members":
		return RemainsEmbedded(topic, map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": "1"}, true), true
	case "shop-changes":
		return RemainsEmbedded(topic, map[string]string{"cleanup.policy": "delete", "retention.ms": "3600000", "segment.ms": "3600000"}, false), true
	}
	return Remains{}, false
}
