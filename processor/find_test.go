package processor

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// A request is found by its id alone, whosever it is, and ended while nobody has been
// handed anything; what was published of it can be read from any offset on.
func TestRequestsAreFoundAndCancelled(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules, partitions: 2})
	at := ago(time.Hour)
	r := l.start()
	var partition int32
	var end int64
	eventually(t, "the results have a leader", func() bool {
		var err error
		partition, end, err = r.processor.ResultsEnd(background(t), subject.ID{Value: "u1"})
		return err == nil
	})
	if partition != l.of("u1") || end != 0 {
		t.Errorf("results of u1 will be in partition %d from %d on", partition, end)
	}
	l.produce(given("u1", "marketing", at), request("u1", "q-1", "access", at), request("u1", "q-2", "portability", at), request("u1", "q-4", "rectify", at), request("u2", "q-3", "erase", at))
	r.caughtUp()
	find := func(id string) string {
		found, complete, err := r.processor.FindRequests(background(t), id)
		must(t, err)
		text := ""
		for _, q := range found {
			text += fmt.Sprintf("%s %v %v", q.Subject.Value, q.Kind, q.Status)
		}
		return cmp.Or(text, fmt.Sprintf("none, complete %v", complete))
	}
	cancel := func(id string) string {
		found, _, err := r.processor.FindRequests(background(t), id)
		must(t, err)
		q, err := r.processor.CancelRequest(background(t), found[0], "of no use any more")
		must(t, err)
		return fmt.Sprintf("%s %v %v", q.Subject.Value, q.Kind, q.Status)
	}
	for _, c := range []struct{ what, got, want string }{
		{"q-1", find("q-1"), "u1 access received"}, {"q-3", find("q-3"), " erase in_progress"}, {"q-4", find("q-4"), "none, complete true"}, {"q-9", find("q-9"), "none, complete true"},
		{"an access", cancel("q-1"), "u1 access failed"}, {"again", cancel("q-1"), "u1 access failed"}, {"an erasure", cancel("q-3"), " erase in_progress"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	if _, err := r.processor.Portability(background(t), subject.ID{Value: "u1"}, "q-2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are committed", func() bool { return find("q-1") == "u1 access failed" && find("q-2") == "u1 portability completed" })
	if got := cancel("q-2"); got != "u1 portability completed" {
		t.Errorf("what was handed over is cancelled: %s", got)
	}
	r.stop()
	r = l.start()
	l.produce(request("u1", "q-1", "access", at)) // read again
	r.caughtUp()
	results, next, err := r.processor.Results(background(t), partition, 0)
	must(t, err)
	var told []string
	for _, q := range results {
		if q.RequestID == "q-1" || q.RequestID == "q-2" {
			told = append(told, q.RequestID+" "+q.Status.String()+" "+q.Detail)
		}
	}
	if want := []string{"q-1 received ", "q-2 received ", "q-1 failed of no use any more", "q-2 completed handed over"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if more, _, err := r.processor.Results(background(t), partition, next); err != nil || len(more) > 0 {
		t.Errorf("from the end on: %v %v", more, err)
	}
}
