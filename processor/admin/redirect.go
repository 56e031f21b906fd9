package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/segmentd/segmentd/processor"
)

// redirectedParameter marks what another instance has sent here, so that no
// request is sent on twice.
const redirectedParameter = "redirected"

// ownerWait bounds how long it is looked for who owns a partition.
const ownerWait = 3 * time.Second

// lookupProblem answers a look-up that failed: by sending the asker to the
// instance that owns the subject's partition, where it is another.
func (s *Server) lookupProblem(w http.ResponseWriter, r *http.Request, err error) {
	var elsewhere *processor.NotOwnedError
	switch {
	case errors.As(err, &elsewhere):
		s.redirect(w, r, elsewhere)
	case errors.Is(err, processor.ErrNotReady):
		askAgain(w, err.Error())
	default:
		problem(w, http.StatusInternalServerError, "the subject's record cannot be read; the log says why")
	}
}

// redirect answers 307, with which method and body stay, or 503 while the owner
// is not known.
func (s *Server) redirect(w http.ResponseWriter, r *http.Request, elsewhere *processor.NotOwnedError) {
	query := r.URL.Query()
	switch {
	case elsewhere.Partition < 0:
		askAgain(w, elsewhere.Error())
		return
	case query.Has(redirectedParameter):
		askAgain(w, fmt.Sprintf("partition %d is not here any more, or not yet", elsewhere.Partition))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), ownerWait)
	defer cancel()
	owner, err := s.deps.Owner(ctx, elsewhere.Partition)
	switch {
	case r.Context().Err() != nil:
		s.deps.Logger.Debug("whoever asked who owns a partition has hung up", "partition", elsewhere.Partition)
	case err != nil:
		s.deps.Logger.Warn("it cannot be told who owns a partition", "partition", elsewhere.Partition, "error", err)
		askAgain(w, fmt.Sprintf("it cannot be told at the moment who owns partition %d", elsewhere.Partition))
	case owner == "":
		askAgain(w, fmt.Sprintf("nobody owns partition %d at the moment", elsewhere.Partition))
	case owner == s.address:
		askAgain(w, fmt.Sprintf("partition %d is moving, or its owner gives the same address (http.advertise) as this instance", elsewhere.Partition))
	default:
		query.Set(redirectedParameter, "true")
		w.Header().Set("Location", owner+r.URL.EscapedPath()+"?"+query.Encode())
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// askAgain answers 503 with when to ask again.
func askAgain(w http.ResponseWriter, detail string) {
	w.Header().Set("Retry-After", "1")
	problem(w, http.StatusServiceUnavailable, detail)
}
