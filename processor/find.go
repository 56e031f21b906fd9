package processor

import (
	"context"
	"slices"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// FoundRequest is a request that was looked for by its id alone.
type FoundRequest struct {
	RequestInfo
	Subject subject.ID // zero: the subject was erased since

	record state.Key
}

// FindRequests looks for the access, portability and erase requests of an id in the
// partitions of this instance. There can be several: nothing keeps producers from giving
// requests of two subjects one id. complete is false where not all were asked: a
// partition cannot tell now, or the instance has not joined its group yet. It waits as
// Lookup does.
func (p *Processor) FindRequests(ctx context.Context, requestID string) (found []FoundRequest, complete bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	complete, states := p.States()
	for _, st := range states {
		loop, failed := p.ownerOf(st.Partition)
		if failed == nil {
			failed = loop.ask(ctx, func(p *partition) { found, err = p.findRequests(found, requestID) })
		}
		if err != nil {
			return nil, false, err
		}
		complete = complete && failed == nil
	}
	return found, complete, nil
}

// findRequests appends what a partition has of an id, of the kinds that are looked for.
func (p *partition) findRequests(found []FoundRequest, requestID string) ([]FoundRequest, error) {
	for key, all := range p.register.requests {
		i := slices.IndexFunc(all, func(s subject.RequestState) bool { return s.RequestID == requestID && s.Kind <= subject.Erase })
		if i < 0 {
			continue
		}
		d, err := p.image.DossierOf(key)
		if err != nil {
			return nil, storeError(err)
		}
		if d != nil {
			found = append(found, FoundRequest{p.infoOf(all[i]), d.ID, key})
		}
	}
	return found, nil
}

// CancelRequest ends a request that was found, if it is an access or portability that is
// open, as failed, and returns it as it is then, whether it could be ended or not. Where
// a crash follows at once the request stays open. It waits and fails as Lookup does.
func (p *Processor) CancelRequest(ctx context.Context, q FoundRequest, detail string) (FoundRequest, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	loop, err := p.ownerOf(q.Partition)
	if err != nil {
		return q, err
	}
	if asked := loop.ask(ctx, func(p *partition) { err = p.cancelRequest(&q, detail) }); asked != nil {
		return q, asked
	}
	return q, err
}

func (p *partition) cancelRequest(found *FoundRequest, detail string) error {
	d, err := p.openDossierOf(found.record)
	if err != nil {
		return err
	}
	q := d.request(found.RequestID)
	if q == nil { // others have taken its place since the last commit
		return nil
	}
	if !q.Kind.Stops() && q.Status.IsOpen() {
		q.Status, q.Done, q.Detail = subject.Failed, subject.FromTime(p.deps.Now()), detail
		p.out.tell(q)
		err = p.closeDossier(d)
	}
	found.RequestInfo = p.infoOf(*q)
	return err
}

// ResultsEnd tells in which partition what becomes of a subject's requests will be
// published, and from which offset of its topic on. A *NoInputError says that nobody
// knows.
func (p *Processor) ResultsEnd(ctx context.Context, id subject.ID) (partition int32, from int64, err error) {
	if p.seeksAll() {
		return 0, 0, &NoInputError{"the partitioner of the inputs is any, so that nobody here knows the subject's partition"}
	}
	partition = p.partitionsOf(id)[0]
	_, from, err = p.deps.Bounds(ctx, p.topics.RequestResults(), partition)
	return partition, from, err
}

// PublishedResult is a result as it was published.
type PublishedResult struct {
	wire.RequestResult
	Offset int64
}

// Results reads what was published of requests in a partition, from an offset on or
// from the first that is still kept, whichever instance it was, and the offset to go
// on from. Safe for concurrent use.
func (p *Processor) Results(ctx context.Context, partition int32, from int64) (results []PublishedResult, next int64, err error) {
	topic := p.topics.RequestResults()
	start, end, err := p.deps.Bounds(ctx, topic, partition)
	if err != nil {
		return nil, 0, err
	}
	next = max(from, start)
	if next >= end {
		return nil, next, nil
	}
	err = readCommitted(ctx, p.deps.Fetcher, stream.Position{Topic: topic, Partition: partition, Offset: next}, end, func(r *stream.Record) {
		if q, ok := wire.ParseRequestResult(r.Value); ok {
			results = append(results, PublishedResult{q, r.Offset})
		}
		next = r.Offset + 1
	})
	return results, next, err
}
