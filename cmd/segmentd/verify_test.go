package main

import (
	"bytes"
	"testing"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// Of a segment that has moved to another output its entries and exits are on
// the topic where it was, and then on the one where it is: verify reads one
// after the other, whatever their order in time.
func TestVerifySegmentsThatMoveToAnotherOutput(t *testing.T) {
	const main, care = "segmentd-changes", "segmentd-care-changes"
	for name, moved := range map[string]struct {
		changes []string // topics by version; each enters or exits in turn
		faults  int64
	}{
		"there":          {[]string{main, main, care}, 0},
		"there and back": {[]string{care, care, main, main, care}, 0},
		"back again":     {[]string{main, main, care, care, main}, 0},
		"not left":       {[]string{main, care, main}, 1},
	} {
		var out bytes.Buffer
		v := newVerifier("segmentd", &out)
		for _, topic := range []string{care, main} {
			for i, at := range moved.changes {
				if at != topic {
					continue
				}
				c := subject.Change{Subject: subject.ID{Type: subject.UserID, Value: "ada"}, Segment: "buyer", Kind: subject.Entered, Purpose: "marketing", Version: uint64(i + 1)}
				if i%2 == 1 {
					c.Kind = subject.Exited
				}
				m := wire.NewEncoder(wire.EncoderOptions{Group: "segmentd"}).Change(&c, wire.Place{Topic: topic})
				v.record(topic, 0, &stream.Record{Key: m.Key, Value: m.Value, Offset: int64(i)})
			}
		}
		v.finish()
		if v.faults != moved.faults {
			t.Errorf("%s: %d faults, want %d:\n%s", name, v.faults, moved.faults, &out)
		}
	}
}

// Once a subject is erased it is in no segment any more, on each topic by itself, and
// may enter again.
func TestVerifyErasures(t *testing.T) {
	const main, care = "segmentd-changes", "segmentd-care-changes"
	entered, exited, erased := subject.Entered, subject.Exited, subject.Erased
	type change struct {
		topic string
		kind  subject.ChangeKind
	}
	for name, of := range map[string]struct {
		changes []change // by version
		faults  int64
	}{
		"left before":    {[]change{{main, entered}, {care, entered}, {main, exited}, {care, exited}, {main, erased}, {care, erased}}, 0},
		"entered again":  {[]change{{main, entered}, {main, exited}, {main, erased}, {care, erased}, {main, entered}}, 0},
		"never left":     {[]change{{main, entered}, {main, erased}, {care, erased}}, 1},
		"twice":          {[]change{{main, erased}, {care, erased}, {main, erased}, {care, erased}}, 0},
		"left only here": {[]change{{main, entered}, {care, entered}, {main, exited}, {main, erased}, {care, erased}}, 1},
	} {
		var out bytes.Buffer
		v := newVerifier("segmentd", &out)
		for _, topic := range []string{care, main} {
			for i, at := range of.changes {
				if at.topic != topic {
					continue
				}
				c := subject.Change{Subject: subject.ID{Type: subject.UserID, Value: "ada"}, Kind: at.kind, Version: uint64(i + 1), Reason: subject.ByErased}
				if at.kind != erased {
					c.Segment, c.Purpose = "buyer", "marketing"
				}
				m := wire.NewEncoder(wire.EncoderOptions{Group: "segmentd"}).Change(&c, wire.Place{Topic: topic})
				v.record(topic, 0, &stream.Record{Key: m.Key, Value: m.Value, Offset: int64(i)})
			}
		}
		v.finish()
		if v.faults != of.faults {
			t.Errorf("%s: %d faults, want %d:\n%s", name, v.faults, of.faults, &out)
		}
	}
}
