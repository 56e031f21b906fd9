package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/segmentd/segmentd/state/canary"
	"github.com/segmentd/segmentd/state/subject"
)

// crashPeople are in the image of the crash tests of a scrub; one is erased and one
// withdraws, and a timer of a third was removed before.
const crashPeople = 40

// scrubUntil erases and withdraws in the image, scrubs, and dies at the step.
func scrubUntil(dir string, at Step) error {
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
	if err := eraseAndWithdraw(p); err != nil {
		return err
	}
	_, err = s.Scrub(context.Background())
	return errors.Join(err, errors.New("it was not killed"))
}

func eraseAndWithdraw(p *Partition) error {
	r, err := p.Get(personID(8))
	if err != nil {
		return err
	}
	withdraw(r, "marketing")
	p.Scrub(r.ID)
	err = errors.Join(p.Put(r), p.Put(fence(7, 3)), p.Commit(checkpoint(3), 300), p.Flush(context.Background()))
	return err
}

// A process killed at any step of a scrub loses nothing: the next one has every
// record as it was committed, what was to be scrubbed still waits or is gone, and
// once it is scrubbed it is gone from the files.
func TestKilledWithinAScrub(t *testing.T) {
	for _, step := range []Step{StepScrub, StepScrubNoted, StepScrubMarked, StepScrubDropped, StepScrubRestored, StepScrubbed} {
		t.Run(string(step), func(t *testing.T) {
			dir := scannedDir(t)
			s := openStore(t, dir, testOptions())
			p := openPartition(t, s, 3)
			people(t, p, crashPeople)
			closeAll(t, s, p)
			killAt(t, dir, step)

			s = openStore(t, dir, testOptions())
			if why := s.Discarded(); why != "" {
				t.Fatalf("the image was thrown away: %s", why)
			}
			p = openPartition(t, s, 3)
			checkPeople(t, p)
			if !p.AwaitsScrub(p.KeyOf(personID(7))) || !p.AwaitsScrub(p.KeyOf(personID(8))) {
				t.Error("what was to be scrubbed is forgotten")
			}
			if step == StepScrubRestored || step == StepScrubbed || step == StepScrubDropped {
				expectFound(t, "opened again", dir, canariesOf(7, both...))
			}
			scrub(t, s)
			checkPeople(t, p)
			expectFound(t, "scrubbed", dir, append(canariesOf(7, both...), keyCanary(7)), "key")
			expectFound(t, "scrubbed", dir, canariesOf(8, "marketing"))
			for _, stays := range [][]canary.Canary{canariesOf(8, "service"), canariesOf(9, both...)} {
				expectFound(t, "scrubbed", dir, stays, namesOf(stays)...)
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), redoName) {
					t.Errorf("%s is left", e.Name())
				}
			}
		})
	}
}

// killAt lets a child work in the image until it kills itself at a step.
func killAt(t *testing.T, dir string, step Step) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir, crashStep+"="+string(step))
	out, err := cmd.CombinedOutput()
	if status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
		t.Fatalf("the child was not killed: %v\n%s", err, out)
	}
}

// checkPeople holds the image against what was committed.
func checkPeople(t *testing.T, p *Partition) {
	t.Helper()
	if cp, next, ok := p.Position(); !ok || cp.Transaction != 3 || next != 300 {
		t.Errorf("the image is at transaction %d, offset %d (%v)", cp.Transaction, next, ok)
	}
	want := map[Key]string{}
	for n := range crashPeople {
		r := person(n, 2)
		switch n {
		case 7:
			r = fence(7, 3)
		case 8:
			withdraw(r, "marketing")
		}
		want[p.KeyOf(r.ID)] = string(AppendRecord(nil, r))
	}
	err := p.each(func(key Key, value []byte) error {
		if want[key] != string(value) {
			return fmt.Errorf("a record of %d bytes is not as it was committed", len(value))
		}
		delete(want, key)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if len(want) > 0 {
		t.Errorf("%d records are lost", len(want))
	}
	if _, err := p.Digest(); err != nil { // timers
		t.Error(err)
	}
	if at := p.Earliest(); at != subject.Instant(personTimer) {
		t.Errorf("earliest timer %v", at)
	}
}

// A file of an interrupted scrub whose content cannot be told costs the image, which
// is restored from the changelog: records may be missing from it.
func TestDamagedRedoFile(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 10)
	if err := os.WriteFile(filepath.Join(dir, redoName), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir, testOptions())
	if s.Discarded() == "" {
		t.Error("the image was kept")
	}
	if n := records(t, s); n != 0 {
		t.Errorf("%d records", n)
	}
	if _, err := os.Stat(filepath.Join(dir, redoName)); !errors.Is(err, os.ErrNotExist) {
		t.Error("the file is left:", err)
	}
}
