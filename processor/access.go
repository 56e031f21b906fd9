package processor

import (
	"context"
	"errors"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/processor/portable"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/state/subject"
)

// AccessDocument is everything that is kept about a subject; it holds its data.
type AccessDocument = core.AccessDocument

// Access writes everything that is kept about a subject, and with that completes its
// open access request of that id, if there is one; "": none. Where a crash follows
// at once the request stays open. It waits as Lookup does, and what takes time is
// done in the caller's goroutine.
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
// completes its open portability request of that id, as Access does.
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

// handing is the request that something is handed over for; "": for none.
type handing struct {
	kind      subject.RequestKind
	requestID string
}

// Consents are the decisions of a subject that are kept, and what they are about.
type Consents struct {
	Subject subject.ID
	Dossier *subject.Dossier // shares nothing with what is kept
	Rules   *rules.Set       // in force
	At      subject.Instant  // the partition's clock
}

// Consents tells what a subject has decided. It waits and fails as Lookup does.
func (p *Processor) Consents(ctx context.Context, id subject.ID) (Consents, error) {
	s, dossier, err := p.kept(ctx, id, handing{})
	if err != nil {
		return Consents{}, err
	}
	return Consents{id, dossier, s.explainer.Rules(), s.clock}, nil
}

// kept finds a subject in the partitions where it can be; s.record is nil where
// nothing is kept. A request that is named is completed.
func (p *Processor) kept(ctx context.Context, id subject.ID, h handing) (s standing, dossier *subject.Dossier, err error) {
	asking, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	var elsewhere error
	for _, partition := range p.partitionsOf(id) {
		loop, err := p.ownerOf(partition)
		if err != nil {
			elsewhere = err
			continue
		}
		found, d, err := loop.handOver(asking, id, h)
		if err != nil {
			return s, nil, err
		}
		if s.explainer == nil || found.record != nil || len(d.Requests) > 0 {
			s, dossier = found, d
		}
		if s.record != nil {
			break
		}
	}
	if s.explainer == nil || s.record == nil && elsewhere != nil {
		return s, nil, elsewhere
	}
	return s, dossier, nil
}

// handOver asks the partition's goroutine for a subject as it stands, and completes
// an open request of it for that.
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
		if q := o.request(h.requestID, h.kind); h.requestID != "" && q != nil && q.Status.IsOpen() {
			p.complete(q, "handed over")
			p.out.tell(q)
			err = p.closeDossier(o)
		}
		d = o.Dossier
	})
	return s, d, errors.Join(asked, err)
}
