package state

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/state/subject"
)

// BenchmarkScrub erases so many of a million subjects and scrubs, while others are
// written and read: 100 put, 100 looked up that are in no cache, and a commit, every 10 ms.
func BenchmarkScrub(b *testing.B) {
	if testing.Short() {
		b.Skip("it takes minutes")
	}
	n := 1_000_000
	if text := os.Getenv("SUBJECTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	image(b, dir, n, false)
	opts := testOptions()
	opts.CacheBytes = 1
	s := openStore(b, dir, opts)
	p := openPartition(b, s, 3)
	next := 0
	for _, erased := range []int{1, 1, 1_000, 20_000} {
		b.Run(strconv.Itoa(erased), func(b *testing.B) {
			for b.Loop() {
				for range erased {
					r := subject.NewRecord(shopperID(next))
					r.Version, r.Clock, r.Erased = 1, 1, 1
					put(b, p, r)
					next++
				}
				cp, _, _ := p.Position()
				commit(b, p, cp.Transaction+1)
				flush(b, p)
				scrubUnderLoad(b, s, p, n)
			}
		})
	}
	closeAll(b, s, p)
}

func scrubUnderLoad(b *testing.B, s *Store, p *Partition, n int) {
	b.Helper()
	var report ScrubReport
	var group errgroup.Group
	over := make(chan struct{})
	began := time.Now()
	var took time.Duration
	group.Go(func() (err error) {
		defer close(over)
		report, err = s.Scrub(context.Background())
		took = time.Since(began)
		return err
	})
	commits, reads, err := load(p, n, over)
	if err := errors.Join(err, group.Wait()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(took.Seconds(), "scrub-s")
	b.ReportMetric(float64(report.Drops), "drops")
	b.ReportMetric(float64(report.Longest.Milliseconds()), "longest-drop-ms")
	b.ReportMetric(float64(report.Bytes>>20), "rewritten-MB")
	for name, ds := range map[string][]time.Duration{"commit": commits, "get": reads} {
		slices.Sort(ds)
		for _, q := range []struct {
			name string
			part float64
		}{{"p50", .5}, {"p99", .99}, {"max", 1}} {
			b.ReportMetric(float64(ds[int(q.part*float64(len(ds)-1))].Microseconds())/1000, name+"-"+q.name+"-ms")
		}
	}
	b.ReportMetric(0, "ns/op") // the load's own
}

// load is what a partition does meanwhile, and how long each part of it takes.
func load(p *Partition, n int, over <-chan struct{}) (commits, reads []time.Duration, err error) {
	rng := rand.New(rand.NewPCG(1, 1))
	cp, _, _ := p.Position()
	for transaction := cp.Transaction + 1; ; transaction++ {
		for range 100 {
			began := time.Now()
			r, err := p.Get(shopperID(rng.IntN(n)))
			if err != nil {
				return nil, nil, err
			}
			reads = append(reads, time.Since(began))
			if r.IsFence() {
				continue
			}
			r.Version++
			r.Next += subject.Day
			if err := p.Put(r); err != nil {
				return nil, nil, err
			}
		}
		began := time.Now()
		if err := p.Commit(checkpoint(transaction), int64(transaction)*100); err != nil {
			return nil, nil, err
		}
		commits = append(commits, time.Since(began))
		select {
		case <-over:
			return commits, reads, nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}
