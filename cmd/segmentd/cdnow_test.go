package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/core/cdnow"
	"github.com/segmentd/segmentd/processor/replay"
	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

var (
	cdnowKills = flag.Int("cdnow-kills", 3, "kill -9s of the processor while TestCDNOW's backlog is worked off")
	cdnowSeed  = flag.Uint64("cdnow-seed", 1, "of the moments of TestCDNOW's kills")
)

// TestCDNOW works a real history of 69,659 purchases off as one backlog, by the
// real binary against the broker as a process of its own, with kills: every
// change equals that of a replay, and of the customers who never consented
// nothing is found in any record of any topic but the inputs, nor in the data
// directory's image.
func TestCDNOW(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute with the real binary")
	}
	var events, decisions bytes.Buffer
	if err := errors.Join(cdnow.Events(&events), cdnow.Decisions(&decisions)); errors.Is(err, cdnow.ErrAbsent) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../processor/core/cdnow/rules/segments.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, _ := rules.Load(cdnow.Rules())
	l := newLiveWith(t, string(text), set, rand.New(rand.NewPCG(*cdnowSeed, 3)))
	l.sendLines("decisions", decisions.String())
	l.sendLines("events", events.String())
	l.workOff(*cdnowKills)

	want := l.replayOf(decisions.String(), events.String())
	got := bySubjectID(l.changes())
	total := 0
	for id := range want {
		total += len(got[id])
		if !sameChanges(want[id], got[id]) {
			t.Fatalf("customer %s: replay\n%v\nlive\n%v", id, want[id], got[id])
		}
	}
	t.Logf("%d changes of %d customers equal a replay, with %d kills (seed %d)", total, len(want), *cdnowKills, *cdnowSeed)
	if len(got) != len(want) {
		t.Errorf("%d customers have changes live, %d in a replay", len(got), len(want))
	}
	l.checkTraces(want, events.String())
}

func (l *live) sendLines(topic, lines string) {
	s := &sender{producer: l.producer, topic: topic, partitions: l.partitions}
	for line := range strings.Lines(lines) {
		if what := s.add(strings.TrimSpace(line)); what != "" {
			l.t.Fatal(what)
		}
		if s.full(context.Background()) {
			l.must(s.flush(context.Background()))
		}
	}
	l.must(s.flush(context.Background()))
}

// workOff runs the instances over the backlog, killing them at random moments.
func (l *live) workOff(kills int) {
	l.startAll()
	for range kills {
		<-time.After(150*time.Millisecond + time.Duration(l.rng.Int64N(int64(600*time.Millisecond))))
		l.instances[l.rng.IntN(len(l.instances))].kill()
		l.startAll()
	}
	l.awaitCaughtUp()
}

func (l *live) replayOf(texts ...string) map[string][]subject.Change {
	var sources []replay.Source
	for _, text := range texts {
		sources = append(sources, replay.Source{Name: "in", Reader: strings.NewReader(text)})
	}
	var all []subject.Change
	_, _, err := replay.Run(context.Background(), replay.Config{Rules: l.set, Until: subject.FromTime(time.Now()),
		Change: func(c *subject.Change) error { all = append(all, *c); return nil }}, sources)
	l.must(err)
	return bySubjectID(all)
}

// checkTraces looks for customers in every record of our topics and in the
// image. Those who consented must be found (the control), the others must not.
func (l *live) checkTraces(consenting map[string][]subject.Change, events string) {
	found := map[string]int{}
	for _, topic := range []string{"segmentd-changes", "segmentd-members", "segmentd-rejected", "segmentd-changelog"} {
		readSettled(l.t, l.client, topic, l.partitions, func(r *stream.Record) { noteIDs(found, r) })
	}
	for n, i := range l.instances {
		l.must(i.cmd.Process.Signal(os.Interrupt))
		_ = i.cmd.Wait()
		l.noteImage(filepath.Join(l.dir, "data"+[]string{"", "-" + strconv.Itoa(n)}[min(n, 1)]), found)
	}
	traces, others := 0, 0
	for line := range strings.Lines(events) {
		id := strings.SplitN(strings.SplitN(line, `"userId":"`, 2)[1], `"`, 2)[0]
		switch {
		case consenting[id] == nil && found[id] > 0:
			l.t.Fatalf("a trace of a customer who never consented: %s", id)
		case consenting[id] == nil:
			others++
		case found[id] > 0:
			traces++
		}
	}
	l.t.Logf("purchases of customers found %d (control), of customers who never consented %d, none of them found", traces, others)
	if traces == 0 || others == 0 {
		l.t.Error("the scan finds nothing: its control fails")
	}
}

// noteIDs counts the ids that a record's key, headers and decoded value hold.
func noteIDs(found map[string]int, r *stream.Record) {
	if d, err := state.DecodeDossier(r.Value); err == nil {
		found[d.ID.Value]++
		return
	}
	if rec, err := state.DecodeRecord(r.Value); err == nil {
		found[rec.ID.Value]++
		return
	}
	found[string(r.Key)]++
	for part := range strings.SplitSeq(string(r.Key), "|") {
		found[part]++
	}
	for part := range strings.SplitSeq(string(r.Value), `"`) {
		found[part]++
	}
	for _, h := range r.Headers {
		found[string(h.Value)]++
	}
}

// noteImage counts the ids in an instance's image.
func (l *live) noteImage(data string, found map[string]int) {
	store, err := state.Open(filepath.Join(data, "image"), state.Options{Group: "segmentd", Secret: []byte(rigSecret)})
	l.must(err)
	defer store.Close()
	records := 0
	for id := range l.partitions {
		p, err := store.Partition(id)
		l.must(err)
		l.must(p.Each(func(r *subject.Record) error {
			records++
			found[r.ID.Value]++
			return nil
		}))
		l.must(p.Close())
	}
	if records == 0 {
		l.t.Error("the image is empty: it cannot show what it keeps")
	}
}
