package state

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// running copies a data directory while its store is open, as a process death
// would leave it: what was written is in the kernel's hands.
func running(t *testing.T, n int) string {
	t.Helper()
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	for i := range n {
		put(t, p, simple(i, 1, 10))
	}
	commit(t, p, 1)
	flush(t, p)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// logOf returns the write-ahead log of a copied directory.
func logOf(t *testing.T, dir string) (name string, b []byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, imageName, "*.mem"))
	if err != nil || len(names) != 1 {
		t.Fatalf("write-ahead logs %v (%v), want one", names, err)
	}
	if b, err = os.ReadFile(names[0]); err != nil {
		t.Fatal(err)
	}
	return names[0], b
}

func TestProcessDeathLosesNothingWritten(t *testing.T) {
	s := openStore(t, running(t, 500), testOptions())
	if n := records(t, s); n != 500 || s.Discarded() != "" {
		t.Errorf("%d of 500 records, discarded: %q", n, s.Discarded())
	}
}

func TestLogsAreVerified(t *testing.T) {
	_, whole := logOf(t, running(t, 200))
	if !verifyLog(whole) {
		t.Fatal("a sound log is refused")
	}
	end, ends := logHeaderBytes, map[int]bool{logHeaderBytes: true} // of transactions
	for {
		n, meta := logEntry(whole[end:])
		if n == 0 {
			break
		}
		end += n
		ends[end] = meta&logInTxn == 0
	}
	if !verifyLog(whole[:end]) {
		t.Error("a log that ends with its last entry is refused")
	}
	rng := newRand(t)
	for range 300 {
		at := logHeaderBytes + rng.IntN(end-logHeaderBytes)
		b := slices.Clone(whole[:end+logZeroBytes])
		b[at] ^= 1 << rng.IntN(8)
		if verifyLog(b) {
			t.Errorf("a bit flipped at %d of %d went unnoticed", at, end)
		}
		if verifyLog(whole[:at]) && !ends[at] {
			t.Errorf("a log cut at %d of %d went unnoticed", at, end)
		}
	}
	if verifyLog(nil) {
		t.Error("an empty file is taken for a log")
	}
}

// A log that is not the newest must be whole; the newest may be cut: it only
// makes the image older.
func TestOnlyTheNewestLogMayBeCut(t *testing.T) {
	spoilLog := func(b []byte) []byte { b[len(b)/100] ^= 0xff; return b }
	dir := running(t, 2000)
	name, b := logOf(t, dir)
	b = b[:1<<20]
	spoilLog(b)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir, testOptions())
	if s.Discarded() != "" {
		t.Errorf("an image with a cut newest log was thrown away: %s", s.Discarded())
	}
	p := openPartition(t, s, 3)
	if _, _, ok := p.Position(); ok || get(t, p, 1) != nil {
		t.Error("a torn transaction was applied in part")
	}

	dir = running(t, 2000)
	name, b = logOf(t, dir)
	newer := filepath.Join(filepath.Dir(name), "00099.mem")
	if err := os.WriteFile(newer, b[:logHeaderBytes], 0o600); err != nil {
		t.Fatal(err)
	}
	b = b[:1<<20]
	spoilLog(b)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := openStore(t, dir, testOptions()); s.Discarded() == "" {
		t.Error("an image whose older log is damaged was used")
	}
}

func TestTablesAreVerified(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 500)
	names, err := filepath.Glob(filepath.Join(dir, imageName, "*.sst"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	whole, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	if !verifyTable(whole) {
		t.Fatal("a sound table is refused")
	}
	rng := newRand(t)
	for range 1000 {
		b := slices.Clone(whole)
		at := rng.IntN(len(b))
		b[at] ^= 1 << rng.IntN(8)
		if verifyTable(b) {
			t.Errorf("a bit flipped at %d of %d went unnoticed", at, len(b))
		}
		if verifyTable(whole[:at]) {
			t.Errorf("a table cut at %d of %d went unnoticed", at, len(b))
		}
	}
}
