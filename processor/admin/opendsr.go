package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/opendsr"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

func notSpoken(w http.ResponseWriter, _ *http.Request) {
	problem(w, http.StatusNotFound, "OpenDSR is not spoken here: set opendsr.controller_id, processor_domain, certificate, cert_file and key_file of the configuration")
}

func (s *Server) dsrDiscovery(w http.ResponseWriter, _ *http.Request) {
	s.dsrAnswer(w, http.StatusOK, s.deps.OpenDSR.Discovery())
}

// dsrAnswer signs an answer and sends it.
func (s *Server) dsrAnswer(w http.ResponseWriter, status int, v any) {
	s.dsrSend(w, status, "application/json", v)
}

func (s *Server) dsrSend(w http.ResponseWriter, status int, contentType string, v any) {
	signed, err := s.deps.OpenDSR.Sign(v)
	if err != nil {
		s.deps.Logger.Error("an answer of OpenDSR cannot be signed", "error", err)
		problem(w, http.StatusInternalServerError, "the answer cannot be signed; the log says why")
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set(opendsr.HeaderDomain, signed.Domain)
	h.Set(opendsr.HeaderSignature, signed.Signature)
	w.WriteHeader(status)
	_, _ = w.Write(signed.Body) // the client went away
}

// dsrRefuse answers a problem detail that has OpenDSR's member error besides.
func (s *Server) dsrRefuse(w http.ResponseWriter, status int, faults ...opendsr.Fault) {
	s.dsrSend(w, status, problemType, struct {
		problemJSON
		Error opendsr.Problem `json:"error"`
	}{problemOf(status, faults[0].Message), opendsr.ProblemOf(status, faults)})
}

// dsrPosted sends a controller's request to the requests topic. The instance that owns
// the subject's partition does: it knows what it has read already.
func (s *Server) dsrPosted(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, opendsr.MaxBodyBytes))
	if err != nil {
		s.dsrRefuse(w, http.StatusBadRequest, opendsr.Fault{Reason: "invalid", Message: "the body cannot be read, or is larger than 65536 bytes"})
		return
	}
	q, faults := s.deps.OpenDSR.Parse(r.Header.Get("Content-Type"), body)
	if len(faults) > 0 {
		s.dsrRefuse(w, http.StatusBadRequest, faults...)
		return
	}
	s.about(r, q.Subject)
	info, found, err := s.deps.Processor.Request(r.Context(), q.Subject, q.ID)
	switch {
	case err != nil:
		s.lookupProblem(w, r, err)
	case found && !sameRequest(&q, &info) || s.deps.OpenDSR.WatchesOthers(&q):
		s.dsrConflict(w)
	case found && (!info.Status.IsOpen() || s.dsrWatch(w, r, &q, info.Received, info.Due)):
		s.dsrAnswer(w, http.StatusCreated, s.deps.OpenDSR.Receipt(&q, info.Received, info.Due))
	case found:
	default:
		s.dsrSubmit(w, r, &q)
	}
}

// sameRequest reports whether a request that is kept is the one that was posted
// again. Inputs may have whole seconds only.
func sameRequest(q *opendsr.Request, info *processor.RequestInfo) bool {
	const second = subject.Day / 86400
	asked := min(q.Submitted, info.Received)
	return info.Kind == q.Kind && info.Effective/second == asked/second
}

func (s *Server) dsrConflict(w http.ResponseWriter) {
	s.dsrRefuse(w, http.StatusBadRequest, opendsr.Fault{Reason: "conflict", Message: "there is another request with this subject_request_id: of another subject, type or submitted_time, or with other callbacks"})
}

