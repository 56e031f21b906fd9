package admin

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/opendsr"
	"github.com/segmentd/segmentd/state/subject"
)

// Parameters of redirects: how many of those that own partitions were asked for a
// request, and which of them has it.
const (
	askedParameter = "asked"
	foundParameter = "found"
)

// dsrWalk is how far all were asked for a request. Its id does not tell whose it is,
// and nothing keeps requests of two subjects from having one id, at two instances: who
// has one answers only once all others were asked.
type dsrWalk struct {
	asked int
	found string // address of the one that has it; "": nobody yet
}

// dsrFound finds a request. One that was sent here a moment ago and is not read yet is
// nil, and ok. Where there is none or more than one, or another is to be asked, the
// answer is given.
func (s *Server) dsrFound(w http.ResponseWriter, r *http.Request, id string) (found *processor.FoundRequest, ok bool) {
	query := r.URL.Query()
	walk := dsrWalk{found: query.Get(foundParameter)}
	if text := query.Get(askedParameter); text != "" {
		var err error
		if walk.asked, err = strconv.Atoi(text); err != nil || walk.asked < 0 {
			s.dsrRefuse(w, http.StatusBadRequest, opendsr.Fault{Reason: "invalid", Message: askedParameter + " is for redirects only"})
			return nil, false
		}
	}
	all, complete, err := s.deps.Processor.FindRequests(r.Context(), id)
	if err != nil {
		s.lookupProblem(w, r, err)
		return nil, false
	}
	if len(all) > 0 {
		s.deps.OpenDSR.Forget(id)
	}
	elsewhere := walk.found != "" && walk.found != s.address
	_, sent := s.deps.OpenDSR.Sent(id, subject.FromTime(time.Now()))
	switch {
	case len(all) > 1 || len(all) > 0 && elsewhere:
		s.dsrRefuse(w, http.StatusConflict, opendsr.Fault{Reason: "conflict", Message: "more than one subject has a request of this id: nobody can tell which is meant; " +
			"use /v1/requests and the pages of /v1/subjects, which name the subject"})
	case !complete:
		askAgain(w, "a partition that may have the request cannot tell now")
	case sent && elsewhere:
		askAgain(w, "a request of this id was sent here and is not read yet, and another instance has one")
	case len(all) > 0 || sent:
		walk.found = s.address
		ok = s.dsrAllAsked(w, r, walk)
	case walk.found != "" && !elsewhere:
		askAgain(w, "the request is not here any more")
	default:
		s.dsrAllAsked(w, r, walk)
	}
	if ok && len(all) > 0 {
		found = &all[0]
	}
	return found, ok
}

// dsrAllAsked reports whether all that own partitions were asked, and this instance has
// the request. Otherwise the answer is given: the next one to ask, in the order of their
// addresses, then the one that has it.
func (s *Server) dsrAllAsked(w http.ResponseWriter, r *http.Request, walk dsrWalk) bool {
	ctx, cancel := context.WithTimeout(r.Context(), ownerWait)
	defer cancel()
	owners, err := s.deps.Owners(ctx)
	if err != nil {
		s.deps.Logger.Warn("it cannot be told who owns the partitions", "error", err)
		askAgain(w, "it cannot be told at the moment who may have the request")
		return false
	}
	next, owner := slices.BinarySearch(owners, s.address)
	if owner {
		walk.asked++
		next++
	}
	switch {
	case walk.asked < len(owners):
		redirectWalk(w, r, walk, owners[next%len(owners)])
	case walk.found == s.address:
		return true
	case walk.found == "":
		s.dsrRefuse(w, http.StatusNotFound, opendsr.Fault{Reason: "unknown", Message: "no request of this id is known here; one that was just sent may not have been read yet"})
	case slices.Contains(owners, walk.found):
		redirectWalk(w, r, walk, walk.found)
	default:
		askAgain(w, "the partition that has the request is moving")
	}
	return false
}

func redirectWalk(w http.ResponseWriter, r *http.Request, walk dsrWalk, to string) {
	query := r.URL.Query()
	query.Set(askedParameter, strconv.Itoa(walk.asked))
	if walk.found != "" {
		query.Set(foundParameter, walk.found)
	}
	w.Header().Set("Location", to+r.URL.EscapedPath()+"?"+query.Encode())
	w.WriteHeader(http.StatusTemporaryRedirect)
}
