package processor

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// Explanations are given between batches, also while batches are under way, and
// of those only whose partition is here.
func TestExplain(t *testing.T) {
	l := newLab(t, labConfig{rules: beforeRules})
	at := ago(20 * day)
	l.holdClock(at)
	l.produce(given("u1", "marketing", at), track("u1", "Order Completed", "m1", at.Add(time.Hour)))
	r := l.start()
	r.read()
	all, err := r.processor.Explain(t.Context(), subject.ID{Value: "u1"}, "")
	must(t, err)
	if n := len(l.set.Segments); len(all.Explanations) != n || all.UserID != "u1" {
		t.Errorf("%d of %d segments are explained to %q", len(all.Explanations), n, all.UserID)
	}
	for _, e := range all.Explanations {
		if in := strings.Contains(l.membersOf(r, "u1"), e.Segment); e.Member != in || !e.Basis.Holds || e.When == nil {
			t.Errorf("member %t: %s", in, e.Text())
		}
	}
	one, err := r.processor.Explain(t.Context(), subject.ID{Value: "u1", Type: subject.AnonymousID}, "same")
	must(t, err)
	if e := one.Explanations[0]; e.Member || e.IDType != "anonymousId" || e.Basis.Reason != "no_decision" {
		t.Error(e.Text())
	}
	var unknown *NoSegmentError
	if _, err = r.processor.Explain(t.Context(), subject.ID{Value: "u1"}, "sam"); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "nearest: same") || strings.Contains(err.Error(), "u1") {
		t.Errorf("of a segment that is none: %v", err)
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for range 50 {
			if _, err := r.processor.Explain(t.Context(), subject.ID{Value: "u1"}, ""); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range 20 {
		l.produce(track("u1", "Order Completed", fmt.Sprintf("n%d", i), at.Add(time.Duration(i+2)*time.Hour)))
	}
	r.read()
	<-asked
	r.stop()
	if _, err := r.processor.Explain(t.Context(), subject.ID{Value: "u1"}, "same"); !errors.As(err, new(*NotOwnedError)) {
		t.Errorf("once it is stopped: %v", err)
	}
}

// explainFilling checks what is said of a segment whose rule is being filled.
func (r *running) explainFilling(segment string) {
	t := r.lab.t
	t.Helper()
	all, err := r.processor.Explain(t.Context(), subject.ID{Value: "u1"}, segment)
	must(t, err)
	if e := all.Explanations[0]; !e.Filling || e.CoverageFrom == "" || e.When != nil || e.NextChangeNote == "" {
		t.Error(e.Text())
	}
}
