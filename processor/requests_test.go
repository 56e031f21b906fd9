package processor

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// request is a request of a data subject.
func request(id, ticket, kind string, at time.Time) record {
	return record{topic: requests, key: id, at: at, value: fmt.Sprintf(
		`{"type":"request","requestId":%q,"userId":%q,"request":%q,"timestamp":%q}`, ticket, id, kind, stamp(at))}
}

// results reads the results topic as "requestId status", in the order of each partition.
func (l *lab) results() (all []string) {
	l.t.Helper()
	for _, r := range l.readTopic(Topics{l.cfg.Group}.RequestResults()) {
		var j struct{ RequestID, Status string }
		must(l.t, json.Unmarshal(r.Value, &j))
		if string(r.Key) != j.RequestID {
			l.t.Errorf("the result of %s is keyed by %s", j.RequestID, r.Key)
		}
		all = append(all, j.RequestID+" "+j.Status)
	}
	return all
}

// dossier reads the dossier of a subject.
func (r *running) dossier(id string) (d *subject.Dossier) {
	r.lab.t.Helper()
	var err error
	eventually(r.lab.t, "the dossier of "+id, func() bool {
		return r.inspect(r.lab.of(id), func(p *partitionLoop) { d, err = p.image.DossierOf(p.image.KeyOf(subject.ID{Value: id})) })
	})
	must(r.lab.t, err)
	if d == nil {
		return &subject.Dossier{}
	}
	return d
}

// states are a dossier's requests as "requestId kind status".
func states(d *subject.Dossier) (all []string) {
	for _, s := range d.Requests {
		all = append(all, s.RequestID+" "+s.Kind.String()+" "+s.Status.String())
	}
	return all
}

