package state

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/segmentd/segmentd/state/subject"
)

func sampleDossier() *subject.Dossier {
	at := subject.Instant(1_790_000_000_000_000)
	return &subject.Dossier{ID: subject.ID{Type: subject.AnonymousID, Value: "a1"}, Dropped: 3,
		Proofs: []subject.Proof{
			{Purpose: "marketing", Status: subject.Given, Explicit: true, Time: at, Arrival: at + 1_500, Expires: at.Add(subject.Day),
				NoticeVersion: "2026-03", Method: "web_form", RecordID: "r-1", Source: subject.Position{Topic: "decisions", Partition: 11, Offset: math.MaxInt64}},
			{Status: subject.Refused, Time: subject.Never, Arrival: subject.Never, Expires: subject.Never, Source: subject.Position{Topic: "file.ndjson", Partition: -1}},
		},
		Requests: []subject.RequestState{
			{RequestID: "q-1", Kind: subject.Erase, Status: subject.Completed, Effective: at, Received: at, Done: at + 1, Detail: "gone"},
			{RequestID: "q-2", Kind: subject.Access, Status: subject.Received, Effective: -at, Received: subject.LongAgo, Done: subject.Never},
		}}
}

func randomDossier(rng *rand.Rand) *subject.Dossier {
	g := generator{rng: rng, unit: []int64{1, 1_000, 1_000_000}[rng.IntN(3)]}
	d := &subject.Dossier{ID: subject.ID{Type: subject.IDType(rng.IntN(2)), Value: g.text()}, Dropped: rng.Uint64() >> rng.IntN(64)}
	for range 1 + rng.IntN(4) {
		d.Proofs = append(d.Proofs, subject.Proof{Purpose: g.text(), Status: subject.Given + subject.Status(rng.IntN(4)), Explicit: rng.IntN(2) == 0,
			Time: g.time(), Arrival: g.time(), Expires: g.time(), NoticeVersion: g.text(), Method: g.text(), RecordID: g.text(),
			Source: subject.Position{Topic: g.text(), Partition: rng.Int32(), Offset: rng.Int64()}})
	}
	for range rng.IntN(3) {
		d.Requests = append(d.Requests, subject.RequestState{RequestID: g.text(), Kind: subject.RequestKind(rng.IntN(int(subject.RequestKinds))),
			Status: subject.RequestStatus(rng.IntN(int(subject.RequestStatuses))), Effective: g.time(), Received: g.time(), Done: g.time(), Extended: subject.Instant(rng.IntN(2)) * g.time(), Detail: g.text()})
	}
	return d
}

func TestDossiersSurviveTheCodec(t *testing.T) {
	rng := newRand(t)
	for i := range 500 {
		d := randomDossier(rng)
		b := AppendDossier(nil, d)
		got, err := DecodeDossier(b)
		if err != nil {
			t.Fatalf("dossier %d: %v", i, err)
		}
		if diff := cmp.Diff(d, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("dossier %d (-put +got):\n%s", i, diff)
		}
		if r, err := DecodeRecord(b); err == nil {
			t.Fatalf("dossier %d is the record %+v, too", i, r)
		}
	}
}

