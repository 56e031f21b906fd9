package config

import (
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNoTLS(t *testing.T) {
	if cfg, err := (ClientTLS{}).Config(); cfg != nil || err != nil {
		t.Errorf("client: %v, %v", cfg, err)
	}
	if cfg, err := (ServerTLS{}).Config(nil); cfg != nil || err != nil {
		t.Errorf("server: %v, %v", cfg, err)
	}
}

// TestHandshake lets both sides meet: each shows a certificate to the other,
// and one that is replaced on disk is used by the next connection.
func TestHandshake(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t)
	write(t, dir, "cert.pem", cert)
	write(t, dir, "key.pem", key)
	write(t, dir, "ca.pem", cert)
	write(t, dir, "client.pem", cert)
	write(t, dir, "client-key.pem", key)
	file := func(name string) string { return filepath.Join(dir, name) }
	var complaints []string
	server, err := ServerTLS{CertFile: file("cert.pem"), KeyFile: file("key.pem"), ClientCAFile: file("ca.pem")}.Config(func(err error) { complaints = append(complaints, err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	client, err := ClientTLS{Enabled: true, CAFile: file("ca.pem"), CertFile: file("client.pem"), KeyFile: file("client-key.pem"), ServerName: "localhost"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, client, server); err != nil {
		t.Errorf("good certificates: %v", err)
	}
	if err := handshake(t, &tls.Config{RootCAs: client.RootCAs, ServerName: "localhost"}, server); err == nil {
		t.Error("a client without certificate was let in")
	}
	old := client.Clone()
	old.MaxVersion, old.MinVersion = tls.VersionTLS11, tls.VersionTLS10
	if err := handshake(t, old, server); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	write(t, dir, "key.pem", "half a key")
	for range 2 {
		if err := handshake(t, client, server); err != nil {
			t.Errorf("while the key cannot be used: %v", err)
		}
	}
	if len(complaints) != 1 || !strings.Contains(complaints[0], "key.pem") {
		t.Errorf("told %q", complaints)
	}
	other, otherKey := certificate(t)
	write(t, dir, "ca.pem", other)
	write(t, dir, "key.pem", key)
	if err := handshake(t, client, server); err == nil {
		t.Error("a client of an authority that is gone was let in")
	}
	write(t, dir, "ca.pem", cert)
	write(t, dir, "cert.pem", other)
	write(t, dir, "key.pem", otherKey)
	if err := handshake(t, client, server); err == nil {
		t.Error("the certificate of before was still shown")
	}
}

// handshake returns the first error of either side, over a real connection:
// an in-memory pipe has no buffer, so two sides that write at once would wait
// for ever.
func handshake(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() { served <- serve(listener, server) }()
	conn, err := net.DialTimeout("tcp", listener.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	err = tls.Client(conn, client).Handshake()
	conn.Close()
	return errors.Join(err, <-served)
}

// patience ends a handshake that hangs.
const patience = 10 * time.Second

func serve(listener net.Listener, cfg *tls.Config) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	return tls.Server(conn, cfg).Handshake()
}
