package admin

import (
	"errors"
	"io"
	"net/http"
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
	if !s.dsrKnown(w, r, &q) {
		s.dsrSubmit(w, r, &q)
	}
}

// dsrKnown answers a request that its subject's partition has already, or that cannot be
// looked for. Its callbacks are those that it came with.
func (s *Server) dsrKnown(w http.ResponseWriter, r *http.Request, q *opendsr.Request) (answered bool) {
	info, found, err := s.deps.Processor.Request(r.Context(), q.Subject, q.ID)
	switch {
	case err != nil:
		s.lookupProblem(w, r, err)
	case found && !sameRequest(q, &info) || s.deps.OpenDSR.WatchesOthers(q):
		s.dsrConflict(w)
	case found:
		s.dsrAnswer(w, http.StatusCreated, s.deps.OpenDSR.Receipt(q, info.Received, info.Due))
	default:
		return false
	}
	return true
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
	all, complete, err := s.deps.Processor.FindRequests(r.Context(), q.ID)
	switch {
	case err != nil:
		s.lookupProblem(w, r, err)
		return
	case len(all) > 0:
		if !s.dsrKnown(w, r, q) { // otherwise it was sent twice, and the first was read just now
			s.dsrConflict(w)
		}
		return
	case !complete:
		askAgain(w, "a partition of this instance cannot tell now whether it has a request with this subject_request_id")
		return
	}
	now := subject.FromTime(time.Now())
	sent, ok := s.deps.OpenDSR.Remember(opendsr.Sent{ID: q.ID, Kind: q.Kind, Pseudonym: s.deps.Pseudonym(q.Subject), Submitted: q.Submitted, Received: now, Due: processor.RequestDue(min(q.Submitted, now))})
	if !ok {
		s.dsrConflict(w)
		return
	}
	began, ok := s.dsrWatch(w, r, q, sent)
	if !ok {
		s.deps.OpenDSR.Forget(q.ID)
		return
	}
	fields := map[string]any{"requestId": q.ID, "request": q.Kind.String()}
	switch done, perhaps := s.submit(w, r, submitted{posted{UserID: q.Subject.Value}, wire.Requests, q.Submitted.String(), fields}); {
	case done:
		s.dsrAnswer(w, http.StatusCreated, s.deps.OpenDSR.Receipt(q, sent.Received, sent.Due))
	case !perhaps:
		s.deps.OpenDSR.Forget(q.ID)
		if began {
			s.deps.OpenDSR.Unwatch(q.ID)
		}
	}
}

// dsrWatch lets a request's callbacks be sent, if it has any; began: they were not being
// sent already. Where it cannot, the answer is given.
func (s *Server) dsrWatch(w http.ResponseWriter, r *http.Request, q *opendsr.Request, sent opendsr.Sent) (began, ok bool) {
	if len(q.Callbacks) == 0 {
		return false, true
	}
	partition, from, err := s.deps.Processor.ResultsEnd(r.Context(), q.Subject)
	if err == nil {
		began, err = s.deps.OpenDSR.Watch(q, opendsr.Watch{Partition: partition, From: from, Received: sent.Received, Expected: s.deps.OpenDSR.Expected(q.Kind, sent.Received, sent.Due)})
	}
	switch {
	case err == nil:
		return began, true
	case errors.Is(err, opendsr.ErrManyCallbacks):
		askAgain(w, err.Error()+": ask again later, or leave status_callback_urls out and ask for the status")
	default:
		s.deps.Logger.Error("a request's callbacks cannot be kept", "error", err)
		askAgain(w, "its callbacks cannot be kept at the moment, and the log says why; nothing was sent: ask again, or leave status_callback_urls out")
	}
	return false, false
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
	found, ok := s.dsrFound(w, r, id)
	switch {
	case !ok:
	case found == nil: // it was sent a moment ago
		sent, _ := s.deps.OpenDSR.Sent(id, subject.FromTime(time.Now()))
		s.dsrAnswer(w, http.StatusOK, s.deps.OpenDSR.Standing(id, sent.Kind, opendsr.Pending, s.deps.OpenDSR.Expected(sent.Kind, sent.Received, sent.Due)))
	default:
		s.dsrAnswer(w, http.StatusOK, s.deps.OpenDSR.Standing(id, found.Kind, opendsr.StatusOf(found.Kind, found.Status), s.deps.OpenDSR.Expected(found.Kind, found.Received, found.Due)))
	}
}

// dsrResults hands over what was asked for, and with that completes the request.
func (s *Server) dsrResults(w http.ResponseWriter, r *http.Request) {
	id, ok := s.dsrID(w, r)
	if !ok {
		return
	}
	found, ok := s.dsrFound(w, r, id)
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
	found, ok := s.dsrFound(w, r, id)
	if found != nil {
		ended, err := s.deps.Processor.CancelRequest(r.Context(), *found, cancelledDetail)
		if err != nil {
			s.lookupProblem(w, r, err)
			return
		}
		found = &ended
	}
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