// proofs are a dossier's as "purpose status noticeVersion method recordId source".
func proofs(d *subject.Dossier) (all []string) {
	for _, p := range d.Proofs {
		all = append(all, strings.Join([]string{p.Purpose, p.Status.String(), p.NoticeVersion, p.Method, p.RecordID, p.Source.String()}, " "))
	}
	return all
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// proved is a grant with what proves it.
func proved(d record, notice string) record {
	d.value = strings.Replace(d.value, "{", fmt.Sprintf(`{"noticeVersion":%q,"method":"web_form","recordId":"r-1",`, notice), 1)
	return d
}

// What a request asks for is done when it is read, told, and kept beside the
// subject's record; read again it changes nothing.
func TestRequestsAreDoneOnce(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	r := l.start()
	for _, id := range []string{"u1", "u2", "u3"} {
		l.produce(given(id, "marketing", at), track(id, "Order Completed", "m-"+id, at.Add(time.Second)))
	}
	r.caughtUp()
	asked := []record{request("u1", "q-1", "erase", at.Add(time.Minute)), request("u2", "q-2", "restrict", at.Add(time.Minute)),
		request("u3", "q-3", "access", at.Add(time.Minute)), request("u3", "q-4", "portability", at.Add(time.Minute)), request("u9", "q-5", "erase", at.Add(time.Minute))}
	for range 2 {
		l.produce(asked...)
		r.caughtUp()
		for id, want := range map[string]string{"u1": "", "u2": "", "u3": "buyer,known"} {
			if got := l.membersOf(r, id); got != want {
				t.Errorf("%s is in %q, want %q", id, got, want)
			}
		}
		same(t, "results", l.results(), []string{"q-1 received", "q-1 in_progress", "q-2 received", "q-2 completed", "q-3 received", "q-4 received", "q-5 received", "q-5 in_progress"})
		same(t, "u1", states(r.dossier("u1")), []string{"q-1 erase in_progress"})
		same(t, "u2", states(r.dossier("u2")), []string{"q-2 restrict completed"})
		same(t, "u3", states(r.dossier("u3")), []string{"q-3 access received", "q-4 portability received"})
	}
	if d := r.dossier("u1"); !d.ID.IsZero() || len(d.Proofs) > 0 {
		t.Errorf("of one who was erased there is still %+v", d)
	}
	if d := r.dossier("u2"); d.ID.Value != "u2" || len(d.Proofs) != 1 {
		t.Errorf("of one who is restricted there is %+v", d)
	}
	want := map[string]float64{"access received": 1, "portability received": 1, "erase in_progress": 2, "restrict completed": 1, "erase completed": 0}
	check := func() {
		t.Helper()
		for name, n := range want {
			kind, status, _ := strings.Cut(name, " ")
			eventually(t, name, func() bool { return r.metric(t, "segmentd_requests", "kind", kind, "status", status) == n })
		}
		if got := r.metric(t, "segmentd_oldest_open_request_timestamp_seconds"); int64(got) != at.Add(time.Minute).Unix() {
			t.Errorf("the oldest open request is of %v", got)
		}
	}
	check()
	var listed []string
	eventually(t, "the requests are listed", func() bool {
		all, complete := r.processor.Requests(background(t))
		listed = nil
		for _, q := range all {
			listed = append(listed, q.RequestID+" "+q.Kind.String()+" "+q.Status.String())
		}
		return complete
	})
	same(t, "listed", listed, []string{"q-1 erase in_progress", "q-2 restrict completed", "q-3 access received", "q-4 portability received", "q-5 erase in_progress"})
	digest := r.digests()
	r.crash()
	r = l.start()
	check()
	same(t, "digest after a crash", r.digests(), digest)
	r.stop()
	l.data = t.TempDir() + "/data" // restored with the last record of each key only: nothing of u1 was ever in it, nor of u9
	r = l.start()
	want["erase in_progress"], want["erase completed"] = 0, 2
	check()
	r.stop()
	if got := r.metric(t, "segmentd_requests"); got != 0 {
		t.Errorf("%v requests after the end", got)
	}
}

// Every decision that is read is kept as proof, once, as it was; an erasure deletes
// what was decided before it.
func TestDecisionsAreKeptAsProof(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	r := l.start()
	l.produce(proved(given("u1", "marketing", at), "2026-03"), decision("u1", "marketing", "withdrawn", at.Add(time.Second)))
	r.caughtUp()
	r.crash()
	r = l.start()
	l.produce(decision("u1", "marketing", "perhaps", at.Add(2*time.Second)), decision("u1", "", "given", at.Add(3*time.Second)))
	r.caughtUp()
	want := []string{"marketing given 2026-03 web_form r-1 decisions:0:0", "marketing withdrawn    decisions:0:1",
		"marketing refused    decisions:0:2", " refused    decisions:0:3"}
	same(t, "proofs", proofs(r.dossier("u1")), want)
	r.stop()
	l.data = t.TempDir() + "/data"
	r = l.start()
	same(t, "restored proofs", proofs(r.dossier("u1")), want)
	l.produce(request("u1", "q-1", "erase", at.Add(20*time.Second)))
	r.caughtUp()
	same(t, "proofs after the erasure", proofs(r.dossier("u1")), []string(nil))
	l.produce(given("u1", "marketing", at), given("u1", "marketing", at.Add(30*time.Second)))
	r.caughtUp()
	same(t, "proofs since the erasure", proofs(r.dossier("u1")), []string{"marketing given    decisions:0:5"})
	r.stop()
}

// Of very many decisions only the newest are kept.
func TestProofsAreBounded(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	r := l.start()
	var all []record
	for i := range subject.MaxProofs + 7 {
		all = append(all, given("u1", "marketing", at.Add(time.Duration(i)*time.Second)))
	}
	l.produce(all...)
	r.caughtUp()
	d := r.dossier("u1")
	r.stop()
	if len(d.Proofs) != subject.MaxProofs || d.Dropped != 7 || d.Proofs[0].Source.Offset != 7 {
		t.Errorf("%d proofs, the first of offset %d, %d dropped", len(d.Proofs), d.Proofs[0].Source.Offset, d.Dropped)
	}
}

// A request on the wrong partition is passed on; one that was passed on already
// protects its subject where something of it is kept.
func TestMisplacedRequests(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 3})
	at := ago(time.Hour)
	r := l.start()
	l.produce(given("u1", "marketing", at), given("u2", "marketing", at))
	eventually(t, "the grants are in force", func() bool {
		return r.ready("u1") && l.membersOf(r, "u1") == "known" && r.ready("u2") && l.membersOf(r, "u2") == "known"
	})
	asked := request("u1", "q-1", "erase", at.Add(time.Second))
	asked.wrong, asked.to = true, l.notOf("u1")
	l.produce(asked)
	eventually(t, "the erasure is done", func() bool { return l.membersOf(r, "u1") == "" })
	again := request("u2", "q-2", "erase", at.Add(time.Second))
	again.wrong, again.to, again.headers = true, l.notOf("u2"), []stream.Header{{Key: "segmentd-passed-on", Value: []byte("other")}}
	l.produce(again)
	r.read()
	if got := l.membersOf(r, "u2"); got != "known" {
		t.Errorf("u2 is in %q: it was passed on to where nothing of it is kept", got)
	}
	same(t, "u1", states(r.dossier("u1")), []string{"q-1 erase in_progress"})
	r.stop()
	all := l.readPartition(requests, l.notOf("u2"))
	same(t, "rejects", l.rejects(), []string{fmt.Sprintf("requests:%d:%d wrong_partition", l.notOf("u2"), all[len(all)-1].Offset)})
}

