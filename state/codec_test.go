package state

import (
	"bytes"
	stdcmp "cmp"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/segmentd/segmentd/state/subject"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files of the present codec version")

// newRand returns a source of randomness whose seed is in the test's output.
func newRand(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// sameRecord compares what is stored of records.
var sameRecord = cmp.Options{
	cmpopts.IgnoreFields(subject.Purpose{}, "Armed", "Indexed"),
	cmpopts.IgnoreFields(subject.Record{}, "Forgot"),
	cmpopts.EquateEmpty(),
	cmp.Comparer(subject.Value.Equal),
}

func TestRecordsSurviveTheCodec(t *testing.T) {
	rng := newRand(t)
	var d Decoder
	for i := range 1_500 {
		r := randomRecord(rng)
		b := AppendRecord(nil, r)
		got, err := d.Decode(b)
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if diff := cmp.Diff(r, got, sameRecord); diff != "" {
			t.Fatalf("record %d (-put +got):\n%s", i, diff)
		}
		if again := AppendRecord(nil, got); !bytes.Equal(b, again) {
			t.Fatalf("record %d is written in two ways:\n%x\n%x", i, b, again)
		}
		peeked, err := d.Peek(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, peeked, sameRecord); diff != "" {
			t.Fatalf("Peek (-Decode +Peek):\n%s", diff)
		}
	}
}

func TestDecodedRecordsAreIndependent(t *testing.T) {
	rng := newRand(t)
	var d Decoder
	r := randomRecord(rng)
	b := AppendRecord(nil, r)
	got, err := d.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = 0xee
	}
	if _, err := d.Decode(AppendRecord(nil, randomRecord(rng))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got, sameRecord); diff != "" {
		t.Fatalf("the record changed with its input or with the next one (-put +got):\n%s", diff)
	}
	for i := range got.Purposes {
		for j := range got.Purposes[i].Leaves {
			l := &got.Purposes[i].Leaves[j]
			l.Times = append(l.Times, subject.Never)
			l.Times[len(l.Times)-1] = 7
		}
	}
	for i := range got.Purposes {
		for j := range got.Purposes[i].Leaves {
			l := &got.Purposes[i].Leaves[j]
			if want := r.Purposes[i].Leaves[j].Times; !slices.Equal(l.Times[:len(want)], want) {
				t.Fatalf("leaf %d of purpose %d grew into its neighbour", j, i)
			}
		}
	}
}

func TestDerivedPartsAreNotStored(t *testing.T) {
	r := subject.NewRecord(subject.ID{Value: "u1"})
	p := r.EnsurePurpose("marketing")
	plain := AppendRecord(nil, r)
	p.Indexed = true
	p.Arm(3, 77)
	p.Leaves = []subject.Leaf{{Key: 9}} // without evidence
	if b := AppendRecord(nil, r); !bytes.Equal(b, plain) {
		t.Errorf("derived parts changed the encoding:\n%x\n%x", plain, b)
	}
}

