package processor

import (
	"time"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// finishEvery is how often it is looked whether requests that are in progress are
// done.
const finishEvery = time.Second

// finishRequests completes, with the next transaction, the erasures of which the
// image's files hold nothing any more, and what waited for the clock and is in force.
func (p *partition) finishRequests() error {
	now := p.deps.Now()
	if now.Sub(p.finished).Abs() < finishEvery {
		return nil
	}
	p.finished = now
	for key := range p.register.erasing {
		if p.image.AwaitsScrub(key) {
			continue
		}
		if err := p.finish(key, isErasing, p.finishErasure); err != nil {
			return err
		}
	}
	for key, at := range p.register.awaiting {
		if at > p.machine.Clock() {
			continue
		}
		if err := p.finish(key, isAwaiting, p.finishAwaited); err != nil {
			return err
		}
	}
	return nil
}

// finish does something to a subject's requests of one sort, and keeps the dossier if
// that changed it.
func (p *partition) finish(key state.Key, which func(subject.RequestState) bool, do func(*openDossier, *subject.RequestState) (changed bool, err error)) error {
	d, err := p.openDossierOf(key)
	if err != nil {
		return err
	}
	some := false
	for i := range d.Requests {
		s := &d.Requests[i]
		if !which(*s) {
			continue
		}
		changed, err := do(d, s)
		if err != nil {
			return err
		}
		if changed {
			some = true
			p.out.tell(s)
		}
	}
	if !some {
		return nil
	}
	return p.closeDossier(d)
}

func (p *partition) finishAwaited(d *openDossier, s *subject.RequestState) (changed bool, err error) {
	waits, err := p.awaitsClock(d.key, s)
	if err != nil || waits {
		return false, err
	}
	p.complete(s, s.Detail)
	return true, nil
}

func (p *partition) finishErasure(d *openDossier, s *subject.RequestState) (changed bool, err error) {
	later, err := p.keptSince(d.key)
	if err != nil {
		return false, err
	}
	before := "" // of another request
	for i := range d.Requests {
		x := &d.Requests[i]
		if x == s {
			break
		}
		if x.Kind == subject.Erase {
			before = x.Effective.String()
		}
	}
	p.complete(s, p.receipt(before, later))
	return true, nil
}

// keptSince says what is kept of a subject that was erased, although it was: what
// came later. "" where nothing is.
func (p *partition) keptSince(record state.Key) (string, error) {
	r, err := p.image.Record(record)
	if err != nil || r == nil || r.Erased == 0 || r.IsFence() {
		return "", storeError(err)
	}
	return "what was decided after " + r.Erased.String() + ", the date of the erasure, stays, and what is kept by consent since; to erase that too, send another erasure, of now", nil
}

// receipt says in one line of JSON what an erasure has removed from where, by what
// means, and when it was or will be gone; what stays; the date of the erasure before
// ("": none), and what came later and is kept.
func (p *partition) receipt(before, later string) string {
	now := subject.FromTime(p.deps.Now())
	r := core.ErasureReceipt{Before: before, Kept: later, Stores: []core.ErasedFrom{{Store: "data directory", Done: now.String(),
		Method: "its keys were dropped from the files of the instance that has the partition, and what is kept of the erasure was written anew; images that other instances have of it are deleted within privacy.erase_within while they run"}},
		Stays: []string{
			"changelog and image: a keyed hash of the id, the instant of the erasure, a counter, and the requests by their ids, so that nothing older brings the subject back",
			"audit log: keyed hashes of the id, until its files are deleted", "input topics: what was produced to them, as their owner has set it",
			"lists in rule files: ids that are on them, until they are changed",
		}}
	for _, spec := range p.topics.Specs(p.target()) {
		if spec.Personal {
			r.Stores = append(r.Stores, p.erasedFrom(spec, now))
		}
	}
	return r.String()
}

// erasedFrom says how an erasure that is done leaves a topic, and by when at the latest.
func (p *partition) erasedFrom(spec TopicSpec, now subject.Instant) core.ErasedFrom {
	e := core.ErasedFrom{Store: spec.Name}
	switch {
	case spec.Name == p.topics.Changelog():
		e.Method = "replaced by a record of the erasure without data; compaction removes older versions once a later record is written to the partition"
	case spec.Name == p.topics.RequestResults():
		e.Method = "it has the ids of requests, and not the subject's; they go with the topic's retention"
	case spec.Keyed:
		e.Method = "tombstones; compaction removes the rows, then the tombstones, once later records are written to the partition"
	default:
		e.Method = "recipients are told by a change erased; earlier changes go with the topic's retention"
	}
	m, known := p.deps.Remains(spec.Name)
	switch {
	case !known:
		e.Note = "by when is not known: the topic's settings cannot be read"
	case m.Within == Forever:
		e.Note = "no latest time: " + m.Cause
	default:
		e.By, e.Note = now.Add(m.Within).String(), m.Cause
	}
	return e
}
