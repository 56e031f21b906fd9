package processor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// ErrUnsettled: what was told of a request is not committed yet. It may be, or not.
var ErrUnsettled = errors.New("it is not on record yet: ask how far the request is, and tell it again if nothing has changed")

// How long it is waited for what was told of a request to be committed, and how often
// that is looked at.
const (
	settleWait  = 5 * time.Second
	settleEvery = 20 * time.Millisecond
)

// Extend gives an open access or portability request of a subject more time, until an
// instant (0: as long as there may be), for a reason that is told on the results
// topic: at most three calendar months after its subject asked, and only within the
// first of them (GDPR article 12(3)). It returns once that is committed. The error is
// a *RequestError, of Lookup, or ErrUnsettled.
func (p *Processor) Extend(ctx context.Context, id subject.ID, requestID, reason string, until subject.Instant) (RequestInfo, error) {
	return p.told(ctx, id, requestID, func(s *subject.RequestState) error { return p.extend(s, reason, until) })
}

// Refuse ends an open access or portability request of a subject, for a reason that is
// told on the results topic (GDPR article 12(4)). It returns as Extend does.
func (p *Processor) Refuse(ctx context.Context, id subject.ID, requestID, reason string) (RequestInfo, error) {
	return p.told(ctx, id, requestID, func(s *subject.RequestState) error {
		s.Status, s.Done, s.Detail = subject.Failed, subject.FromTime(p.deps.Now()), "refused: "+reason
		return nil
	})
}

func (p *Processor) extend(s *subject.RequestState, reason string, until subject.Instant) error {
	due, latest, month := dueOf(s), monthsAfter(s.Asked(), 3), RequestDue(s.Asked())
	if until == 0 {
		until = latest
	}
	switch {
	case p.deps.Now().After(month.Time()):
		return &RequestError{true, fmt.Sprintf("it is too late to extend the time: the subject must have been told within a month, by %s (GDPR article 12(3))", month)}
	case until <= due || until > latest:
		return &RequestError{true, fmt.Sprintf("the request is due on %s, and can be given time until %s, three months after the subject asked (GDPR article 12(3))", due, latest)}
	}
	s.Status, s.Extended, s.Detail = subject.InProgress, until, fmt.Sprintf("extended until %s: %s", until, reason)
	return nil
}

// told does something to an open request that waits for a person, and waits until that
// is committed.
func (p *Processor) told(ctx context.Context, id subject.ID, requestID string, tell func(*subject.RequestState) error) (RequestInfo, error) {
	asking, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	var elsewhere error
	for _, partition := range p.partitionsOf(id) {
		loop, err := p.ownerOf(partition)
		if err != nil {
			elsewhere = err
			continue
		}
		after, err := loop.tellOf(asking, id, requestID, tell)
		if missing := (*RequestError)(nil); errors.As(err, &missing) && !missing.Kept {
			continue
		}
		if err != nil {
			return RequestInfo{}, err
		}
		return p.settled(ctx, id, after)
	}
	if elsewhere != nil {
		return RequestInfo{}, elsewhere
	}
	return RequestInfo{}, errNoRequest
}

// errNoRequest: there is no request of an id.
var errNoRequest = &RequestError{false, "no request of this id is kept of this subject; one that was just sent may not have been read yet"}

// tellOf asks the partition's goroutine.
func (p *partition) tellOf(ctx context.Context, id subject.ID, requestID string, tell func(*subject.RequestState) error) (after subject.RequestState, err error) {
	asked := p.ask(ctx, func(p *partition) {
		var o *openDossier
		if o, err = p.openDossier(id); err != nil {
			return
		}
		q := o.request(requestID)
		switch {
		case q == nil:
			err = errNoRequest
		case !q.Kind.Waits():
			err = &RequestError{true, fmt.Sprintf("the request of this id asks for %s, which waits for no person: only access and portability can be extended or refused", q.Kind)}
		case !q.Status.IsOpen():
			err = &RequestError{true, fmt.Sprintf("the request of this id is %s already", q.Status)}
		default:
			if err = tell(q); err == nil {
				after = *q
				p.out.tell(q)
				err = p.closeDossier(o)
			}
		}
	})
	return after, errors.Join(asked, err)
}

// settled waits until a request is committed as it was told.
func (p *Processor) settled(ctx context.Context, id subject.ID, after subject.RequestState) (RequestInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	for {
		info, found, err := p.Request(ctx, id, after.RequestID)
		if err == nil && found && info.RequestState == after {
			return info, nil
		}
		if sleep(ctx, settleEvery) != nil {
			return RequestInfo{}, ErrUnsettled
		}
	}
}
