package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/state/canary"
	"github.com/segmentd/segmentd/state/subject"
)

func personID(n int) subject.ID {
	return subject.ID{Value: fmt.Sprintf("person-%06d@example.org", n)}
}

const personTimer = 1_790_000_123_456_789

// person is somebody whose every value can be told from everybody else's. What is
// kept for two purposes differs.
func person(n int, version uint64) *subject.Record {
	r := subject.NewRecord(personID(n))
	r.Version, r.Clock, r.Next = version, 1_790_000_000_000_000, personTimer+subject.Instant(n)*1_000_000
	for _, purpose := range []string{"marketing", "service"} {
		p := r.EnsurePurpose(purpose)
		p.Basis = subject.Basis{Known: true, Since: 1_780_000_000_000_000, Until: subject.Never, Grants: []subject.Grant{{At: 1_780_000_000_000_000, Expires: subject.Never}}}
		p.Traits = []subject.Trait{
			{Key: "email", Time: 1, Value: subject.OfString(fmt.Sprintf("%s.%06d.of.%s", purpose, n, strings.Repeat("canary", 20)))},
			{Key: "spent", Time: 1, Value: subject.OfInt(personNumber(purpose, n))},
		}
		l := p.EnsureLeaf(7)
		l.Times, l.Values = []subject.Instant{5}, []subject.Value{subject.OfString(fmt.Sprintf("shoe-%s-%06d", purpose, n))}
		p.SetMember(9, true, 5)
	}
	return r
}

func personNumber(purpose string, n int) int64 {
	return 8_100_000_000_000_000 + int64(len(purpose))*1_000_000_000 + int64(n)*1000 + 7
}

func fence(n int, version uint64) *subject.Record {
	r := subject.NewRecord(personID(n))
	r.Version, r.Clock, r.Erased = version, 1_790_000_000_000_001, 1_790_000_000_000_001
	return r
}

// withdraw is what a withdrawal leaves of a person.
func withdraw(r *subject.Record, purpose string) {
	p := r.Purpose(purpose)
	p.Basis = subject.Basis{Until: subject.Never, Stop: subject.Stop{At: 1_790_000_000_000_001, Status: subject.Withdrawn}}
	p.Traits, p.Leaves, p.Members = nil, nil, nil
	r.Version++
}

// canariesOf are what tells of a person for a purpose; of all: the id, too.
func canariesOf(n int, purposes ...string) (cs []canary.Canary) {
	for _, p := range purposes {
		cs = append(cs, canary.Text(p+" email", fmt.Sprintf("%s.%06d.of.", p, n)), canary.Number(p+" number", personNumber(p, n)),
			canary.Text(p+" leaf", fmt.Sprintf("shoe-%s-%06d", p, n)))
	}
	if len(purposes) == 2 {
		cs = append(cs, canary.Text("id", personID(n).Value), canary.Number("timer", personTimer+int64(n)*1_000_000))
	}
	return cs
}

// keyCanary is the keyed hash of a subject, which stays: the fence's key.
func keyCanary(n int) canary.Canary {
	key := NewKeyer(testOptions().Secret).Key(personID(n))
	return canary.Bytes("key", key[:])
}

// scannedDir is the directory of an image. What the test puts elsewhere, in the
// directory of temporary files, is searched too.
func scannedDir(t *testing.T) string {
	t.Setenv("TMPDIR", t.TempDir())
	return filepath.Join(t.TempDir(), "image")
}

