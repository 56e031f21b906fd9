package core_test

import (
	"testing"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/state/subject"
)

// A stop counts once it is read, though the partition's clock stands before it:
// its explanation is of no earlier instant. That of a purpose that nothing has
// stopped is as of the clock.
func TestExplainAfterAStop(t *testing.T) {
	set := mustLoad(t, `purposes:
  - {key: ads, description: A, lawful_basis: consent, retention: 90d}
  - {key: news, description: N, lawful_basis: consent, retention: 90d}
segments:
  - {key: seen, purpose: ads, when: 'events("Seen").count() == 0'}
  - {key: read, purpose: news, when: 'events("Read").count() == 0'}
`)
	records, id, begun := core.NewMemory(), subject.ID{Value: "u1"}, subject.Instant(20_000*subject.Day)
	m := core.NewMachine(core.New(set, core.Config{}), records, begun)
	decide := func(purpose string, status subject.Status, at subject.Instant) {
		t.Helper()
		if err := m.Decision(subject.Decision{Subject: id, Purpose: purpose, Status: status, Time: at, Arrival: subject.Never, Expires: subject.Never}); err != nil {
			t.Fatal(err)
		}
	}
	asOf := func(segment string) string {
		t.Helper()
		r, err := records.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		i, _ := set.SegmentByKey(segment)
		e := m.Engine().Explain(r, i, m.Clock())
		if !e.Basis.Holds && e.Basis.DecidedAt > e.At {
			t.Errorf("decided after what is explained:\n%s", e.Text())
		}
		return e.At
	}
	decide("ads", subject.Given, begun)
	decide("news", subject.Given, begun)
	if got := asOf("seen"); got != begun.String() {
		t.Errorf("as of %s before the stop, want %s", got, begun)
	}
	stopped := begun + 3600_000_000
	decide("ads", subject.Withdrawn, stopped)
	if got := asOf("seen"); got != stopped.String() {
		t.Errorf("as of %s after the stop, want %s", got, stopped)
	}
	if got := asOf("read"); got != begun.String() {
		t.Errorf("as of %s for the other purpose, want %s", got, begun)
	}
	if _, err := m.Advance(stopped+3600_000_000, 0); err != nil {
		t.Fatal(err)
	}
	if got := asOf("seen"); got != m.Clock().String() {
		t.Errorf("as of %s once the clock is past the stop, want %s", got, m.Clock())
	}
}
