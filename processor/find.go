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
}

// FindRequest looks for an access, portability or erase request by its id in the
// partitions of this instance; nil: none is there. complete is false where some
// partition cannot tell now. It waits as Lookup does.
func (p *Processor) FindRequest(ctx context.Context, requestID string) (found *FoundRequest, complete bool, err error) {
	return p.eachUntilFound(ctx, func(p *partition) (*FoundRequest, error) { return p.findRequest(requestID) })
}

// CancelRequest ends an access or portability request of that id that is open, as
// failed, and returns the request as it is then, whether it could be ended or not.
// Where a crash follows at once the request stays open. Otherwise as FindRequest.
func (p *Processor) CancelRequest(ctx context.Context, requestID, detail string) (found *FoundRequest, complete bool, err error) {
	return p.eachUntilFound(ctx, func(p *partition) (*FoundRequest, error) { return p.cancelRequest(requestID, detail) })
}

func (p *Processor) eachUntilFound(ctx context.Context, find func(*partition) (*FoundRequest, error)) (found *FoundRequest, complete bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	_, states := p.States()
	complete = true
	for _, st := range states {
		loop, failed := p.ownerOf(st.Partition)
		if failed == nil {
			failed = loop.ask(ctx, func(p *partition) { found, err = find(p) })
		}
		if found != nil || err != nil {
			return found, true, err
		}
		complete = complete && failed == nil
	}
	return nil, complete, nil
}

// foundAt is where a partition has a request of an id, of the kinds that are looked for.
func (p *partition) foundAt(requestID string) (key state.Key, s subject.RequestState, ok bool) {
	for key, all := range p.register.requests {
		i := slices.IndexFunc(all, func(s subject.RequestState) bool { return s.RequestID == requestID && s.Kind <= subject.Erase })
		if i >= 0 {
			return key, all[i], true
		}
	}
	return key, s, false
}

func (p *partition) findRequest(requestID string) (*FoundRequest, error) {
	key, s, ok := p.foundAt(requestID)
	if !ok {
		return nil, nil
	}
	d, err := p.image.DossierOf(key)
	if err != nil || d == nil {
		return nil, storeError(err)
	}
	return &FoundRequest{p.infoOf(s), d.ID}, nil
}

func (p *partition) cancelRequest(requestID, detail string) (*FoundRequest, error) {
	key, s, ok := p.foundAt(requestID)
	if !ok {
		return nil, nil
	}
	d, err := p.openDossierOf(key)
	if err != nil {
		return nil, err
	}
	q := d.request(requestID)
	switch {
	case q == nil: // others have taken its place since the last commit
		return &FoundRequest{p.infoOf(s), d.ID}, nil
	case q.Kind.Stops() || !q.Status.IsOpen():
		return &FoundRequest{p.infoOf(*q), d.ID}, nil
	}
	q.Status, q.Done, q.Detail = subject.Failed, subject.FromTime(p.deps.Now()), detail
	p.out.tell(q)
	return &FoundRequest{p.infoOf(*q), d.ID}, p.closeDossier(d)
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
