package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
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
// is configured. The certificate's files are read anew at each handshake.
func (t ServerTLS) Config() (*tls.Config, error) {
	if t == (ServerTLS{}) {
		return nil, nil
	}
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return readPair(t.CertFile, t.KeyFile)
		},
	}
	errs := []error{checkPair(t.CertFile, t.KeyFile)}
	if t.CertFile == "" && t.ClientCAFile != "" {
		errs = append(errs, errors.New("client_ca_file needs cert_file and key_file"))
	}
	if t.ClientCAFile != "" {
		pool, err := readPool("client_ca_file", t.ClientCAFile)
		errs = append(errs, err)
		cfg.ClientCAs, cfg.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return cfg, nil
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