// What cannot be read is rejected and told; what protects its subject is done all
// the same, under an id of its own.
func TestRequestsThatAreWrong(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	r := l.start()
	nameless := request("u1", "q-1", "erase", at)
	nameless.value = strings.Replace(nameless.value, `"requestId":"q-1",`, "", 1)
	l.produce(record{topic: requests, key: "u1", value: "{"}, request("u1", "q-2", "forget", at), nameless)
	r.read()
	if n := r.metric(t, "segmentd_requests_misunderstood_total"); n != 1 {
		t.Errorf("%v requests were misunderstood", n)
	}
	r.stop()
	same(t, "rejects", l.rejects(), []string{"requests:0:0 malformed", "requests:0:1 malformed"})
	same(t, "results", l.results(), []string{"requests:0:2 received", "requests:0:2 in_progress"})
	if n := strings.Count(l.log.String(), "a request cannot be read"); n != 2 {
		t.Errorf("%d log lines", n)
	}
}

// A rectification and a lift that are dated ahead are completed once they are in
// force, not before, also after a crash; a lift of nothing waits for nobody.
func TestWhatTakesForceLaterIsCompletedThen(t *testing.T) {
	l := newLab(t, labConfig{rules: `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
segments:
  - {key: golden, purpose: marketing, when: 'traits.plan == "gold"'}
`, partitions: 1})
	if l.broker.Real() {
		t.Skip("needs a clock that is held, and a real broker's is not: a host that differs from it is not believed (TestHostAheadOfTheBroker)")
	}
	at := ago(0)
	l.held.Store(&at)
	r := l.start()
	ahead := at.Add(time.Hour)
	rectify := request("u1", "q-1", "rectify", ahead)
	rectify.at, rectify.value = ahead, strings.Replace(rectify.value, "{", `{"traits":{"plan":"gold","age":37},`, 1)
	lift, idle := request("u1", "q-3", "unrestrict", ahead.Add(time.Minute)), request("u2", "q-4", "unrestrict", at.Add(-time.Minute))
	lift.at = ahead.Add(time.Minute)
	l.produce(given("u1", "marketing", at.Add(-time.Hour)), rectify, request("u1", "q-2", "restrict", at.Add(-time.Second)), lift, idle)
	r.read()
	waiting := []string{"q-1 rectify in_progress", "q-2 restrict completed", "q-3 unrestrict in_progress"}
	same(t, "u1", states(r.dossier("u1")), waiting)
	r.crash()
	before := ahead.Add(-2 * finishEvery)
	l.held.Store(&before)
	r = l.start()
	r.caughtUp()
	soon := before.Add(finishEvery) // it is looked once more for what is done
	l.held.Store(&soon)
	eventually(t, "the lift of nothing is completed", func() bool { return slices.Equal(states(r.dossier("u2")), []string{"q-4 unrestrict completed"}) })
	r.turns(3)
	same(t, "after a crash", states(r.dossier("u1")), waiting)
	l.skew.Store(int64(ahead.Add(2 * time.Minute).Sub(at)))
	l.releaseClock()
	eventually(t, "they are completed", func() bool {
		return slices.Equal(states(r.dossier("u1")), []string{"q-1 rectify completed", "q-2 restrict completed", "q-3 unrestrict completed"})
	})
	same(t, "detail", r.dossier("u1").Requests[0].Detail, "no rule reads 1 of the 2 traits: nothing of them is kept, and nothing of them was corrected")
	eventually(t, "u1 is in golden", func() bool { return l.membersOf(r, "u1") == "golden" })
	r.stop()
	same(t, "results of q-1", slices.DeleteFunc(l.results(), func(s string) bool { return !strings.HasPrefix(s, "q-1 ") }), []string{"q-1 received", "q-1 in_progress", "q-1 completed"})
}

