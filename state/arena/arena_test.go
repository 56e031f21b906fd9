package arena

import "testing"

// What was put in stays where it is until all is given back, also beside pieces
// larger than the pool's, and given back memory refers to nothing.
func TestPiecesStay(t *testing.T) {
	pool := NewPool[*int](100)
	a := New(pool)
	var filled [][]*int
	for n := range 50 {
		size := 60
		if n%7 == 3 {
			size = 1000
		}
		a.Room(size)
		start := len(a.Open)
		for range size {
			a.Open = append(a.Open, &n)
		}
		filled = append(filled, a.Open[start:])
	}
	for n, part := range filled {
		for _, v := range part {
			if *v != n {
				t.Fatalf("part %d has %d", n, *v)
			}
		}
	}
	piece := filled[1] // of the pool's size
	a.Free()
	for _, v := range piece {
		if v != nil {
			t.Fatal("memory that was given back refers to something")
		}
	}
	if a.Free(); a.Open != nil || len(a.full) != 0 {
		t.Error("an arena that was freed holds memory")
	}
}

// Two users never share a piece.
func TestPiecesAreLentOnce(t *testing.T) {
	pool := NewPool[byte](10)
	a, b := New(pool), New(pool)
	for range 100 {
		a.Room(10)
		b.Room(10)
		a.Open, b.Open = append(a.Open, "aaaaaaaaaa"...), append(b.Open, "bbbbbbbbbb"...)
		if string(a.Open) != "aaaaaaaaaa" || string(b.Open) != "bbbbbbbbbb" {
			t.Fatalf("%s, %s", a.Open, b.Open)
		}
		if len(a.full) == 3 {
			a.Free()
		}
	}
}
