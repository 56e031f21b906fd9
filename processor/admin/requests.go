package admin

import (
	"net/http"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/state/subject"
)

// requestJSON is a data subject's request, without its subject.
type requestJSON struct {
	RequestID string `json:"requestId"`
	Request   string `json:"request"`
	Status    string `json:"status"`
	Received  string `json:"received"`
	Due       string `json:"due,omitempty"` // of an open one
	Completed string `json:"completed,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Partition int32  `json:"partition"`
}

func requestOf(q *processor.RequestInfo) requestJSON {
	j := requestJSON{RequestID: q.RequestID, Request: q.Kind.String(), Status: q.Status.String(), Received: q.Received.String(), Detail: q.Detail, Partition: q.Partition}
	if q.Status.IsOpen() {
		j.Due = q.Due.String()
	}
	if q.Done.Valid() {
		j.Completed = q.Done.String()
	}
	return j
}

// requests lists the requests of this instance's partitions, the oldest first; of
// one kind or status where the query says so.
func (s *Server) requests(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	kind, status := query.Get("kind"), query.Get("status")
	if !isNameOf(kind, subject.RequestKinds) || !isNameOf(status, subject.RequestStatuses) {
		problem(w, http.StatusBadRequest, "kind is access, portability, erase, rectify, restrict, unrestrict or import, and status received, in_progress, completed or failed")
		return
	}
	all, complete := s.deps.Processor.Requests(r.Context())
	out := struct {
		Requests []requestJSON `json:"requests"`
		Complete bool          `json:"complete"` // false: some partition could not tell now
	}{[]requestJSON{}, complete}
	for i := range all {
		if j := requestOf(&all[i]); (kind == "" || j.Request == kind) && (status == "" || j.Status == status) {
			out.Requests = append(out.Requests, j)
		}
	}
	writeJSON(w, http.StatusOK, "application/json", out)
}

// isNameOf reports whether a word is empty or the name of one of n things.
func isNameOf[T interface {
	~uint8
	String() string
}](word string, n T) bool {
	for i := range n {
		if i.String() == word {
			return true
		}
	}
	return word == ""
}

// request tells how far a subject's request is.
func (s *Server) request(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p := posted{q.Get("userId"), q.Get("anonymousId")}
	if !p.valid() {
		problem(w, http.StatusBadRequest, "say whose request it is: ?userId= or ?anonymousId=")
		return
	}
	s.requested(w, r, p, r.PathValue("requestId"))
}

// requestLookup is request with the ids in the body, where they stay out of access logs.
func (s *Server) requestLookup(w http.ResponseWriter, r *http.Request) {
	var q struct {
		posted
		RequestID string `json:"requestId"`
	}
	if err := readPosted(w, r, &q); err != nil || !q.valid() || q.RequestID == "" {
		badBody(w, err, `the body must be {"userId":"…","requestId":"…"} or {"anonymousId":"…","requestId":"…"}`)
		return
	}
	s.requested(w, r, q.posted, q.RequestID)
}

func (s *Server) requested(w http.ResponseWriter, r *http.Request, p posted, requestID string) {
	value, idType := p.id()
	id, ok := subjectOf(w, value, idType)
	if !ok {
		return
	}
	s.about(r, id)
	info, found, err := s.deps.Processor.Request(r.Context(), id, requestID)
	switch {
	case err != nil:
		s.lookupProblem(w, r, err)
	case !found:
		problem(w, http.StatusNotFound, "no request of this id is kept of this subject; one that was just sent may not have been read yet")
	default:
		writeJSON(w, http.StatusOK, "application/json", requestOf(&info))
	}
}
