package state

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// image makes an image of n shoppers by restoring them, and leaves it as a
// killed process would if dead, else cleanly stopped.
func image(b *testing.B, dir string, n int, dead bool) {
	b.Helper()
	s, err := Open(dir, testOptions())
	if err != nil {
		b.Fatal(err)
	}
	p, err := s.Partition(3)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	began := time.Now()
	for i := range n {
		restore(b, p, shopper(rng, i))
	}
	if err := p.RestoreDone(checkpoint(1), int64(n)); err != nil {
		b.Fatal(err)
	}
	b.Logf("restored %d subjects in %v, including the making of them", n, time.Since(began).Round(time.Millisecond))
	closeAll(b, s, p)
	if dead {
		mark := s.mark
		mark.Clean = false
		if err := (&directory{path: dir}).write(mark); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	const n = 100_000
	dir := b.TempDir()
	image(b, dir, n, false)
	for _, c := range []struct {
		name string
		span int // of subjects asked for
	}{{"hit", 1000}, {"miss", n}} {
		b.Run(c.name, func(b *testing.B) {
			opts := testOptions()
			if c.name == "miss" {
				opts.CacheBytes = 1
			}
			s := openStore(b, dir, opts)
			p := openPartition(b, s, 3)
			rng := rand.New(rand.NewPCG(1, 1))
			ids := make([]subject.ID, c.span)
			for i := range ids {
				ids[i] = shopperID(i)
				if _, err := p.Get(ids[i]); err != nil {
					b.Fatal(err)
				}
			}
			before := p.Stats()
			b.ReportAllocs()
			for b.Loop() {
				r, err := p.Get(ids[rng.IntN(len(ids))])
				if err != nil || r == nil {
					b.Fatal(r, err)
				}
			}
			after := p.Stats()
			b.ReportMetric(float64(after.CacheHits-before.CacheHits)/float64(b.N), "hits/op")
			closeAll(b, s, p)
		})
	}
}

func shopperID(i int) subject.ID {
	n := strconv.Itoa(i)
	return subject.ID{Value: "customer-" + strings.Repeat("0", 7-len(n)) + n}
}

// BenchmarkCommit puts and commits 1000 subjects a turn, the write-behind
// included as far as it slows the turn down.
func BenchmarkCommit(b *testing.B) {
	const n, batch = 100_000, 1000
	s := openStore(b, b.TempDir(), testOptions())
	p := openPartition(b, s, 3)
	rng := rand.New(rand.NewPCG(1, 1))
	records := make([]*subject.Record, n)
	for i := range records {
		records[i] = shopper(rng, i)
	}
	b.ReportAllocs()
	transaction := uint64(0)
	for b.Loop() {
		for range batch {
			r := records[rng.IntN(n)]
			r.Version++
			r.Next += subject.Day
			if err := p.Put(r); err != nil {
				b.Fatal(err)
			}
		}
		p.Dirty()
		transaction++
		commit(b, p, transaction)
	}
	flush(b, p)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/subject")
}

func BenchmarkRestore(b *testing.B) {
	const n = 200_000
	rng := rand.New(rand.NewPCG(1, 1))
	type record struct {
		key   Key
		value []byte
	}
	keyer := NewKeyer(testOptions().Secret)
	changelog := make([]record, n)
	for i := range changelog {
		changelog[i] = record{keyer.Key(shopperID(i)), AppendRecord(nil, shopper(rng, i))}
	}
	b.ReportAllocs()
	for b.Loop() {
		s := openStore(b, b.TempDir(), testOptions())
		p := openPartition(b, s, 3)
		for i := range changelog {
			if err := p.Restore(changelog[i].key[:], changelog[i].value); err != nil {
				b.Fatal(err)
			}
		}
		if err := p.RestoreDone(checkpoint(1), n); err != nil {
			b.Fatal(err)
		}
		closeAll(b, s, p)
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "subjects/s")
}

// BenchmarkOpen opens an image of a million subjects up to its first answer.
func BenchmarkOpen(b *testing.B) {
	if testing.Short() {
		b.Skip("it takes a minute")
	}
	n := 1_000_000
	if text := os.Getenv("SUBJECTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	image(b, dir, n, true)
	b.Run("first answer", func(b *testing.B) {
		for b.Loop() {
			s := openStore(b, dir, testOptions())
			p := openPartition(b, s, 3)
			if r, err := p.Get(shopperID(n / 2)); err != nil || r == nil {
				b.Fatal(r, err)
			}
			b.StopTimer()
			closeAll(b, s, p)
			b.StartTimer()
		}
	})
	b.Run("and count all", func(b *testing.B) {
		s := openStore(b, dir, testOptions())
		p := openPartition(b, s, 3)
		for b.Loop() {
			if err := p.Each(func(*subject.Record) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		closeAll(b, s, p)
	})
}
