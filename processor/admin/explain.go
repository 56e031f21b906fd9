package admin

import (
	"errors"
	"net/http"

	"github.com/segmentd/segmentd/processor"
)

// explain answers why a subject is in a segment or not: one explanation, or
// where no segment is named those of all of the subject's purposes.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.explained(w, r, explainQuery{r.PathValue("id"), q.Get("idType"), q.Get("segment")})
}

// explainPosted is explain with the id in the body, where it stays out of access logs.
func (s *Server) explainPosted(w http.ResponseWriter, r *http.Request) {
	var q struct {
		posted
		Segment string `json:"segment"`
	}
	if err := readPosted(w, r, &q); err != nil || !q.valid() {
		badBody(w, err, `the body must be {"userId":"…"} or {"anonymousId":"…"}, with or without "segment"`)
		return
	}
	value, idType := q.id()
	s.explained(w, r, explainQuery{value, idType, q.Segment})
}

type explainQuery struct{ value, idType, segment string }

func (s *Server) explained(w http.ResponseWriter, r *http.Request, q explainQuery) {
	id, ok := subjectOf(w, q.value, q.idType)
	if !ok {
		return
	}
	s.about(r, id)
	all, err := s.deps.Processor.Explain(r.Context(), id, q.segment)
	var unknown *processor.NoSegmentError
	switch {
	case errors.As(err, &unknown):
		problem(w, http.StatusNotFound, unknown.Error())
	case err != nil:
		s.lookupProblem(w, r, err)
	case q.segment != "":
		writeJSON(w, http.StatusOK, "application/json", all.Explanations[0])
	default:
		writeJSON(w, http.StatusOK, "application/json", all)
	}
}
