package config

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// issue writes a certificate for opendsr.example.com that another has signed, and its
// key, as NAME.pem and NAME-key.pem.
func issue(t *testing.T, dir, name string, key crypto.Signer, until time.Duration) {
	t.Helper()
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "processor"}, DNSNames: []string{"opendsr.example.com"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(until)}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), authority)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, dir, name+"-key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

// spoken is a configuration with OpenDSR, whose files are in dir.
func spoken(dir string) *Config {
	c := Default()
	c.Embedded = true
	c.Rules = dir
	c.embeddedDefaults()
	c.OpenDSR = OpenDSR{ControllerID: "shop", ProcessorDomain: "opendsr.example.com", Certificate: "https://opendsr.example.com/cert.pem",
		CertFile: filepath.Join(dir, "ec.pem"), KeyFile: filepath.Join(dir, "ec-key.pem"), CallbackHosts: []string{"dsr.shop.example", "127.0.0.1:8080"}}
	return c
}

func must[T any](t *testing.T, make func() (T, error)) T {
	t.Helper()
	v, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestOpenDSR: what is missing or cannot be used is said, and what can is taken.
func TestOpenDSR(t *testing.T) {
	dir := fixtures(t)
	issue(t, dir, "ec", must(t, func() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }), 30*24*time.Hour)
	issue(t, dir, "rsa", must(t, func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }), 30*24*time.Hour)
	issue(t, dir, "short", must(t, func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 1024) }), 30*24*time.Hour)
	issue(t, dir, "old", must(t, func() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }), -time.Hour)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issue(t, dir, "ed", ed, 30*24*time.Hour)
	pair := func(name string) func(*Config) {
		return func(c *Config) {
			c.OpenDSR.CertFile, c.OpenDSR.KeyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   []string // path: beginning of the text
	}{
		{"all is there", func(*Config) {}, nil},
		{"RSA", pair("rsa"), nil},
		{"expired", pair("old"), nil}, // a warning
		{"not at all", func(c *Config) { c.OpenDSR = OpenDSR{} }, nil},
		{"no controller", func(c *Config) { c.OpenDSR.ControllerID = "" }, []string{"opendsr.controller_id: missing, while processor_domain is given"}},
		{"hosts alone", func(c *Config) { c.OpenDSR = OpenDSR{CallbackHosts: []string{"a"}} }, []string{"opendsr.controller_id: missing, while callback_hosts is given"}},
		{"a controller alone", func(c *Config) { c.OpenDSR = OpenDSR{ControllerID: "shop"} }, []string{`opendsr.processor_domain: "" is no domain`,
			`opendsr.certificate: "" is no https URL`, `opendsr.url: "" is no URL`, "opendsr.cert_file: cert_file and key_file are both needed"}},
		{"upper case", func(c *Config) { c.OpenDSR.ProcessorDomain = "OpenDSR.example.com" }, []string{`opendsr.processor_domain: "OpenDSR.example.com" is no domain`,
			`opendsr.certificate: "https://opendsr.example.com/cert.pem" is no https URL at processor_domain`}},
		{"another domain", func(c *Config) {
			c.OpenDSR.ProcessorDomain, c.OpenDSR.Certificate = "dsr.example.com", "https://dsr.example.com/cert.pem"
		}, []string{"opendsr: cert_file $DIR/ec.pem is not issued for processor_domain"}},
		{"in the clear", func(c *Config) { c.OpenDSR.Certificate = "http://opendsr.example.com/cert.pem" }, []string{"opendsr.certificate: "}},
		{"a path", func(c *Config) { c.OpenDSR.URL = "https://opendsr.example.com/dsr" }, []string{`opendsr.url: "https://opendsr.example.com/dsr" is no URL without a path`}},
		{"hosts", func(c *Config) {
			c.OpenDSR.CallbackHosts = []string{"https://a.example", "A.example", "*", "a.example/x", "", "a.example:1", "u@a.example"}
		}, []string{
			`opendsr.callback_hosts[0]: "https://a.example" is no host`, `opendsr.callback_hosts[1]: "A.example" is no host`, `opendsr.callback_hosts[2]: "*" is no host`,
			`opendsr.callback_hosts[3]: "a.example/x" is no host`, `opendsr.callback_hosts[4]: "" is no host`, `opendsr.callback_hosts[6]: "u@a.example" is no host`}},
		{"no key", func(c *Config) { c.OpenDSR.KeyFile = "" }, []string{"opendsr.cert_file: cert_file and key_file are both needed"}},
		{"absent files", pair("absent"), []string{"opendsr: cert_file $DIR/absent.pem, key_file $DIR/absent-key.pem: open"}},
		{"another's key", func(c *Config) { c.OpenDSR.KeyFile = filepath.Join(dir, "rsa-key.pem") }, []string{"opendsr: cert_file $DIR/ec.pem, key_file $DIR/rsa-key.pem: tls: private key type does not match"}},
		{"self-signed", func(c *Config) {
			c.OpenDSR.ProcessorDomain, c.OpenDSR.Certificate = "localhost", "https://localhost/cert.pem"
			c.OpenDSR.CertFile, c.OpenDSR.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		}, []string{"opendsr: cert_file $DIR/cert.pem is self-signed, which OpenDSR forbids"}},
		{"a short key", pair("short"), []string{"opendsr: key_file $DIR/short-key.pem holds an RSA key of 1024 bits"}},
		{"Ed25519", pair("ed"), []string{"opendsr: key_file $DIR/ed-key.pem holds a key that is neither RSA nor ECDSA"}},
		{"no requests", func(c *Config) { c.Inputs = c.Inputs[:2] }, []string{"opendsr: requests go to an input"}},
		{"mapped requests", func(c *Config) {
			c.Inputs[2].Map = map[string]string{"userId": "key", "request": "value.r", "requestId": "value.id"}
		}, []string{"opendsr: requests go to an input"}},
	} {
		cfg := spoken(dir)
		c.change(cfg)
		var got []string
		var all *Error
		if errors.As(cfg.Validate(NeedAll), &all) {
			for i, p := range all.Problems {
				text := strings.ReplaceAll(fmt.Sprintf("%s: %s", p.Path, p.Text), dir, "$DIR")
				if i < len(c.want) && strings.HasPrefix(text, c.want[i]) {
					text = c.want[i]
				}
				got = append(got, text)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
		warnings := strings.Join(cfg.Warnings(), "\n")
		if strings.Contains(warnings, "old.pem is valid until") != (c.name == "expired") {
			t.Errorf("%s: warnings %q", c.name, warnings)
		}
	}
}

func TestOpenDSRBaseURL(t *testing.T) {
	for _, c := range []struct{ url, want string }{{"", "https://opendsr.example.com"}, {"https://opendsr.example.com:8443/", "https://opendsr.example.com:8443"}} {
		if got := (OpenDSR{ProcessorDomain: "opendsr.example.com", URL: c.url}).BaseURL(); got != c.want {
			t.Errorf("%q: %s", c.url, got)
		}
	}
}