// dsrSubmit sends a request that nobody has read yet.
func (s *Server) dsrSubmit(w http.ResponseWriter, r *http.Request, q *opendsr.Request) {
	if other, _, err := s.deps.Processor.FindRequest(r.Context(), q.ID); err != nil || other != nil {
		if err != nil {
			s.lookupProblem(w, r, err)
			return
		}
		s.dsrConflict(w)
		return
	}
	now := subject.FromTime(time.Now())
	sent, ok := s.deps.OpenDSR.Remember(opendsr.Sent{ID: q.ID, Kind: q.Kind, Pseudonym: s.deps.Pseudonym(q.Subject), Submitted: q.Submitted, Received: now, Due: processor.RequestDue(now)})
	if !ok {
		s.dsrConflict(w)
		return
	}
	if !s.dsrWatch(w, r, q, sent.Received, sent.Due) {
		s.deps.OpenDSR.Forget(q.ID)
		return
	}
	fields := map[string]any{"requestId": q.ID, "request": q.Kind.String()}
	if !s.submit(w, r, submitted{posted{UserID: q.Subject.Value}, wire.Requests, q.Submitted.String(), fields}) {
		s.deps.OpenDSR.Forget(q.ID)
		return
	}
	s.dsrAnswer(w, http.StatusCreated, s.deps.OpenDSR.Receipt(q, sent.Received, sent.Due))
}

// dsrWatch lets a request's callbacks be sent, if it has any and they are not being
// sent already; where it cannot, the answer is given.
func (s *Server) dsrWatch(w http.ResponseWriter, r *http.Request, q *opendsr.Request, received, due subject.Instant) bool {
	if len(q.Callbacks) == 0 {
		return true
	}
	partition, from, err := s.deps.Processor.ResultsEnd(r.Context(), q.Subject)
	if err == nil {
		err = s.deps.OpenDSR.Watch(q, opendsr.Watch{Partition: partition, From: from, Expected: s.deps.OpenDSR.Expected(q.Kind, received, due)})
	}
	if err == nil {
		return true
	}
	if errors.Is(err, opendsr.ErrManyCallbacks) {
		askAgain(w, err.Error()+": ask again later, or leave status_callback_urls out and ask for the status")
		return false
	}
	s.deps.Logger.Error("a request's callbacks cannot be kept", "error", err)
	askAgain(w, "its callbacks cannot be kept at the moment, and the log says why; nothing was sent: ask again, or leave status_callback_urls out")
	return false
}

// dsrID is the id in the path; where it is none, the answer is given.
func (s *Server) dsrID(w http.ResponseWriter, r *http.Request) (id string, ok bool) {
	id = r.PathValue("subjectRequestId")
	if !opendsr.IsID(id) {
		s.dsrRefuse(w, http.StatusBadRequest, opendsr.Fault{Reason: "invalid", Message: "subject_request_id must be a UUID v4 in lower case"})
		return id, false
	}
	return id, true
}

func (s *Server) dsrStatus(w http.ResponseWriter, r *http.Request) {
	id, ok := s.dsrID(w, r)
	if !ok {
		return
	}
	found, ok := s.dsrFound(w, r, s.deps.Processor.FindRequest, id)
	switch {
	case !ok:
	case found == nil: // it was sent a moment ago
		sent, _ := s.deps.OpenDSR.Sent(id, subject.FromTime(time.Now()))
		s.dsrAnswer(w, http.StatusOK, s.deps.OpenDSR.Standing(id, sent.Kind, opendsr.Pending, s.deps.OpenDSR.Expected(sent.Kind, sent.Received, sent.Due)))
	default:
		s.dsrAnswer(w, http.StatusOK, s.deps.OpenDSR.Standing(id, found.Kind, opendsr.StatusOf(found.Kind, found.Status), s.deps.OpenDSR.Expected(found.Kind, found.Received, found.Due)))
	}
}

// dsrFound finds a request by find. One that was sent here a moment ago and is not
// read yet is nil, and ok. Where there is none, or another instance has it, the answer
// is given.
func (s *Server) dsrFound(w http.ResponseWriter, r *http.Request, find func(context.Context, string) (*processor.FoundRequest, bool, error), id string) (found *processor.FoundRequest, ok bool) {
	found, complete, err := find(r.Context(), id)
	switch {
	case err != nil:
		s.lookupProblem(w, r, err)
		return nil, false
	case found != nil:
		s.deps.OpenDSR.Forget(id)
		return found, true
	}
	if _, sent := s.deps.OpenDSR.Sent(id, subject.FromTime(time.Now())); sent {
		return nil, true
	}
	if !complete {
		askAgain(w, "a partition that may have the request cannot tell now")
		return nil, false
	}
	s.dsrElsewhere(w, r)
	return nil, false
}

