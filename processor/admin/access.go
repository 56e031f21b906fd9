package admin

import (
	"context"
	"net/http"

	"github.com/segmentd/segmentd/state/subject"
)

// access answers everything that is kept about a subject, and completes its request
// that the query names.
func (s *Server) access(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.handOver(w, r, accessQuery{r.PathValue("id"), q.Get("idType"), q.Get("requestId")}, s.accessDocument)
}

// accessPosted is access with the id in the body, where it stays out of access logs.
func (s *Server) accessPosted(w http.ResponseWriter, r *http.Request) {
	s.handOverPosted(w, r, s.accessDocument)
}

func (s *Server) accessDocument(ctx context.Context, id subject.ID, requestID string) (any, error) {
	kept, err := s.deps.Processor.Access(ctx, id, requestID)
	if err != nil {
		return nil, err
	}
	return s.deps.Accessed(kept), nil
}

// makeDocument makes what is handed over of a subject, for its request of that id; "": for none.
type makeDocument func(ctx context.Context, id subject.ID, requestID string) (any, error)

func (s *Server) handOverPosted(w http.ResponseWriter, r *http.Request, of makeDocument) {
	var q struct {
		posted
		RequestID string `json:"requestId"`
	}
	if err := readPosted(w, r, &q); err != nil || !q.valid() {
		badBody(w, err, `the body must be {"userId":"…"} or {"anonymousId":"…"}, with or without "requestId"`)
		return
	}
	value, idType := q.id()
	s.handOver(w, r, accessQuery{value, idType, q.RequestID}, of)
}

type accessQuery struct{ value, idType, requestID string }

func (s *Server) handOver(w http.ResponseWriter, r *http.Request, q accessQuery, of makeDocument) {
	id, ok := subjectOf(w, q.value, q.idType)
	if !ok {
		return
	}
	s.about(r, id)
	doc, err := of(r.Context(), id, q.requestID)
	if err != nil {
		s.requestProblem(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", doc)
}
