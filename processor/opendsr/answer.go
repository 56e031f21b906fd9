package opendsr

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/segmentd/segmentd/state/subject"
)

// Discovery is what is spoken here (section 6.3).
type Discovery struct {
	APIVersion  string     `json:"api_version"`
	Identities  []identity `json:"supported_identities"`
	Types       []string   `json:"supported_subject_request_types"`
	Certificate string     `json:"processor_certificate"`
}

// Discovery tells what is spoken here.
func (p *Processor) Discovery() Discovery {
	d := Discovery{Version, []identity{ours}, nil, p.cfg.Certificate}
	for _, k := range kinds {
		d.Types = append(d.Types, k.word)
	}
	return d
}

// Receipt acknowledges a request (section 7.3).
type Receipt struct {
	ControllerID string `json:"controller_id"`
	Expected     string `json:"expected_completion_time"`
	Received     string `json:"received_time"`
	Encoded      []byte `json:"encoded_request"` // base64
	ID           string `json:"subject_request_id"`
	APIVersion   string `json:"api_version"`
}

// Receipt acknowledges a request that was received then, and is due by the law.
func (p *Processor) Receipt(q *Request, received, due subject.Instant) Receipt {
	return Receipt{p.cfg.ControllerID, p.Expected(q.Kind, received, due).String(), received.String(), q.Body, q.ID, Version}
}

// Cancellation acknowledges that a request is cancelled (section 9.2).
type Cancellation struct {
	ControllerID string `json:"controller_id"`
	ID           string `json:"subject_request_id"`
	Received     string `json:"received_time"`
	APIVersion   string `json:"api_version"`
}

// Cancellation acknowledges a cancellation that was received then.
func (p *Processor) Cancellation(id string, received subject.Instant) Cancellation {
	return Cancellation{p.cfg.ControllerID, id, received.String(), Version}
}

// Standing is how far a request is (section 8.3), and with a callback URL what is
// sent to it (section 8.6).
type Standing struct {
	ControllerID string `json:"controller_id"`
	Expected     string `json:"expected_completion_time"`
	Callback     string `json:"status_callback_url,omitempty"`
	ID           string `json:"subject_request_id"`
	Status       Status `json:"request_status"`
	APIVersion   string `json:"api_version"`
	ResultsURL   string `json:"results_url,omitempty"`
}

// Standing tells how far a request is.
func (p *Processor) Standing(id string, kind subject.RequestKind, status Status, expected subject.Instant) Standing {
	s := Standing{ControllerID: p.cfg.ControllerID, Expected: expected.String(), ID: id, Status: status, APIVersion: Version}
	if status != Cancelled {
		s.ResultsURL = p.ResultsURL(kind, id)
	}
	return s
}

// Problem is the member error of a refusal (section 7.6).
type Problem struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Errors  []ProblemDetail `json:"errors"`
}

// ProblemDetail is one thing that is wrong.
type ProblemDetail struct {
	Domain  string `json:"domain"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// ProblemOf is what faults are told as; there is at least one.
func ProblemOf(code int, faults []Fault) Problem {
	p := Problem{Code: code, Message: faults[0].Message}
	for _, f := range faults {
		p.Errors = append(p.Errors, ProblemDetail{"Validation", f.Reason, f.Message})
	}
	return p
}

// Signed is a body with its signature: base64 of the signature over its SHA-256.
type Signed struct {
	Body      []byte
	Signature string
	Domain    string
}

// Sign writes a value as JSON and signs it. Receipts and cancellations carry a
// processor_signature besides, as their last member. A body cannot hold the signature
// of itself: it is that of the body without this member and what follows the object.
func (p *Processor) Sign(v any) (Signed, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return Signed{}, fmt.Errorf("write an answer of OpenDSR: %w", err)
	}
	text := b.Bytes()
	switch v.(type) {
	case Receipt, Cancellation:
		object := bytes.TrimRight(text, "\n")
		signature, err := p.signature(object)
		if err != nil {
			return Signed{}, err
		}
		text = fmt.Appendf(nil, "%s,\"processor_signature\":%q}\n", object[:len(object)-1], signature)
	}
	signature, err := p.signature(text)
	return Signed{text, signature, p.cfg.Domain}, err
}

// signature signs as FIPS 186-4 has it (section 4.2): RSASSA-PKCS1-v1_5, or ECDSA in
// ASN.1.
func (p *Processor) signature(text []byte) (string, error) {
	digest := sha256.Sum256(text)
	signature, err := p.deps.Signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("sign an answer of OpenDSR: %w", err)
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}
