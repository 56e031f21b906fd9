// Package arena lends memory in pieces that stay where they are until all of a
// user's are given back at once. Pieces are shared by all users of a Pool: of many
// partitions only those at work hold any, and what none needs the collector takes.
package arena

import "sync"

// Pool holds the pieces that nobody uses. Safe for concurrent use.
type Pool[T any] struct {
	least int
	free  sync.Pool // of *[]T
}

// NewPool returns a pool whose pieces have room for least elements.
func NewPool[T any](least int) *Pool[T] { return &Pool[T]{least: least} }

func (p *Pool[T]) get() []T {
	if piece, ok := p.free.Get().(*[]T); ok {
		return *piece
	}
	return make([]T, 0, p.least)
}

// put takes a piece back, without what it refers to.
func (p *Pool[T]) put(piece []T) {
	if cap(piece) != p.least {
		return
	}
	piece = piece[:cap(piece)]
	clear(piece)
	piece = piece[:0]
	p.free.Put(&piece)
}

// Arena is one user's memory. Not safe for concurrent use.
type Arena[T any] struct {
	pool *Pool[T]
	// Open is the piece being filled: append to it what Room has made room for.
	Open []T
	full [][]T
}

// New returns an arena that holds nothing yet.
func New[T any](pool *Pool[T]) Arena[T] { return Arena[T]{pool: pool} }

// Room makes sure that n more elements fit into Open without moving what is in
// it: where they do not, that piece is left to those who use it and another begun.
func (a *Arena[T]) Room(n int) {
	if cap(a.Open)-len(a.Open) >= n {
		return
	}
	if cap(a.Open) > 0 {
		a.full = append(a.full, a.Open)
	}
	if n > a.pool.least {
		a.Open = make([]T, 0, n)
		return
	}
	a.Open = a.pool.get()
}

// Free gives all memory back: nothing of it may be used any more.
func (a *Arena[T]) Free() {
	for _, piece := range a.full {
		a.pool.put(piece)
	}
	a.pool.put(a.Open)
	clear(a.full)
	a.full, a.Open = a.full[:0], nil
}