func TestDecodeRejects(t *testing.T) {
	good := AppendRecord(nil, sampleRecord())
	bare := sampleRecord()
	bare.Shadow = nil
	plain := AppendRecord(nil, bare)
	for name, b := range map[string][]byte{
		"nothing":         nil,
		"version 0":       append([]byte{0}, good[1:]...),
		"trailing bytes":  append(slices.Clone(good), 0),
		"unknown flag":    append([]byte{good[0], good[1] | 0x80}, good[2:]...),
		"shadow of v1":    append([]byte{1}, good[1:]...),
		"no shadow":       append([]byte{good[0], good[1] | flagShadow}, plain[2:]...),
		"named shadow":    AppendRecord(slices.Clone(headOf(good, plain)), &subject.Record{ID: subject.ID{Value: "x"}, Clock: subject.LongAgo, Next: subject.Never}),
		"shadowed shadow": append(slices.Clone(headOf(good, plain)), AppendRecord(nil, shadowOnly())...),
		"older shadow":    append(slices.Clone(headOf(good, plain)), append([]byte{1}, AppendRecord(nil, &subject.Record{Clock: subject.LongAgo, Next: subject.Never})[1:]...)...),
		"unit 3":          append([]byte{good[0], flagUnitMask}, good[2:]...),
		"held to Next":    held(1, 1),
		"nothing held":    held(-1, 0),
		"erased in v2":    append([]byte{2}, AppendRecord(nil, sampleFence())[1:]...),
		"named fence":     append(append(slices.Clone(AppendRecord(nil, sampleFence())[:2]), 1, 'x'), AppendRecord(nil, sampleFence())[3:]...),
		"held in v1":      append([]byte{1}, held(1, 2)[1:]...),
		"huge id":         {CodecVersion, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"huge purposes":   {CodecVersion, flagUnitMask &^ (1 << flagUnitShift), 0, 0, 1, 0, 0xff, 0xff, 0xff, 0x7f},
		"overlong varint": {CodecVersion, flagUnitMask &^ (1 << flagUnitShift), 0, 0x80, 0, 1, 0, 0, 0},
	} {
		if _, err := DecodeRecord(b); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v, want %v", name, err, ErrRecord)
		}
	}
	if r, err := DecodeRecord(held(1, 2)); err != nil || r.Due() != 2 {
		t.Errorf("held until 2: %+v, %v", r, err)
	}
	for n := range len(good) {
		if _, err := DecodeRecord(good[:n]); !errors.Is(err, ErrRecord) {
			t.Errorf("cut to %d of %d bytes: %v, want %v", n, len(good), err, ErrRecord)
		}
	}
	newer := append([]byte{CodecVersion + 1}, good[1:]...)
	if _, err := DecodeRecord(newer); !errors.Is(err, ErrNewerVersion) {
		t.Errorf("newer version: %v, want %v", err, ErrNewerVersion)
	}
}

// headOf is a record that has a shadow, without it.
func headOf(good, plain []byte) []byte { return good[:len(plain)] }

// held is a record of v2 whose next instant is held until another.
func held(next, until subject.Instant) []byte {
	b := AppendRecord(nil, &subject.Record{Clock: 0, Next: next})
	e := encoder{b: []byte{b[0], b[1] | flagHeld}, unit: 1}
	e.b = append(e.b, b[2:4]...) // no id, version 0
	e.time(0)
	e.time(next)
	e.time(0)
	e.time(until)
	return append(e.b, 0, 0)
}

func shadowOnly() *subject.Record {
	s := &subject.Record{Clock: subject.LongAgo, Next: subject.Never}
	s.Shadow = &subject.Record{Clock: subject.LongAgo, Next: subject.Never}
	return s
}

func TestEncodingBrokenInvariantsPanics(t *testing.T) {
	for name, breakIt := range map[string]func(r *subject.Record){
		"purposes": func(r *subject.Record) { r.Purposes[0], r.Purposes[1] = r.Purposes[1], r.Purposes[0] },
		"leaves":   func(r *subject.Record) { slices.Reverse(r.Purposes[0].Leaves) },
		"members":  func(r *subject.Record) { slices.Reverse(r.Purposes[0].Members) },
		"traits":   func(r *subject.Record) { slices.Reverse(r.Purposes[0].Traits) },
		"times":    func(r *subject.Record) { slices.Reverse(r.Purposes[0].Leaves[0].Times) },
		"values":   func(r *subject.Record) { r.Purposes[0].Leaves[1].Values = r.Purposes[0].Leaves[1].Values[:1] },
		"grants":   func(r *subject.Record) { slices.Reverse(r.Purposes[1].Basis.Grants) },
		"shadow":   func(r *subject.Record) { r.Shadow.Shadow = subject.NewRecord(r.ID) },
		"held":     func(r *subject.Record) { r.Held.Until = r.Next },
		"stop":     func(r *subject.Record) { r.Purposes[1].Basis.Stop.At = r.Purposes[1].Basis.Grants[0].At },
	} {
		r := sampleRecord()
		breakIt(r)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s out of order were written", name)
				}
			}()
			AppendRecord(nil, r)
		}()
	}
}

