package state

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/segmentd/segmentd/state/subject"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir, Step(os.Getenv(crashStep)))
		return
	}
	goleak.VerifyTestMain(m)
}

func testOptions() Options { return Options{Group: "g", Secret: []byte("a secret of tests")} }

func openStore(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, s) })
	return s
}

func closeAll(t testing.TB, s *Store, ps ...*Partition) {
	t.Helper()
	for _, p := range ps {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func openPartition(t testing.TB, s *Store, id int32) *Partition {
	t.Helper()
	p, err := s.Partition(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// abandon leaves a store as a dead process does: nothing is flushed or marked.
// Badger must still be closed for its goroutines' and files' sake.
func abandon(t testing.TB, s *Store, mark marker) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := (&directory{path: s.dir.path}).write(mark); err != nil {
		t.Fatal(err)
	}
}

func checkpoint(transaction uint64) Checkpoint {
	return Checkpoint{Format: CheckpointFormat, Group: "g", Partition: 3, History: "h", Transaction: transaction,
		Positions: map[string]int64{"events": int64(transaction) * 10}, Clock: subject.Instant(transaction), RuleSet: "r", Secret: "s"}
}

// fill commits n subjects in one transaction and closes the store.
func fill(t testing.TB, dir string, n int) {
	t.Helper()
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	for i := range n {
		put(t, p, simple(i, 1, subject.Instant(1000+i)))
	}
	commit(t, p, 1)
	closeAll(t, s, p)
}

func simple(n int, version uint64, next subject.Instant) *subject.Record {
	r := subject.NewRecord(subject.ID{Value: fmt.Sprint("u", n)})
	r.Version, r.Next = version, next
	return r
}

func put(t testing.TB, p *Partition, r *subject.Record) {
	t.Helper()
	if err := p.Put(r); err != nil {
		t.Fatal(err)
	}
}

func commit(t testing.TB, p *Partition, transaction uint64) {
	t.Helper()
	if err := p.Commit(checkpoint(transaction), int64(transaction)*100); err != nil {
		t.Fatal(err)
	}
}

// records counts what a store in dir holds for partition 3.
func records(t testing.TB, s *Store) (n int) {
	t.Helper()
	p, err := s.Partition(3)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Each(func(*subject.Record) error { n++; return nil }), p.Close()); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestImageSurvivesACleanStop(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 100)
	s := openStore(t, dir, testOptions())
	if why := s.Discarded(); why != "" {
		t.Errorf("the image was thrown away: %s", why)
	}
	p := openPartition(t, s, 3)
	cp, next, ok := p.Position()
	if !ok || next != 100 || cp.Transaction != 1 || cp.Positions["events"] != 10 {
		t.Errorf("position %v, %d, %v", cp, next, ok)
	}
	if n := len(fmt.Sprint(p.Earliest())); p.Earliest() != 1000 {
		t.Errorf("earliest timer %v (%d), want 1000", p.Earliest(), n)
	}
}

func TestASecondStoreIsRefused(t *testing.T) {
	dir := t.TempDir()
	openStore(t, dir, testOptions())
	_, err := Open(dir, testOptions())
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second store: %v, want %v with our process id", err, ErrInUse)
	}
}

func TestAPartitionIsOpenOnce(t *testing.T) {
	s := openStore(t, t.TempDir(), testOptions())
	p := openPartition(t, s, 1)
	if _, err := s.Partition(1); !errors.Is(err, ErrInUse) {
		t.Errorf("second partition: %v, want %v", err, ErrInUse)
	}
	if err := s.Close(); err == nil {
		t.Error("a store with an open partition closed")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	again := openPartition(t, s, 1)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Partition(1); !errors.Is(err, ErrClosed) {
		t.Errorf("partition of a closed store: %v, want %v", err, ErrClosed)
	}
}

func TestHeldImages(t *testing.T) {
	s := openStore(t, t.TempDir(), testOptions())
	openPartition(t, s, 0) // nothing is committed
	p := openPartition(t, s, 3)
	if err := p.Commit(checkpoint(7), 40); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int32]int{3: 0, 4: 1} {
		held, err := s.Held(n)
		if err != nil || len(held) != want || want == 1 && held[3] != 7 {
			t.Errorf("below %d: %v, %v", n, held, err)
		}
	}
}

func TestForeignDirectoriesAreNotTouched(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, testOptions()); !errors.Is(err, ErrForeign) {
		t.Errorf("Open: %v, want %v", err, ErrForeign)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory now holds %v (%v)", entries, err)
	}
	opts := testOptions()
	opts.Ours = []string{"thesis.tex"}
	openStore(t, dir, opts)
}

func TestANewerDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 1)
	b, err := json.Marshal(marker{Format: ImageFormat + 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, markerName), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, testOptions()); !errors.Is(err, ErrNewerVersion) {
		t.Errorf("Open: %v, want %v", err, ErrNewerVersion)
	}
}

func TestUnusableImagesAreDiscarded(t *testing.T) {
	boot := bootID(bootFile)
	running := marker{Format: ImageFormat, Group: "g", Secret: NewKeyer(testOptions().Secret).Fingerprint(), Boot: "the boot"}
	for name, c := range map[string]struct {
		mark   func(*marker)
		opts   func(*Options)
		boot   string
		reason string
	}{
		"process died":           {boot: "the boot"},
		"power loss":             {boot: "another boot", reason: "restarted"},
		"boot unknown":           {boot: "", reason: "restarted"},
		"clean, another boot":    {mark: func(m *marker) { m.Clean = true }, boot: "another boot"},
		"clean, boot unknown":    {mark: func(m *marker) { m.Clean = true }, boot: ""},
		"another secret":         {opts: func(o *Options) { o.Secret = []byte("other") }, boot: "the boot", reason: "secret"},
		"another group":          {opts: func(o *Options) { o.Group = "h" }, boot: "the boot", reason: "group"},
		"found damaged":          {mark: func(m *marker) { m.Damaged = true }, boot: "the boot", reason: "damaged"},
		"opening died once":      {mark: func(m *marker) { m.Opening = 1 }, boot: "the boot"},
		"opening died each time": {mark: func(m *marker) { m.Opening = maxOpening }, boot: "the boot", reason: "repeatedly"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, opts, mark := t.TempDir(), testOptions(), running
			fill(t, dir, 10)
			if c.mark != nil {
				c.mark(&mark)
			}
			if c.opts != nil {
				c.opts(&opts)
			}
			if err := (&directory{path: dir}).write(mark); err != nil {
				t.Fatal(err)
			}
			opts.bootFile = filepath.Join(t.TempDir(), "boot_id")
			if c.boot != "" {
				if err := os.WriteFile(opts.bootFile, []byte(c.boot+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := openStore(t, dir, opts)
			if (c.reason == "") != (s.Discarded() == "") || !strings.Contains(s.Discarded(), c.reason) {
				t.Errorf("discarded: %q, want %q", s.Discarded(), c.reason)
			}
			want := 10
			if c.reason != "" {
				want = 0
			}
			if n := records(t, s); n != want {
				t.Errorf("%d records, want %d", n, want)
			}
		})
	}
	if boot == "" {
		t.Log("this machine tells no boot id")
	}
}

// spoil changes each file of an image that matches a pattern.
func spoil(t *testing.T, dir, pattern string, change func([]byte) []byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, imageName, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no file %s: %v", pattern, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamagedImagesAreReplaced(t *testing.T) {
	flip := func(at float64) func([]byte) []byte {
		return func(b []byte) []byte { b[int(at*float64(len(b)-1))] ^= 0x10; return b }
	}
	for name, c := range map[string]struct {
		pattern string
		change  func([]byte) []byte
	}{
		"table cut":         {"*.sst", func(b []byte) []byte { return b[:len(b)/2] }},
		"table empty":       {"*.sst", func([]byte) []byte { return nil }},
		"table first byte":  {"*.sst", flip(0)},
		"table early":       {"*.sst", flip(0.2)},
		"table middle":      {"*.sst", flip(0.5)},
		"table late":        {"*.sst", flip(0.9)},
		"table last byte":   {"*.sst", flip(1)},
		"manifest garbage":  {"MANIFEST", func(b []byte) []byte { return []byte(strings.Repeat("garbage", 20)) }},
		"manifest empty":    {"MANIFEST", func([]byte) []byte { return nil }},
		"manifest bit":      {"MANIFEST", flip(0.9)},
		"manifest entry":    {"MANIFEST", withoutLastEntry},
		"registry garbage":  {"KEYREGISTRY", func([]byte) []byte { return []byte("garbage, garbage, garbage, garbage") }},
		"everything zeroed": {"*", func(b []byte) []byte { clear(b); return b }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir, 2000)
			spoil(t, dir, c.pattern, c.change)
			s, err := Open(dir, testOptions())
			if err != nil {
				t.Fatalf("a damaged image keeps the store from opening: %v", err)
			}
			defer closeAll(t, s)
			if n := records(t, s); s.Discarded() == "" {
				t.Errorf("the damage went unnoticed, %d of 2000 records were found", n)
			} else if n != 0 {
				t.Errorf("%d records in a fresh image", n)
			}
		})
	}
}

