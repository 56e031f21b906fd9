package opendsr

import (
	"errors"
	"fmt"
	"mime"
	"regexp"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/segmentd/segmentd/state/subject"
)

// MaxBodyBytes bounds the body of a request.
const MaxBodyBytes = 64 << 10

// Request is a request of a controller that was understood.
type Request struct {
	ID        string // lowercase UUID v4
	Kind      subject.RequestKind
	Subject   subject.ID
	Submitted subject.Instant // when the subject asked for it
	Callbacks []string
	Body      []byte // as it came
}

// Fault is one thing that is wrong with a request. It names nothing of the subject.
type Fault struct{ Reason, Message string }

// Reasons of faults, beside those in the words of this file.
const (
	reasonMissing     = "required"
	reasonInvalid     = "invalid"
	reasonUnsupported = "unsupported"
	reasonRefused     = "not_allowed"
)

// body is a request as it is sent (section 7.1.1).
type body struct {
	Regulation string                    `json:"regulation"`
	ID         string                    `json:"subject_request_id"`
	Type       string                    `json:"subject_request_type"`
	Identities []identity                `json:"subject_identities"`
	Submitted  string                    `json:"submitted_time"`
	APIVersion string                    `json:"api_version"`
	Callbacks  []string                  `json:"status_callback_urls"`
	Extensions map[string]jsontext.Value `json:"extensions"`
}

type identity struct {
	Type   string `json:"identity_type"`
	Value  string `json:"identity_value,omitempty"`
	Format string `json:"identity_format"`
}

// ours is the one kind of identity that is looked up by: subjects are kept under a
// keyed hash of their id, so that a hash of another making cannot be found.
var ours = identity{Type: "controller_customer_id", Format: "raw"}

var (
	identityTypes = []string{ours.Type, "android_advertising_id", "android_id", "email", "fire_advertising_id", "ios_advertising_id", "ios_vendor_id",
		"microsoft_advertising_id", "microsoft_publisher_id", "roku_publisher_id", "roku_advertising_id"}
	identityFormats = []string{"raw", "sha1", "md5", "sha256"}
)

var uuid4 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// IsID reports whether a text is the id of a request: a UUID v4 in lower case.
func IsID(text string) bool { return uuid4.MatchString(text) }

// Parse reads a request, as strictly as all bodies are read. Where there are faults
// it is not to be used, but for ID where that is one.
func (p *Processor) Parse(contentType string, text []byte) (Request, []Fault) {
	q := Request{Body: text}
	if kind, _, err := mime.ParseMediaType(contentType); err != nil || kind != "application/json" {
		return q, []Fault{{reasonInvalid, "the Content-Type must be application/json"}}
	}
	var b body
	switch err := jsonv2.Unmarshal(text, &b, jsonv2.RejectUnknownMembers(true)); {
	case errors.Is(err, jsonv2.ErrUnknownName):
		return q, []Fault{{reasonInvalid, "the body has a member that OpenDSR " + Version + " does not know; it knows regulation, subject_request_id, subject_request_type, " +
			"subject_identities (identity_type, identity_value, identity_format), submitted_time, api_version, status_callback_urls and extensions"}}
	case err != nil:
		return q, []Fault{{reasonInvalid, "the body must be one JSON object with the members of an OpenDSR request, each of its kind and once"}}
	}
	f := &faults{}
	q.ID = b.ID
	f.id(b.ID)
	q.Kind = f.kind(b.Type)
	f.words(&b)
	q.Subject = f.subject(b.Identities)
	q.Submitted = f.submitted(b.Submitted)
	f.extensions(&b, p.cfg.Domain)
	if q.Callbacks = b.Callbacks; len(q.Callbacks) > 0 {
		f.callbacks(p, q.Callbacks)
	}
	return q, f.all
}

// faults collects what is wrong.
type faults struct{ all []Fault }

func (f *faults) add(reason, format string, args ...any) {
	f.all = append(f.all, Fault{reason, fmt.Sprintf(format, args...)})
}

func (f *faults) missing(name, text string) bool {
	if text == "" {
		f.add(reasonMissing, "%s is required", name)
	}
	return text == ""
}

func (f *faults) id(id string) {
	if !f.missing("subject_request_id", id) && !IsID(id) {
		f.add(reasonInvalid, "subject_request_id must be a UUID v4 in lower case")
	}
}

func (f *faults) kind(word string) subject.RequestKind {
	if f.missing("subject_request_type", word) {
		return 0
	}
	var known []string
	for _, k := range kinds {
		if k.word == word {
			return k.kind
		}
		known = append(known, k.word)
	}
	f.add(reasonUnsupported, "subject_request_type must be %s", orList(known))
	return 0
}

// words checks what may be left out. The specification requires a regulation, and
// its own example has none.
func (f *faults) words(b *body) {
	if b.Regulation != "" && b.Regulation != "gdpr" && b.Regulation != "ccpa" {
		f.add(reasonUnsupported, "regulation must be gdpr or ccpa")
	}
	if b.APIVersion != "" && b.APIVersion != "2" && !strings.HasPrefix(b.APIVersion, "2.") {
		f.add(reasonUnsupported, "api_version must be %s", Version)
	}
}

func (f *faults) subject(all []identity) (id subject.ID) {
	if len(all) == 0 {
		f.add(reasonMissing, "subject_identities is required")
		return id
	}
	for i, x := range all {
		at := fmt.Sprintf("subject_identities[%d]", i)
		switch {
		case f.missing(at+".identity_type", x.Type) || f.missing(at+".identity_format", x.Format) || f.missing(at+".identity_value", x.Value):
		case !slices.Contains(identityTypes, x.Type):
			f.add(reasonInvalid, "%s.identity_type must be %s", at, orList(identityTypes))
		case !slices.Contains(identityFormats, x.Format):
			f.add(reasonInvalid, "%s.identity_format must be %s", at, orList(identityFormats))
		case x.Type != ours.Type || x.Format != ours.Format:
			f.add(reasonUnsupported, "%s must be a %s in the format %s: subjects are kept under a keyed hash of that id, and cannot be looked up by another identity or hash", at, ours.Type, ours.Format)
		case !subject.ValidID(x.Value):
			f.add(reasonInvalid, "%s.identity_value must have 1 to %d bytes and no control characters", at, subject.MaxIDBytes)
		}
	}
	if len(all) > 1 {
		f.add(reasonUnsupported, "subject_identities must have one identity: send one request for each")
	}
	return subject.ID{Value: all[0].Value}
}

func (f *faults) submitted(text string) subject.Instant {
	if f.missing("submitted_time", text) {
		return 0
	}
	at, err := subject.ParseInstant(text)
	if err != nil || at <= 0 {
		f.add(reasonInvalid, "submitted_time must be RFC 3339, after 1970-01-01T00:00:00Z")
	}
	return at
}

// extensions of other processors are theirs (section 7.1.2).
func (f *faults) extensions(b *body, domain string) {
	if _, is := b.Extensions[domain]; is {
		f.add(reasonUnsupported, "this processor has no extensions: leave those of its domain out")
	}
}

// orList writes words as "a, b or c"; there are two at least.
func orList(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
