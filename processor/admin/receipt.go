package admin

import "net/http"

// receipt answers the receipt of what a subject has decided.
func (s *Server) receipt(w http.ResponseWriter, r *http.Request) {
	s.receipted(w, r, r.PathValue("id"), r.URL.Query().Get("idType"))
}

// receiptPosted is receipt with the id in the body, where it stays out of access logs.
func (s *Server) receiptPosted(w http.ResponseWriter, r *http.Request) {
	var q posted
	if err := readPosted(w, r, &q); err != nil || !q.valid() {
		badBody(w, err, `the body must be {"userId":"…"} or {"anonymousId":"…"}`)
		return
	}
	value, idType := q.id()
	s.receipted(w, r, value, idType)
}

func (s *Server) receipted(w http.ResponseWriter, r *http.Request, value, idType string) {
	id, ok := subjectOf(w, value, idType)
	if !ok {
		return
	}
	s.about(r, id)
	consents, err := s.deps.Processor.Consents(r.Context(), id)
	if err != nil {
		s.lookupProblem(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, "application/ld+json", s.deps.Receipt(consents))
}