// withoutLastEntry cuts a manifest between two of its entries, each of which
// follows its length and checksum, behind a header of 8 bytes.
func withoutLastEntry(b []byte) []byte {
	last := 8
	for at := 8; at < len(b); at += 8 + int(binary.BigEndian.Uint32(b[at:])) {
		last = at
	}
	return b[:last]
}

// What an attempt to open has done to the manifest since the clean stop is no damage.
func TestAManifestIsComparedAfterACleanStopOnly(t *testing.T) {
	m := marker{Clean: true, Manifest: "another"}
	dir := &directory{path: t.TempDir()}
	for _, c := range []struct {
		m    marker
		want bool
	}{{m, true}, {marker{Clean: true}, false}, {marker{Manifest: "another"}, false}, {marker{Clean: true, Manifest: "another", Opening: 1}, false}} {
		if got, err := c.m.changed(dir); got != c.want || err != nil {
			t.Errorf("%+v: %v, %v", c.m, got, err)
		}
	}
}

func TestAMissingTableIsNoticed(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 2000)
	names, err := filepath.Glob(filepath.Join(dir, imageName, "*.sst"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, dir, testOptions())
	if s.Discarded() == "" {
		t.Error("missing tables went unnoticed")
	}
}

func TestAnUnreadableMarkerDiscardsTheImage(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 10)
	if err := os.WriteFile(filepath.Join(dir, markerName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := openStore(t, dir, testOptions()); s.Discarded() == "" {
		t.Error("an image of which nothing is known was used")
	}
}

func TestErrorsOfTheFileSystemAreNoDamage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, testOptions()); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("a file as data directory: %v", err)
	}
	for _, err := range []error{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}, fmt.Errorf("wrapped as text: %v", syscall.ENOSPC)} {
		if !environmental(err) {
			t.Errorf("%v counts as damage", err)
		}
	}
	if environmental(fmt.Errorf("table: %w", ErrDamaged)) {
		t.Error("damage counts as the file system's")
	}
}

func TestARecordThatCannotBeReadIsDamage(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	id := subject.ID{Value: "u1"}
	for name, value := range map[string][]byte{
		"garbage":         {CodecVersion, 2, 3},
		"another subject": AppendRecord(nil, simple(2, 1, subject.Never)),
	} {
		key := p.space.appendRecord(nil, p.keyer.Key(id))
		txn := s.db.NewTransaction(true)
		if err := errors.Join(txn.Set(key, value), txn.Commit()); err != nil {
			t.Fatal(err)
		}
		p.cache.clear()
		if _, err := p.Get(id); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want %v", name, err, ErrDamaged)
		} else if strings.Contains(err.Error(), "u1") || strings.Contains(err.Error(), "u2") {
			t.Errorf("%s: the error names a subject: %v", name, err)
		}
	}
	closeAll(t, s, p)
	if again := openStore(t, dir, testOptions()); again.Discarded() == "" {
		t.Error("an image that was found damaged was used again")
	}
}

func TestStoresLeaveNothingOpen(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		s, err := Open(dir, testOptions())
		if err != nil {
			t.Fatal(err)
		}
		abandon(t, s, s.mark)
	}
}

// cloned copies what is dirty: its values are valid until the commit only.
func cloned(dirty []Dirty) (copies []Dirty) {
	for _, d := range dirty {
		copies = append(copies, Dirty{d.Key, bytes.Clone(d.Value)})
	}
	return copies
}
