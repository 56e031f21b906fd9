package opendsr

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

const testID = "a7551968-d5d6-44b2-9831-815ac9017798"

func testConfig(t *testing.T) Config {
	return Config{ControllerID: "shop", Domain: "opendsr.example.com", URL: "https://opendsr.example.com", Certificate: "https://opendsr.example.com/cert.pem",
		CallbackHosts: []string{"dsr.shop.example", "calls.shop.example:8443", "127.0.0.1:9000", "[::1]:9000"}, EraseWithin: time.Hour, Dir: t.TempDir()}
}

func newProcessor(t *testing.T, cfg Config, deps Deps) *Processor {
	t.Helper()
	if deps.Signer == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		deps.Signer = key
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// valid is a request as a controller sends it, and what to replace in it.
func valid(replace ...string) string {
	return strings.NewReplacer(replace...).Replace(`{"regulation":"gdpr","subject_request_id":"` + testID + `","subject_request_type":"erasure","submitted_time":"2026-01-31T10:00:00+01:00",` +
		`"subject_identities":[{"identity_type":"controller_customer_id","identity_value":"ada-4711","identity_format":"raw"}],"api_version":"2.0",` +
		`"status_callback_urls":["https://dsr.shop.example/calls"],"extensions":{"other.example":{"x":[1]}}}`)
}

func TestParse(t *testing.T) {
	p := newProcessor(t, testConfig(t), Deps{})
	q, faults := p.Parse("application/json", []byte(valid()))
	if len(faults) > 0 || q.ID != testID || q.Kind != subject.Erase || q.Subject != (subject.ID{Value: "ada-4711"}) || q.Submitted.String() != "2026-01-31T09:00:00Z" ||
		len(q.Callbacks) != 1 || string(q.Body) != valid() {
		t.Errorf("%+v %v", q, faults)
	}
	for _, text := range []string{valid(`"regulation":"gdpr",`, ""), valid(`"gdpr"`, `"ccpa"`), valid(`,"api_version":"2.0"`, ""), valid(`"erasure"`, `"access"`), valid(`"erasure"`, `"portability"`),
		valid(`["https://dsr.shop.example/calls"]`, "[]"), valid(`{"other.example":{"x":[1]}}`, "{}")} {
		if _, faults := p.Parse("application/json;charset=utf-8", []byte(text)); len(faults) > 0 {
			t.Errorf("%s: %v", text, faults)
		}
	}
}

// What is wrong is told, all at once, and never whom it is about.
func TestFaults(t *testing.T) {
	p := newProcessor(t, testConfig(t), Deps{})
	const identities = `[{"identity_type":"controller_customer_id","identity_value":"ada-4711","identity_format":"raw"}]`
	for _, c := range []struct{ body, reason, says string }{
		{`[` + valid() + `]`, "invalid", "one JSON object"},
		{valid() + valid(), "invalid", "one JSON object"},
		{valid("}", ""), "invalid", "one JSON object"},
		{valid(`"subject_request_type"`, `"SUBJECT_REQUEST_TYPE"`), "invalid", "does not know"},
		{valid(`"regulation":"gdpr"`, `"ada-4711":1`), "invalid", "does not know"},
		{valid(`"identity_format"`, `"ada-4711":1,"identity_format"`), "invalid", "does not know"},
		{valid(`"regulation":"gdpr"`, `"regulation":"gdpr","regulation":"gdpr"`), "invalid", "once"},
		{valid(`"ada-4711"`, `4711`), "invalid", "each of its kind"},
		{valid(`"gdpr"`, `"ada-4711"`), "unsupported", "regulation must be gdpr or ccpa"},
		{valid(testID, strings.ToUpper(testID)), "invalid", "UUID v4 in lower case"},
		{valid(testID, "ada-4711"), "invalid", "UUID v4 in lower case"},
		{valid("-44b2-", "-14b2-"), "invalid", "UUID v4 in lower case"},
		{valid(testID, ""), "required", "subject_request_id is required"},
		{valid(`"erasure"`, `"ada-4711"`), "unsupported", "must be access, portability or erasure"},
		{valid(`"subject_request_type":"erasure",`, ""), "required", "subject_request_type"},
		{valid(identities, "[]"), "required", "subject_identities is required"},
		{valid(identities, identities[:len(identities)-1]+","+identities[1:]), "unsupported", "one request for each"},
		{valid("controller_customer_id", "email"), "unsupported", "cannot be looked up"},
		{valid(`"raw"`, `"sha256"`), "unsupported", "keyed hash"},
		{valid("controller_customer_id", "ada-4711"), "invalid", "identity_type must be"},
		{valid(`"raw"`, `"ada-4711"`), "invalid", "identity_format must be"},
		{valid("ada-4711", strings.Repeat("ada-4711", 65)), "invalid", "1 to 512 bytes"},
		{valid("ada-4711", `ada-4711\u0007`), "invalid", "control characters"},
		{valid("ada-4711", ""), "required", "identity_value"},
		{valid("2026-01-31T10:00:00+01:00", "ada-4711"), "invalid", "RFC 3339"},
		{valid("2026-01-31T10:00:00+01:00", "1969-01-31T10:00:00Z"), "invalid", "after 1970"},
		{valid("2026-01-31T10:00:00+01:00", "1970-01-01T01:00:00+01:00"), "invalid", "after 1970"},
		{valid(`"submitted_time":"2026-01-31T10:00:00+01:00",`, ""), "required", "submitted_time"},
		{valid(`"2.0"`, `"1.0"`), "unsupported", "api_version must be 2.0"},
		{valid(`"other.example"`, `"opendsr.example.com"`), "unsupported", "no extensions"},
		{valid("dsr.shop.example", "ada-4711.example"), "not_allowed", "opendsr.callback_hosts"},
		{valid(`"https://dsr.shop.example/calls"`, `"https://dsr.shop.example/calls","https://dsr.shop.example/calls"`), "invalid", "twice"},
		{valid(`"https://dsr.shop.example/calls"`, strings.Repeat(`"x",`, 10)+`"x"`), "not_allowed", "more than 10"},
	} {
		_, faults := p.Parse("application/json", []byte(c.body))
		told := fmt.Sprint(faults)
		if len(faults) != 1 || faults[0].Reason != c.reason || !strings.Contains(told, c.says) || strings.Contains(told, "ada-4711") {
			t.Errorf("%s: %s", c.body, told)
		}
	}
	if _, faults := p.Parse("application/json", []byte(`{}`)); len(faults) != 4 {
		t.Errorf("of nothing: %v", faults)
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset"} {
		if _, faults := p.Parse(kind, []byte(valid())); len(faults) != 1 || !strings.Contains(faults[0].Message, "Content-Type") {
			t.Errorf("%q: %v", kind, faults)
		}
	}
}

// certificate is one that an authority signed for a key.
func certificate(t *testing.T, key crypto.Signer) *x509.Certificate {
	t.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: template.NotBefore, NotAfter: template.NotAfter}
	der, err := x509.CreateCertificate(rand.Reader, leaf, template, key.Public(), ca)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestSignatures verifies what is signed with the certificate alone.
func TestSignatures(t *testing.T) {
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for algorithm, key := range map[x509.SignatureAlgorithm]crypto.Signer{x509.ECDSAWithSHA256: ecKey, x509.SHA256WithRSA: rsaKey} {
		p, cert := newProcessor(t, testConfig(t), Deps{Signer: key}), certificate(t, key)
		verify := func(text []byte, signature string) error {
			raw, err := base64.StdEncoding.DecodeString(signature)
			if err != nil {
				return err
			}
			return cert.CheckSignature(algorithm, text, raw)
		}
		q, _ := p.Parse("application/json", []byte(valid()))
		for _, v := range []any{p.Discovery(), p.Receipt(&q, 0, subject.Day), p.Cancellation(testID, 0), p.Standing(testID, subject.Access, Pending, 0)} {
			signed, err := p.Sign(v)
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(signed.Body, signed.Signature); err != nil || signed.Domain != "opendsr.example.com" {
				t.Errorf("%v: %s: %v", algorithm, signed.Body, err)
			}
			if verify(append(signed.Body, ' '), signed.Signature) == nil {
				t.Errorf("%v: the signature is of anything", algorithm)
			}
			var inner struct {
				Signature string `json:"processor_signature"`
			}
			if err := json.Unmarshal(signed.Body, &inner); err != nil {
				t.Fatal(err)
			}
			switch v.(type) {
			case Receipt, Cancellation:
				without := strings.Replace(string(signed.Body), `,"processor_signature":"`+inner.Signature+"\"}\n", "}", 1)
				if err := verify([]byte(without), inner.Signature); err != nil {
					t.Errorf("%v: processor_signature of %s: %v", algorithm, signed.Body, err)
				}
			default:
				if inner.Signature != "" {
					t.Errorf("%T has a processor_signature", v)
				}
			}
		}
	}
}

// TestStanding: results are where they can be fetched, and an erasure is expected in
// time.
func TestStanding(t *testing.T) {
	p := newProcessor(t, testConfig(t), Deps{})
	for _, c := range []struct {
		kind   subject.RequestKind
		status Status
		want   string
	}{
		{subject.Access, Pending, "https://opendsr.example.com/opendsr/v2/requests/" + testID + "/results"},
		{subject.Portability, Completed, "https://opendsr.example.com/opendsr/v2/requests/" + testID + "/results"},
		{subject.Access, Cancelled, ""}, {subject.Erase, Completed, ""},
	} {
		if got := p.Standing(testID, c.kind, c.status, 0).ResultsURL; got != c.want {
			t.Errorf("%v %s: %s", c.kind, c.status, got)
		}
	}
	if e, a := p.Expected(subject.Erase, 0, 30*subject.Day), p.Expected(subject.Access, 0, 30*subject.Day); e != subject.Day/24 || a != 30*subject.Day {
		t.Errorf("expected: an erasure after %d µs, an access after %d", e, a)
	}
	for s, want := range map[subject.RequestStatus]Status{subject.Received: Pending, subject.InProgress: InProgress, subject.Completed: Completed, subject.Failed: Cancelled} {
		if got := StatusOf(subject.Erase, s); got != want || got.IsFinal() == s.IsOpen() {
			t.Errorf("an erasure that is %v is %s", s, got)
		}
		if s.IsOpen() {
			want = Completed // there is something to fetch
		}
		if got := StatusOf(subject.Access, s); got != want {
			t.Errorf("an access that is %v is %s", s, got)
		}
	}
}

// TestSent: what was just sent is known for a minute, once.
func TestSent(t *testing.T) {
	const minute = subject.Day / 1440
	p := newProcessor(t, testConfig(t), Deps{})
	x := Sent{ID: testID, Kind: subject.Access, Pseudonym: "h1", Submitted: 5, Received: 100}
	if known, ok := p.Remember(x); !ok || known != x {
		t.Error(known, ok)
	}
	again := x
	again.Received = 200
	if known, ok := p.Remember(again); !ok || known != x {
		t.Error("again:", known, ok)
	}
	for _, other := range []Sent{{ID: testID, Kind: subject.Erase, Pseudonym: "h1", Submitted: 5}, {ID: testID, Pseudonym: "h2", Submitted: 5}, {ID: testID, Pseudonym: "h1", Submitted: 6}} {
		if _, ok := p.Remember(other); ok {
			t.Errorf("taken for the same: %+v", other)
		}
	}
	if _, ok := p.Sent(testID, 100+minute); !ok {
		t.Error("not known after a minute")
	}
	if _, ok := p.Sent(testID, 101+minute); ok {
		t.Error("known for longer")
	}
	if _, ok := p.Remember(x); !ok {
		t.Error("not taken anew")
	}
	p.Forget(testID)
	if _, ok := p.Sent(testID, 100); ok {
		t.Error("not forgotten")
	}
	for i := range sentMost + 1 {
		if _, ok := p.Remember(Sent{ID: fmt.Sprint(i), Received: 100}); !ok {
			t.Fatal(i)
		}
	}
	if _, oldest := p.Sent("0", 100); oldest {
		t.Error("more are remembered than may be")
	}
}