// dsrResults hands over what was asked for, and with that completes the request.
func (s *Server) dsrResults(w http.ResponseWriter, r *http.Request) {
	id, ok := s.dsrID(w, r)
	if !ok {
		return
	}
	found, ok := s.dsrFound(w, r, s.deps.Processor.FindRequest, id)
	switch {
	case !ok:
		return
	case found == nil:
		askAgain(w, "the request was not read yet")
		return
	case found.Kind == subject.Erase:
		s.dsrRefuse(w, http.StatusNotFound, opendsr.Fault{Reason: "no_results", Message: "an erasure has no results"})
		return
	case found.Status == subject.Failed:
		s.dsrRefuse(w, http.StatusConflict, opendsr.Fault{Reason: "cancelled", Message: "the request was cancelled"})
		return
	case found.Subject.IsZero():
		s.dsrRefuse(w, http.StatusConflict, opendsr.Fault{Reason: "erased", Message: "the subject was erased after it had asked, and nothing is kept that tells whose request this is: cancel it, or complete it with GET /v1/subjects/{id}/access or /portability and its requestId"})
		return
	}
	s.about(r, found.Subject)
	document := s.accessDocument
	if found.Kind == subject.Portability {
		document = s.portabilityDocument
	}
	doc, err := document(r.Context(), found.Subject, id)
	if err != nil {
		s.lookupProblem(w, r, err)
		return
	}
	s.dsrAnswer(w, http.StatusOK, doc)
}

// cancelledDetail is what the request's result says.
const cancelledDetail = "cancelled by the controller"

// dsrCancelled ends a request that nobody was handed anything for yet.
func (s *Server) dsrCancelled(w http.ResponseWriter, r *http.Request) {
	id, ok := s.dsrID(w, r)
	if !ok {
		return
	}
	found, ok := s.dsrFound(w, r, func(ctx context.Context, id string) (*processor.FoundRequest, bool, error) {
		return s.deps.Processor.CancelRequest(ctx, id, cancelledDetail)
	}, id)
	late := func(message string) {
		s.dsrRefuse(w, http.StatusConflict, opendsr.Fault{Reason: "too_late", Message: "it is too late to cancel the request: " + message})
	}
	switch {
	case !ok:
	case found == nil:
		askAgain(w, "the request was not read yet")
	case found.Status == subject.Failed:
		s.dsrAnswer(w, http.StatusAccepted, s.deps.OpenDSR.Cancellation(id, subject.FromTime(time.Now())))
	case found.Kind == subject.Erase:
		late("an erasure is in force from the moment it is read, and nothing brings back what it has deleted")
	default:
		late("what was asked for has been handed over")
	}
}

// askedParameter counts the owners of partitions that know nothing of a request.
const askedParameter = "asked"

// dsrElsewhere sends who asks for a request that is not here on to the next of the
// instances that own partitions, in the order of their addresses, until all were
// asked: an id of a request does not tell whose it is.
func (s *Server) dsrElsewhere(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	asked := 0
	if text := query.Get(askedParameter); text != "" {
		var err error
		if asked, err = strconv.Atoi(text); err != nil || asked < 0 {
			s.dsrRefuse(w, http.StatusBadRequest, opendsr.Fault{Reason: "invalid", Message: askedParameter + " is for redirects only"})
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), ownerWait)
	defer cancel()
	owners, err := s.deps.Owners(ctx)
	if err != nil {
		s.deps.Logger.Warn("it cannot be told who owns the partitions", "error", err)
		askAgain(w, "it cannot be told at the moment who may have the request")
		return
	}
	next, owner := slices.BinarySearch(owners, s.address)
	if owner {
		asked++
		next++
	}
	if asked >= len(owners) {
		s.dsrRefuse(w, http.StatusNotFound, opendsr.Fault{Reason: "unknown", Message: "no request of this id is known here; one that was just sent may not have been read yet"})
		return
	}
	query.Set(askedParameter, strconv.Itoa(asked))
	w.Header().Set("Location", owners[next%len(owners)]+r.URL.EscapedPath()+"?"+query.Encode())
	w.WriteHeader(http.StatusTemporaryRedirect)
}