// One id for two requests of a subject hides neither: the second is done under an id
// of its own. For two subjects it is two requests.
func TestOneIDForTwoRequests(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	r := l.start()
	l.produce(given("u1", "marketing", at), given("u2", "marketing", at))
	for range 2 {
		l.produce(request("u1", "q-1", "access", at.Add(time.Minute)), request("u1", "q-1", "restrict", at.Add(time.Minute)), request("u2", "q-1", "erase", at.Add(time.Minute)))
		r.caughtUp()
	}
	same(t, "u1", states(r.dossier("u1")), []string{"q-1 access received", "q-1:restrict restrict completed"})
	same(t, "u2", states(r.dossier("u2")), []string{"q-1 erase in_progress"})
	if got := l.membersOf(r, "u1"); got != "" {
		t.Errorf("u1, who is restricted, is in %s", got)
	}
	eventually(t, "they are counted", func() bool { return r.metric(t, "segmentd_requests_misunderstood_total") == 2 })
	for id, want := range map[string]string{"u1": "access", "u2": "erase"} {
		info, found, err := r.processor.Request(background(t), subject.ID{Value: id}, "q-1")
		must(t, err)
		if !found || info.Kind.String() != want {
			t.Errorf("q-1 of %s is %v, want %s", id, info, want)
		}
	}
	r.stop()
}

// A request that is sent again under its id counts as of when it was first read: it
// deletes nothing that was consented to since, and is told again as it stands. That holds
// in a backlog, too, and after a crash.
func TestRequestsSentAgainChangeNothing(t *testing.T) {
	l := newLab(t, labConfig{rules: barrierRules, partitions: 1})
	at := ago(time.Hour)
	sent := func(id, requestID, kind string, arrived time.Time) record {
		q := request(id, requestID, kind, at.Add(50*time.Minute)) // by a clock that is ahead
		q.at = arrived
		return q
	}
	r := l.start()
	for _, id := range []string{"u1", "u2"} {
		l.produce(given(id, "marketing", at), track(id, "Order Completed", "m-"+id, at.Add(time.Second)))
	}
	l.produce(sent("u1", "q-1", "erase", at.Add(time.Minute)), sent("u2", "q-2", "restrict", at.Add(time.Minute)), sent("u4", "q-5", "erase", at.Add(time.Minute)))
	r.caughtUp()
	l.produce(given("u1", "marketing", at.Add(2*time.Minute)), request("u2", "q-3", "unrestrict", at.Add(2*time.Minute)))
	r.caughtUp()
	check := func(when string) {
		t.Helper()
		for _, id := range []string{"u1", "u2"} {
			if got := l.membersOf(r, id); !strings.Contains(got, "known") {
				t.Errorf("%s: %s is in %q", when, id, got)
			}
		}
		same(t, when+": u1", states(r.dossier("u1")), []string{"q-1 erase in_progress"})
		same(t, when+": proofs of u1", len(r.dossier("u1").Proofs), 1)
		same(t, when+": u2", states(r.dossier("u2")), []string{"q-2 restrict completed", "q-3 unrestrict completed"})
	}
	check("before")
	again := []record{sent("u1", "q-1", "erase", at.Add(3*time.Minute)), sent("u2", "q-2", "restrict", at.Add(3*time.Minute))}
	l.produce(again...)
	r.caughtUp()
	check("sent again")
	results := []string{"q-1 received", "q-1 in_progress", "q-2 received", "q-2 completed", "q-5 received", "q-5 in_progress", "q-3 received", "q-3 completed", "q-1 in_progress", "q-2 completed"}
	same(t, "results", l.results(), results)
	r.crash()
	var all []record
	for i := range maxBatchWords + 100 {
		all = append(all, given(fmt.Sprintf("x%d", i), "marketing", at))
	}
	l.produceAtOnce(append(all, given("u3", "marketing", at.Add(2*time.Minute)), given("u4", "marketing", at.Add(2*time.Minute))))
	l.produce(append(again, sent("u3", "q-4", "erase", at.Add(time.Minute)), sent("u3", "q-4", "erase", at.Add(3*time.Minute)), sent("u4", "q-5", "erase", at.Add(3*time.Minute)))...)
	r = l.start()
	r.caughtUp()
	same(t, "in a backlog: u1", states(r.dossier("u1")), []string{"q-1 erase in_progress"})
	same(t, "in a backlog: u2", states(r.dossier("u2")), []string{"q-2 restrict completed", "q-3 unrestrict completed"})
	for _, id := range []string{"u1", "u2", "u3", "u4"} {
		eventually(t, "in a backlog: "+id+" stays", func() bool { return strings.Contains(l.membersOf(r, id), "known") })
	}
	r.stop()
}

