package processor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// A request that waits for a person can be given more time, within a month of its
// receipt and for two more at most, or be refused; both are told with the reason, and
// survive a crash and the same request read again.
func TestRequestsAreExtendedAndRefused(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	old := at.AddDate(0, 0, -40)
	asked := []record{given("u1", "marketing", at), request("u1", "q-1", "access", at), request("u1", "q-2", "portability", at),
		request("u1", "q-3", "restrict", at), request("u1", "q-4", "access", old)}
	r := l.start()
	l.produce(asked...)
	r.caughtUp()
	u1 := subject.ID{Value: "u1"}
	received := subject.FromTime(at)
	latest := monthsAfter(received, 3)
	for name, c := range map[string]struct {
		requestID string
		until     subject.Instant
		kept      bool
		says      string
	}{
		"unknown":          {"q-9", 0, false, "no request of this id"},
		"of another kind":  {"q-3", 0, true, "asks for restrict, which waits for no person"},
		"too long":         {"q-1", latest + 1, true, "can be given time until " + latest.String()},
		"no longer at all": {"q-1", RequestDue(received), true, "the request is due on "},
		"too late":         {"q-4", 0, true, "it is too late to extend the time"},
	} {
		_, err := r.processor.Extend(background(t), u1, c.requestID, "it is much", c.until)
		var none *RequestError
		if !errors.As(err, &none) || none.Kept != c.kept || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	first := latest.Add(-24 * time.Hour)
	for _, until := range []subject.Instant{first, 0} {
		info, err := r.processor.Extend(background(t), u1, "q-1", "it is much", until)
		must(t, err)
		if until == 0 {
			until = latest
		}
		if info.Status != subject.InProgress || info.Due != until || info.Detail != "extended until "+until.String()+": it is much" {
			t.Errorf("extended: %+v", info)
		}
	}
	info, err := r.processor.Refuse(background(t), u1, "q-2", "it is the tenth this week")
	must(t, err)
	if info.Status != subject.Failed || !info.Done.Valid() || info.Detail != "refused: it is the tenth this week" {
		t.Errorf("refused: %+v", info)
	}
	want := []string{"q-1 access in_progress", "q-2 portability failed", "q-3 restrict completed", "q-4 access received"}
	same(t, "u1", states(r.dossier("u1")), want)
	r.crash()
	r = l.start()
	l.produce(asked...)
	r.caughtUp()
	same(t, "u1 after a crash", states(r.dossier("u1")), want)
	info, _, err = r.processor.Request(background(t), u1, "q-1")
	must(t, err)
	same(t, "due after a crash", info.Due, latest)
	same(t, "results", l.results(), []string{"q-1 received", "q-2 received", "q-3 received", "q-3 completed", "q-4 received", "q-1 in_progress", "q-1 in_progress", "q-2 failed"})
	_, refused := r.processor.Portability(background(t), u1, "q-2")
	_, again := r.processor.Refuse(background(t), u1, "q-2", "it is the tenth this week")
	for _, err := range []error{refused, again} {
		var none *RequestError
		if !errors.As(err, &none) || !none.Kept {
			t.Errorf("of one that was refused: %v", err)
		}
	}
	_, err = r.processor.Refuse(background(t), u1, "q-4", "it was answered by letter")
	must(t, err)
	later := received + latest - RequestDue(received) // as it has so much more time
	eventually(t, "the oldest is the extended one", func() bool {
		return int64(r.metric(t, "segmentd_oldest_open_request_timestamp_seconds")) == later.Time().Unix()
	})
	_, err = r.processor.Access(background(t), u1, "q-1")
	must(t, err)
	eventually(t, "the extended one is handed over", func() bool { return states(r.dossier("u1"))[0] == "q-1 access completed" })
	r.stop()
}

// The month runs from when the subject asked, however late that was passed on; a
// timestamp ahead of its arrival gives no more time.
func TestTheMonthRunsFromWhenTheSubjectAsked(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	now := ago(time.Minute)
	asked := now.AddDate(0, 0, -20)
	passedOn := func(requestID, kind string, asked time.Time) record {
		q := request("u1", requestID, kind, asked)
		q.at = now
		return q
	}
	r := l.start()
	l.produce(passedOn("q-1", "access", asked), passedOn("q-2", "portability", now.AddDate(0, 0, -40)), passedOn("q-3", "access", now.Add(time.Hour)))
	r.caughtUp()
	u1 := subject.ID{Value: "u1"}
	for requestID, want := range map[string]time.Time{"q-1": asked, "q-2": now.AddDate(0, 0, -40), "q-3": now} {
		info, _, err := r.processor.Request(background(t), u1, requestID)
		must(t, err)
		same(t, "due of "+requestID, info.Due, RequestDue(subject.FromTime(want)))
		same(t, "received of "+requestID, info.Received, subject.FromTime(now))
	}
	_, err := r.processor.Extend(background(t), u1, "q-2", "it is much", 0)
	if err == nil || !strings.Contains(err.Error(), "it is too late to extend the time") {
		t.Errorf("of a month that is over: %v", err)
	}
	info, err := r.processor.Extend(background(t), u1, "q-1", "it is much", 0)
	must(t, err)
	same(t, "extended", info.Due, monthsAfter(subject.FromTime(asked), 3))
	eventually(t, "the oldest is that of 40 days ago", func() bool {
		return int64(r.metric(t, "segmentd_oldest_open_request_timestamp_seconds")) == now.AddDate(0, 0, -40).Unix()
	})
	r.stop()
}
