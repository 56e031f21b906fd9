package admin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// submitWait bounds how long Kafka may take for what is submitted.
const submitWait = 8 * time.Second

// postedRequest is the body of POST /v1/requests.
type postedRequest struct {
	posted
	RequestID string                     `json:"requestId"`
	Request   string                     `json:"request"`
	Traits    map[string]json.RawMessage `json:"traits"`
	Timestamp string                     `json:"timestamp"`
	Ticket    string                     `json:"ticket"` // read by readTicket
}

// requestPosted sends a subject's request to the requests topic.
func (s *Server) requestPosted(w http.ResponseWriter, r *http.Request) {
	var q postedRequest
	err := readPosted(w, r, &q)
	if err != nil || !q.valid() || q.Request == "" || !isNameOf(q.Request, subject.RequestKinds) || (q.Traits != nil) != (q.Request == subject.Rectify.String()) {
		badBody(w, err, `the body must be {"userId":"…","request":"…"} or {"anonymousId":"…","request":"…"}, with or without "requestId", "timestamp" and "ticket"; `+
			`request is access, portability, erase, rectify, restrict or unrestrict, and rectify, nothing else, has "traits":{…}`)
		return
	}
	if q.Request == subject.Erase.String() && !hasTicket(r) {
		problem(w, http.StatusBadRequest, noTicket)
		return
	}
	value, idType := q.id()
	id, ok := subjectOf(w, value, idType)
	if !ok {
		return
	}
	sent := sentJSON{RequestID: q.RequestID, Status: subject.Received.String()}
	if known, free := s.claim(w, r, id, &sent, q.Request); !free {
		return
	} else if known != nil { // it is the same, and changes nothing
		sent.Status, sent.Detail = known.Status.String(), known.Detail
	}
	fields := map[string]any{"requestId": sent.RequestID, "request": q.Request}
	if q.Traits != nil {
		fields["traits"] = q.Traits
	}
	if done, _ := s.submit(w, r, submitted{q.posted, wire.Requests, q.Timestamp, fields}); done {
		sent.write(w, id)
	}
}

// claim gives what is sent an id where it has none. Where it has that of a request of
// the subject of which this instance knows, known is that; where that is of another
// kind, free is false and the answer is given.
func (s *Server) claim(w http.ResponseWriter, r *http.Request, id subject.ID, sent *sentJSON, kind string) (known *processor.RequestInfo, free bool) {
	if sent.RequestID == "" {
		sent.RequestID = rand.Text()
		return nil, true
	}
	s.about(r, id)
	info, found, err := s.deps.Processor.Request(r.Context(), id, sent.RequestID)
	switch {
	case err != nil || !found: // its owner will see
		return nil, true
	case info.Kind.String() != kind:
		problem(w, http.StatusConflict, fmt.Sprintf("nothing was sent: the requestId is that of another request of this subject, which asks for %s; choose another", info.Kind))
		return nil, false
	}
	return &info, true
}

// sentJSON is how far a request is that was sent.
type sentJSON struct {
	RequestID string `json:"requestId"`
	Status    string `json:"status"`
	Detail    string `json:"detail,omitempty"` // of one that was read before
}

// write answers with it, and where to ask for it.
func (j sentJSON) write(w http.ResponseWriter, id subject.ID) {
	at := url.URL{Path: "/v1/requests/" + j.RequestID, RawPath: "/v1/requests/" + url.PathEscape(j.RequestID), RawQuery: url.Values{id.Type.String(): {id.Value}}.Encode()}
	w.Header().Set("Location", at.String())
	writeJSON(w, http.StatusAccepted, "application/json", j)
}

// decisionPosted sends a subject's decision to the decisions topic: one that stops a
// purpose. Consent comes from where the subject gives it.
func (s *Server) decisionPosted(w http.ResponseWriter, r *http.Request) {
	var q struct {
		posted
		Purpose   string `json:"purpose"`
		Status    string `json:"status"`
		Timestamp string `json:"timestamp"`
		Method    string `json:"method"`
		RecordID  string `json:"recordId"`
	}
	err := readPosted(w, r, &q)
	if err != nil || !q.valid() || q.Purpose == "" || q.Status != subject.Objected.String() && q.Status != subject.Withdrawn.String() && q.Status != subject.Refused.String() {
		badBody(w, err, `the body must be {"userId":"…","purpose":"…","status":"…"} or {"anonymousId":"…",…}, with or without "timestamp", "method" and "recordId"; `+
			`status is objected, withdrawn or refused: consent comes from where the subject gives it`)
		return
	}
	fields := map[string]any{"purpose": q.Purpose, "status": q.Status}
	for name, text := range map[string]string{"method": q.Method, "recordId": q.RecordID} {
		if text != "" {
			fields[name] = text
		}
	}
	if done, _ := s.submit(w, r, submitted{q.posted, wire.Decisions, q.Timestamp, fields}); done {
		writeJSON(w, http.StatusAccepted, "application/json", struct {
			Status string `json:"status"`
		}{subject.Received.String()})
	}
}

// submitted is what was posted to be sent.
type submitted struct {
	posted
	kind      wire.Kind
	timestamp string // "": now
	fields    map[string]any
}

// submit sends it; where it cannot, the answer is given. perhaps: nobody knows whether it
// was sent.
func (s *Server) submit(w http.ResponseWriter, r *http.Request, q submitted) (sent, perhaps bool) {
	value, idType := q.id()
	id, ok := subjectOf(w, value, idType)
	if !ok {
		return false, false
	}
	at := subject.FromTime(time.Now())
	if q.timestamp != "" {
		given, err := subject.ParseInstant(q.timestamp)
		if err != nil || given <= 0 {
			problem(w, http.StatusBadRequest, "timestamp is RFC 3339, after 1970-01-01T00:00:00Z")
			return false, false
		}
		at = given
	}
	s.about(r, id)
	ctx, cancel := context.WithTimeout(r.Context(), submitWait)
	defer cancel()
	err := s.deps.Processor.Submit(ctx, processor.Submission{Kind: q.kind, Subject: id, At: at, Fields: q.fields})
	var none *processor.NoInputError
	var unfit *processor.UnfitError
	switch {
	case err == nil:
		return true, false
	case errors.As(err, &none):
		problem(w, http.StatusConflict, err.Error())
	case errors.As(err, &unfit):
		problem(w, http.StatusBadRequest, err.Error())
	default:
		s.deps.Logger.Error("what was submitted cannot be sent", "route", r.Pattern, "error", err)
		askAgain(w, "Kafka does not take it at the moment, and the log says why; it may have been sent all the same: send it again with the same requestId and timestamp, which changes nothing then")
		return false, true
	}
	return false, false
}