// A request that is open never goes without a word: of too many of one subject those
// that wait for a person are refused at once, and what protects the subject is done.
func TestTooManyRequestsOfOneSubject(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	r := l.start()
	l.produce(given("u1", "marketing", at))
	var want, told []string
	numbered := func(kind string, from, to int) {
		for i := from; i < to; i++ {
			l.produce(request("u1", fmt.Sprintf("%s-%d", kind, i), kind, at.Add(time.Duration(i)*time.Second)))
		}
	}
	numbered("access", 0, subject.MaxAsked+2)
	for i := range subject.MaxAsked {
		want = append(want, fmt.Sprintf("access-%d access received", i))
	}
	r.caughtUp()
	same(t, "of those that wait", states(r.dossier("u1")), want)
	if got := l.results(); !slices.Equal(got[len(got)-2:], []string{fmt.Sprintf("access-%d received", subject.MaxAsked+1), fmt.Sprintf("access-%d failed", subject.MaxAsked+1)}) {
		t.Errorf("the last was told %v", got[len(got)-4:])
	}
	numbered("restrict", 100, 100+subject.MaxRequests) // these are done, and make room for each other
	numbered("erase", 200, 200+subject.MaxRequests)
	for i := range subject.MaxRequests - subject.MaxAsked {
		want = append(want, fmt.Sprintf("erase-%d erase in_progress", 200+i))
	}
	r.caughtUp()
	same(t, "of all", states(r.dossier("u1")), want)
	last := fmt.Sprintf("erase-%d", 200+subject.MaxRequests-1)
	for _, s := range l.readTopic(Topics{l.cfg.Group}.RequestResults()) {
		if string(s.Key) == last {
			told = append(told, string(s.Value))
		}
	}
	if len(told) != 2 || !strings.Contains(told[1], `"failed"`) || !strings.Contains(told[1], "it is in force") {
		t.Errorf("the last erasure was told %v", told)
	}
	l.produce(given("u1", "marketing", at.Add(210*time.Second)))
	r.caughtUp()
	if got := l.membersOf(r, "u1"); got != "" {
		t.Errorf("u1 is in %s by a grant before the last erasure", got)
	}
	same(t, "crowded", r.metric(t, "segmentd_requests_crowded_total"), float64(2+subject.MaxAsked))
	r.digests()
	_, err := r.store.Scrub(background(t))
	must(t, err)
	eventually(t, "the erasures are completed", func() bool {
		all := r.dossier("u1").Requests
		return !slices.ContainsFunc(all, isErasing) && len(all) == subject.MaxRequests
	})
	_, err = r.processor.Refuse(background(t), subject.ID{Value: "u1"}, "access-3", "asked too often")
	must(t, err)
	numbered("access", subject.MaxAsked+1, subject.MaxAsked+2)
	r.caughtUp()
	if got := states(r.dossier("u1")); !slices.Contains(got, fmt.Sprintf("access-%d access received", subject.MaxAsked+1)) || slices.Contains(got, "access-3 access failed") {
		t.Errorf("after one was refused: %v", got)
	}
	r.stop()
}

