package core_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/core/oracle"
	"github.com/segmentd/segmentd/processor/portable"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// imported counts what TestImportedIsWhatWasExported has compared.
type imported struct{ documents, evidence, traits, grants, members int }

// TestImportedIsWhatWasExported takes random subjects to an engine that knows nothing
// of them: what it hands over is what it was handed, it decides the same as long as
// no answer rests on former answers, and taking it in again changes nothing.
func TestImportedIsWhatWasExported(t *testing.T) {
	var seen imported
	for seed := range uint64(400) {
		c := oracle.Generate(rand.New(rand.NewPCG(seed, 7)))
		set, problems := rules.Load(c.Rules)
		if set == nil {
			t.Fatal(problems)
		}
		for _, r := range recordsOf(t, set, c) {
			if err := seen.check(set, r.Record, &r.dossier); err != nil {
				t.Fatalf("seed %d: %v\nrules:\n%s\ninputs:\n%s", seed, err, c.Text, strings.Join(c.Inputs, "\n--\n"))
			}
		}
	}
	t.Logf("%+v", seen)
	if seen.documents < 60 || seen.evidence < 40 || seen.traits < 20 || seen.grants < 40 || seen.members == 0 {
		t.Errorf("too little was compared: %+v", seen)
	}
}

type exported struct {
	*subject.Record
	dossier subject.Dossier
}

// recordsOf replays a case.
func recordsOf(t *testing.T, set *rules.Set, c oracle.Case) (all []exported) {
	t.Helper()
	var sources []replay.Source
	for _, text := range c.Inputs {
		sources = append(sources, replay.Source{Name: "in", Reader: strings.NewReader(text)})
	}
	records, _, err := replay.Run(context.Background(), replay.Config{Rules: set, Until: c.Until}, sources)
	if err != nil {
		t.Fatal(err)
	}
	proofs := proofsOf(set, c.Inputs)
	if err := records.Each(func(r *subject.Record) error {
		d := subject.Dossier{ID: r.ID, Proofs: proofs[r.ID]}
		d.Proofs = slices.DeleteFunc(d.Proofs, func(x subject.Proof) bool { return r.Erased != 0 && x.Time <= r.Erased })
		d.Dropped = uint64(max(0, len(d.Proofs)-subject.MaxProofs))
		d.Proofs = d.Proofs[d.Dropped:]
		all = append(all, exported{r.Clone(), d})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// proofsOf reads the decisions among inputs.
func proofsOf(set *rules.Set, inputs []string) map[subject.ID][]subject.Proof {
	var purposes []string
	for i := range set.Purposes {
		purposes = append(purposes, set.Purposes[i].Key)
	}
	decoder := wire.NewDecoder(wire.DecoderOptions{Fields: set.Fields, Purposes: purposes})
	proofs := map[subject.ID][]subject.Proof{}
	for i, text := range inputs {
		for n, line := range strings.Split(strings.TrimSpace(text), "\n") {
			at := subject.Position{Topic: fmt.Sprintf("in:%d", i), Offset: int64(n)}
			item, _ := decoder.Decode(wire.Mixed, wire.Input{Value: []byte(line), Timestamp: subject.Never, Source: at})
			for _, d := range item.Decisions {
				proofs[d.Subject] = append(proofs[d.Subject], subject.Proof{Purpose: d.Purpose, Status: d.Status, Explicit: d.Explicit, Time: d.Time,
					Arrival: d.Arrival, Expires: d.Expires, NoticeVersion: d.NoticeVersion, Method: d.Method, RecordID: d.RecordID, Source: d.Source})
			}
		}
	}
	return proofs
}

func documentOf(set *rules.Set, r *subject.Record, d *subject.Dossier) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	err := e.Encode(portable.Of(set, r, d, 1))
	return b.Bytes(), err
}

func (seen *imported) check(set *rules.Set, r *subject.Record, d *subject.Dossier) error {
	if r.IsFence() {
		return nil
	}
	document, err := documentOf(set, r, d)
	if err != nil {
		return err
	}
	id, in, err := portable.Parse(document)
	if err != nil {
		return err
	}
	there, engine := subject.NewRecord(id), core.New(set, core.Config{})
	request := &subject.Request{Subject: id, Kind: subject.Import, Portable: in, Time: subject.Never - 1, Arrival: subject.Never}
	engine.Import(there, request)
	again, err := documentOf(set, there, &subject.Dossier{ID: id, Proofs: in.Decisions, Dropped: in.Dropped})
	if err != nil {
		return err
	}
	if diff := cmp.Diff(string(document), string(again)); diff != "" {
		return fmt.Errorf("exported again (+):\n%s", diff)
	}
	version := there.Version
	if done := engine.Import(there, request); done.Changed || there.Version != version {
		return fmt.Errorf("importing again changes the record: %+v", done)
	}
	seen.documents++
	for i := range in.Purposes {
		p := &in.Purposes[i]
		seen.evidence, seen.traits, seen.grants = seen.evidence+len(p.Evidence), seen.traits+len(p.Traits), seen.grants+len(p.Basis.Grants)
	}
	return seen.compareMembers(set, r, there)
}

func (seen *imported) compareMembers(set *rules.Set, r, there *subject.Record) error {
	for i := range set.Segments {
		if set.Segments[i].Stateful() {
			return nil
		}
	}
	for i := range r.Purposes {
		p := &r.Purposes[i]
		pi, ok := set.PurposeIndex(p.Key)
		if !ok || !portable.Covers(&set.Purposes[pi]) {
			continue
		}
		want, got := membersOf(set, p), membersOf(set, there.Purpose(p.Key))
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("memberships for %s (-there +here):\n%s", p.Key, diff)
		}
		seen.members += len(want)
	}
	return nil
}

func membersOf(set *rules.Set, p *subject.Purpose) (keys []string) {
	if p == nil {
		return nil
	}
	for _, m := range p.Members {
		if i, ok := set.SegmentByID(m.Segment); ok {
			keys = append(keys, set.Segments[i].Key)
		}
	}
	slices.Sort(keys)
	return keys
}
