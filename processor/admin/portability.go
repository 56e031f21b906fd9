package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/segmentd/segmentd/processor/portable"
	"github.com/segmentd/segmentd/processor/wire"
	"github.com/segmentd/segmentd/state/subject"
)

// portability answers what a subject may take along, and completes its request that
// the query names.
func (s *Server) portability(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.handOver(w, r, accessQuery{r.PathValue("id"), q.Get("idType"), q.Get("requestId")}, s.portabilityDocument)
}

// portabilityPosted is portability with the id in the body.
func (s *Server) portabilityPosted(w http.ResponseWriter, r *http.Request) {
	s.handOverPosted(w, r, s.portabilityDocument)
}

func (s *Server) portabilityDocument(ctx context.Context, id subject.ID, requestID string) (any, error) {
	return s.deps.Processor.Portability(ctx, id, requestID)
}

// imports sends a portability document, which is the body, to the requests topic. The
// query may name the request.
func (s *Server) imports(w http.ResponseWriter, r *http.Request) {
	document, err := io.ReadAll(http.MaxBytesReader(w, r.Body, portable.MaxBytes))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		problem(w, http.StatusRequestEntityTooLarge, "the document is larger than 1000000 bytes, which is what one record of Kafka can take")
		return
	}
	id, _, failed := portable.Parse(document)
	if err := errors.Join(err, failed); err != nil {
		problem(w, http.StatusBadRequest, "the body must be a portability document: "+err.Error())
		return
	}
	sent := sentJSON{RequestID: r.URL.Query().Get("requestId"), Status: subject.Received.String()}
	if _, free := s.claim(w, r, id, &sent, subject.Import.String()); !free {
		return
	}
	q := submitted{kind: wire.Requests, fields: map[string]any{"type": "import", "requestId": sent.RequestID, "document": json.RawMessage(document)}}
	if q.UserID = id.Value; id.Type == subject.AnonymousID {
		q.UserID, q.AnonymousID = "", id.Value
	}
	if done, _ := s.submit(w, r, q); done {
		sent.write(w, id)
	}
}
