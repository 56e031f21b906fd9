package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/segmentio/kafka-go"
)

// ErrAccess means that a broker was reached and that we and it do not agree on
// TLS, certificates or the login. Nothing is repeated for it within a request;
// the next connection reads certificates and password anew.
var ErrAccess = errors.New("no access to kafka")

// accessError says which setting does not fit. It is ErrAccess.
type accessError struct {
	what string // begins with the setting
	err  error
}

func (e *accessError) Error() string {
	if e.err == nil {
		return e.what
	}
	return e.what + ": " + e.err.Error()
}

func (e *accessError) Unwrap() error        { return e.err }
func (e *accessError) Is(target error) bool { return target == ErrAccess }

// explain names the setting that an error of a connection is about.
func explain(err error) error {
	if err == nil || errors.Is(err, ErrAccess) {
		return err
	}
	switch {
	case errors.Is(err, kafka.SASLAuthenticationFailed):
		return &accessError{"kafka.sasl: the broker refused the login", err}
	case errors.Is(err, kafka.UnsupportedSASLMechanism):
		return &accessError{"kafka.sasl.mechanism: the broker does not offer it on this listener", err}
	case errors.Is(err, kafka.IllegalSASLState):
		return &accessError{"kafka.sasl.mechanism: this listener of the broker takes no login", err}
	case isAlert(err):
		return &accessError{"kafka.tls: the broker refused the TLS handshake", err}
	}
	return err
}

// isAlert reports whether the other side ended TLS with an alert (RFC 8446, 6.2).
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// secured is a connection as the configuration wants it, TLS included.
type secured struct {
	net.Conn
	asked bool // the broker wants a certificate
	shown bool // and was shown one
}

// open connects and shakes hands. tlsConfig, if not nil, is asked anew each time.
func open(ctx context.Context, address string, tlsConfig func() (*tls.Config, error)) (*secured, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil || tlsConfig == nil {
		return &secured{Conn: conn}, err
	}
	s, err := shakeHands(ctx, conn, address, tlsConfig)
	if err != nil {
		return nil, errors.Join(err, ignoreClosed(conn.Close()))
	}
	return s, nil
}

// ignoreClosed passes over that a failed handshake has closed the connection.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func shakeHands(ctx context.Context, conn net.Conn, address string, tlsConfig func() (*tls.Config, error)) (*secured, error) {
	cfg, err := tlsConfig()
	if err != nil {
		return nil, &accessError{"kafka.tls", err}
	}
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		if cfg.ServerName, _, err = net.SplitHostPort(address); err != nil {
			return nil, err
		}
	}
	s := &secured{}
	show := cfg.GetClientCertificate
	cfg.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if s.asked = true; show == nil {
			return new(tls.Certificate), nil
		}
		s.shown = true
		return show(info)
	}
	t := tls.Client(conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, s.handshakeError(cfg, err)
	}
	s.Conn = t
	return s, nil
}

// handshakeError names the setting that may be wrong. That a certificate has
// expired is no matter of configuration.
func (s *secured) handshakeError(cfg *tls.Config, err error) error {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &authority) && cfg.RootCAs == nil:
		return &accessError{"kafka.tls.ca_file: it is not set, and the system's authorities have not signed the broker's certificate", err}
	case errors.As(err, &authority):
		return &accessError{"kafka.tls.ca_file: its authorities have not signed the broker's certificate", err}
	case errors.As(err, &host):
		return &accessError{"kafka.tls.server_name: the broker's certificate is for another host; set the name it bears, if that is meant", err}
	case errors.As(err, &record):
		return &accessError{"kafka.tls.enabled: the broker does not speak TLS on this port", err}
	case isAlert(err):
		return s.refusedCertificate(err)
	}
	return fmt.Errorf("TLS handshake: %w", err)
}

// refusedCertificate explains an alert, or an end, that the broker met us with
// in the handshake or, with TLS 1.3, right behind it.
func (s *secured) refusedCertificate(err error) error {
	switch {
	case s.asked && !s.shown:
		return &accessError{"kafka.tls.cert_file: the broker asks for a certificate, and none is set", err}
	case s.asked && (!isAlert(err) || strings.Contains(err.Error(), "certificate")):
		return &accessError{"kafka.tls.cert_file: the broker does not accept our certificate", err}
	}
	return &accessError{"kafka.tls: the broker refused the TLS handshake", err}
}

// isHangUp reports whether the other side ended the connection without a word.
func isHangUp(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) && (op.Op == "read" || op.Op == "write") && !op.Timeout()
}
