package admin

import "net/http"

// access answers everything that is kept about a subject, and completes its request
// that the query names.
func (s *Server) access(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.accessed(w, r, accessQuery{r.PathValue("id"), q.Get("idType"), q.Get("requestId")})
}

// accessPosted is access with the id in the body, where it stays out of access logs.
func (s *Server) accessPosted(w http.ResponseWriter, r *http.Request) {
	var q struct {
		posted
		RequestID string `json:"requestId"`
	}
	if err := readPosted(w, r, &q); err != nil || !q.valid() {
		problem(w, http.StatusBadRequest, `the body must be {"userId":"…"} or {"anonymousId":"…"}, with or without "requestId"`)
		return
	}
	value, idType := q.id()
	s.accessed(w, r, accessQuery{value, idType, q.RequestID})
}

type accessQuery struct{ value, idType, requestID string }

func (s *Server) accessed(w http.ResponseWriter, r *http.Request, q accessQuery) {
	id, ok := subjectOf(w, q.value, q.idType)
	if !ok {
		return
	}
	s.about(r, id)
	doc, err := s.deps.Processor.Access(r.Context(), id, q.requestID)
	if err != nil {
		s.lookupProblem(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", doc)
}
