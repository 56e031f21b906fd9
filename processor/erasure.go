package processor

import (
	"encoding/json"
	"time"

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

// receipt says in one line of JSON what an erasure has removed from where, and how.
func (p *partition) receipt() string {
	b, err := json.Marshal(struct {
		Stores []erasedFrom `json:"stores"`
		Time   string       `json:"time"`
	}{[]erasedFrom{
		{"data directory", "its keys were dropped from the files of the instance that has the partition, and what is kept of the erasure was written anew; images that other instances have of it are deleted within privacy.erase_within while they run"},
		{p.topics.Changelog(), "replaced by a record of the erasure without data; compaction removes older versions within max.compaction.lag.ms and a segment's age"},
		{p.topics.Members(""), "tombstones; compaction removes the rows"},
		{p.topics.Changes(""), "recipients are told by a change erased; earlier changes go with the topic's retention"},
	}, subject.FromTime(p.deps.Now()).String()})
	if err != nil {
		return ""
	}
	return string(b)
}

// erasedFrom is a store of a receipt.
type erasedFrom struct {
	Store  string `json:"store"`
	Method string `json:"method"`
}
