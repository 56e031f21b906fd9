package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/rules"
	"github.com/segmentd/segmentd/rules/clip"
	"github.com/segmentd/segmentd/state/subject"
)

func live(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

// readyz is 200 once the group is joined, every input topic is there and every
// assigned partition is restored and past its barrier; an instance with no
// partition is ready.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	joined, states := s.deps.Processor.States()
	waiting := 0
	for _, st := range states {
		if !st.Ready {
			waiting++
		}
	}
	absent := s.deps.Absent()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	switch {
	case len(absent) > 0:
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "not ready: missing input topics: %s\n", strings.Join(absent, ", "))
	case !joined:
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "not ready: the consumer group is not joined")
	case waiting > 0:
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "not ready: %d of %d partitions are not restored, past their barrier and at work\n", waiting, len(states))
	default:
		fmt.Fprintln(w, "ok")
	}
	if r.URL.Query().Has("verbose") {
		for _, st := range states {
			fmt.Fprintf(w, "partition %d: %s\n", st.Partition, readiness(st))
		}
	}
}

type membershipJSON struct {
	Segment string `json:"segment"`
	Purpose string `json:"purpose"`
	Since   string `json:"since"`
}

type subjectJSON struct {
	UserID      string           `json:"userId"`
	IDType      string           `json:"idType"`
	Memberships []membershipJSON `json:"memberships"`
	// Coverage names the segments whose answer may rest on less than all.
	Coverage []coveredJSON `json:"coverage,omitempty"`
}

// coverageJSON says since when what a segment's rule reads is complete, and
// while it is filled how far that is.
type coverageJSON struct {
	CoverageFrom string        `json:"coverageFrom,omitempty"`
	Backfill     *backfillJSON `json:"backfill,omitempty"`
}

type coveredJSON struct {
	Segment string `json:"segment"`
	coverageJSON
}

// backfillJSON counts records of events.
type backfillJSON struct {
	Done int64 `json:"done"`
	Of   int64 `json:"of"`
}

func coverageOf(c *processor.Coverage) (j coverageJSON) {
	if c == nil {
		return j
	}
	j.CoverageFrom = c.From.String()
	if c.Filling {
		j.Backfill = &backfillJSON{c.Done, c.Of}
	}
	return j
}

func (s *Server) subject(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, r.PathValue("id"), r.URL.Query().Get("idType"))
}

// lookup is subject with the id in the body, where it stays out of access logs.
func (s *Server) lookup(w http.ResponseWriter, r *http.Request) {
	var q posted
	if err := readPosted(w, r, &q); err != nil || !q.valid() {
		badBody(w, err, `the body must be {"userId":"…"} or {"anonymousId":"…"}`)
		return
	}
	value, idType := q.id()
	s.answer(w, r, value, idType)
}

// posted names a subject in a body.
type posted struct {
	UserID      string `json:"userId"`
	AnonymousID string `json:"anonymousId"`
}

func (q posted) valid() bool { return (q.UserID == "") != (q.AnonymousID == "") }

func (q posted) id() (value, idType string) {
	if q.UserID != "" {
		return q.UserID, "userId"
	}
	return q.AnonymousID, "anonymousId"
}

// maxPosted bounds bodies but that of an import.
const maxPosted = 64 << 10

// readPosted reads a body of one JSON value, as strictly as inputs are read: no name
// twice or in another case, no invalid UTF-8, nothing unknown and nothing behind it.
func readPosted(w http.ResponseWriter, r *http.Request, q any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPosted))
	if err != nil {
		return err
	}
	return jsonv2.Unmarshal(body, q, jsonv2.RejectUnknownMembers(true))
}

// badBody answers for a body that readPosted could not read, or that is not what the
// page takes: must says what that is.
func badBody(w http.ResponseWriter, err error, must string) {
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		problem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes, which is the most that is taken", maxPosted))
		return
	}
	problem(w, http.StatusBadRequest, must)
}

// subjectOf reads an id; where it is none, ok is false and the answer is given.
func subjectOf(w http.ResponseWriter, value, idType string) (id subject.ID, ok bool) {
	id = subject.ID{Value: value}
	switch idType {
	case "", "userId":
	case "anonymousId":
		id.Type = subject.AnonymousID
	default:
		problem(w, http.StatusBadRequest, "idType is userId or anonymousId")
		return id, false
	}
	if !subject.ValidID(value) {
		problem(w, http.StatusBadRequest, fmt.Sprintf("an id has 1 to %d bytes of UTF-8 and no control characters", subject.MaxIDBytes))
		return id, false
	}
	return id, true
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, value, idType string) {
	id, ok := subjectOf(w, value, idType)
	if !ok {
		return
	}
	s.about(r, id)
	memberships, _, err := s.deps.Processor.Lookup(r.Context(), id)
	if err != nil {
		s.lookupProblem(w, r, err)
		return
	}
	out := subjectJSON{UserID: value, IDType: id.Type.String(), Memberships: []membershipJSON{}}
	for _, m := range memberships {
		out.Memberships = append(out.Memberships, membershipJSON{m.Segment, m.Purpose, m.Since.String()})
	}
	coverages := s.deps.Processor.Coverages()
	for _, segment := range slices.Sorted(maps.Keys(coverages)) {
		c := coverages[segment]
		out.Coverage = append(out.Coverage, coveredJSON{segment, coverageOf(&c)})
	}
	writeJSON(w, http.StatusOK, "application/json", out)
}

type segmentJSON struct {
	Key         string `json:"key"`
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	Purpose     string `json:"purpose"`
	When        string `json:"when"`
	StayWhile   string `json:"stayWhile,omitempty"`
	MinDwell    string `json:"minDwell,omitempty"` // as rules write durations
	Cooldown    string `json:"cooldown,omitempty"`
	Members     int64  `json:"members"`
	Entered     int64  `json:"entered"`
	Exited      int64  `json:"exited"`
	coverageJSON
}

// lengthOf writes a duration as rules do; "" for none.
func lengthOf(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return rules.DurationText(d)
}

func (s *Server) segments(w http.ResponseWriter, _ *http.Request) {
	out := struct {
		Segments []segmentJSON `json:"segments"`
	}{[]segmentJSON{}}
	for _, g := range s.deps.Processor.Segments() {
		out.Segments = append(out.Segments, segmentJSON{g.Key, g.Name, g.Description, g.Purpose, g.When, g.StayWhile, lengthOf(g.MinDwell), lengthOf(g.Cooldown),
			g.Members, g.Entered, g.Exited, coverageOf(g.Coverage)})
	}
	writeJSON(w, http.StatusOK, "application/json", out)
}

// problem writes a problem detail (RFC 9457). detail must not name a subject.
func problem(w http.ResponseWriter, status int, detail string) { problemWith(w, status, detail, nil) }

// problemWith is problem with a list of what is wrong.
func problemWith(w http.ResponseWriter, status int, detail string, problems []string) {
	p := problemOf(status, detail)
	p.Problems = problems
	writeJSON(w, status, problemType, p)
}

const problemType = "application/problem+json"

type problemJSON struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail"`
	Problems []string `json:"problems,omitempty"`
}

func problemOf(status int, detail string) problemJSON {
	return problemJSON{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: clip.Message(detail)}
}

func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the client went away
}
