package processor

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// phase is what a change of rules is doing in a partition. The phases follow one
// another; those that a change does not need are left out.
type phase uint8

const (
	resetting  phase = iota // dropping the shadows of a change that was given up
	rereading               // reading decisions again that count otherwise now
	sweeping                // bringing every record to the new rules
	filling                 // reading events again, beside live ones
	takingOver              // letting every record take over from its shadow
	ended
)

var phaseNames = [ended]string{"reset", "decisions", "sweep", "backfill", "takeover"}

// span is how far a topic has been read again, in offsets.
type span struct {
	start int64 // of the first record read
	next  int64 // to read
	end   int64 // of decisions: where it ends; of events: 0 until a record has been read
}

// progress is how far a change of rules has got in a partition: what the cursors
// of its checkpoints say. All of it is written with each transaction, so that a
// change goes on after a crash where its last transaction ended.
type progress struct {
	phase   phase
	from    string          // hash of the former rule set; "": it cannot be told
	at      subject.Instant // the partition's clock when it began
	key     *state.Key      // the last record that the phase is done with; nil: none
	reread  map[string]span // by topic of decisions: up to its end
	again   map[string]span // by topic of events; up to where live ones are
	clock   subject.Instant // of reading events again
	covered subject.Instant // arrival of the first event read again, where topics no longer hold all; LongAgo: they do
}

// Names of cursors.
const (
	cursorPhase     = "change"
	cursorFrom      = "change.from"
	cursorAt        = "change.at"
	cursorKey       = "change.key"
	cursorClock     = "backfill.clock"
	cursorCovered   = "backfill.covered"
	prefixDecisions = "decisions/"
	prefixEvents    = "events/"
	prefixCoverage  = "coverage/"
	prefixGap       = "gap/"
)

// told is what the cursors of a checkpoint say beside a change of rules.
type told struct {
	coverage map[string]subject.Instant // by segment
	accepted map[string]AcceptedGap     // by topic
}

// cursors writes progress, nil where no change is under way, and what else is told.
func cursors(p *progress, t told) map[string]string {
	all := map[string]string{}
	for segment, at := range t.coverage {
		all[prefixCoverage+segment] = instantText(at)
	}
	for topic, g := range t.accepted {
		all[prefixGap+topic] = strings.TrimSuffix(fmt.Sprintf("%d %d %d %d %s", g.Partition, g.From, g.To, int64(g.At), g.Anew), " ")
	}
	if p == nil {
		return all
	}
	all[cursorPhase], all[cursorFrom], all[cursorAt] = phaseNames[p.phase], p.from, instantText(p.at)
	all[cursorClock], all[cursorCovered] = instantText(p.clock), instantText(p.covered)
	if p.key != nil {
		all[cursorKey] = hex.EncodeToString(p.key[:])
	}
	for topic, s := range p.reread {
		all[prefixDecisions+topic] = fmt.Sprintf("%d %d %d", s.start, s.next, s.end)
	}
	for topic, s := range p.again {
		all[prefixEvents+topic] = fmt.Sprintf("%d %d %d", s.start, s.next, s.end)
	}
	return all
}

func instantText(t subject.Instant) string { return strconv.FormatInt(int64(t), 10) }

// readCursors reads what cursors wrote. A cursor that it would not write is an error.
func readCursors(all map[string]string) (*progress, told, error) {
	t := told{map[string]subject.Instant{}, map[string]AcceptedGap{}}
	r := &progress{phase: ended, reread: map[string]span{}, again: map[string]span{}}
	for name, text := range all {
		if err := r.read(name, text, &t); err != nil {
			return nil, t, fmt.Errorf("cursor %q: %w", name, err)
		}
	}
	if r.phase == ended {
		return nil, t, nil
	}
	return r, t, nil
}

func (p *progress) read(name, text string, t *told) (err error) {
	switch name {
	case cursorPhase:
		p.phase, err = parsePhase(text)
		return err
	case cursorFrom:
		p.from = text
		return nil
	case cursorAt:
		return readInstant(text, &p.at)
	case cursorClock:
		return readInstant(text, &p.clock)
	case cursorCovered:
		return readInstant(text, &p.covered)
	case cursorKey:
		return p.readKey(text)
	}
	if topic, ok := strings.CutPrefix(name, prefixDecisions); ok {
		return readSpan(text, topic, p.reread)
	}
	if topic, ok := strings.CutPrefix(name, prefixEvents); ok {
		return readSpan(text, topic, p.again)
	}
	if segment, ok := strings.CutPrefix(name, prefixCoverage); ok {
		var at subject.Instant
		err = readInstant(text, &at)
		t.coverage[segment] = at
		return err
	}
	if topic, ok := strings.CutPrefix(name, prefixGap); ok {
		return readGap(text, topic, t.accepted)
	}
	return fmt.Errorf("it is not known to this version")
}

func parsePhase(text string) (phase, error) {
	for i, name := range phaseNames {
		if name == text {
			return phase(i), nil
		}
	}
	return ended, fmt.Errorf("%q is no phase", text)
}

func readInstant(text string, to *subject.Instant) error {
	n, err := strconv.ParseInt(text, 10, 64)
	*to = subject.Instant(n)
	return err
}

func (p *progress) readKey(text string) error {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != state.KeyBytes {
		return fmt.Errorf("%q is no key", text)
	}
	key := state.Key(b)
	p.key = &key
	return nil
}

func readSpan(text, topic string, to map[string]span) error {
	var s span
	if n, err := fmt.Sscanf(text, "%d %d %d", &s.start, &s.next, &s.end); err != nil || n != 3 {
		return fmt.Errorf("%q is not three offsets", text)
	}
	to[topic] = s
	return nil
}

func readGap(text, topic string, to map[string]AcceptedGap) error {
	g := AcceptedGap{Gap: Gap{Topic: topic}}
	if n, _ := fmt.Sscan(text, &g.Partition, &g.From, &g.To, &g.At, &g.Anew); n < 4 {
		return fmt.Errorf("%q is not a partition, two offsets, an instant and perhaps a topic's id", text)
	}
	to[topic] = g
	return nil
}

// passed reports whether a phase that goes by keys is done with a record.
func (p *progress) passed(key state.Key) bool { return p.key != nil && key.Compare(*p.key) <= 0 }
