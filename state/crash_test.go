package state

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// crashDir names the environment variable that makes the test binary the child
// of the crash tests: it commits to the image in that directory until killed, or
// where crashStep names a step, one large transaction until it kills itself there.
const (
	crashDir  = "SEGMENTD_STATE_CRASH_DIR"
	crashStep = "SEGMENTD_STATE_CRASH_STEP"
)

const (
	crashSubjects = 500
	crashBatch    = 40
)

func crashOptions() Options {
	opts := testOptions()
	opts.OverlayBytes, opts.WriteDelay = 16<<10, 2*time.Millisecond
	return opts
}

// inTransaction tells which subjects transaction n touches: what it leaves in
// each is derived from n alone.
func inTransaction(n uint64) []*subject.Record {
	rng := rand.New(rand.NewPCG(n, 0))
	var rs []*subject.Record
	for _, i := range rng.Perm(crashSubjects)[:crashBatch] {
		r := simple(i, n, subject.Instant(n*1000+rng.Uint64N(5000)))
		p := r.EnsurePurpose("p")
		p.EnsureLeaf(uint32(i)).Times = []subject.Instant{subject.Instant(n)}
		rs = append(rs, r)
	}
	return rs
}

// crashChild goes on from the image's position for ever and prints each
// transaction it has committed.
func crashChild(dir string, at Step) {
	commit := commitForEver
	switch {
	case strings.HasPrefix(string(at), "scrub"):
		commit = func(dir string) error { return scrubUntil(dir, at) }
	case at != "":
		commit = func(dir string) error { return commitLarge(dir, at) }
	}
	if err := commit(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func commitForEver(dir string) error {
	s, err := Open(dir, crashOptions())
	if err != nil {
		return err
	}
	if why := s.Discarded(); why != "" {
		return fmt.Errorf("discarded: %s", why)
	}
	p, err := s.Partition(3)
	if err != nil {
		return err
	}
	cp, _, _ := p.Position()
	for n := cp.Transaction + 1; ; n++ {
		for {
			r, _, ok, err := p.Due(subject.Instant(n * 1000))
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			r.Next = subject.Never
			if err := p.Put(r); err != nil {
				return err
			}
		}
		for _, r := range inTransaction(n) {
			if err := p.Put(r); err != nil {
				return err
			}
		}
		if err := p.Commit(checkpoint(n), int64(n)*100); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func TestKilledProcessesLeaveAPrefix(t *testing.T) {
	rng := newRand(t)
	rounds := 15
	if testing.Short() {
		rounds = 3
	}
	dir, before := t.TempDir(), uint64(0)
	for round := range rounds {
		committed := runAndKill(t, dir, rng)
		before = checkPrefix(t, dir, before, committed)
		t.Logf("round %d: at least %d committed, the image is at %d", round, committed, before)
	}
}

// runAndKill lets a child commit, kills it and returns the last transaction
// that it told of.
func runAndKill(t *testing.T, dir string, rng *rand.Rand) (last uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	kill := rng.IntN(400)
	for n := 0; lines.Scan(); n++ {
		if last, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if n == kill {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the child ended by itself: %v: %s", err, stderr.String())
	}
	return last
}

// checkPrefix holds the image against the transactions up to its position: no
// record may be older than that.
func checkPrefix(t *testing.T, dir string, before, committed uint64) uint64 {
	t.Helper()
	s := openStore(t, dir, crashOptions())
	p := openPartition(t, s, 3)
	if why := s.Discarded(); why != "" {
		t.Fatalf("the image was thrown away: %s", why)
	}
	cp, next, ok := p.Position()
	if ok && next != int64(cp.Transaction)*100 {
		t.Fatalf("position %d belongs to another transaction than %d", next, cp.Transaction)
	}
	if cp.Transaction < before || cp.Transaction > committed+1 {
		t.Fatalf("the image is at transaction %d; before it was at %d, now %d are known to be committed", cp.Transaction, before, committed)
	}
	want := map[string]uint64{}
	for n := uint64(1); n <= cp.Transaction; n++ {
		for _, r := range inTransaction(n) {
			want[r.ID.Value] = n
		}
	}
	err := p.Each(func(r *subject.Record) error {
		if r.Version < want[r.ID.Value] {
			return fmt.Errorf("%s is of transaction %d, want %d", r.ID.Value, r.Version, want[r.ID.Value])
		}
		if got := r.Purpose("p").Leaf(r.Purposes[0].Leaves[0].Key).Times[0]; got != subject.Instant(r.Version) {
			return fmt.Errorf("%s mixes transactions %d and %d", r.ID.Value, r.Version, got)
		}
		delete(want, r.ID.Value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(want) > 0 {
		t.Fatalf("%d subjects are lost", len(want))
	}
	if _, err := p.Digest(); err != nil { // timers
		t.Fatal(err)
	}
	// Left open for good: marked as still running, like the killed child's.
	mark := s.mark
	if err := errors.Join(p.Close(), s.Close(), (&directory{path: dir}).write(mark)); err != nil {
		t.Fatal(err)
	}
	return cp.Transaction
}

// largeSubjects have records of a kilobyte and a half: together they take more
// than one of Badger's transactions.
const largeSubjects = 7000

// large is a transaction that leaves in each record its own number.
func large(n uint64) (rs []*subject.Record) {
	for i := range largeSubjects {
		r := simple(i, n, subject.Instant(n*1000))
		times := make([]subject.Instant, 400)
		for j := range times {
			times[j] = subject.Instant(int(n)*1_000_000 + j*7919)
		}
		r.EnsurePurpose("p").EnsureLeaf(1).Times = times
		rs = append(rs, r)
	}
	return rs
}

func putAll(p *Partition, n uint64) error {
	for _, r := range large(n) {
		if err := p.Put(r); err != nil {
			return err
		}
	}
	return p.Commit(checkpoint(n), int64(n)*100)
}

// dieAt kills the process (SIGKILL) at a step.
func dieAt(at Step) func(Step) {
	return func(s Step) {
		if s == at {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			fmt.Fprintln(os.Stderr, err)
			select {}
		}
	}
}

// commitLarge commits the large transaction after the image's, or drops the image
// where the step is one of that, and dies (SIGKILL) at the step.
func commitLarge(dir string, at Step) error {
	opts := testOptions()
	opts.Reached = dieAt(at)
	s, err := Open(dir, opts)
	if err != nil {
		return err
	}
	p, err := s.Partition(3)
	if err != nil {
		return err
	}
	if at == StepDropping {
		return errors.Join(p.Wipe(), errors.New("it was not killed"))
	}
	cp, _, _ := p.Position()
	if err := putAll(p, cp.Transaction+1); err != nil {
		return err
	}
	return errors.Join(p.Flush(context.Background()), errors.New("it was not killed"))
}

// A process killed between two parts of a large write, or before its last, leaves
// the position of before it, however much of it is there; what is done again
// completes it.
func TestKilledWithinAWrite(t *testing.T) {
	for _, step := range []Step{StepWrite, StepPart, StepPosition, StepWritten} {
		t.Run(string(step), func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir, testOptions())
			p := openPartition(t, s, 3)
			if err := errors.Join(putAll(p, 1), p.Close(), s.Close()); err != nil {
				t.Fatal(err)
			}
			killAt(t, dir, step)
			s = openStore(t, dir, testOptions())
			p = openPartition(t, s, 3)
			want := map[bool]uint64{true: 2, false: 1}[step == StepWritten]
			if cp, next, ok := p.Position(); !ok || cp.Transaction != want || next != int64(want)*100 {
				t.Errorf("the image is at transaction %d, offset %d (%v), want %d", cp.Transaction, next, ok, want)
			}
			older, newer := versions(t, p)
			t.Logf("%d records are of before, %d of the transaction", older, newer)
			if parts := step == StepPart || step == StepPosition; parts != (older > 0 && newer > 0) || older+newer != largeSubjects {
				t.Errorf("%d records are of before, %d of the transaction", older, newer)
			}
			if err := putAll(p, 2); err != nil {
				t.Fatal(err)
			}
			if older, newer = versions(t, p); older > 0 || newer != largeSubjects {
				t.Errorf("done again, %d records are of before, %d of the transaction", older, newer)
			}
			if _, err := p.Digest(); err != nil { // timers
				t.Error(err)
			}
		})
	}
}

// A process killed while it drops an image leaves none: its position went first.
func TestKilledWithinADrop(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 100)
	killAt(t, dir, StepDropping)
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	if _, next, ok := p.Position(); ok {
		t.Errorf("the image has a position, %d, and not its records", next)
	}
	if older, newer := versions(t, p); older+newer > 0 {
		t.Errorf("%d records are left", older+newer)
	}
}

func versions(t *testing.T, p *Partition) (older, newer int) {
	t.Helper()
	err := p.Each(func(r *subject.Record) error {
		if r.Version == 1 {
			older++
		} else {
			newer++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return older, newer
}
