package processor

import (
	"time"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/state/subject"
)

// finishEvery is how often it is looked whether what was erased is gone from the
// image's files.
const finishEvery = time.Second

// finishErasures completes the erasures of which the image's files hold nothing any
// more, with the next transaction.
func (p *partition) finishErasures() error {
	now := p.deps.Now()
	if now.Sub(p.finished).Abs() < finishEvery {
		return nil
	}
	p.finished = now
	for key := range p.register.erasing {
		if p.image.AwaitsScrub(key) {
			continue
		}
		d, err := p.openDossierOf(key)
		if err != nil {
			return err
		}
		for i := range d.Requests {
			if s := &d.Requests[i]; isErasing(*s) {
				p.complete(s, p.receipt())
				p.out.tell(s)
			}
		}
		if err := p.closeDossier(d); err != nil {
			return err
		}
	}
	return nil
}

// receipt says in one line of JSON what an erasure has removed from where, by what
// means, and when it was or will be gone; and what stays.
func (p *partition) receipt() string {
	now := subject.FromTime(p.deps.Now())
	r := core.ErasureReceipt{Stores: []core.ErasedFrom{{Store: "data directory", Done: now.String(),
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