// Nothing is handed over for a request that is not kept, or that asks for something
// else, and nothing is completed by it.
func TestHandedOverForTheRightRequest(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	at := ago(time.Hour)
	r := l.start()
	l.produce(given("u1", "marketing", at), request("u1", "q-1", "portability", at.Add(time.Minute)), request("u2", "q-2", "access", at.Add(time.Minute)))
	r.caughtUp()
	u1 := subject.ID{Value: "u1"}
	for _, c := range []struct {
		requestID string
		kept      bool
	}{{"q-1", true}, {"q-2", false}, {"q-3", false}} {
		doc, err := r.processor.Access(background(t), u1, c.requestID)
		var none *RequestError
		if !errors.As(err, &none) || none.Kept != c.kept || doc.UserID != "" {
			t.Errorf("%s: %v, %+v", c.requestID, err, doc)
		}
	}
	same(t, "u1", states(r.dossier("u1")), []string{"q-1 portability received"})
	for range 2 {
		if doc, err := r.processor.Portability(background(t), u1, "q-1"); err != nil || doc.UserID != "u1" {
			t.Errorf("its own: %v, %+v", err, doc)
		}
	}
	same(t, "u1, handed over", states(r.dossier("u1")), []string{"q-1 portability completed"})
	r.stop()
}

// Requests that retention deleted before they were read stop their partition.
func TestRequestsOvertakenByRetention(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 1})
	r := l.start()
	l.produce(request("u1", "q-1", "access", ago(time.Hour)))
	r.read()
	r.stop()
	l.produce(request("u1", "q-2", "erase", ago(time.Hour)), request("u1", "q-3", "access", ago(time.Hour)))
	l.deleteRecords(requests, 0, 2)
	r = l.start()
	if got := r.stops(0); got != (Gap{Topic: requests, From: 1, To: 2}) {
		t.Errorf("the gap is %s", got)
	}
	must(t, r.processor.Resume(background(t), 0, true))
	r.read()
	same(t, "u1", states(r.dossier("u1")), []string{"q-1 access received", "q-3 access received"})
	r.stop()
}

// In a backlog of more than one transaction nobody is published as a member whose
// erasure or restriction is there to be read; whose restriction is lifted there is.
func TestBacklogOfRequests(t *testing.T) {
	l := newLab(t, labConfig{rules: barrierRules, partitions: 1})
	at := ago(time.Hour)
	var all []record
	for i := range maxBatchWords + 100 {
		all = append(all, proved(given(fmt.Sprintf("u%d", i), "marketing", at), fmt.Sprint(i)))
	}
	r := l.start()
	l.produce(track("clock", "Unread", "m1", at.Add(time.Minute)))
	r.read()
	r.stop()
	l.produceAtOnce(all)
	l.produce(request("u1", "q-1", "erase", at.Add(time.Second)), request("u2", "q-2", "restrict", at.Add(time.Second)),
		request("u3", "q-3", "restrict", at.Add(time.Second)), request("u4", "q-4", "erase", at.Add(-time.Second)))
	r = l.start()
	r.read()
	eventually(t, "grants take force", func() bool { return l.membersOf(r, "u9") == "known" })
	same(t, "u2", states(r.dossier("u2")), []string{"q-2 restrict completed"})
	same(t, "proofs of u2", proofs(r.dossier("u2")), []string{"marketing given 2 web_form r-1 decisions:0:2"})
	r.stop()
	by := bySubject(l.changes())
	for _, id := range []string{"u1", "u2", "u3"} {
		for _, c := range by[subject.ID{Value: id}] {
			if c.Kind == subject.Entered {
				t.Errorf("%s was published: %s", id, lines(by[subject.ID{Value: id}]))
			}
		}
	}
	if endOf(by[subject.ID{Value: "u4"}]) != "known" {
		t.Errorf("u4 has consented after its erasure: %s", lines(by[subject.ID{Value: "u4"}]))
	}
}

// A request is due a calendar month after its subject asked.
func TestRequestsAreDueInAMonth(t *testing.T) {
	for asked, want := range map[string]string{
		"2026-01-15T10:00:00Z": "2026-02-15T10:00:00Z", "2026-01-31T10:00:00Z": "2026-02-28T10:00:00Z", "2028-01-30T23:59:59Z": "2028-02-29T23:59:59Z",
		"2026-08-31T00:00:00Z": "2026-09-30T00:00:00Z", "2026-12-31T00:00:00Z": "2027-01-31T00:00:00Z", "2026-02-28T00:00:00Z": "2026-03-28T00:00:00Z",
	} {
		at, err := subject.ParseInstant(asked)
		must(t, err)
		if got := RequestDue(at).Time().Format(time.RFC3339); got != want {
			t.Errorf("asked %s: due %s, want %s", asked, got, want)
		}
	}
}

