package config

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Spoken reports whether OpenDSR is spoken.
func (o OpenDSR) Spoken() bool { return o.ControllerID != "" }

// BaseURL is the URL without a path under which controllers reach OpenDSR.
func (o OpenDSR) BaseURL() string {
	if o.URL != "" {
		return strings.TrimRight(o.URL, "/")
	}
	return "https://" + o.ProcessorDomain
}

// minRSABits is the least that FIPS 186-4 and browsers' authorities have.
const minRSABits = 2048

// Signer reads certificate and key. The error says which of them cannot be used, or
// why the certificate is none for OpenDSR (sections 4.1 and 4.2 of its specification).
func (o OpenDSR) Signer() (crypto.Signer, error) {
	pair, err := readPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, err
	}
	switch key := pair.PrivateKey.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("key_file %s holds an RSA key of %d bits; at least %d are needed", o.KeyFile, key.N.BitLen(), minRSABits)
		}
	case *ecdsa.PrivateKey:
	default:
		return nil, fmt.Errorf("key_file %s holds a key that is neither RSA nor ECDSA, which OpenDSR signs with (FIPS 186-4)", o.KeyFile)
	}
	if err := pair.Leaf.VerifyHostname(o.ProcessorDomain); err != nil {
		return nil, fmt.Errorf("cert_file %s is not issued for processor_domain: %w", o.CertFile, err)
	}
	if bytes.Equal(pair.Leaf.RawIssuer, pair.Leaf.RawSubject) {
		return nil, fmt.Errorf("cert_file %s is self-signed, which OpenDSR forbids: have an authority sign it", o.CertFile)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("key_file holds a key that cannot sign")
	}
	return signer, nil
}

// risks are what is allowed and will hurt.
func (o OpenDSR) risks() []string {
	if !o.Spoken() {
		return nil
	}
	pair, err := readPair(o.CertFile, o.KeyFile)
	if err != nil || pair.Leaf.NotAfter.After(time.Now().Add(14*24*time.Hour)) {
		return nil
	}
	return []string{fmt.Sprintf("opendsr.cert_file: %s is valid until %s: controllers refuse what is signed with it from then on", o.CertFile, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))}
}

// domainName is a name of the DNS, in lower case.
var domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// openDSR checks what OpenDSR needs, where it is spoken.
func (v *validator) openDSR() {
	o := v.cfg.OpenDSR
	if !o.Spoken() {
		for _, part := range []struct{ key, value string }{{"processor_domain", o.ProcessorDomain}, {"certificate", o.Certificate}, {"cert_file", o.CertFile},
			{"key_file", o.KeyFile}, {"url", o.URL}, {"callback_hosts", strings.Join(o.CallbackHosts, "")}} {
			if part.value != "" {
				v.missing("opendsr.controller_id", "missing, while %s is given; it says what the controller is called, and that OpenDSR is spoken", part.key)
				return
			}
		}
		return
	}
	if !domainName.MatchString(o.ProcessorDomain) {
		v.missing("opendsr.processor_domain", "%q is no domain; one in lower case is needed, such as opendsr.example.com", o.ProcessorDomain)
	}
	if u, err := url.Parse(o.Certificate); err != nil || u.Scheme != "https" || u.Hostname() != o.ProcessorDomain {
		v.missing("opendsr.certificate", "%q is no https URL at processor_domain, from which the certificate can be downloaded", o.Certificate)
	}
	if u, err := url.Parse(o.BaseURL()); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" || u.RawQuery != "" {
		v.add("opendsr.url", "%q is no URL without a path, such as https://opendsr.example.com:8443", o.URL)
	}
	v.callbackHosts()
	v.submits()
	switch {
	case o.CertFile == "" || o.KeyFile == "":
		v.missing("opendsr.cert_file", "cert_file and key_file are both needed: answers are signed")
	case v.uses(NeedListener):
		if _, err := o.Signer(); err != nil {
			v.lines("opendsr", err)
		}
	}
}

func (v *validator) callbackHosts() {
	for i, host := range v.cfg.OpenDSR.CallbackHosts {
		u, err := url.Parse("https://" + host)
		if err != nil || u.Host != host || !domainName.MatchString(u.Hostname()) && net.ParseIP(u.Hostname()) == nil {
			v.add(indexPath("opendsr.callback_hosts", i), "%q is no host; allowed: a name or an address in lower case, with or without a port, such as dsr.example.com", host)
		}
	}
}

// submits checks that there is an input that requests can be sent to.
func (v *validator) submits() {
	if !v.lacks(NeedInputs) || v.unread["inputs"] {
		return
	}
	for _, in := range v.cfg.InputsOf(KindRequest) {
		if len(in.Map) == 0 && in.Partitioner != PartitionerAny {
			return
		}
	}
	v.add("opendsr", "requests go to an input: one of kind request is needed, without map, and with a partitioner that is known (not any)")
}
