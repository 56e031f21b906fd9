package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"

	"github.com/segmentd/segmentd/processor/audit"
	"github.com/segmentd/segmentd/processor/opendsr"
	"github.com/segmentd/segmentd/state/subject"
)

// answer is the ResponseWriter of a page. The first byte of an answer that must
// be in the audit log leaves once it is.
type answer struct {
	http.ResponseWriter
	server  *Server
	page    page
	entry   audit.Entry
	sent    bool // or refused: the head of the answer is decided
	refused bool // the page's answer is thrown away
}

type answerKey struct{}

func withAnswer(r *http.Request, a *answer) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), answerKey{}, a))
}

// about names the subject whose data a page is going to show or to change. A page
// of one subject must call it before it answers with success.
func (s *Server) about(r *http.Request, id subject.ID) {
	if a, ok := r.Context().Value(answerKey{}).(*answer); ok {
		a.entry.Subject = s.deps.Pseudonym(id)
	}
}

var errRefused = errors.New("the answer was refused")

// WriteHeader writes the entry, and then the status, or 503 in its place.
func (a *answer) WriteHeader(status int) {
	if status < http.StatusOK { // more follows
		a.ResponseWriter.WriteHeader(status)
		return
	}
	if a.sent {
		return
	}
	a.sent = true
	switch {
	case a.page.subject && a.entry.Subject == "" && status < http.StatusMultipleChoices:
		a.server.deps.Logger.Error("a page of a subject has named none", "route", a.entry.Route)
		a.refuse(http.StatusInternalServerError, "the page failed; the log says why")
	case a.audited() && !a.record(audit.Entry{Status: status}):
		a.refuse(http.StatusServiceUnavailable, "the audit log cannot be written: nothing is answered that must be in it")
	default:
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.refused {
		return 0, errRefused
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) audited() bool { return a.page.subject || a.page.act }

// record writes an entry with what is known of the request.
func (a *answer) record(outcome audit.Entry) bool {
	e := a.entry
	e.Phase, e.Status = outcome.Phase, outcome.Status
	return a.server.deps.Audit(e) == nil
}

// refuse answers in the page's place.
func (a *answer) refuse(status int, detail string) {
	a.sent, a.refused = true, true
	clear(a.Header())
	a.Header().Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		a.Header().Set("Retry-After", "10")
	}
	problem(a.ResponseWriter, status, detail)
}

// begin writes the entry of an act before it is done; where it cannot, the act is
// refused.
func (a *answer) begin() bool {
	if a.record(audit.Entry{Phase: audit.Begun}) {
		return true
	}
	a.refuse(http.StatusServiceUnavailable, "the audit log cannot be written: nothing is done that must be in it")
	return false
}

// finish answers for a page that wrote nothing.
func (a *answer) finish() { a.WriteHeader(http.StatusOK) }

// ticketHeader names what an access is for.
const ticketHeader = "Segmentd-Ticket"

var ticketText = regexp.MustCompile(`^[A-Za-z0-9._:/#-]{1,128}$`)

// noTicket asks for a ticket.
const noTicket = "name what this is for, by the header " + ticketHeader + ", ?ticket= or the body's member ticket: 1 to 128 letters, digits and . _ : / # -"

// hasTicket reports whether it was said what the access is for.
func hasTicket(r *http.Request) bool {
	a, ok := r.Context().Value(answerKey{}).(*answer)
	return ok && a.entry.Ticket != ""
}

// maxTicketBody is how much of a body is looked at for its ticket.
const maxTicketBody = 64 << 10

// readTicket reads what the access is for: of the header, the query, or where the
// page needs one of the body's member "ticket".
func (a *answer) readTicket(r *http.Request) *denial {
	ticket := r.Header.Get(ticketHeader)
	if ticket == "" {
		ticket = r.URL.Query().Get("ticket")
	}
	switch {
	case ticket != "":
	case a.page.dsr:
		ticket = a.page.subjectRequestID(r)
	case a.page.ticket || a.page.ticketed:
		ticket = ticketOf(r)
	}
	switch {
	case ticket == "" && !a.page.ticket:
		return nil
	case !ticketText.MatchString(ticket):
		return &denial{reason: "no_ticket", status: http.StatusBadRequest, detail: noTicket}
	}
	a.entry.Ticket = ticket
	return nil
}

// ticketOf looks into a JSON body and leaves it to be read again.
func ticketOf(r *http.Request) string {
	var body struct {
		Ticket string `json:"ticket"`
	}
	peek(r, &body)
	return body.Ticket
}

// subjectRequestID is the id of a request of OpenDSR, "" where it is none.
func (p page) subjectRequestID(r *http.Request) string {
	var body struct {
		ID string `json:"subject_request_id"`
	}
	if body.ID = r.PathValue("subjectRequestId"); body.ID == "" && p.act {
		peek(r, &body)
	}
	if !opendsr.IsID(body.ID) {
		return ""
	}
	return body.ID
}

// peek reads members of a JSON body, as far as there are any, and leaves it to be
// read again.
func peek(r *http.Request, members any) {
	head, err := io.ReadAll(io.LimitReader(r.Body, maxTicketBody))
	rest := r.Body
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), rest}
	if err == nil {
		_ = json.Unmarshal(head, members) // a page reads it anew, and says what is wrong
	}
}
