package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
)

func TestConfigIsChecked(t *testing.T) {
	if _, err := kafka.New(kafka.Config{}); err == nil {
		t.Error("no brokers are accepted")
	}
	_, err := kafka.New(kafka.Config{Brokers: []string{"b:1"}, SASL: kafka.SASL{Mechanism: "gssapi"}})
	if err == nil || err.Error() != `kafka.sasl.mechanism "gssapi": must be plain, scram-sha-256 or scram-sha-512` {
		t.Error(err)
	}
}

func TestAuthentication(t *testing.T) {
	server, client := certificate(t)
	trust := func() (*tls.Config, error) { return client, nil }
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.TLS(server), kfake.SeedTopics(1, "t"),
		kfake.Superuser("PLAIN", "p", "secret"), kfake.Superuser("SCRAM-SHA-256", "s2", "secret"), kfake.Superuser("SCRAM-SHA-512", "s5", "secret"))
	must(t, err)
	t.Cleanup(k.Close)
	for _, s := range []kafka.SASL{{"plain", "p", password("secret")}, {"scram-sha-256", "s2", password("secret")}, {"scram-sha-512", "s5", password("secret")}} {
		c := newClientWith(t, kafka.Config{Brokers: k.ListenAddrs(), SASL: s, TLS: trust})
		if _, err := c.Topics(context.Background()); err != nil {
			t.Errorf("%s: %v", s.Mechanism, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		must(t, c.RunGroup(ctx, kafka.GroupConfig{Group: s.Mechanism, Topic: "t", SessionTimeout: 6 * time.Second}, func(context.Context, kafka.Generation) error {
			cancel()
			return nil
		}))
		s.Password = password("wrong")
		c = newClientWith(t, kafka.Config{Brokers: k.ListenAddrs(), SASL: s, TLS: trust, RequestTimeout: time.Second})
		if _, err := c.Topics(context.Background()); err == nil {
			t.Errorf("%s: a wrong password is accepted", s.Mechanism)
		}
	}
}

func password(text string) func() (string, error) {
	return func() (string, error) { return text, nil }
}

// certificate returns the configurations of a server and of clients that trust it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool}
}

// Close ends what is in flight and leaves no goroutine, which TestMain checks.
func TestCloseEndsRequests(t *testing.T) {
	_, c := cluster(t, "t")
	failed := make(chan error)
	go func() {
		var buf stream.Buffer
		all, err := c.Fetch(context.Background(), []stream.Position{{Topic: "t"}}, stream.FetchOptions{MaxWait: time.Minute}, &buf)
		if err == nil {
			err = all[0].Err
		}
		failed <- err
	}()
	wait(t, 100*time.Millisecond)
	must(t, c.Close())
	must(t, c.Close())
	if err := <-failed; err == nil {
		t.Error("the fetch succeeded")
	}
	for name, err := range map[string]error{
		"topics": second(c.Topics(context.Background())), "configs": second(c.Configs(context.Background(), "t")),
		"create": second(c.CreateTopics(context.Background(), nil)), "wait": c.WaitTopics(context.Background(), "t"),
		"watermarks": second(c.Watermarks(context.Background(), "t", 1)), "offsets": second(c.GroupOffsets(context.Background(), "g", "t", 1)),
		"init":  c.NewTransactor(kafka.TransactorConfig{TransactionalID: "x"}).Init(context.Background()),
		"group": c.RunGroup(context.Background(), kafka.GroupConfig{}, nil),
	} {
		if !errors.Is(err, kafka.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
