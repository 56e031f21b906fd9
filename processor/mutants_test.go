package processor

import (
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/mutation"
)

// mutants are mistakes that are easily made in a pipeline: each lets something be
// lost, done twice, or decided too early.
var mutants = []mutation.Bug{
	{"the state goes before the transaction's end", "processor/commit.go", "	if err := p.tx.Commit(ctx); err != nil {",
		"	if err := p.image.Commit(cp, next); err != nil {\n		return 0, storeError(err)\n	}\n	if err := p.tx.Commit(ctx); err != nil {"},
	{"the barrier comes after the events", "processor/partition.go",
		"	if err := p.passBarrier(work); err != nil {\n		return err\n	}\n	release, err := p.takeShare(work, fetched)\n	if err != nil {\n		return err\n	}\n	defer release()\n	if err := p.applyEvents(work, fetched); err != nil {\n		return err\n	}\n",
		"	release, err := p.takeShare(work, fetched)\n	if err != nil {\n		return err\n	}\n	defer release()\n	if err := p.applyEvents(work, fetched); err != nil {\n		return err\n	}\n	if err := p.passBarrier(work); err != nil {\n		return err\n	}\n"},
	{"the barrier is the last stable offset", "processor/barrier.go", "append(b.ends, fetched[i].HighWatermark)", "append(b.ends, fetched[i].LastStable)"},
	{"the barrier is learned once", "processor/barrier.go", "	barrier := barrier{began: p.deps.Now()}\n", "	barrier := barrier{began: p.deps.Now()}\n	if p.ready.Load() {\n		for _, in := range p.words {\n			barrier.ends = append(barrier.ends, in.end)\n		}\n	}\n"},
	{"timers go by the wall clock while inputs are read", "processor/hostclock.go", "		if in.position < in.end || in.sent.IsZero() {", "		if in.sent.IsZero() {"},
	{"the host's clock is trusted", "processor/hostclock.go", "	if !was && ahead > maxHostSkew {", "	if !was && ahead > maxHostSkew && false {"},
	{"transactions have no offsets", "processor/commit.go", "	if err := p.tx.SendOffsets(ctx, p.member, p.offsets(cp)); err != nil {", "	if err := error(nil); err != nil {"},
	{"sequences begin anew after an abort", "processor/kafka/transactor.go", "		l.joined = false\n", "		l.joined = false\n		if !commit {\n			l.sequence = 0\n		}\n"},
	{"the changelog's position is one too far", "processor/commit.go", "pr.BaseOffset + int64(pr.Count)\n", "pr.BaseOffset + int64(pr.Count) + 1\n"},
	{"the changelog's position is one short", "processor/commit.go", "pr.BaseOffset + int64(pr.Count)\n", "pr.BaseOffset + int64(pr.Count) - 1\n"},
	{"the image's position is written before its records", "state/badger.go", "	for key, value := range b.values {\n		w.value(space, key, value)\n	}\n",
		"	if b.position != nil {\n		w.set(space.meta(positionName), b.position)\n	}\n	for key, value := range b.values {\n		w.value(space, key, value)\n	}\n"},
	{"records are dropped before the position", "state/restore.go", "	err = s.db.Update(func(txn *badger.Txn) error { return txn.Delete(space.meta(positionName)) })\n",
		"	err = s.db.DropPrefix(space.prefix(kindRecord))\n"},
	{"inputs go on at their end, not where the checkpoint says", "processor/recover.go", "		in.position, in.fresh = at, !known\n",
		"		if _, end, err := p.deps.Bounds(context.Background(), in.Topic, p.id); err == nil && known {\n			at = end\n		}\n		in.position, in.fresh = at, !known\n"},
	{"aborted records are read", "processor/kafka/batch.go", "	return h.isTxn() && slices.Contains(f.open, h.producerID)", "	return false"},
	{"an aborted transaction hides what follows", "processor/kafka/batch.go", "		f.open = slices.Delete(f.open, i, i+1)\n", "		_ = i\n"},
	{"the cache outlives a failed transaction", "state/partition.go", "	p.cache.clear()\n	clear(p.dirty)\n", "	clear(p.dirty)\n"},
	{"the overlay is not read", "state/partition.go", "	b, found, written := p.overlay.look(key)\n	if found {", "	b, found, written := p.overlay.look(key)\n	if found && false {"},
	{"a record is read as of before it was written", "state/badger.go", "snap.txn == nil || snap.written != written ||", "snap.txn == nil ||"},
	{"a record is read as of before a scrub put it back", "state/badger.go", " || snap.scrubbed != s.scrubbed {", " {"},
	{"a failed transaction is committed at once again", "processor/commit.go", "	next, err := p.transact(ctx, cp)\n", "	next, err := p.transact(ctx, cp)\n	if err != nil {\n		if err = p.tx.Init(ctx); err == nil {\n			next, err = p.transact(ctx, cp)\n		}\n	}\n"},
	{"the predecessor is fenced after catching up", "processor/recover.go",
		"	if err := p.tx.Init(ctx); err != nil {\n		return fmt.Errorf(\"init producer: %w\", err)\n	}\n	began := p.deps.Now()\n	restored, err := p.catchUp(ctx)\n	if err != nil {\n		return err\n	}\n",
		"	began := p.deps.Now()\n	restored, err := p.catchUp(ctx)\n	if err != nil {\n		return err\n	}\n	if err := p.tx.Init(ctx); err != nil {\n		return fmt.Errorf(\"init producer: %w\", err)\n	}\n"},
	{"recovery ends at the last stable offset", "processor/restore.go", "		if at >= f.HighWatermark && f.LastStable >= f.HighWatermark {", "		if at >= f.LastStable {"},
	{"the checkpoint goes before its records", "processor/commit.go", "	ms = append(ms, stream.Message{Topic: changelog, Partition: p.id, Timestamp: now, Key: state.CheckpointKey, Value: value})\n",
		"	ms = append([]stream.Message{{Topic: changelog, Partition: p.id, Timestamp: now, Key: state.CheckpointKey, Value: value}}, ms...)\n"},
	{"what failed is counted", "processor/commit.go", "		p.deps.Metrics.ObserveTransaction(metrics.Unknown, p.deps.Now().Sub(began))\n", "		p.deps.Metrics.ObserveTransaction(metrics.Unknown, p.deps.Now().Sub(began))\n		p.settleCounts()\n"},
	{"another history's image is taken", "processor/restore.go", "	case cp.History != c.image.History:\n", "	case cp.History != c.image.History && false:\n"},
	{"the first record of a key is restored", "processor/restore.go", "range slices.Backward(f.Records) {", "range slices.All(f.Records) {"},
	{"what a fetch does not reach is not restored", "processor/restore.go", "		if f.Next < at { //", "		if f.Next < at && false { //"},
	{"restored keys are forgotten where there is no room", "processor/restore.go", "	if backwards {\n", "	if backwards && !l.full() {\n"},
	{"restored keys are forgotten when reading forwards", "processor/restore.go", "	if l.knows(r.Key) {", "	if backwards && l.knows(r.Key) {"},
	{"grants before a stop in a backlog are applied", "processor/barrier.go", "p.applyWords(b.marked(taken))", "p.applyWords(taken)"},
	{"a backlog that one fetch holds is none", "processor/barrier.go", "	if drained && len(taken) < maxBatchWords {", "	if drained {"},
	{"missing decisions are passed over", "processor/gap.go", "		if p.accepting == nil || p.accepting.gap != gap {\n", "		if false {\n"},
	{"an acceptance is of whatever is missing", "processor/gap.go", "p.accepting == nil || p.accepting.gap != gap", "p.accepting == nil"},
	{"an acceptance is forgotten", "processor/coverage.go", "	t := told{p.coverage, p.accepted}\n", "	t := told{p.coverage, nil}\n"},
	{"an acceptance is confirmed before it is on record", "processor/gap.go", "		p.accepted[in.Topic] = AcceptedGap{gap, subject.FromTime(p.deps.Now())}\n", "		p.accepted[in.Topic] = AcceptedGap{gap, subject.FromTime(p.deps.Now())}\n		p.settleAcceptance()\n"},
	{"a misplaced event is taken", "processor/apply.go", "	return to, to != p.id\n", "	return to, false\n"},
	{"a decision is passed on again and again", "processor/passon.go", "	if !wasPassedOn(r) {\n", "	if true {\n"},
	{"what was passed on counts in the verdict", "processor/apply.go", "	if !wasPassedOn(r) {\n", "	if true {\n"},
	{"a stop that was passed on to where its subject is has no effect", "processor/passon.go", "	if kept != nil {\n", "	if kept != nil && false {\n"},
}

// TestMutants holds that every planted bug has its place, and with -mutants that
// the suite of the pipeline catches it.
func TestMutants(t *testing.T) {
	suite := mutation.Suite{Root: "..", Timeout: 5 * time.Minute, Packages: func(file string) []string {
		switch {
		case strings.HasPrefix(file, "state/"):
			return []string{"./state", "./processor"}
		case strings.HasPrefix(file, "processor/kafka/"):
			return []string{"./processor/kafka", "./processor"}
		}
		return []string{"./processor"}
	}}
	suite.Run(t, mutants)
}
