package processor

import (
	"cmp"
	"context"
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

// RequestInfo is how far a data subject's request is. It names no subject.
type RequestInfo struct {
	subject.RequestState
	Partition int32
	Due       subject.Instant // a calendar month after its subject asked (GDPR article 12(3)), or as extended
}

// Requests lists the requests that are kept in the partitions of this instance, the
// oldest first: all that are open, and those that are done as far as they are kept.
// It waits for the partitions as Lookup does; one that cannot tell now is left out,
// and complete is false.
func (p *Processor) Requests(ctx context.Context) (all []RequestInfo, complete bool) {
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	_, states := p.States()
	complete = true
	for _, st := range states {
		loop, err := p.ownerOf(st.Partition)
		if err == nil {
			err = loop.ask(ctx, func(p *partition) { all = append(all, p.listRequests()...) })
		}
		complete = complete && err == nil
	}
	slices.SortStableFunc(all, func(a, b RequestInfo) int { return cmp.Compare(a.Received, b.Received) })
	return all, complete
}

func (p *partition) infoOf(s subject.RequestState) RequestInfo {
	return RequestInfo{s, p.id, dueOf(&s)}
}

func (p *partition) listRequests() (all []RequestInfo) {
	for _, requests := range p.register.requests {
		for _, s := range requests {
			all = append(all, p.infoOf(s))
		}
	}
	slices.SortFunc(all, func(a, b RequestInfo) int { return cmp.Compare(a.RequestID, b.RequestID) })
	return all
}
