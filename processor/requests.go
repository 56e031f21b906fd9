package processor

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// takeRequest applies a request, keeps in its subject's dossier how far it is, and
// tells that on the results topic, all in one transaction. The same request read
// again changes nothing.
func (p *partition) takeRequest(q *subject.Request) error {
	d, err := p.openDossier(q.Subject)
	if err != nil {
		return err
	}
	q = p.named(d, q)
	if q.Kind == subject.Import {
		return p.takeImport(d, q)
	}
	if at := d.request(q.RequestID); at != nil {
		p.tellAgain(at, q)
		return nil
	}
	changed, err := p.applyRequest(q)
	if err != nil {
		return err
	}
	if q.Kind == subject.Erase && changed {
		p.image.Scrub(q.Subject)
	}
	s := p.newRequest(q)
	p.out.tell(&s)
	if p.hasRoom(d, q) {
		d.Requests = append(d.Requests, s)
		err = p.advanceRequest(d.key, &d.Requests[len(d.Requests)-1])
	} else {
		err = p.endCrowded(d.key, &s)
	}
	if err != nil {
		return err
	}
	return p.closeDossier(d)
}

// tellAgain tells how far a request is that was sent again. It counts as of when it
// was first read, whatever the date it bears now: an erasure sent twice must not
// delete what was consented to in between. The same record read again tells nothing.
func (p *partition) tellAgain(at *subject.RequestState, q *subject.Request) {
	if at.Effective != q.Effective() {
		p.log.Info("a request was sent again under its id: it counts as first read", "topic", q.Source.Topic, "offset", q.Source.Offset, "request", q.Kind.String())
		p.out.tell(at)
	}
}

// hasRoom makes room for a request in its subject's dossier, and counts and logs where
// there is none.
func (p *partition) hasRoom(d *openDossier, q *subject.Request) bool {
	if d.makeRoom(q.Kind) {
		return true
	}
	p.deps.Metrics.CountRequestCrowded()
	p.log.Error("too many requests of one subject are open: an access or portability is answered as failed, and of others, which are done, nothing is kept",
		"topic", q.Source.Topic, "offset", q.Source.Offset, "request", q.Kind.String())
	return false
}

// endCrowded tells the end of a request that there is no room for.
func (p *partition) endCrowded(record state.Key, s *subject.RequestState) error {
	why := "nothing is handed over for it"
	if !s.Kind.Waits() {
		if err := p.proceed(record, s); err != nil {
			return err
		}
		why = "it is in force, and how it goes on is not told"
	}
	if s.Status.IsOpen() {
		s.Status, s.Done, s.Detail = subject.Failed, subject.FromTime(p.deps.Now()), why+", as too many requests of this subject are open: finish or refuse those first, then send it again"
	}
	p.out.tell(s)
	return nil
}

// named gives a request whose id is that of another kind of request of its subject
// one of its own, ID:KIND: neither must be taken for the other, and both are done.
func (p *partition) named(d *openDossier, q *subject.Request) *subject.Request {
	renamed := *q
	if renamed.RequestID = d.idOf(q); renamed.RequestID == q.RequestID {
		return q
	}
	p.countMisunderstood(wire.Requests)
	p.log.Error("the id of a request is that of another kind of request of its subject: it is done under an id of its own",
		"topic", q.Source.Topic, "offset", q.Source.Offset, "request", q.Kind.String())
	return &renamed
}

// idOf is the id under which a request is kept, or would be.
func (d *openDossier) idOf(q *subject.Request) string {
	for _, id := range []string{q.RequestID, q.RequestID + ":" + q.Kind.String()} {
		if at := d.request(id); at == nil || at.Kind == q.Kind {
			return id
		}
	}
	return q.Source.String()
}

// knownRequest is what is kept of a request that was read before, nil of another.
func (p *partition) knownRequest(q *subject.Request) (*subject.RequestState, error) {
	d, err := p.openDossier(q.Subject)
	if err != nil {
		return nil, err
	}
	return d.request(d.idOf(q)), nil
}

// applyRequest does what a request asks for, by where the change of rules stands
// with its subject. It reports whether that changed anything.
func (p *partition) applyRequest(q *subject.Request) (changed bool, err error) {
	if q.Kind.Waits() {
		return false, nil
	}
	c := p.change
	if c == nil {
		changed, err = p.machine.Request(q)
		return changed, storeError(err)
	}
	q = p.machine.DatedRequest(q)
	if p.isNoted(p.image.KeyOf(q.Subject)) {
		err = p.withRecord(q.Subject, func(r *subject.Record) bool {
			changed = c.migration.NoteRequest(r, q)
			return changed
		})
		return changed, err
	}
	if c.phase == takingOver && c.passed(p.image.KeyOf(q.Subject)) {
		c.migration.Release()
		defer c.migration.Hold()
	}
	if changed, err = p.machine.Request(q); err != nil {
		return false, storeError(err)
	}
	return changed, p.withRecord(q.Subject, func(r *subject.Record) bool { return c.migration.ShadowRequest(r, q, c.clock) })
}