// expectFound demands that the files hold exactly those of the canaries.
func expectFound(t *testing.T, when, dir string, cs []canary.Canary, want ...string) {
	t.Helper()
	finds, err := canary.Scan(cs, dir, os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if got := canary.Names(finds); !slices.Equal(got, want) {
		t.Errorf("%s: found %q, want %q:", when, got, want)
		for _, f := range finds {
			t.Log(f)
		}
	}
}

func namesOf(cs []canary.Canary) (names []string) {
	for _, c := range cs {
		names = append(names, c.Name)
	}
	return names
}

func scrub(t testing.TB, s *Store) ScrubReport {
	t.Helper()
	r, err := s.Scrub(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// people fills a partition and leaves older versions of everybody behind.
func people(t testing.TB, p *Partition, n int) {
	t.Helper()
	everybody(t, p, n, 1)
	everybody(t, p, n, 2)
}

// everybody is put once more.
func everybody(t testing.TB, p *Partition, n int, version uint64) {
	t.Helper()
	for i := range n {
		put(t, p, person(i, version))
	}
	commit(t, p, version)
	flush(t, p)
}

var both = []string{"marketing", "service"}

// What was kept of an erased subject is in no file once it is scrubbed, in no
// spelling, and nothing else is gone.
func TestErasedSubjectsAreGoneFromTheFiles(t *testing.T) {
	dir := scannedDir(t)
	opts := testOptions()
	s := openStore(t, dir, opts)
	p := openPartition(t, s, 3)
	for _, n := range []int{7, 8} {
		p.PutDossier(p.KeyOf(personID(n)), &subject.Dossier{ID: personID(n), Proofs: []subject.Proof{{Purpose: "marketing", Status: subject.Given, RecordID: fmt.Sprintf("proof-%06d", n)}}}, false)
	}
	people(t, p, 50)
	gone, stays := append(canariesOf(7, both...), keyCanary(7), canary.Text("proof", "proof-000007")), append(canariesOf(8, both...), canary.Text("proof", "proof-000008"))
	expectFound(t, "before", dir, gone, namesOf(gone)...)

	put(t, p, fence(7, 3))
	p.PutDossier(p.KeyOf(personID(7)), &subject.Dossier{ID: personID(7), Requests: []subject.RequestState{{RequestID: "erase-7", Kind: subject.Erase}}}, true)
	commit(t, p, 3)
	flush(t, p)
	expectFound(t, "overwritten", dir, gone, namesOf(gone)...) // as Badger leaves it
	key := p.KeyOf(personID(7))
	if !p.AwaitsScrub(key) || p.AwaitsScrub(p.KeyOf(personID(8))) {
		t.Error("it is not the erased subject that waits")
	}
	before := digest(t, p)
	if r := scrub(t, s); r.Entries != 1 || r.Keys != 3 {
		t.Errorf("the scrub was of %+v, want a subject: its record, dossier and timer", r)
	}
	if done := p.Scrubbed(); len(done) != 1 || done[0].Key != key || p.AwaitsScrub(key) || len(p.Scrubbed()) > 0 {
		t.Errorf("told as scrubbed: %v", done)
	}
	expectFound(t, "scrubbed", dir, gone, "key")
	expectFound(t, "scrubbed", dir, stays, namesOf(stays)...)
	if after := digest(t, p); after != before {
		t.Error("the scrub changed what is kept")
	}
	p.cache.clear()
	if r, err := p.Get(personID(7)); err != nil || r == nil || !r.IsFence() || r.Version != 3 {
		t.Errorf("the fence is %v, %v", r, err)
	}
	d, err := p.DossierOf(key)
	if err != nil {
		t.Fatal(err)
	}
	d.Requests[0].Status = subject.Completed
	p.PutDossier(key, d, true)
	commit(t, p, 4)
	flush(t, p)
	if r := scrub(t, s); r != (ScrubReport{}) {
		t.Errorf("a second scrub was of %+v, though nothing was lost since", r)
	}
	before = digest(t, p)

	closeAll(t, s, p)
	expectFound(t, "closed", dir, gone, "key")
	s = openStore(t, dir, opts)
	p = openPartition(t, s, 3)
	expectFound(t, "opened again", dir, gone, "key")
	expectFound(t, "opened again", dir, stays, namesOf(stays)...)
	if p.AwaitsScrub(key) || digest(t, p) != before {
		t.Error("opened again, it waits, or is another")
	}
}

// What is in tables on disk is gone, too, and so are the keys of timers that were
// removed long before the erasure, of which only what says so is left alive.
func TestScrubsReachTables(t *testing.T) {
	dir := scannedDir(t)
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	next := func() { // the next steps find all in tables
		closeAll(t, s, p)
		s = openStore(t, dir, testOptions())
		p = openPartition(t, s, 3)
	}
	people(t, p, 50)
	next()
	r := person(7, 3)
	r.Next = subject.Never
	put(t, p, r)
	commit(t, p, 3)
	next()
	put(t, p, fence(7, 4))
	put(t, p, fence(8, 4))
	commit(t, p, 4)
	next()
	for _, n := range []int{7, 8} {
		there := canariesOf(n, both...)
		expectFound(t, "erased", dir, there, namesOf(there)...)
	}
	gone := append(canariesOf(7, both...), canariesOf(8, both...)...)
	scrub(t, s)
	expectFound(t, "scrubbed", dir, gone)
	next()
	expectFound(t, "opened again", dir, gone)
	stays := canariesOf(9, both...)
	expectFound(t, "scrubbed", dir, stays, namesOf(stays)...)
}

// A subject that comes back after an erasure has timers again; those of before are
// gone, and popping one that memory still has leaves no trace of it.
func TestErasedSubjectsComeBack(t *testing.T) {
	dir := scannedDir(t)
	s := openStore(t, dir, lazy())
	p := openPartition(t, s, 3)
	people(t, p, 3)
	put(t, p, fence(1, 3))
	commit(t, p, 3)
	flush(t, p)
	scrub(t, s)
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	timer := []canary.Canary{canary.Number("timer", personTimer+1_000_000)}
	for {
		r, _, ok, err := p.Due(personTimer + 1_500_000)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if r.ID == personID(1) {
			t.Error("a timer of an erased subject fired")
		}
		r.Next = subject.Never
		put(t, p, r)
	}
	commit(t, p, 4)
	flush(t, p)
	expectFound(t, "popped", dir, timer)

	put(t, p, person(1, 5))
	commit(t, p, 5)
	flush(t, p)
	expectFound(t, "back", dir, timer, "timer")
	if _, err := p.Digest(); err != nil {
		t.Error(err)
	}
	if at := p.Earliest(); at != personTimer+1_000_000 {
		t.Errorf("earliest timer %v", at)
	}
}

// Timers of a fence that only memory has are not written down again when they come.
func TestTimersOfFencesAreNotRemovedOneByOne(t *testing.T) {
	dir := scannedDir(t)
	s := openStore(t, dir, lazy())
	p := openPartition(t, s, 3)
	people(t, p, 3)
	put(t, p, fence(1, 3))
	commit(t, p, 3)
	flush(t, p)
	scrub(t, s)
	if _, _, ok, err := p.Due(personTimer + 1_500_000); !ok || err != nil { // of person 0
		t.Fatal(ok, err)
	}
	if _, _, ok, err := p.Due(personTimer + 1_500_000); ok || err != nil {
		t.Fatal(ok, err)
	}
	commit(t, p, 4)
	flush(t, p)
	expectFound(t, "popped", dir, []canary.Canary{canary.Number("timer", personTimer+1_000_000)})
}

// A withdrawal of one purpose takes what was kept for it from the files, and leaves
// what is kept for others, whether the scrub is asked for or the record says that
// something was deleted.
func TestWithdrawnPurposesAreGoneFromTheFiles(t *testing.T) {
	for name, note := range map[string]func(*Partition, *subject.Record){
		"asked for": func(p *Partition, r *subject.Record) { p.Scrub(r.ID) },
		"forgot":    func(_ *Partition, r *subject.Record) { r.Forgot = true },
	} {
		t.Run(name, func(t *testing.T) { withdrawnIsGone(t, note) })
	}
}

func withdrawnIsGone(t *testing.T, note func(*Partition, *subject.Record)) {
	t.Helper()
	dir := scannedDir(t)
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	people(t, p, 50)
	gone, stays := canariesOf(7, "marketing"), canariesOf(7, "service")
	expectFound(t, "before", dir, gone, namesOf(gone)...)
	r, err := p.Get(personID(7))
	if err != nil {
		t.Fatal(err)
	}
	withdraw(r, "marketing")
	note(p, r)
	put(t, p, r)
	commit(t, p, 3)
	flush(t, p)
	expectFound(t, "overwritten", dir, gone, namesOf(gone)...)
	scrub(t, s)
	expectFound(t, "scrubbed", dir, gone)
	expectFound(t, "scrubbed", dir, stays, namesOf(stays)...)
	if _, err := p.Digest(); err != nil { // timers
		t.Error(err)
	}
}

// What is noted with a transaction that is not known to be committed is forgotten.
func TestNotesAreOfCommittedRecords(t *testing.T) {
	s := openStore(t, t.TempDir(), lazy())
	p := openPartition(t, s, 3)
	people(t, p, 3)
	put(t, p, fence(1, 3))
	p.Scrub(personID(2))
	if p.AwaitsScrub(p.KeyOf(personID(1))) {
		t.Error("it waits before it is committed")
	}
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	commit(t, p, 4)
	flush(t, p)
	if r := scrub(t, s); r.Entries != 0 {
		t.Errorf("scrubbed %+v", r)
	}
	put(t, p, fence(1, 5))
	commit(t, p, 5) // committed, not yet in Badger
	if !p.AwaitsScrub(p.KeyOf(personID(1))) {
		t.Error("it does not wait once it is committed")
	}
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	if p.AwaitsScrub(p.KeyOf(personID(1))) {
		t.Error("it waits though the record is as before")
	}
}

// An image that slept through an erasure, or an older copy of it that was put back,
// finds the fence when it catches up with the changelog, and forgets likewise.
func TestStaleImagesForgetWhenTheyCatchUp(t *testing.T) {
	dir, backup := scannedDir(t), filepath.Join(t.TempDir(), "backup")
	opts := testOptions()
	s := openStore(t, dir, opts)
	p := openPartition(t, s, 3)
	people(t, p, 50)
	closeAll(t, s, p)
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	erased, withdrawn := append(canariesOf(7, both...), keyCanary(7)), canariesOf(8, "marketing")
	changed := person(8, 2)
	withdraw(changed, "marketing")
	catchUp := func(transaction uint64) *Partition {
		t.Helper()
		s := openStore(t, dir, opts)
		p := openPartition(t, s, 3)
		if cp, next, ok := p.Position(); !ok || cp.Transaction != transaction || next != int64(transaction)*100 {
			t.Fatalf("the image is at %d, %d, %v", cp.Transaction, next, ok)
		}
		for _, r := range []*subject.Record{fence(7, 3), changed, person(9, 3)} {
			restore(t, p, r)
		}
		for n, want := range map[int]bool{7: transaction == 2, 8: transaction == 2, 9: false} {
			if got := p.AwaitsScrub(p.KeyOf(personID(n))); got != want {
				t.Errorf("from transaction %d: %d waits: %v, want %v", transaction, n, got, want)
			}
		}
		if err := p.RestoreDone(checkpoint(3), 300); err != nil {
			t.Fatal(err)
		}
		scrub(t, s)
		expectFound(t, "caught up", dir, erased, "key")
		expectFound(t, "caught up", dir, withdrawn)
		closeAll(t, s, p)
		return p
	}
	catchUp(2)
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
	expectFound(t, "put back", dir, erased, namesOf(erased)...)
	catchUp(2)
	catchUp(3) // what was restored already is not noted again
}

// A record and a dossier that tombstones remove while an image catches up are scrubbed.
func TestTombstonesAreScrubbed(t *testing.T) {
	dir := scannedDir(t)
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	key := p.KeyOf(personID(1))
	p.PutDossier(key, &subject.Dossier{ID: personID(1), Proofs: []subject.Proof{{Purpose: "marketing", Status: subject.Given, RecordID: "proof-000001"}}}, false)
	people(t, p, 3)
	gone := append(canariesOf(1, both...), canary.Text("proof", "proof-000001"))
	expectFound(t, "before", dir, gone, namesOf(gone)...)
	dossier := key.Dossier()
	for _, k := range [][]byte{key[:], dossier[:]} {
		if err := p.Restore(k, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.RestoreDone(checkpoint(3), 300); err != nil {
		t.Fatal(err)
	}
	if !p.AwaitsScrub(key) {
		t.Error("nobody waits to be scrubbed")
	}
	scrub(t, s)
	expectFound(t, "scrubbed", dir, gone)
	stays := canariesOf(2, both...)
	expectFound(t, "scrubbed", dir, stays, namesOf(stays)...)
}

// Of a changelog that still has what was before an erasure, nothing of it is left
// after a restore from its start.
func TestRestoredImagesHoldNothingErased(t *testing.T) {
	dir := scannedDir(t)
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	for _, r := range []*subject.Record{person(7, 1), person(8, 1), fence(7, 2)} {
		restore(t, p, r)
	}
	if err := p.RestoreDone(checkpoint(1), 100); err != nil {
		t.Fatal(err)
	}
	if !p.AwaitsScrub(p.KeyOf(personID(7))) {
		t.Error("the erased subject does not wait")
	}
	scrub(t, s)
	cs := canariesOf(7, both...)
	expectFound(t, "restored", dir, cs)
	if err := p.Wipe(); err != nil {
		t.Fatal(err)
	}
	restore(t, p, fence(7, 2))
	if p.AwaitsScrub(p.KeyOf(personID(7))) {
		t.Error("it waits though nothing but the fence was ever here")
	}
}

// In an image of several levels, with many erased at once and writes going on.
func TestScrubOfALargeImage(t *testing.T) {
	n, erased := 50_000, 2_500
	if testing.Short() {
		n, erased = 5_000, 250
	}
	dir := scannedDir(t)
	opts := testOptions()
	opts.memTableBytes = 8 << 20
	s := openStore(t, dir, opts)
	p := openPartition(t, s, 3)
	everybody(t, p, n, 1)
	p.Scrub(personID(0))
	commit(t, p, 2)
	flush(t, p)
	scrub(t, s) // what was written so far goes down
	levels := 0
	for again := 0; levels < 2 && again < 5; again++ { // compactions may be quicker than we are
		everybody(t, p, n, 2)
		levels = 0
		for _, l := range s.db.Levels() {
			if l.NumTables > 0 {
				levels++
				t.Logf("level %d: %d tables, %d MB", l.Level, l.NumTables, l.Size>>20)
			}
		}
	}
	if !testing.Short() && levels < 2 {
		t.Fatalf("%d levels have tables: it tests nothing", levels)
	}
	cs := append(canariesOf(11, both...), keyCanary(11))
	expectFound(t, "before", dir, cs, namesOf(cs)...)
	for i := range erased {
		put(t, p, fence(11+i*n/erased, 3))
	}
	commit(t, p, 3)
	flush(t, p)
	before := digest(t, p)
	r := scrub(t, s)
	t.Logf("%+v", r)
	if r.Entries != erased {
		t.Errorf("%d of %d are scrubbed", r.Entries, erased)
	}
	expectFound(t, "scrubbed", dir, cs, "key")
	last := canariesOf(11+(erased-1)*n/erased, both...)
	expectFound(t, "scrubbed", dir, last)
	stays := canariesOf(12, both...)
	expectFound(t, "scrubbed", dir, stays, namesOf(stays)...)
	if digest(t, p) != before {
		t.Error("the scrub changed what is kept")
	}
}

// While records are scrubbed, every read finds what was last committed, and timers
// fire as they should.
func TestReadsAndWritesDuringScrubs(t *testing.T) {
	dir := scannedDir(t)
	opts := testOptions()
	opts.CacheBytes, opts.OverlayBytes, opts.WriteDelay, opts.TimerWindow, opts.memTableBytes = 1, 16<<10, time.Millisecond, 64, 8<<20
	s := openStore(t, dir, opts)
	p := openPartition(t, s, 3)
	const n = 2_000
	people(t, p, n)
	rng := newRand(t)
	var group errgroup.Group
	over := make(chan struct{})
	scrubs, entries := 0, 0
	group.Go(func() error {
		for {
			r, err := s.Scrub(context.Background())
			if err != nil {
				return err
			}
			if r.Entries > 0 {
				scrubs++
				entries += r.Entries
			}
			select {
			case <-over:
				return nil
			default:
			}
		}
	})
	err := traffic(p, rng, n, 400)
	close(over)
	if err := errors.Join(err, group.Wait()); err != nil {
		t.Fatal(err)
	}
	flush(t, p)
	scrub(t, s)
	t.Logf("%d scrubs of %d entries", scrubs, entries)
	if scrubs < 2 {
		t.Error("hardly anything was scrubbed meanwhile: it tests nothing")
	}
	if _, err := p.Digest(); err != nil { // timers
		t.Error(err)
	}
}

// traffic erases, withdraws, brings back and reads random people in so many
// transactions, and compares all it reads.
func traffic(p *Partition, rng *rand.Rand, n, transactions int) error {
	want := map[int]uint64{}
	for i := range n {
		want[i] = 2
	}
	order := slices.Sorted(maps.Keys(want))
	for transaction := uint64(3); transaction < uint64(3+transactions); transaction++ {
		rng.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
		for k, i := range order[:60] {
			r, err := p.Get(personID(i))
			if err != nil {
				return err
			}
			if r == nil || r.Version != want[i] {
				return fmt.Errorf("transaction %d: person %d is %v, want version %d", transaction, i, r, want[i])
			}
			if k >= 12 {
				continue
			}
			want[i]++
			switch {
			case r.IsFence():
				r = person(i, want[i])
			case k%2 == 0:
				r = fence(i, want[i])
			default:
				withdraw(r, "marketing")
				p.Scrub(r.ID)
			}
			if err := p.Put(r); err != nil {
				return err
			}
		}
		if err := p.Commit(checkpoint(transaction), int64(transaction)*100); err != nil {
			return err
		}
	}
	return nil
}

// Somebody who reads for long holds files open: the scrub waits for them, and says
// so where they do not end.
// What is read in one transaction is as new as what is read in many, although
// batches are written and scrubs put values back meanwhile.
func TestReadsTogetherSeeTheNewest(t *testing.T) {
	s := openStore(t, t.TempDir(), lazy())
	p := openPartition(t, s, 3)
	defer p.ReadTogether()()
	want := func(when string, version uint64) {
		t.Helper()
		p.cache.clear()
		if r, err := p.Get(personID(1)); err != nil || r == nil || r.Version != version {
			t.Errorf("%s: %v, %v; want version %d", when, r, err, version)
		}
	}
	for version := range uint64(3) {
		put(t, p, person(1, version+1))
		commit(t, p, version+1)
		want("in the overlay", version+1)
		flush(t, p)
		want("written", version+1)
	}
	p.Scrub(personID(1))
	commit(t, p, 4)
	flush(t, p)
	want("before the scrub", 3)
	before := p.snapshot.txn
	if r := scrub(t, s); r.Entries == 0 {
		t.Fatalf("nothing was scrubbed: %+v", r)
	}
	want("scrubbed", 3)
	now := p.snapshot.txn
	if want("again", 3); now == before || p.snapshot.txn != now {
		t.Error("transactions do not last from scrub to scrub")
	}
}

func TestScrubWaitsForReaders(t *testing.T) {
	dir := scannedDir(t)
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	people(t, p, 50)
	put(t, p, fence(7, 3))
	commit(t, p, 3)
	flush(t, p)
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(badger.DefaultIteratorOptions)
	it.Rewind()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err := s.Scrub(ctx)
	key := p.KeyOf(personID(7))
	if !errors.Is(err, context.DeadlineExceeded) || !p.AwaitsScrub(key) || len(p.Scrubbed()) > 0 {
		t.Errorf("while files are held: %v", err)
	}
	it.Close()
	scrub(t, s)
	if p.AwaitsScrub(key) {
		t.Error("it still waits")
	}
	expectFound(t, "scrubbed", dir, canariesOf(7, both...))
}

// All partitions are scrubbed, those that are not open too.
func TestScrubIsOfAllPartitions(t *testing.T) {
	dir := scannedDir(t)
	s := openStore(t, dir, testOptions())
	for id := range int32(3) {
		p := openPartition(t, s, id)
		put(t, p, person(int(id), 1))
		commit(t, p, 1)
		put(t, p, fence(int(id), 2))
		commit(t, p, 2)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if r := scrub(t, s); r.Entries != 3 || r.Drops != 1 {
		t.Errorf("%+v, want three subjects in one drop", r)
	}
	for id := range 3 {
		expectFound(t, "scrubbed", dir, canariesOf(id, both...))
	}
}

func TestRedoFile(t *testing.T) {
	ks := []kept{{key: []byte("a"), live: true, value: []byte("value")}, {key: []byte("b"), value: []byte{}}, {key: []byte("c"), live: true, value: []byte{}}}
	b := encodeRedo(ks)
	got, err := decodeRedo(b)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(ks) {
		t.Errorf("decoded %v, %v", got, err)
	}
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 1
		if _, err := decodeRedo(bad); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := decodeRedo(b[:i]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	d := directory{path: t.TempDir()}
	if err := d.writeRedo(ks); err != nil {
		t.Fatal(err)
	}
	if err := d.removeRedo(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.redoFile()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
