package oracle

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/segmentd/segmentd/processor/core/cdnow"
	"github.com/segmentd/segmentd/state/subject"
)

// readCDNOW returns the data set's decisions and events.
func readCDNOW(tb testing.TB) (decisions, events []byte) {
	tb.Helper()
	var d, e bytes.Buffer
	if err := errors.Join(cdnow.Decisions(&d), cdnow.Events(&e)); errors.Is(err, cdnow.ErrAbsent) {
		tb.Skip(err)
	} else if err != nil {
		tb.Fatal(err)
	}
	return d.Bytes(), e.Bytes()
}

// BenchmarkCDNOW replays the whole data set under its 18 segments.
func BenchmarkCDNOW(b *testing.B) {
	decisions, events := readCDNOW(b)
	for b.Loop() {
		until, _ := parseInstant("1999-01-01T00:00:00Z")
		changes, members, err := Run(cdnow.Rules(), []io.Reader{bytes.NewReader(decisions), bytes.NewReader(events)}, Options{Until: until})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(changes)), "changes")
		b.ReportMetric(float64(len(members)), "members")
	}
}

// TestCDNOW holds some answers of a slice of the data set to what a plain count
// over the rows gives, and a plain run to an exhaustive one.
func TestCDNOW(t *testing.T) {
	decisions, events := readCDNOW(t)
	decisions, events = slice(decisions), slice(events)
	until, _ := parseInstant("1998-07-01T00:00:00Z")
	run := func(exhaustive bool) ([]Change, []Member) {
		changes, members, err := Run(cdnow.Rules(), []io.Reader{bytes.NewReader(decisions), bytes.NewReader(events)}, Options{Until: until, Exhaustive: exhaustive})
		if err != nil {
			t.Fatal(err)
		}
		return changes, members
	}
	changes, members := run(false)
	again, _ := run(true)
	if d := cmp.Diff(changes, again, cmpopts.IgnoreFields(Change{}, "Due")); d != "" {
		t.Error(d)
	}
	got := map[string]int{}
	for _, m := range members {
		got[m.Segment]++
	}
	want := countRows(t, decisions, events, until)
	for segment, n := range want {
		if got[segment] != n {
			t.Errorf("%s has %d members, want %d", segment, got[segment], n)
		}
	}
	t.Log(len(changes), got)
}

// slice keeps the customers whose id begins with 000 or 012.
func slice(ndjson []byte) []byte {
	var kept []byte
	for line := range bytes.Lines(ndjson) {
		if bytes.Contains(line, []byte(`"userId":"000`)) || bytes.Contains(line, []byte(`"userId":"012`)) {
			kept = append(kept, line...)
		}
	}
	return kept
}

// countRows decides four segments as of an instant straight from the rows.
func countRows(t *testing.T, decisions, events []byte, until subject.Instant) map[string]int {
	type row struct {
		UserID, Timestamp string
		Properties        struct{ Cents int64 }
	}
	consenting, rows := map[string]bool{}, map[string][]row{}
	for line := range bytes.Lines(append(bytes.Clone(decisions), events...)) {
		var r row
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(line, []byte(`"decision"`)) {
			consenting[r.UserID] = true
		} else if consenting[r.UserID] {
			rows[r.UserID] = append(rows[r.UserID], r)
		}
	}
	counts := map[string]int{"never_bought": len(consenting) - len(rows)}
	for _, own := range rows {
		quarter, half, free := int64(0), 0, false
		for _, r := range own {
			at, _ := parseInstant(r.Timestamp)
			if at > until-90*subject.Day {
				quarter += r.Properties.Cents
			}
			if at > until-180*subject.Day {
				half++
			}
			free = free || r.Properties.Cents == 0
		}
		for segment, in := range map[string]bool{"big_spender": quarter >= 20000, "repeat_buyer": half >= 3, "lapsed": half == 0, "ever_free": free} {
			if in {
				counts[segment]++
			}
		}
	}
	return counts
}
