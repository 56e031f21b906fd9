package load

import (
	"bytes"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

var at = time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)

// Every event's name concerns as many segments as any other's, and rules read two
// properties, as the benchmark says.
func TestRulesLoad(t *testing.T) {
	set, problems := rules.Load(fstest.MapFS{"load.yaml": {Data: []byte(Rules(1000))}})
	if set == nil || len(set.Segments) != 1000 || len(set.Fields.Slots) != 2 {
		t.Fatal(problems)
	}
	for i := range Names {
		concerned := map[int]bool{}
		for sku := range 200 {
			ev := &subject.Event{Name: fmt.Sprintf("Event %d", i), Fields: make([]subject.Value, 2)}
			for slot := range set.Fields.Slots {
				if set.Fields.Slots[slot].Path == "properties.sku" {
					ev.Fields[slot] = subject.OfString(fmt.Sprintf("sku-%d", sku))
				}
			}
			for _, l := range set.Touched(ev, nil) {
				for _, s := range l.Segments {
					concerned[s] = true
				}
			}
		}
		if len(concerned) != 1000/Names {
			t.Errorf("%d segments are concerned by Event %d", len(concerned), i)
		}
	}
}

// What is produced is what a live input takes, of about the size that is told.
func TestRecordsDecode(t *testing.T) {
	d := wire.NewDecoder(wire.DecoderOptions{Purposes: []string{"marketing"}})
	in := func(key, value []byte) wire.Input {
		return wire.Input{Key: key, Value: value, Timestamp: subject.FromTime(at)}
	}
	item, rejected := d.Decode(wire.Decisions, in(Decision(7, at)))
	if rejected != nil || item.Decisions[0].Subject.Value != Subject(7) || item.Decisions[0].Status != subject.Given {
		t.Errorf("%+v: %v", item, rejected)
	}
	s, ids := NewSource(1, 50, 0), map[string]bool{}
	for range 1000 {
		key, value := s.Event(at)
		item, rejected := d.Decode(wire.Events, in(key, value))
		if rejected != nil || len(value) < 500 || len(value) > 700 {
			t.Fatalf("%s: %v", value, rejected)
		}
		ids[item.Event.MessageID] = true
	}
	if len(ids) != 1000 {
		t.Errorf("%d message ids of 1000 events", len(ids))
	}
}

// The seed decides what comes, and the skew who has most of it.
func TestSubjectsAreDrawn(t *testing.T) {
	share := func(skew float64) float64 {
		a, b, count, most := NewSource(1, 1000, skew), NewSource(1, 1000, skew), map[string]int{}, 0
		for range 10_000 {
			key, value := a.Event(at)
			if _, again := b.Event(at); !bytes.Equal(value, again) {
				t.Fatalf("%s, and again %s", value, again)
			}
			count[string(key)]++
			most = max(most, count[string(key)])
		}
		return float64(most) / 10_000
	}
	if even, skewed := share(0), share(1.2); even > 0.005 || skewed < 0.02 {
		t.Errorf("the busiest subject has %.1f %% of the events, with skew %.1f %%", 100*even, 100*skewed)
	}
}
