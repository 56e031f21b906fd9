package processor

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/portable"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// AccessDocument is everything that is kept about a subject; it holds its data.
type AccessDocument = core.AccessDocument

// Access writes everything that is kept about a subject, and with that completes its
// access request of that id; "": none. Where a crash follows at once the request
// stays open. The error is a *RequestError where there is no such request. It waits
// as Lookup does, and what takes time is done in the caller's goroutine.
func (p *Processor) Access(ctx context.Context, id subject.ID, requestID string) (AccessDocument, error) {
	s, dossier, err := p.kept(ctx, id, handing{subject.Access, requestID})
	if err != nil {
		return AccessDocument{}, err
	}
	if s.record == nil {
		s.record = subject.NewRecord(id)
	}
	var sources []string
	for _, in := range p.cfg.Inputs {
		sources = append(sources, in.Topic)
	}
	return s.explainer.Access(s.record, dossier, s.clock, sources), nil
}

// Portability writes what a subject may take along (GDPR article 20), and with that
// completes its portability request of that id, as Access does.
func (p *Processor) Portability(ctx context.Context, id subject.ID, requestID string) (portable.Document, error) {
	s, dossier, err := p.kept(ctx, id, handing{subject.Portability, requestID})
	if err != nil {
		return portable.Document{}, err
	}
	if s.record == nil {
		s.record = subject.NewRecord(id)
	}
	return portable.Of(s.explainer.Rules(), s.record, dossier, subject.FromTime(p.deps.Now())), nil
}

// RequestError: nothing is done about a request that is not kept, or of which that
// cannot be.
type RequestError struct {
	Kept   bool // there is one of that id
	detail string
}

// Error says what there is. It holds nothing of the subject.
func (e *RequestError) Error() string { return e.detail }

// handing is the request that something is handed over for; "": for none.
type handing struct {
	kind      subject.RequestKind
	requestID string
}

// Consents are the decisions of a subject that are kept, and what they are about.
type Consents struct {
	Subject subject.ID
	Dossier *subject.Dossier // shares nothing with what is kept
	Record  *subject.Record  // likewise; nil: nothing is kept
	Rules   *rules.Set       // in force
	At      subject.Instant  // the partition's clock
}

// Consents tells what a subject has decided. It waits and fails as Lookup does.
func (p *Processor) Consents(ctx context.Context, id subject.ID) (Consents, error) {
	s, dossier, err := p.kept(ctx, id, handing{})
	if err != nil {
		return Consents{}, err
	}
	return Consents{id, dossier, s.record, s.explainer.Rules(), s.clock}, nil
}

// kept finds a subject in the partitions where it can be; s.record is nil where
// nothing is kept. A request that is named is completed.
func (p *Processor) kept(ctx context.Context, id subject.ID, h handing) (s standing, dossier *subject.Dossier, err error) {
	asking, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	answered := h.requestID == ""
	var elsewhere, none error
	for _, partition := range p.partitionsOf(id) {
		loop, err := p.ownerOf(partition)
		if err != nil {
			elsewhere = err
			continue
		}
		found, d, err := loop.handOver(asking, id, h)
		switch missing := (*RequestError)(nil); {
		case err == nil:
			answered, h = true, handing{}
		case errors.As(err, &missing) && !missing.Kept:
			none = err
		default:
			return s, nil, err
		}
		if s.explainer == nil || found.record != nil || len(d.Requests) > 0 {
			s, dossier = found, d
		}
		if s.record != nil && answered {
			break
		}
	}
	switch {
	case elsewhere != nil && (s.record == nil || !answered):
		return s, nil, elsewhere
	case !answered:
		return s, nil, none
	}
	return s, dossier, nil
}

// handOver asks the partition's goroutine for a subject as it stands, and completes
// its request for that. With a *RequestError the rest is told, too.
func (p *partition) handOver(ctx context.Context, id subject.ID, h handing) (s standing, d *subject.Dossier, err error) {
	asked := p.ask(ctx, func(p *partition) {
		s.explainer, s.clock = p.machine.Engine().Explainer(), p.machine.Clock()
		r, failed := p.image.Get(id)
		if r != nil && failed == nil {
			s.record = r.Clone()
		}
		o, opened := p.openDossier(id)
		if err = errors.Join(storeError(failed), opened); err != nil {
			return
		}
		d, err = o.Dossier, p.completeHanded(o, h)
	})
	if asked != nil {
		return s, nil, asked
	}
	return s, d, err
}

// completeHanded completes the request that something is handed over for.
func (p *partition) completeHanded(o *openDossier, h handing) error {
	if h.requestID == "" {
		return nil
	}
	q := o.request(h.requestID)
	switch {
	case q == nil:
		return &RequestError{false, "no request of this id is kept of this subject, and nothing is handed over for it; one that was just sent may not have been read yet"}
	case q.Kind != h.kind:
		return &RequestError{true, fmt.Sprintf("the request of this id asks for %s, and this is for %s: nothing is handed over, and it stays as it is", q.Kind, h.kind)}
	case q.Status == subject.Failed:
		return &RequestError{true, "the request of this id was refused: nothing is handed over for it"}
	case !q.Status.IsOpen():
		return nil
	}
	p.complete(q, "handed over")
	p.out.tell(q)
	return p.closeDossier(o)
}