// isNoted reports whether what comes for a subject is only noted yet: a change of
// rules has not come to its record.
func (p *partition) isNoted(record state.Key) bool {
	c := p.change
	return c != nil && (c.phase < sweeping || c.phase == sweeping && !c.passed(record))
}

// newRequest is a request that was just read.
func (p *partition) newRequest(q *subject.Request) subject.RequestState {
	received := cmp.Or(min(q.Arrival, q.Effective()), p.machine.Clock())
	if q.Arrival.Valid() {
		received = q.Arrival
	}
	return subject.RequestState{RequestID: q.RequestID, Kind: q.Kind, Effective: q.Effective(), Received: received, Done: subject.Never, Detail: rectified(q)}
}

// rectified says of a rectification which of its traits are none that is kept; "" of
// others.
func rectified(q *subject.Request) string {
	switch all := len(q.Traits) + q.Unread; {
	case q.Kind != subject.Rectify || all > 0 && q.Unread == 0:
		return ""
	case all == 0:
		return "it names no traits, and nothing was corrected"
	case len(q.Traits) == 0:
		return "no rule reads these traits: nothing of them is kept, and nothing was corrected"
	}
	return fmt.Sprintf("no rule reads %d of the %d traits: nothing of them is kept, and nothing of them was corrected", q.Unread, len(q.Traits)+q.Unread)
}

// advanceRequest brings a request to where it stands, and tells that if it is new.
func (p *partition) advanceRequest(record state.Key, s *subject.RequestState) error {
	before := s.Status
	err := p.proceed(record, s)
	if s.Status != before {
		p.out.tell(s)
	}
	return err
}

// proceed brings a request to where it stands once it is read; one that ends nothing,
// and is only noted, stays received, and one that takes force later is in progress
// until it does.
func (p *partition) proceed(record state.Key, s *subject.RequestState) error {
	if s.Status != subject.Received || !s.Kind.Stops() && p.isNoted(record) {
		return nil
	}
	switch s.Kind {
	case subject.Access, subject.Portability: // until they are handed over
		return nil
	case subject.Erase:
		later, err := p.keptSince(record)
		if err != nil {
			return err
		}
		s.Status, s.Detail = subject.InProgress, "memberships are ended and recipients are told; what was kept is being removed from this instance's files"
		if later != "" {
			s.Detail += "; " + later
		}
	case subject.Rectify, subject.Unrestrict:
		s.Status = subject.InProgress
		waits, err := p.awaitsClock(record, s)
		if err != nil {
			return err
		}
		if !waits {
			p.complete(s, s.Detail)
		}
	default:
		p.complete(s, "")
	}
	return nil
}

// awaitsClock reports whether a rectification or a lift is not in force yet: it is
// once the clock has come to it, and old inputs that arrive with it are waited for.
func (p *partition) awaitsClock(record state.Key, s *subject.RequestState) (bool, error) {
	r, err := p.image.Record(record)
	switch {
	case err != nil || r == nil:
		return false, storeError(err)
	case s.Kind == subject.Rectify:
		return slices.ContainsFunc(r.Corrections, func(c subject.Trait) bool { return c.Time == s.Effective }), nil
	}
	return s.Effective > r.Clock && (s.Effective >= p.machine.Clock() || r.Held != subject.Held{}), nil
}

func (p *partition) complete(s *subject.RequestState, detail string) {
	s.Status, s.Done, s.Detail = subject.Completed, subject.FromTime(p.deps.Now()), detail
}

// advanceNoted brings the requests that a change of rules had only noted to where
// they stand now that it has come to all records.
func (p *partition) advanceNoted() error {
	for _, key := range p.register.open() {
		d, err := p.openDossierOf(key)
		if err != nil {
			return err
		}
		for i := range d.Requests {
			if err := p.advanceRequest(key, &d.Requests[i]); err != nil {
				return err
			}
		}
		if err := p.closeDossier(d); err != nil {
			return err
		}
	}
	return nil
}

// tell publishes how far a request is with the next transaction, as of which it is
// so.
func (o *output) tell(s *subject.RequestState) {
	o.results = append(o.results, wire.RequestResult{RequestID: s.RequestID, Status: s.Status, Detail: s.Detail})
}

// ProofOf is what is kept of a decision as proof.
func ProofOf(d *subject.Decision) subject.Proof {
	return subject.Proof{Purpose: d.Purpose, Status: d.Status, Explicit: d.Explicit, Time: d.Time, Arrival: d.Arrival,
		Expires: d.Expires, NoticeVersion: d.NoticeVersion, Method: d.Method, RecordID: d.RecordID, Source: d.Source}
}