func TestDecodeDossierRejects(t *testing.T) {
	good := AppendDossier(nil, sampleDossier())
	many := sampleDossier()
	many.Requests = slices.Repeat(many.Requests[:1], subject.MaxRequests)
	full := AppendDossier(nil, many)
	at := bytes.IndexByte(full, subject.MaxRequests)
	for name, b := range map[string][]byte{
		"nothing":           nil,
		"a record":          AppendRecord(nil, sampleRecord()),
		"version 0":         append([]byte{dossierBit}, good[1:]...),
		"unknown flag":      append([]byte{good[0], good[1] | flagTable}, good[2:]...),
		"unit 3":            append([]byte{good[0], flagUnitMask}, good[2:]...),
		"finer unit":        {DossierVersion, 0, 1, 'a', 1, 0, 0, 2, 2, 2, 0, 0, 0},
		"blank":             {DossierVersion, 2 << flagUnitShift, 1, 'a', 0, 0, 0},
		"trailing bytes":    append(slices.Clone(good), 0),
		"too many requests": slices.Concat(full[:at], []byte{subject.MaxRequests + 1}, full[at+1:at+1+(len(full)-at)/2], full[at+1:]),
		"request of kind 7": {DossierVersion, 2 << flagUnitShift, 1, 'a', 1, 7, 0, 2, 2, 2, 0, 0, 0},
		"proof of erasure":  {DossierVersion, 2 << flagUnitShift, 1, 'a', 0, 0, 1, 5, 0, 2, 2, 2, 0, 0, 0, 0, 0, 0},
	} {
		if _, err := DecodeDossier(b); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v, want %v", name, err, ErrRecord)
		}
	}
	for n := range len(good) {
		if _, err := DecodeDossier(good[:n]); !errors.Is(err, ErrRecord) {
			t.Errorf("cut to %d of %d bytes: %v, want %v", n, len(good), err, ErrRecord)
		}
	}
	if _, err := DecodeDossier(append([]byte{DossierVersion + 1}, good[1:]...)); !errors.Is(err, ErrNewerVersion) {
		t.Errorf("newer version: %v, want %v", err, ErrNewerVersion)
	}
	if _, err := DecodeDossier([]byte{DossierVersion, 2 << flagUnitShift, 1, 'a', 1, 5, 0, 2, 2, 2, 0, 0, 0}); err != nil {
		t.Errorf("request of kind 5: %v", err) // so what is rejected above is rejected for what it names
	}
}

