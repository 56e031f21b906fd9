package state

import (
	"bytes"
	"testing"
)

// A value written again takes its memory once, and what was put is a copy.
func TestBatchPutsInPlace(t *testing.T) {
	b := newBatch()
	key, other := Key{1}, Key{2}
	value := bytes.Repeat([]byte{7}, 400)
	b.put(key, value)
	b.put(other, []byte("other"))
	first := &b.values[key][0]
	value[0] = 8
	if got := b.values[key][0]; got != 7 {
		t.Errorf("the batch shares its caller's memory: %d", got)
	}
	for n := range 450 { // an eighth more than at first has room
		b.put(key, bytes.Repeat([]byte{byte(n)}, n+1))
		if got := b.values[key]; len(got) != n+1 || got[n] != byte(n) || &got[0] != first {
			t.Fatalf("a value of %d bytes: %d bytes, moved %v", n+1, len(got), &got[0] != first)
		}
	}
	if b.put(key, make([]byte, 500)); len(b.values[key]) != 500 || b.bytes != 2*recordKeyBytes+500+len("other") {
		t.Errorf("a larger value: %d bytes, %d in all", len(b.values[key]), b.bytes)
	}
	if b.put(key, nil); b.values[key] != nil || b.bytes != 2*recordKeyBytes+len("other") || string(b.values[other]) != "other" {
		t.Errorf("removed: %v, %d bytes in all, beside it %q", b.values[key], b.bytes, b.values[other])
	}
}