// Consents are counted by when they end and by the notice they were given to,
// also after a restart and by changed rules.
func TestConsentsAreCounted(t *testing.T) {
	const text = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d, consent_expires_after: 60d, notice_version: "2"}
segments:
  - {key: known, purpose: marketing, when: 'events("Order Completed").count() >= 0'}
`
	l := newLab(t, labConfig{rules: text, partitions: 1})
	now := ago(0)
	r := l.start()
	l.produce(proved(given("u1", "marketing", now.Add(-50*day)), "1"), proved(given("u2", "marketing", now.Add(-10*day)), "2"),
		proved(given("u3", "marketing", now.Add(-70*day)), "1"), proved(given("u4", "marketing", now.Add(-50*day)), "1"),
		decision("u4", "marketing", "withdrawn", now.Add(-time.Hour)), given("u5", "marketing", now.Add(-time.Hour)))
	r.caughtUp()
	check := func(expiring, reconsent float64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%v expire and %v are outdated", expiring, reconsent), func() bool {
			return r.metric(t, "segmentd_decisions_expiring", "purpose", "marketing") == expiring && r.metric(t, "segmentd_needs_reconsent", "purpose", "marketing") == reconsent
		})
	}
	check(1, 2)
	l.produce(proved(given("u1", "marketing", now.Add(-time.Minute)), "2"))
	check(0, 1)
	r.crash()
	r = l.start()
	r.caughtUp()
	check(0, 1)
	_, err := r.reload(strings.Replace(strings.Replace(text, "60d", "25d", 1), `"2"`, `"3"`, 1), false)
	must(t, err)
	r.changed()
	check(3, 3)
	r.stop()
}

// A rectification of a trait that no rule read when it was made counts once rules
// read it: events are read again from their start, and it with them; one that was sent
// again counts as first read.
func TestRectifiedTraitsAreFilled(t *testing.T) {
	const text = `
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 400d}
segments:
  - {key: known, purpose: marketing, when: 'events("Order Completed").count() >= 0'}
`
	l := newLab(t, labConfig{rules: text, partitions: 1})
	at := ago(time.Hour)
	identify := func(plan string, at time.Time) record {
		return record{topic: events, key: "u1", at: at, value: fmt.Sprintf(`{"type":"identify","userId":"u1","timestamp":%q,"traits":{"plan":%q}}`, stamp(at), plan)}
	}
	rectify := func(ticket, plan string, at time.Time) record {
		q := request("u1", ticket, "rectify", at)
		q.value = strings.Replace(q.value, "{", fmt.Sprintf(`{"traits":{"plan":%q},`, plan), 1)
		return q
	}
	r := l.start()
	l.produce(given("u1", "marketing", at), rectify("q-0", "tin", at.Add(time.Millisecond)), identify("iron", at.Add(time.Second)), rectify("q-1", "gold", at.Add(2*time.Second)), rectify("q-0", "tin", at.Add(3*time.Second)))
	r.caughtUp()
	_, err := r.reload(text+`  - {key: golden, purpose: marketing, when: 'traits.plan == "gold"'}`+"\n", false)
	must(t, err)
	r.changed()
	if got := l.membersOf(r, "u1"); got != "golden,known" {
		t.Errorf("u1 is in %s", got)
	}
	l.produce(rectify("q-2", "silver", at.Add(time.Minute)))
	r.caughtUp()
	if got := l.membersOf(r, "u1"); got != "known" {
		t.Errorf("after another rectification u1 is in %s", got)
	}
	eventually(t, "all are completed", func() bool {
		return slices.Equal(states(r.dossier("u1")), []string{"q-0 rectify completed", "q-1 rectify completed", "q-2 rectify completed"})
	})
	same(t, "of a trait that no rule read", r.dossier("u1").Requests[1].Detail, "no rule reads these traits: nothing of them is kept, and nothing was corrected")
	same(t, "of one that they read", r.dossier("u1").Requests[2].Detail, "")
	r.stop()
}
