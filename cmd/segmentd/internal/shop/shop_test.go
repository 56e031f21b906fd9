package shop

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

var opens = time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)

// day is what the customers of a shop do in 3,000 actions.
func day(seed uint64) (all []Record) {
	s := New(Config{Seed: seed, Customers: 20, Start: opens, Stops: 0.05, Erasures: 0.01})
	for range 3000 {
		all = append(all, s.Next()...)
	}
	return all
}

func TestTheSeedDecides(t *testing.T) {
	a, again, other := day(1), day(1), day(2)
	if len(a) != len(again) {
		t.Fatalf("%d records, and again %d", len(a), len(again))
	}
	for i := range a {
		if !bytes.Equal(a[i].Value, again[i].Value) || a[i].Story != again[i].Story {
			t.Fatalf("record %d is %s, and again %s", i, a[i].Value, again[i].Value)
		}
	}
	if bytes.Equal(a[0].Value, other[0].Value) {
		t.Error("another seed begins alike")
	}
}

// TestRecordsMakeSense decodes what the customers do: in order of time, keyed by
// who does it, stops only of what was allowed, refunds only of what was ordered,
// nothing by who has asked to be erased.
func TestRecordsMakeSense(t *testing.T) {
	d := wire.NewDecoder(wire.DecoderOptions{Purposes: []string{"marketing", "personalisation"}})
	last, allowed, ordered, seen := opens, map[string]bool{}, map[string]bool{}, map[string]int{}
	erased := map[string]bool{}
	for _, r := range day(3) {
		if r.At.Before(last) {
			t.Fatalf("%s happens at %s, after something of %s", r.Value, r.At, last)
		}
		last = r.At
		kind := wire.Events
		switch r.Kind {
		case Decision:
			kind = wire.Decisions
		case Request:
			kind = wire.Requests
		}
		if erased[r.Key] {
			t.Errorf("%s does something after it was erased: %s", r.Key, r.Value)
		}
		item, rejected := d.Decode(kind, wire.Input{Key: []byte(r.Key), Value: r.Value, Timestamp: subject.FromTime(r.At)})
		if rejected != nil {
			t.Fatalf("%s: %v", r.Value, rejected)
		}
		for _, c := range item.Decisions {
			about := c.Subject.Value + " " + c.Purpose
			if seen[c.Status.String()]++; (c.Status == subject.Withdrawn || c.Status == subject.Objected) && !allowed[about] {
				t.Errorf("%s stops what it did not allow: %s", c.Subject.Value, r.Value)
			}
			allowed[about] = c.Status == subject.Given
		}
		if item.Content == wire.HasRequest {
			seen[item.Request.Kind.String()]++
			erased[r.Key] = true
		}
		if item.Content != wire.HasEvent {
			continue
		}
		var e struct {
			Properties struct {
				OrderID string `json:"order_id"`
			}
		}
		if err := json.Unmarshal(r.Value, &e); err != nil {
			t.Fatal(err)
		}
		order := r.Key + " " + e.Properties.OrderID
		switch seen[item.Event.Name]++; item.Event.Name {
		case "Order Completed":
			ordered[order] = true
		case "Order Refunded":
			if !ordered[order] {
				t.Errorf("%s sends back what it did not order, or sent back: %s", r.Key, r.Value)
			}
			delete(ordered, order)
		}
	}
	for _, what := range []string{"given", "refused", "withdrawn", "objected", "erase", "Signed Up", "Page Viewed", "Product Added", "Order Completed", "Order Refunded"} {
		if seen[what] == 0 {
			t.Errorf("nobody does: %s", what)
		}
	}
}
