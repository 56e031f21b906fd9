package state

import (
	"slices"
	"testing"

	"github.com/segmentd/segmentd/state/subject"
)

// Committed records are found in order of key, piece by piece; those that are
// only dirty are not.
func TestKeysInPieces(t *testing.T) {
	p := openPartition(t, openStore(t, t.TempDir(), testOptions()), 3)
	other := openPartition(t, p.store, 4)
	put(t, other, simple(1, 1, subject.Never))
	commit(t, other, 1)
	var want []Key
	for i := range 25 {
		r := simple(i, 1, subject.Never)
		put(t, p, r)
		want = append(want, p.KeyOf(r.ID))
	}
	commit(t, p, 1)
	put(t, p, simple(99, 1, subject.Never))
	slices.SortFunc(want, Key.Compare)
	for _, size := range []int{1, 7, 25, 100} {
		var got []Key
		for after := (*Key)(nil); ; after = &got[len(got)-1] {
			keys, err := p.Keys(after, size)
			if err != nil {
				t.Fatal(err)
			}
			if len(keys) == 0 {
				break
			}
			got = append(got, keys...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %x, want %x", size, got, want)
		}
	}
	r, err := p.Record(want[3])
	if err != nil || r == nil || p.KeyOf(r.ID) != want[3] {
		t.Errorf("the record of a key is %v (%v)", r, err)
	}
	if r, err := p.Record(Key{}); r != nil || err != nil {
		t.Errorf("there is a record under no key: %v (%v)", r, err)
	}
}

// Values of fixed keys are kept with a commit, and forgotten without one.
func TestFixedValuesGoWithTheCommit(t *testing.T) {
	p := openPartition(t, openStore(t, t.TempDir(), testOptions()), 3)
	p.SetFixed(RulesKey, []byte("rules 1"))
	p.SetFixed(FormerRulesKey, []byte("rules 0"))
	commit(t, p, 1)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.SetFixed(RulesKey, []byte("rules 2"))
	p.SetFixed(FormerRulesKey, nil)
	if n := len(p.UnsavedFixed()); n != 2 || p.Fixed(FormerRulesKey) != nil {
		t.Errorf("%d values are to be saved, and one that was removed is %q", n, p.Fixed(FormerRulesKey))
	}
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	if string(p.Fixed(RulesKey)) != "rules 1" || string(p.Fixed(FormerRulesKey)) != "rules 0" || len(p.UnsavedFixed()) > 0 {
		t.Errorf("after a reset: %q and %q", p.Fixed(RulesKey), p.Fixed(FormerRulesKey))
	}
	p.SetFixed(FormerRulesKey, nil)
	commit(t, p, 2)
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := p.Restore(FormerRulesKey, nil); err != nil { // as catching up does
		t.Fatal(err)
	}
	if string(p.Fixed(RulesKey)) != "rules 1" || p.Fixed(FormerRulesKey) != nil {
		t.Errorf("after the second: %q and %q", p.Fixed(RulesKey), p.Fixed(FormerRulesKey))
	}
}