func TestGoldenDossierDecodes(t *testing.T) {
	name := filepath.Join("testdata", "dossier-v1.bin")
	if *rewrite {
		if err := os.WriteFile(name, AppendDossier(nil, sampleDossier()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, AppendDossier(nil, sampleDossier())) {
		t.Error("it is not what this version writes: a changed format needs a new DossierVersion")
	}
	d, err := DecodeDossier(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sampleDossier(), d); diff != "" {
		t.Error(diff)
	}
}

func FuzzDecodeDossier(f *testing.F) {
	f.Add(AppendDossier(nil, sampleDossier()))
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		f.Add(AppendDossier(nil, randomDossier(rng)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDossier(b)
		if err != nil {
			return
		}
		if again := AppendDossier(nil, d); !bytes.Equal(again, b) {
			t.Fatalf("a dossier is written in two ways:\n%x\n%x", b, again)
		}
	})
}

// proof is the dossier of a subject with one proof of a purpose.
func proof(n int, purpose string) *subject.Dossier {
	return &subject.Dossier{ID: simple(n, 0, 0).ID, Proofs: []subject.Proof{{Purpose: purpose, Status: subject.Given, Expires: subject.Never}}}
}

func keep(p *Partition, d *subject.Dossier, nameless bool) { p.PutDossier(p.KeyOf(d.ID), d, nameless) }

// purposeOf is the purpose of the kept proof, "" where nothing is kept.
func purposeOf(t testing.TB, p *Partition, n int) string {
	t.Helper()
	d, err := p.Dossier(simple(n, 0, 0).ID)
	if err != nil {
		t.Fatal(err)
	}
	if d.ID != simple(n, 0, 0).ID {
		t.Errorf("the dossier of u%d is of %v", n, d.ID)
	}
	if len(d.Proofs) == 0 {
		return ""
	}
	return d.Proofs[0].Purpose
}

func TestDossiersAreKeptLikeRecords(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, testOptions())
	p := openPartition(t, s, 3)
	put(t, p, simple(1, 1, 10))
	keep(p, proof(1, "first"), false)
	keep(p, proof(2, "other"), true)
	keep(p, proof(1, "second"), false)
	if p.DirtyCount() != 3 || purposeOf(t, p, 1) != "second" {
		t.Errorf("%d are dirty, of u1 %q", p.DirtyCount(), purposeOf(t, p, 1))
	}
	dirty := p.Dirty()
	if len(dirty) != 3 || IsDossier(dirty[0].Value) || !IsDossier(dirty[1].Value) || dirty[1].Key != p.KeyOf(simple(1, 0, 0).ID).Dossier() {
		t.Errorf("dirty: %+v", dirty)
	}
	if key := p.KeyOf(simple(1, 0, 0).ID); key.Dossier() == key || key.Dossier().Dossier() != key {
		t.Errorf("keys %x and %x", key, key.Dossier())
	}
	commit(t, p, 1)
	keep(p, proof(1, "third"), false)
	flush(t, p)
	if err := p.Reset(); err != nil {
		t.Fatal(err)
	}
	if p.DirtyCount() != 0 || purposeOf(t, p, 1) != "second" || purposeOf(t, p, 2) != "other" || purposeOf(t, p, 3) != "" {
		t.Errorf("after a Reset: %q, %q, %q", purposeOf(t, p, 1), purposeOf(t, p, 2), purposeOf(t, p, 3))
	}
	ids := map[string]Key{}
	if err := p.EachDossier(func(key Key, d *subject.Dossier) error { ids[d.ID.Value] = key; return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]Key{"u1": p.KeyOf(simple(1, 0, 0).ID), "": p.KeyOf(simple(2, 0, 0).ID)}, ids); diff != "" {
		t.Error(diff)
	}
	if d, err := p.DossierOf(ids[""]); err != nil || !d.ID.IsZero() || d.Proofs[0].Purpose != "other" {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := p.DossierOf(p.KeyOf(simple(3, 0, 0).ID)); err != nil || d != nil {
		t.Errorf("%+v, %v", d, err)
	}
	before := digest(t, p)
	keep(p, &subject.Dossier{ID: simple(2, 0, 0).ID}, false)
	commit(t, p, 2)
	if after := digest(t, p); after == before || purposeOf(t, p, 2) != "" {
		t.Errorf("removed: %q, digest %s", purposeOf(t, p, 2), after)
	}
	closeAll(t, s, p)
	s = openStore(t, dir, testOptions())
	if n := records(t, s); n != 1 {
		t.Errorf("%d records", n)
	}
	p = openPartition(t, s, 3)
	if purposeOf(t, p, 1) != "second" {
		t.Errorf("after reopening: %q", purposeOf(t, p, 1))
	}
	if err := p.Wipe(); err != nil {
		t.Fatal(err)
	}
	if purposeOf(t, p, 1) != "" {
		t.Error("a wiped partition has a dossier")
	}
}

// What a live partition writes makes the same image elsewhere, with tombstones of
// dossiers and of records.
func TestDossiersAreRestored(t *testing.T) {
	s := openStore(t, t.TempDir(), testOptions())
	live, restored := openPartition(t, s, 1), openPartition(t, s, 2)
	var changelog []Dirty
	for n := range 40 {
		put(t, live, simple(n%7, uint64(n), subject.Never))
		if n%3 == 0 {
			keep(live, &subject.Dossier{ID: simple(n%5, 0, 0).ID}, false)
		} else {
			keep(live, proof(n%5, "p"), n%2 == 0)
		}
		changelog = append(changelog, cloned(live.Dirty())...)
		commit(t, live, uint64(n+1))
	}
	gone := proof(9, "gone")
	key := restored.KeyOf(gone.ID).Dossier()
	changelog = append([]Dirty{{key, AppendDossier(nil, gone)}}, append(changelog, Dirty{key, nil})...)
	for _, d := range changelog {
		if err := restored.Restore(d.Key[:], d.Value); err != nil {
			t.Fatal(err)
		}
	}
	if err := restored.RestoreDone(checkpoint(40), 5000); err != nil {
		t.Fatal(err)
	}
	if a, b := digest(t, live), digest(t, restored); a != b {
		t.Errorf("digests differ: live %s, restored %s", a, b)
	}
	if purposeOf(t, restored, 3) == "" || purposeOf(t, restored, 9) != "" {
		t.Errorf("restored: %q, %q", purposeOf(t, restored, 3), purposeOf(t, restored, 9))
	}
	if err := restored.Restore(key[:], []byte{DossierVersion}); !errors.Is(err, ErrRecord) {
		t.Errorf("half a dossier: %v", err)
	}
}
