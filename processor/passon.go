package processor

import (
	"slices"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
)

// passedOnHeader marks a decision or request that was passed on; its value is the group
// that did. Such a record is never passed on again: two groups that disagree on
// the partitioner would do so to each other for ever.
const passedOnHeader = "segmentd-passed-on"

func wasPassedOn(r *stream.Record) bool {
	return slices.ContainsFunc(r.Headers, func(h stream.Header) bool { return h.Key == passedOnHeader })
}

// misplaced deals with a decision or request that belongs to another partition: it is
// passed on, once. One that was passed on already is rejected, as every group
// that reads the topic passes the producer's own record on for itself. But what
// it stops holds where something of the subject is kept (the group had another
// partitioner before): those words are returned, to be applied here.
func (p *partition) misplaced(in *input, r *stream.Record, item wire.Item, to int32) (stops []word, err error) {
	if !wasPassedOn(r) {
		p.passOn(in, r, to)
		return nil, nil
	}
	kept, err := p.image.Get(item.Subject)
	if err != nil {
		return nil, storeError(err)
	}
	if kept != nil {
		stops = slices.DeleteFunc(wordsOf(item), func(w word) bool { return !w.stops() })
	}
	if len(stops) == 0 {
		p.reject(in, r.Offset, &wire.Reject{Reason: wire.WrongPartition, Detail: "it was passed on already, to a partition that " + in.Partitioner + " does not give its key"})
	}
	p.log.Error("a decision or request was passed on to a partition that is not its subject's, and is not passed on again: does another group read the topic with another partitioner?",
		"topic", in.Topic, "offset", r.Offset, "belongs_to", to, "stops_applied", len(stops))
	return stops, nil
}

// passOn moves a decision or request to the partition its subject belongs to, within the
// same transaction.
func (p *partition) passOn(in *input, r *stream.Record, to int32) {
	m := stream.Message{Topic: in.Topic, Partition: to, Timestamp: r.Timestamp,
		Key: append([]byte(nil), r.Key...), Value: append([]byte(nil), r.Value...)}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, stream.Header{Key: h.Key, Value: append([]byte(nil), h.Value...)})
	}
	m.Headers = append(m.Headers, stream.Header{Key: passedOnHeader, Value: []byte(p.cfg.Group)})
	p.out.passedOn = append(p.out.passedOn, m)
	p.log.Warn("a decision or request was on the wrong partition and is passed on", "topic", in.Topic, "offset", r.Offset, "to", to)
}
