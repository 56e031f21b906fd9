package wire

import "testing"

// Chunks stay where they are until all are taken back, and are then used again;
// what is larger than they are is not kept, nor are more than keptChunks.
func TestChunks(t *testing.T) {
	c := chunks[byte]{least: 100}
	fill := func(rounds int) (begins []*byte, last []byte) {
		for range rounds {
			last = c.next(last, 60)[:100]
			begins = append(begins, &last[0])
		}
		return begins, last
	}
	first, last := fill(3)
	large := c.next(last, 1000)
	if cap(large) < 1000 {
		t.Errorf("room for 1000: %d", cap(large))
	}
	if rest := c.reset(large); cap(rest) != cap(large) || len(rest) != 0 {
		t.Errorf("the chunk in use is lost: %d of %d", len(rest), cap(rest))
	}
	again, _ := fill(3)
	for i := range again {
		if again[i] != first[len(first)-1-i] {
			t.Errorf("chunk %d is not one of those taken back", i)
		}
	}
	_, last = fill(2 * keptChunks)
	if c.reset(last); len(c.free) != keptChunks {
		t.Errorf("%d chunks are kept", len(c.free))
	}
}