// keepProof adds a decision to what is kept of its subject as proof, as it was read.
func (p *partition) keepProof(d *subject.Decision) error {
	o, err := p.openDossier(d.Subject)
	if err != nil {
		return err
	}
	o.prove(ProofOf(d))
	return p.closeDossier(o)
}

// prove adds a proof; beyond the bound the oldest goes.
func (d *openDossier) prove(x subject.Proof) {
	d.Proofs = append(d.Proofs, x)
	if over := len(d.Proofs) - subject.MaxProofs; over > 0 {
		d.Proofs, d.Dropped = slices.Delete(d.Proofs, 0, over), d.Dropped+uint64(over)
	}
}

// openDossier is a dossier that is being changed.
type openDossier struct {
	*subject.Dossier
	key   state.Key // of the subject's record
	kept  bool
	count dossierCount // as it was
}

func (p *partition) openDossier(id subject.ID) (*openDossier, error) {
	d, err := p.image.Dossier(id)
	return p.opened(p.image.KeyOf(id), d, err)
}

func (p *partition) openDossierOf(key state.Key) (*openDossier, error) {
	d, err := p.image.DossierOf(key)
	if d == nil {
		d = &subject.Dossier{}
	}
	return p.opened(key, d, err)
}

func (p *partition) opened(key state.Key, d *subject.Dossier, err error) (*openDossier, error) {
	if err != nil {
		return nil, storeError(err)
	}
	return &openDossier{d, key, len(d.Proofs)+len(d.Requests) > 0, p.register.countOf(d)}, nil
}

// closeDossier keeps a dossier with the next transaction, without what an erasure
// deletes: the proofs of what was decided before it, and of a subject of whom
// nothing else is kept all of them, and the id.
func (p *partition) closeDossier(d *openDossier) error {
	r, err := p.image.Record(d.key)
	if err != nil {
		return storeError(err)
	}
	fence := r != nil && r.IsFence()
	if r != nil && r.Erased != 0 {
		d.Dropped = 0
		d.Proofs = slices.DeleteFunc(d.Proofs, func(x subject.Proof) bool { return fence || min(x.Time, x.Arrival) <= r.Erased })
	}
	if !d.kept && len(d.Proofs)+len(d.Requests) == 0 {
		return nil
	}
	p.image.PutDossier(d.key, d.Dossier, fence)
	p.out.dossiers = append(p.out.dossiers, dossierChange{d.key, d.count, p.register.countOf(d.Dossier)})
	return nil
}

// request finds a request, nil if it is not kept.
func (d *openDossier) request(id string) *subject.RequestState {
	i := slices.IndexFunc(d.Requests, func(s subject.RequestState) bool { return s.RequestID == id })
	if i < 0 {
		return nil
	}
	return &d.Requests[i]
}

func (d *openDossier) drop(s *subject.RequestState) {
	d.Requests = slices.DeleteFunc(d.Requests, func(x subject.RequestState) bool { return x == *s })
}

// makeRoom reports whether there is room for one more request of a kind. Beyond the
// bound the oldest one that is done goes; what is open stays.
func (d *openDossier) makeRoom(kind subject.RequestKind) bool {
	waiting := 0
	for i := range d.Requests {
		if x := &d.Requests[i]; x.Kind.Waits() && x.Status.IsOpen() {
			waiting++
		}
	}
	if kind.Waits() && waiting >= subject.MaxAsked {
		return false
	}
	if len(d.Requests) < subject.MaxRequests {
		return true
	}
	at := slices.IndexFunc(d.Requests, func(x subject.RequestState) bool { return !x.Status.IsOpen() })
	if at < 0 {
		return false
	}
	d.Requests = slices.Delete(d.Requests, at, at+1)
	return true
}

// RequestDue is when a request must be done: a calendar month after its subject asked
// (GDPR article 12(3)).
func RequestDue(asked subject.Instant) subject.Instant { return monthsAfter(asked, 1) }

// dueOf is when a request must be done, also one that was given more time.
func dueOf(s *subject.RequestState) subject.Instant {
	if s.Extended != 0 {
		return s.Extended
	}
	return RequestDue(s.Asked())
}

// monthsAfter is so many calendar months after an instant, on the last day of that
// month where it has no such day.
func monthsAfter(asked subject.Instant, months int) subject.Instant {
	at := asked.Time().UTC()
	due := at.AddDate(0, months, 0)
	if due.Day() != at.Day() { // AddDate went into the month after
		due = due.AddDate(0, 0, -due.Day())
	}
	return subject.FromTime(due)
}