func TestGoldenRecordsDecode(t *testing.T) {
	for kind, want := range map[string]*subject.Record{"each": sampleRecord(), "table": shopper(rand.New(rand.NewPCG(1, 1)), 1), "rights": sampleOfRights(), "fence": sampleFence()} {
		now := filepath.Join("testdata", fmt.Sprintf("record-%s-v%d.bin", kind, CodecVersion))
		if *rewrite {
			if err := os.WriteFile(now, AppendRecord(nil, want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		names, err := filepath.Glob(filepath.Join("testdata", "record-"+kind+"-v*.bin"))
		if err != nil || !slices.Contains(names, now) {
			t.Fatalf("%s is missing (%v): go test -run Golden -rewrite", now, err)
		}
		for _, name := range names {
			wanted := *want
			if strings.HasSuffix(name, "-v1.bin") {
				wanted.Shadow = nil
			}
			checkGolden(t, name, &wanted)
		}
		if b, err := os.ReadFile(now); err != nil || !bytes.Equal(AppendRecord(nil, want), b) {
			t.Errorf("%s is not what this version writes (%v): a changed format needs a new CodecVersion", now, err)
		}
	}
}

// Records that an older version has written are read, and written in the
// present version once they are put.
func TestOlderRecordsMigrate(t *testing.T) {
	s := openStore(t, t.TempDir()+"/data", testOptions())
	p := openPartition(t, s, 0)
	old, err := os.ReadFile(filepath.Join("testdata", "record-each-v1.bin"))
	if err != nil {
		t.Fatal(err)
	}
	want := sampleRecord()
	want.Shadow = nil
	key := NewKeyer(testOptions().Secret).Key(want.ID)
	if err := errors.Join(p.Restore(key[:], old), p.RestoreDone(Checkpoint{Format: CheckpointFormat, Group: "g", Transaction: 1}, 1)); err != nil {
		t.Fatal(err)
	}
	r, err := p.Get(want.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, r, sameRecord); diff != "" {
		t.Fatal(diff)
	}
	if err := p.Put(r); err != nil {
		t.Fatal(err)
	}
	if d := p.Dirty(); len(d) != 1 || d[0].Value[0] != CodecVersion || !bytes.Equal(d[0].Value, AppendRecord(nil, want)) {
		t.Errorf("it is written as %x", d)
	}
}

func checkGolden(t *testing.T, name string, want *subject.Record) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := DecodeRecord(b)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if diff := cmp.Diff(want, r, sameRecord); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestRecordsAreSmall(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape shape
		limit int
	}{
		{"25 events, seconds", shape{25, 1_000_000, 30 * subject.Day}, 370},
		{"25 events, milliseconds", shape{25, 1_000, 30 * subject.Day}, 410},
		{"100 events, seconds, a day", shape{100, 1_000_000, subject.Day}, 450},
		{"100 events, seconds", shape{100, 1_000_000, 30 * subject.Day}, 510},
		{"100 events, milliseconds", shape{100, 1_000, 30 * subject.Day}, 690},
	} {
		n := len(AppendRecord(nil, c.shape.record(rand.New(rand.NewPCG(1, 1)), 1)))
		t.Logf("20 leaves of 5 times, %s: %d bytes", c.name, n)
		if n > c.limit {
			t.Errorf("%s: %d bytes, want at most %d", c.name, n, c.limit)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(AppendRecord(nil, sampleRecord()))
	goldens, err := filepath.Glob(filepath.Join("testdata", "record-*.bin"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range goldens {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		f.Add(AppendRecord(nil, randomRecord(rng)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := DecodeRecord(b)
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > uint64(600*len(b))+64<<10 {
			t.Fatalf("%d bytes of memory for %d of input", spent, len(b))
		}
		if err != nil {
			return
		}
		again := AppendRecord(nil, r)
		if b[0] == CodecVersion && !bytes.Equal(again, b) {
			t.Fatalf("a record is written in two ways:\n%x\n%x", b, again)
		}
		// What an older version wrote is the same record in the present version.
		if same, err := DecodeRecord(again); err != nil || !bytes.Equal(AppendRecord(nil, same), again) {
			t.Fatalf("%x is written as\n%x: %v", b, again, err)
		}
	})
}

func BenchmarkEncodeRecord(b *testing.B) {
	for _, c := range []struct {
		name   string
		record *subject.Record
	}{{"shopper", shopper(rand.New(rand.NewPCG(1, 1)), 1)}, {"busy", busy(rand.New(rand.NewPCG(1, 1)))}} {
		b.Run(c.name, func(b *testing.B) {
			var e Encoder
			buf := e.Append(nil, c.record)
			b.ReportAllocs()
			for b.Loop() {
				buf = e.Append(buf[:0], c.record)
			}
			b.ReportMetric(float64(len(buf)), "bytes")
		})
	}
}

// busy is a subject of whom 300 events are kept for 60 leaves, in each as many as its bound allows.
func busy(rng *rand.Rand) *subject.Record {
	r := shopper(rng, 1)
	times := make([]subject.Instant, 300)
	for i := range times {
		times[i] = r.Clock - subject.Day + subject.Instant(i)*60_000_000 + subject.Instant(rng.IntN(1000_000))
	}
	leaves := make([]subject.Leaf, 60)
	for i := range leaves {
		leaves[i].Key = uint32(i+1) << 20
		for j := range times {
			if rng.IntN(300) < 5*(1+i%20) {
				leaves[i].Times = append(leaves[i].Times, times[j])
				if i%2 == 0 {
					leaves[i].Values = append(leaves[i].Values, subject.OfInt(rng.Int64N(10_000)))
				}
			}
		}
	}
	r.Purposes[0].Leaves = leaves
	return r
}

func BenchmarkDecodeRecord(b *testing.B) {
	data := AppendRecord(nil, shopper(rand.New(rand.NewPCG(1, 1)), 1))
	var d Decoder
	b.Run("Decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Peek", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Peek(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// sampleRecord has one of everything that the codec writes. The golden files hold it.
// sampleOfRights is a subject that was erased, came back, and is restricted.
func sampleOfRights() *subject.Record {
	r := sampleRecord()
	r.Erased = r.Clock - subject.Day
	r.Purposes[0].Basis.Stop = subject.Stop{At: r.Erased, Status: subject.Forgotten}
	r.Restrictions = []subject.Restriction{{At: r.Clock - 1000}, {At: r.Clock, Lifted: true}, {At: r.Clock}}
	r.Corrections = []subject.Trait{{Key: "plan", Time: r.Clock + 1000, Value: subject.OfString("pro")}, {Key: "city", Time: r.Clock + 2000}}
	return r
}

// sampleFence is all that is kept of a subject that was erased.
func sampleFence() *subject.Record {
	r := subject.NewRecord(subject.ID{Type: subject.AnonymousID})
	r.Version, r.Clock, r.Erased = 301, sampleRecord().Clock, sampleRecord().Clock
	return r
}

func sampleRecord() *subject.Record {
	const at = subject.Instant(1_767_225_600_123_000) // 2026-01-01, whole milliseconds
	wide, _ := subject.ParseNumber("-123456789012345678901234567890.5")
	price, _ := subject.ParseNumber("49.90")
	r := subject.NewRecord(subject.ID{Type: subject.AnonymousID, Value: "zoë-ß-1"})
	r.Version, r.Clock, r.Next = 300, at, at+subject.Day
	r.Purposes = []subject.Purpose{
		{Key: "marketing",
			Basis:  subject.Basis{Known: true, Since: subject.LongAgo, Until: subject.Never},
			Traits: []subject.Trait{{Key: "age", Time: at - 1000, Value: subject.OfInt(42)}, {Key: "plan", Time: at, Value: subject.Value{}}, {Key: "tags", Time: at, Value: sampleValue(wide)}},
			Leaves: []subject.Leaf{
				{Key: 7, Truncated: true, Times: []subject.Instant{at - 5*subject.Day, at - subject.Day, at - subject.Day, at}},
				{Key: math.MaxUint32, Times: []subject.Instant{at - 2000, at - 1000}, Values: []subject.Value{subject.OfNumber(price), subject.OfString("EUR")}},
			},
			Members: []subject.Membership{{Segment: 1, Since: at}, {Segment: 0xdeadbeef, Since: at - subject.Day}},
		},
		{Key: "research", Basis: subject.Basis{Lapsed: true, Until: at, Stop: subject.Stop{At: at - 2*subject.Day, Status: subject.Withdrawn},
			Grants: []subject.Grant{{At: at - subject.Day, Expires: at}, {At: at, Expires: subject.Never}}}},
	}
	r.Messages = []subject.Message{{Hash: 0x0102030405060708, At: at - 1000}, {Hash: math.MaxUint64, At: at}}
	r.Shadow = sampleShadow(r.ID, at-3*subject.Day)
	return r
}

// sampleShadow has another unit and another table than its record.
func sampleShadow(id subject.ID, at subject.Instant) *subject.Record {
	s := subject.NewRecord(id)
	s.Version, s.Clock, s.Next = 2, at+1, at+subject.Day
	s.Purposes = []subject.Purpose{{Key: "marketing", Basis: subject.Basis{Known: true, Since: subject.LongAgo, Until: subject.Never},
		Leaves:  []subject.Leaf{{Key: 8, Times: []subject.Instant{at, at + 1}}, {Key: 9, Times: []subject.Instant{at, at + 1}}},
		Members: []subject.Membership{{Segment: 1, Since: at}}}}
	s.Messages = []subject.Message{{Hash: 7, At: at}}
	return s
}

func sampleValue(wide subject.Number) subject.Value {
	small, _ := subject.Decimal(-7, -300)
	return subject.OfMap([]subject.Field{
		{Key: "list", Value: subject.OfList([]subject.Value{subject.True, subject.False, {}, subject.OfNumber(wide), subject.OfNumber(small)})},
		{Key: "times", Value: subject.OfList([]subject.Value{subject.OfTime(1), subject.OfTime(-1_000), subject.OfTime(5_000_000), subject.OfTime(subject.Never), subject.OfDuration(-5)})},
		{Key: "empty", Value: subject.OfList(nil)},
		{Key: "", Value: subject.OfMap(nil)},
		{Key: "ints", Value: subject.OfList([]subject.Value{subject.OfInt(math.MinInt64), subject.OfInt(math.MaxInt64), subject.OfInt(0), subject.OfInt(1_000_000)})},
	})
}

// shape says what a typical record was made from: so many events within a span
// of time, in units of microseconds.
type shape struct {
	events     int
	unit, span subject.Instant
}

// shopper is a record as most are.
func shopper(rng *rand.Rand, n int) *subject.Record {
	return shape{25, 1_000, 30 * subject.Day}.record(rng, n)
}

// record has 20 leaves of 5 times each and 5 segments.
func (s shape) record(rng *rand.Rand, n int) *subject.Record {
	const start = subject.Instant(1_790_000_000_000_000)
	ago := func() subject.Instant { return start - subject.Instant(rng.Int64N(int64(s.span/s.unit)))*s.unit }
	r := subject.NewRecord(subject.ID{Value: fmt.Sprintf("customer-%07d", n)})
	r.Version, r.Clock = uint64(rng.IntN(100)), start
	p := r.EnsurePurpose("marketing")
	p.Basis.Known, p.Basis.Since = true, start-60*subject.Day
	p.Basis.Grants = []subject.Grant{{At: p.Basis.Since, Expires: subject.Never}}
	events := make([]subject.Instant, s.events)
	for i := range events {
		events[i] = ago()
	}
	for range 20 {
		l := p.EnsureLeaf(rng.Uint32())
		for range 5 {
			l.Times = append(l.Times, events[rng.IntN(len(events))])
		}
		slices.Sort(l.Times)
	}
	for range 5 {
		p.SetMember(rng.Uint32(), true, ago())
	}
	r.Next = start + subject.Instant(rng.Int64N(int64(s.span/s.unit)))*s.unit
	return r
}

// randomRecord keeps the INVARIANTs and nothing else.
func randomRecord(rng *rand.Rand) *subject.Record {
	g := generator{rng: rng, unit: []int64{1, 1_000, 1_000_000}[rng.IntN(3)]}
	for range rng.IntN(2) * rng.IntN(8) {
		g.events = append(g.events, g.time())
	}
	r := &subject.Record{ID: subject.ID{Type: subject.IDType(rng.IntN(2)), Value: g.text()}, Version: rng.Uint64() >> rng.IntN(64), Clock: g.time(), Next: g.time()}
	if held := (subject.Held{Since: g.time(), Until: g.time()}); held.Until > r.Next {
		r.Held = held
	}
	key := ""
	for range rng.IntN(4) {
		key += g.text() + "k"
		r.Purposes = append(r.Purposes, g.purpose(key))
	}
	for range rng.IntN(5) {
		r.Messages = append(r.Messages, subject.Message{Hash: rng.Uint64(), At: g.time()})
	}
	if rng.IntN(3) == 0 {
		r.Shadow = randomRecord(rng)
		r.Shadow.ID, r.Shadow.Shadow = r.ID, nil
	}
	if rng.IntN(3) == 0 {
		g.rights(r)
	}
	return r
}

// rights restricts a record and makes it one of a subject that was erased.
func (g generator) rights(r *subject.Record) {
	for range g.rng.IntN(4) {
		r.Restrictions = append(r.Restrictions, subject.Restriction{At: g.time(), Lifted: g.rng.IntN(2) == 0})
	}
	if g.rng.IntN(2) == 0 {
		r.Erased = g.time()
	}
	r.Restrictions = slices.DeleteFunc(r.Restrictions, func(x subject.Restriction) bool { return r.Erased != 0 && x.At <= r.Erased })
	slices.SortFunc(r.Restrictions, func(x, y subject.Restriction) int {
		if x.Before(y) {
			return -1
		}
		return 1
	})
	r.Restrictions = slices.Compact(r.Restrictions)
	for i := range g.rng.IntN(3) {
		r.Corrections = append(r.Corrections, subject.Trait{Key: string(rune('a' + i)), Time: r.Clock + subject.Instant(int64(i)*g.unit), Value: subject.OfInt(int64(i))})
	}
	r.Corrections = slices.DeleteFunc(r.Corrections, func(c subject.Trait) bool {
		return c.Time == subject.Never || r.Clock == subject.LongAgo || r.Erased != 0 && c.Time <= r.Erased
	})
	if r.IsFence() {
		r.ID.Value, r.Held, r.Messages, r.Shadow, r.Corrections = "", subject.Held{}, nil, nil, nil
	}
}

type generator struct {
	rng    *rand.Rand
	unit   int64
	events []subject.Instant // what leaves' times are drawn from; none: each is its own
}

func (g generator) text() string {
	b := make([]byte, g.rng.IntN(12))
	for i := range b {
		b[i] = byte('a' + g.rng.IntN(26))
	}
	return string(b)
}

func (g generator) time() subject.Instant {
	switch g.rng.IntN(12) {
	case 0:
		return subject.Never
	case 1:
		return subject.LongAgo
	case 2:
		return 0
	case 3:
		return subject.Instant(g.rng.Int64() - g.rng.Int64())
	}
	return subject.Instant((1_790_000_000_000_000 + g.rng.Int64N(1<<42) - 1<<41) / g.unit * g.unit)
}

func (g generator) event() subject.Instant {
	if len(g.events) > 0 {
		return g.events[g.rng.IntN(len(g.events))]
	}
	return g.time()
}

func (g generator) purpose(key string) subject.Purpose {
	p := subject.Purpose{Key: key}
	p.Basis = subject.Basis{Known: g.rng.IntN(2) == 0, Lapsed: g.rng.IntN(2) == 0, Since: g.time(), Until: g.time(),
		Stop: subject.Stop{At: g.time(), Status: subject.Status(g.rng.IntN(5))}}
	for range g.rng.IntN(4) {
		if grant := (subject.Grant{At: g.time(), Expires: g.time()}); p.Basis.Stop.Status == subject.NoDecision || grant.At > p.Basis.Stop.At {
			p.Basis.Grants = append(p.Basis.Grants, grant)
		}
	}
	slices.SortFunc(p.Basis.Grants, func(a, b subject.Grant) int { return stdcmp.Compare(a.At, b.At) })
	last := ""
	for range g.rng.IntN(4) {
		last += "a" + g.text()
		p.Traits = append(p.Traits, subject.Trait{Key: last, Time: g.time(), Value: g.value(3)})
	}
	for range g.rng.IntN(5) {
		l := p.EnsureLeaf(g.rng.Uint32() >> g.rng.IntN(32))
		l.Truncated = g.rng.IntN(2) == 0
		l.Times, l.Values = nil, nil
		for range 1 + g.rng.IntN(6) {
			l.Times = append(l.Times, g.event())
		}
		slices.Sort(l.Times)
		if g.rng.IntN(2) == 0 {
			for range l.Times {
				l.Values = append(l.Values, g.value(2))
			}
		}
	}
	for range g.rng.IntN(5) {
		p.SetMember(g.rng.Uint32()>>g.rng.IntN(32), true, g.time())
	}
	return p
}

func (g generator) value(depth int) subject.Value {
	switch k := g.rng.IntN(9); {
	case k == 0:
		return subject.Value{}
	case k == 1:
		return subject.OfBool(g.rng.IntN(2) == 0)
	case k == 2:
		return subject.OfString(g.text())
	case k == 3:
		return subject.OfTime(g.time())
	case k == 4:
		return subject.OfDuration(g.rng.Int64() - g.rng.Int64())
	case k == 5 && depth > 0:
		l := make([]subject.Value, g.rng.IntN(12))
		for i := range l {
			l[i] = g.value(depth - 1)
		}
		return subject.OfList(l)
	case k == 6 && depth > 0:
		fields := make([]subject.Field, g.rng.IntN(12))
		for i := range fields {
			fields[i] = subject.Field{Key: fmt.Sprint(g.text(), i), Value: g.value(depth - 1)}
		}
		return subject.OfMap(fields)
	}
	return subject.OfNumber(g.number())
}

func (g generator) number() subject.Number {
	for {
		if g.rng.IntN(4) == 0 {
			wide := new(big.Int).Mul(big.NewInt(g.rng.Int64()), big.NewInt(g.rng.Int64()))
			wide.Mul(wide, big.NewInt(int64(1-2*g.rng.IntN(2))))
			if n, ok := subject.DecimalBig(wide, int32(g.rng.IntN(500)-250)); ok {
				return n
			}
			continue
		}
		if n, ok := subject.Decimal((g.rng.Int64()-g.rng.Int64())>>g.rng.IntN(64), int32(g.rng.IntN(40)-20)); ok {
			return n
		}
	}
}
