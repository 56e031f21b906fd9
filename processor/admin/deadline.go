package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/state/subject"
)

// extended gives a request that waits for a person more time.
func (s *Server) extended(w http.ResponseWriter, r *http.Request) {
	var q struct {
		toldRequest
		Until string `json:"until"`
	}
	err := readPosted(w, r, &q)
	until := subject.Instant(0)
	if err == nil && q.Until != "" {
		until, err = subject.ParseInstant(q.Until)
	}
	if err != nil || !q.valid() || q.RequestID == "" {
		badBody(w, err, `the body must be {"userId":"…","requestId":"…","reason":"…"} or {"anonymousId":"…",…}, with or without "until", which is RFC 3339`)
		return
	}
	s.told(w, r, q.toldRequest, func(ctx context.Context, id subject.ID) (processor.RequestInfo, error) {
		return s.deps.Processor.Extend(ctx, id, q.RequestID, q.Reason, until)
	})
}

// refused ends a request that waits for a person.
func (s *Server) refused(w http.ResponseWriter, r *http.Request) {
	var q toldRequest
	if err := readPosted(w, r, &q); err != nil || !q.valid() || q.RequestID == "" {
		badBody(w, err, `the body must be {"userId":"…","requestId":"…","reason":"…"} or {"anonymousId":"…",…}`)
		return
	}
	s.told(w, r, q, func(ctx context.Context, id subject.ID) (processor.RequestInfo, error) {
		return s.deps.Processor.Refuse(ctx, id, q.RequestID, q.Reason)
	})
}

// toldRequest is a request that something is told about, and why.
type toldRequest struct {
	posted
	RequestID string `json:"requestId"`
	Reason    string `json:"reason"`
}

func (s *Server) told(w http.ResponseWriter, r *http.Request, q toldRequest, tell func(context.Context, subject.ID) (processor.RequestInfo, error)) {
	value, idType := q.id()
	id, ok := subjectOf(w, value, idType)
	if !ok {
		return
	}
	if !subject.ValidID(q.Reason) {
		problem(w, http.StatusBadRequest, fmt.Sprintf("say why, in reason, which the subject is told: 1 to %d bytes and no control characters", subject.MaxIDBytes))
		return
	}
	s.about(r, id)
	info, err := tell(r.Context(), id)
	switch {
	case err == nil:
		writeJSON(w, http.StatusOK, "application/json", requestOf(&info))
	case errors.Is(err, processor.ErrUnsettled):
		askAgain(w, err.Error())
	default:
		s.requestProblem(w, r, err)
	}
}

// requestProblem answers that nothing was done about a request.
func (s *Server) requestProblem(w http.ResponseWriter, r *http.Request, err error) {
	var none *processor.RequestError
	switch {
	case errors.As(err, &none) && none.Kept:
		problem(w, http.StatusConflict, none.Error())
	case errors.As(err, &none):
		problem(w, http.StatusNotFound, none.Error())
	default:
		s.lookupProblem(w, r, err)
	}
}
