package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/segmentd/segmentd/processor"
)

// readiness is what a partition is doing, in words.
func readiness(st processor.PartitionState) string {
	switch {
	case st.Gap != nil:
		return "stopped, decisions or requests are missing: " + st.Gap.String()
	case st.Paused:
		return "paused"
	case st.Busy != nil:
		return fmt.Sprintf("busy for %d s, at offset %d of %s", int(st.Busy.For.Seconds()), st.Busy.Offset, st.Busy.Topic)
	case st.Ready:
		return "ready"
	}
	return "restoring"
}

type gapJSON struct {
	Topic string `json:"topic"`
	From  int64  `json:"from"` // the first offset that is missing
	To    int64  `json:"to"`   // the first that is there again
	// TopicID is that of a topic that was deleted and made anew: From is of the old one.
	TopicID string `json:"topicId,omitempty"`
}

type acceptedJSON struct {
	gapJSON
	Accepted string `json:"accepted"` // when
}

// busyJSON is the record that a partition is at, and for how long it has been busy.
type busyJSON struct {
	Topic   string `json:"topic"`
	Offset  int64  `json:"offset"`
	Seconds int64  `json:"seconds"`
}

type partitionJSON struct {
	Partition    int32          `json:"partition"`
	State        string         `json:"state"` // restoring, ready, busy, paused, stopped
	Busy         *busyJSON      `json:"busy,omitempty"`
	Gap          *gapJSON       `json:"gap,omitempty"`
	AcceptedGaps []acceptedJSON `json:"acceptedGaps,omitempty"`
}

func gapOf(g processor.Gap) gapJSON { return gapJSON{g.Topic, g.From, g.To, g.Anew} }

func partitionOf(st processor.PartitionState) partitionJSON {
	p := partitionJSON{Partition: st.Partition, State: readiness(st)}
	if st.Gap != nil {
		gap := gapOf(*st.Gap)
		p.State, p.Gap = "stopped", &gap
	}
	if b := st.Busy; b != nil && st.Gap == nil && !st.Paused {
		p.State, p.Busy = "busy", &busyJSON{b.Topic, b.Offset, int64(b.For.Seconds())}
	}
	for _, g := range st.Accepted {
		p.AcceptedGaps = append(p.AcceptedGaps, acceptedJSON{gapOf(g.Gap), g.At.String()})
	}
	return p
}

// status tells what each assigned partition is doing, and which decisions are
// missing where.
func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	joined, states := s.deps.Processor.States()
	out := struct {
		Joined     bool            `json:"joined"`
		Partitions []partitionJSON `json:"partitions"`
	}{joined, []partitionJSON{}}
	for _, st := range states {
		out.Partitions = append(out.Partitions, partitionOf(st))
	}
	writeJSON(w, http.StatusOK, "application/json", out)
}

// pause lets one partition rest, or all of this instance, and answers when it does.
func (s *Server) pause(w http.ResponseWriter, r *http.Request) {
	s.rest(w, r, func(ctx context.Context, partition int32) error { return s.deps.Processor.Pause(ctx, partition) })
}

// resume lets paused partitions go on, and with acceptGap one that has stopped.
func (s *Server) resume(w http.ResponseWriter, r *http.Request) {
	accept, ok := boolOf(w, r, "acceptGap")
	if !ok {
		return
	}
	s.rest(w, r, func(ctx context.Context, partition int32) error {
		return s.deps.Processor.Resume(ctx, partition, accept)
	})
}

// rest does something to the partition that a request names, all if none, and
// answers with the status. Who names another instance's partition is sent on to it.
func (s *Server) rest(w http.ResponseWriter, r *http.Request, do func(context.Context, int32) error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	partition := int64(-1)
	if query.Has("partition") && err == nil {
		partition, err = strconv.ParseInt(query.Get("partition"), 10, 32)
	}
	// What is not understood must not mean all.
	if err != nil || query.Has("partition") && partition < 0 || strings.Contains(r.Header.Get("Content-Type"), "form") {
		problem(w, http.StatusBadRequest, "the query, not the body, names a partition, a number from 0, or none, which means all")
		return
	}
	var none *processor.NoPartitionError
	var elsewhere *processor.NotOwnedError
	switch err := do(r.Context(), int32(partition)); {
	case err == nil:
		s.status(w, r)
	case errors.As(err, &none):
		problem(w, http.StatusNotFound, err.Error())
	case errors.As(err, &elsewhere):
		s.redirect(w, r, elsewhere)
	case errors.Is(err, processor.ErrGap):
		problem(w, http.StatusConflict, err.Error())
	default:
		askAgain(w, err.Error())
	}
}

// boolOf reads a yes or no of a query; where it is neither, ok is false and the
// answer is given.
func boolOf(w http.ResponseWriter, r *http.Request, name string) (yes, ok bool) {
	switch r.URL.Query().Get(name) {
	case "", "false":
		return false, true
	case "true":
		return true, true
	}
	problem(w, http.StatusBadRequest, name+" is true or false")
	return false, false
}
