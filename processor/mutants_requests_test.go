package processor

import (
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/mutation"
)

// requestMutants are mistakes that are easily made where data subjects' requests are
// done and data removed for good: by package and test that catch them.
var requestMutants = []struct {
	pkg, test string
	bugs      []mutation.Bug
}{
	{"./state", "TestErasedSubjectsAreGoneFromTheFiles|TestWithdrawnPurposesAreGoneFromTheFiles|TestScrubsReachTables", []mutation.Bug{
		{"keys are deleted, not dropped", "state/scrub.go", "	if err := s.db.DropPrefix(prefixes...); err != nil {",
			"	gone := s.newWriter(0)\n	for _, key := range prefixes {\n		gone.remove(key)\n	}\n	if err := gone.finish(); err != nil {"},
		{"records are not scrubbed, as they are overwritten", "state/scrub.go", "		keys = append(keys, e.space.appendRecord(nil, e.key))\n", ""},
		{"dossiers are not scrubbed", "state/scrub.go", "		if there {\n			keys = append(keys, dossier)", "		if there && e.noted == 0 {\n			keys = append(keys, dossier)"},
		{"timers are not scrubbed", "state/scrub.go", "		keys = append(keys, timers...)\n", "		_ = timers\n"},
		{"a fence is written with the id", "state/codec.go", "	if r.IsFence() {\n		return \"\"", "	if r.IsFence() && r.ID.IsZero() {\n		return \"\""},
		{"what Forgot is not noted", "state/journal.go", "		if e.record.Forgot || e.record.IsFence() {", "		if e.record.Forgot && e.record.IsFence() {"},
	}},
	{"./state", "TestScrubWaitsForReaders", []mutation.Bug{
		{"a scrub does not wait for files that something reads", "state/scrub.go", "	s.addObsolete(obsolete, files)\n", "	_ = files\n"},
	}},
	{"./state", "TestKilledWithinAScrub", []mutation.Bug{
		{"the journal is cleared before the drop", "state/scrub.go", "	before, obsolete := s.tables(), map[string]bool{}\n", "	before, obsolete := s.tables(), map[string]bool{}\n	if err := s.clearJournal(entries); err != nil {\n		return err\n	}\n"},
		{"what is dropped is not written down before", "state/scrub.go", "	if err := s.dir.writeRedo(ks); err != nil {", "	if err := error(nil); err != nil {"},
		{"what was dropped counts as written back before it is", "state/scrub.go", "	s.opts.Reached(StepScrubDropped)\n", "	if err := s.dir.removeRedo(); err != nil {\n		return err\n	}\n	s.opts.Reached(StepScrubDropped)\n"},
		{"a scrub that was interrupted is forgotten", "state/journal.go", "		p.scrubs.waiting[e.key] = e.noted\n", "		_ = e\n"},
	}},
	{"./state", "TestStaleImagesForgetWhenTheyCatchUp|TestTombstonesAreScrubbed", []mutation.Bug{
		{"a restored record is not compared with the image's", "state/journal.go", "	if !hasEnded(r) {\n", "	if !hasEnded(r) || r.Erased != 0 {\n"},
		{"a tombstone does not scrub", "state/journal.go", "		if found {\n			p.note(record)", "		if found && len(record) == 0 {\n			p.note(record)"},
	}},
	{"./state", "TestImagesAreNotDroppedAtTheStart", []mutation.Bug{
		{"images of partitions that went elsewhere are kept", "state/upkeep.go", "		if now.Sub(begun) >= min(unownedGrace, u.KeepUnowned) {", "		if now.Sub(begun) < 0 {"},
	}},
	{"./processor", "TestErasuresAreCompletedOnceScrubbed", []mutation.Bug{
		{"an erasure is completed before the scrub", "processor/erasure.go", "		if p.image.AwaitsScrub(key) {", "		if p.image.AwaitsScrub(key) && len(key) == 0 {"},
	}},
	{"./processor", "TestRequestsAreDoneOnce|TestDecisionsAreKeptAsProof", []mutation.Bug{
		{"an erasure keeps proofs", "processor/requests.go", "return fence || min(x.Time, x.Arrival) <= r.Erased })", "return fence && min(x.Time, x.Arrival) < 0 })"},
		{"an erasure keeps the dossier's id", "processor/requests.go", "	p.image.PutDossier(d.key, d.Dossier, fence)\n", "	p.image.PutDossier(d.key, d.Dossier, false)\n"},
		{"a request that is read again is told again", "processor/requests.go", "	if at.Effective != q.Effective() {", "	if at.Effective > 0 {"},
	}},
	{"./processor", "TestRequestsSentAgainChangeNothing", []mutation.Bug{
		{"a request that is sent again is done again", "processor/requests.go", "		p.tellAgain(at, q)\n		return nil\n", "		d.drop(at)\n"},
		{"one that is sent again in a backlog is done again", "processor/words.go", "	if _, sent := b.requests[key]; sent {", "	if _, sent := b.requests[key]; sent && key.id == \"\" {"},
		{"one from before a backlog is done again in it", "processor/words.go", "	if known != nil || err != nil {", "	if known != nil && err != nil {"},
	}},
	{"./processor", "TestTooManyRequestsOfOneSubject", []mutation.Bug{
		{"an open request gives way", "processor/requests.go", "	if at < 0 {\n		return false\n	}\n	d.Requests = slices.Delete", "	at = max(at, 0)\n	d.Requests = slices.Delete"},
		{"what waits for a person takes all room", "processor/requests.go", "waiting >= subject.MaxAsked", "waiting > subject.MaxRequests"},
	}},
	{"./processor", "TestTheMonthRunsFromWhenTheSubjectAsked", []mutation.Bug{
		{"the month runs from the arrival", "state/subject/dossier.go", "return min(s.Effective, s.Received)", "return s.Received"},
	}},
	{"./processor", "TestBacklogOfRequests", []mutation.Bug{
		{"a restriction in a backlog waits for its turn", "processor/barrier.go", "	for _, q := range b.restrict() {", "	for _, q := range b.restrict()[:0] {"},
	}},
	{"./processor", "TestRectifiedTraitsAreFilled", []mutation.Bug{
		{"changed rules do not read requests again", "processor/processor.go", "	loop.history = slices.Concat(loop.events, loop.requests)\n", "	loop.history = loop.events\n"},
		{"a rectification that was sent again is read again", "processor/backfill.go", "first != nil && first.Effective != q.Effective()", "first == nil && q == nil"},
	}},
	{"./processor/core", "TestGateAgreesWithModel|TestGateNeedsNoOrder|TestEngineAgreesWithOracle$", []mutation.Bug{
		{"no fence is kept of one of whom nothing was known", "processor/core/request.go", "	e.decide(r, when)\n	forgetUnknown(r)\n	return true\n", "	e.decide(r, when)\n	forgetUnknown(r)\n	return len(r.Purposes) > 0\n"},
		{"an erasure is not told", "processor/core/request.go", "	if told {\n		e.tellErased(r, when)", "	if told && when < 0 {\n		e.tellErased(r, when)"},
		{"a rectification is of purposes whose basis has ended", "processor/core/event.go",
			"		if !e.admits[i] {\n			continue\n		}\n		kept = e.setBirthdate(r, i, ev) || kept\n		p := e.stateOf(r, i)\n		if p == nil || !p.Basis.Known || ev.Time < p.Basis.Since {",
			"		if !e.admits[i] && !e.rectifies {\n			continue\n		}\n		kept = e.setBirthdate(r, i, ev) || kept\n		p := e.stateOf(r, i)\n		if p == nil || !e.rectifies && (!p.Basis.Known || ev.Time < p.Basis.Since) {"},
	}},
}

// TestMutantsOfRequests holds that every planted bug has its place, and with -mutants
// that the tests that are named catch it.
func TestMutantsOfRequests(t *testing.T) {
	for _, m := range requestMutants {
		mutation.Suite{Root: "..", Timeout: 5 * time.Minute, Tests: m.test, Packages: func(string) []string { return []string{m.pkg} }}.Run(t, m.bugs)
	}
}
