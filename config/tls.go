package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
)

// Config returns the TLS configuration towards the brokers, nil if it is not
// enabled. It reads the files: ask for it at each connection.
func (t ClientTLS) Config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	var errs []error
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pool, err := readPool("ca_file", t.CAFile)
		errs = append(errs, err)
		cfg.RootCAs = pool
	}
	errs = append(errs, checkPair(t.CertFile, t.KeyFile))
	if t.CertFile != "" {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return readPair(t.CertFile, t.KeyFile)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return cfg, nil
}

// Config returns the TLS configuration of the listener, nil if no certificate
// is configured. Its files are read anew at each handshake; where they cannot be
// used then, those of before are, and failed, if not nil, is told, once for each
// reason.
func (t ServerTLS) Config(failed func(error)) (*tls.Config, error) {
	if t == (ServerTLS{}) {
		return nil, nil
	}
	first, err := t.read()
	if err != nil {
		return nil, err
	}
	r := &rereading{files: t, failed: failed, last: first}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return r.config(), nil
	}}, nil
}

// read puts the files together. The error joins all problems.
func (t ServerTLS) read() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	pair, err := t.pair()
	errs := []error{err}
	cfg.Certificates = []tls.Certificate{pair}
	if t.ClientCAFile != "" {
		pool, err := readPool("client_ca_file", t.ClientCAFile)
		errs = append(errs, err)
		cfg.ClientCAs, cfg.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return cfg, errors.Join(errs...)
}

func (t ServerTLS) pair() (tls.Certificate, error) {
	switch {
	case t.CertFile == "" && t.KeyFile == "":
		return tls.Certificate{}, errors.New("client_ca_file needs cert_file and key_file")
	case t.CertFile == "" || t.KeyFile == "":
		return tls.Certificate{}, checkPair(t.CertFile, t.KeyFile)
	}
	pair, err := readPair(t.CertFile, t.KeyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return *pair, nil
}

// rereading reads files anew at each handshake. Safe for concurrent use.
type rereading struct {
	files  ServerTLS
	failed func(error)

	mu       sync.Mutex
	last     *tls.Config // guarded by mu: the newest that can be used
	complain string      // guarded by mu: the last reason that was told
}

func (r *rereading) config() *tls.Config {
	cfg, err := r.files.read()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.last, r.complain = cfg, ""
	case err.Error() != r.complain && r.failed != nil:
		r.complain = err.Error()
		r.failed(err)
	}
	return r.last
}

func readPool(key, path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no PEM certificate in %s", key, path)
	}
	return pool, nil
}

// checkPair reports whether both files are given and fit, or neither is given.
func checkPair(certFile, keyFile string) error {
	switch {
	case certFile == "" && keyFile == "":
		return nil
	case certFile == "":
		return errors.New("key_file is given without cert_file")
	case keyFile == "":
		return errors.New("cert_file is given without key_file")
	}
	_, err := readPair(certFile, keyFile)
	return err
}

func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("cert_file %s, key_file %s: %w", certFile, keyFile, err)
	}
	return &pair, nil
}
