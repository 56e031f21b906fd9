// Package oracle decides memberships the slow and obvious way, so that tests
// can hold the engine to it: it keeps every admitted event of every subject and
// recomputes each answer from that full history at every instant at which
// anything could change. It shares no evaluation code with the engine: rules
// are parsed by cel-go's parser alone and walked as a tree, numbers are
// math/big.Rat, consent is recomputed from the whole list of decisions.
//
// It is imported only by tests. It expects rules that `segmentd check` accepts
// and is silent or vague about most mistakes in them.
//
// Subjects are independent of each other but for one thing, the clock of the
// whole input, which is known beforehand. So the input is read whole, split by
// subject, and every subject is simulated alone against the sequence of clocks.
package oracle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"sort"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// ErrNotAvailable means that rules or input use what the oracle does not know.
var ErrNotAvailable = errors.New("not available in the oracle")

// Options are what `segmentd replay` takes as flags, and what only a test needs.
type Options struct {
	Until         subject.Instant // moves the clock on at the end; 0: it stays at the newest input
	AssumeConsent []string        // purposes every subject consented to before its first input
	DedupeWindow  time.Duration   // 0: 24h
	// Bucket gives bucket(salt); nil: every bucket is 0.
	Bucket func(id subject.ID, salt string) *big.Rat
	// Exhaustive decides every segment, not only those that an instant concerns,
	// also a microsecond before and after each instant at which something could
	// change, and at many at which nothing can. It must change nothing.
	Exhaustive bool
}

// Change is one published membership change.
type Change struct {
	UserID   string
	IDType   string // userId | anonymousId
	Segment  string
	Change   string // entered | exited | erased
	Time     subject.Instant
	Reason   string
	Purpose  string
	Output   string // of erased: for which of the purposes' outputs; "" is the default one
	Version  uint64
	CausedBy string // messageId of the causing event or identify; "" for time and decisions
	// Tie marks a change in the pass of an input that would have come at this
	// very instant by time alone: its reason is a matter of view.
	Tie bool
	// Due marks a change in the pass of an input at an instant at which something
	// that the segment reads changes by time too, though not enough by itself.
	Due bool
}

// Member is one membership at the end of the input.
type Member struct {
	UserID  string
	IDType  string
	Segment string
	Since   subject.Instant
}

// Run replays the inputs (NDJSON; one in its own order, several merged by
// timestamp) under the rules and returns all changes, in the order of the
// inputs and timers that caused them, and the memberships at the end, sorted by
// segment and id. Records that no rule or purpose concerns are passed over;
// malformed ones are errors.
func Run(rules fs.FS, inputs []io.Reader, opts Options) ([]Change, []Member, error) {
	set, err := parseRules(rules)
	if err != nil {
		return nil, nil, fmt.Errorf("read rules: %w", err)
	}
	if opts.DedupeWindow == 0 {
		opts.DedupeWindow = 24 * time.Hour
	}
	assumeConsent(set, opts.AssumeConsent)
	records, err := readInputs(set, inputs)
	if err != nil {
		return nil, nil, err
	}
	return simulateAll(set, records, opts)
}

// stamped is a change with what orders it among all subjects' changes.
type stamped struct {
	Change
	input int  // index of the input that brought it about
	timer bool // by the clock moving to that input, before the input itself
	at    subject.Instant
}

func simulateAll(set *ruleSet, records []record, opts Options) ([]Change, []Member, error) {
	clocks := clockSequence(records, opts.Until)
	var all []stamped
	var members []Member
	for _, own := range bySubject(records) {
		s := newSimulation(set, opts, clocks, records[own[0]].id)
		for _, i := range own {
			s.input(i, records[i])
		}
		s.finish()
		all = append(all, s.changes...)
		members = append(members, s.members()...)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].before(all[j]) })
	sortMembers(members)
	changes := make([]Change, len(all))
	for i, c := range all {
		changes[i] = c.Change
	}
	return changes, members, nil
}

func (c stamped) before(d stamped) bool {
	switch {
	case c.input != d.input:
		return c.input < d.input
	case c.timer != d.timer:
		return c.timer
	}
	return c.timer && c.at < d.at
}

// clockSequence returns the clock of the input after each record moved it, and
// at the end where until moves it.
func clockSequence(records []record, until subject.Instant) []subject.Instant {
	clocks := make([]subject.Instant, 0, len(records)+1)
	newest := subject.LongAgo
	for _, r := range records {
		newest = max(newest, r.at)
		clocks = append(clocks, newest)
	}
	if until != 0 {
		newest = max(newest, until)
	}
	return append(clocks, newest)
}

// bySubject returns the indices of each subject's records, subjects in order of
// their first record.
func bySubject(records []record) [][]int {
	var lists [][]int
	index := map[subject.ID]int{}
	for i, r := range records {
		at, ok := index[r.id]
		if !ok {
			at = len(lists)
			index[r.id] = at
			lists = append(lists, nil)
		}
		lists[at] = append(lists[at], i)
	}
	return lists
}

func sortMembers(m []Member) {
	sort.Slice(m, func(i, j int) bool {
		a, b := m[i], m[j]
		if a.Segment != b.Segment {
			return a.Segment < b.Segment
		}
		if a.UserID != b.UserID {
			return a.UserID < b.UserID
		}
		return a.IDType > b.IDType
	})
}
