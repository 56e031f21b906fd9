package kafka_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
)

// TestAccess makes wrong connections to an embedded broker; cmd/segmentd has
// them, and logins, on a real one.
func TestAccess(t *testing.T) {
	home, abroad := kafkatest.NewAuthority(t, "home"), kafkatest.NewAuthority(t, "abroad")
	later := time.Now().Add(time.Hour)
	own, stranger := pair(t, home.Issue("own", later)), pair(t, abroad.Issue("own", later))
	server := &tls.Config{Certificates: []tls.Certificate{pair(t, home.Issue("broker", later, "127.0.0.1"))}, ClientCAs: pool(t, home)}
	secret := startFake(t, kfake.TLS(server))
	mutual := server.Clone()
	mutual.ClientAuth = tls.RequireAndVerifyClientCert
	both := startFake(t, kfake.TLS(mutual))
	late := &tls.Config{Certificates: []tls.Certificate{pair(t, home.Issue("late", time.Now().Add(-time.Minute), "127.0.0.1"))}}
	expired := startFake(t, kfake.TLS(late))
	trust := func(extra func(*tls.Config)) func() (*tls.Config, error) {
		return func() (*tls.Config, error) {
			cfg := &tls.Config{RootCAs: pool(t, home)}
			if extra != nil {
				extra(cfg)
			}
			return cfg, nil
		}
	}
	show := func(c tls.Certificate) func(*tls.Config) {
		return func(cfg *tls.Config) {
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
		}
	}
	for _, c := range []struct {
		name    string
		brokers []string
		tls     func() (*tls.Config, error)
		says    string // "": it works
		refused bool   // it is ErrAccess
	}{
		{"TLS", secret, trust(nil), "", false},
		{"wrong authority", secret, trust(func(c *tls.Config) { c.RootCAs = pool(t, abroad) }), "kafka.tls.ca_file: its authorities have not signed", true},
		{"wrong host", secret, trust(func(c *tls.Config) { c.ServerName = "other.test" }), "kafka.tls.server_name: the broker's certificate is for another host", true},
		{"plain text to TLS", secret, nil, "kafka.tls.enabled: it is not set, and the broker speaks TLS", true},
		{"mTLS", both, trust(show(own)), "", false},
		{"no certificate", both, trust(nil), "kafka.tls.cert_file: the broker asks for a certificate, and none is set", true},
		{"foreign certificate", both, trust(show(stranger)), "kafka.tls.cert_file: the broker does not accept our certificate", true},
		{"expired broker", expired, trust(nil), "certificate has expired", false},
		{"files that cannot be read", secret, func() (*tls.Config, error) { return nil, os.ErrNotExist }, "kafka.tls: file does not exist", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := newClientWith(t, kafka.Config{Brokers: c.brokers, TLS: c.tls})
			_, err := client.Topics(context.Background())
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || errors.Is(err, kafka.ErrAccess) != c.refused {
				t.Errorf("%v; want %q, ErrAccess %v", err, c.says, c.refused)
			}
		})
	}
}

// TestFilesAreReadAtEachConnection lets a client whose files are wrong at first
// come in by the same Client.
func TestFilesAreReadAtEachConnection(t *testing.T) {
	home := kafkatest.NewAuthority(t, "home")
	brokers := startFake(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair(t, home.Issue("broker", time.Now().Add(time.Hour), "127.0.0.1"))}}),
		kfake.EnableSASL(), kfake.Superuser("PLAIN", "p", "secret"))
	trusted, known := false, false
	client := newClientWith(t, kafka.Config{Brokers: brokers, TLS: func() (*tls.Config, error) {
		cfg := &tls.Config{RootCAs: x509.NewCertPool()}
		if trusted {
			cfg.RootCAs = pool(t, home)
		}
		return cfg, nil
	}, SASL: kafka.SASL{Mechanism: "plain", Username: "p", Password: func() (string, error) {
		if !known {
			return "", errors.New("no password yet")
		}
		return "secret", nil
	}}})
	ask := func() error { _, err := client.Topics(context.Background()); return err }
	if err := ask(); err == nil || !strings.Contains(err.Error(), "kafka.tls.ca_file") {
		t.Error(err)
	}
	trusted = true
	if err := ask(); err == nil || !strings.Contains(err.Error(), "kafka.sasl.password_file: no password yet") {
		t.Error(err)
	}
	known = true
	must(t, ask())
}

func startFake(t *testing.T, opts ...kfake.Opt) []string {
	t.Helper()
	k, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	must(t, err)
	t.Cleanup(k.Close)
	return k.ListenAddrs()
}

func pair(t *testing.T, p kafkatest.Pair) tls.Certificate {
	t.Helper()
	c, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
	must(t, err)
	return c
}

func pool(t *testing.T, a *kafkatest.Authority) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(a.CAFile)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}
