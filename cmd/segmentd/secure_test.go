package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
)

// secure is a real Kafka with listeners of each kind, and what is needed to
// reach them.
type secure struct {
	*crash
	node               *kafkatest.Node
	authority, foreign *kafkatest.Authority
	app, stranger      kafkatest.Pair // certificates of clients: the authority's and the foreign one's
	admin              *kadm.Client   // a super user's
}

// Passwords, which nothing may print.
const (
	canary      = "canary-in-the-mine"
	otherCanary = "canary-of-tomorrow"
)

// TestSecure holds segmentd against a real Kafka with TLS, logins and ACLs.
func TestSecure(t *testing.T) {
	s := newSecure(t)
	t.Run("Connections", s.testConnections)
	t.Run("Documented", s.testDocumented)
	t.Run("ACLs", s.testACLs)
	t.Run("CertificateExpires", s.testCertificateExpires)
	t.Run("UserRevoked", s.testUserRevoked)
}

func newSecure(t *testing.T) *secure {
	t.Helper()
	kafkatest.Jars(t)
	s := &secure{authority: kafkatest.NewAuthority(t, "home"), foreign: kafkatest.NewAuthority(t, "abroad")}
	later := time.Now().Add(time.Hour)
	s.app, s.stranger = s.authority.Issue("segmentd", later), s.foreign.Issue("segmentd", later)
	const plainModule = "org.apache.kafka.common.security.plain.PlainLoginModule required"
	const scramModule = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	properties := map[string]string{
		"ssl.keystore.type": "PEM", "ssl.keystore.location": s.authority.Issue("broker", later, "127.0.0.1", "kafka.test").Keystore,
		"ssl.truststore.type": "PEM", "ssl.truststore.location": s.authority.CAFile,
		"listener.name.mtls.ssl.client.auth":            "required",
		"listener.name.plain.sasl.enabled.mechanisms":   "PLAIN",
		"listener.name.plain.plain.sasl.jaas.config":    plainModule + ` user_segmentd="` + canary + `";`,
		"listener.name.clear.sasl.enabled.mechanisms":   "PLAIN",
		"listener.name.clear.plain.sasl.jaas.config":    plainModule + ` user_segmentd="` + canary + `";`,
		"authorizer.class.name":                         "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                                   "User:ANONYMOUS;User:segmentd;User:CN=segmentd",
		"listener.name.short.connections.max.reauth.ms": "2000",
	}
	for _, listener := range []string{"scram", "short"} {
		properties["listener.name."+listener+".sasl.enabled.mechanisms"] = "SCRAM-SHA-256,SCRAM-SHA-512"
		properties["listener.name."+listener+".scram-sha-256.sasl.jaas.config"] = scramModule
		properties["listener.name."+listener+".scram-sha-512.sasl.jaas.config"] = scramModule
	}
	var users []string
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		for _, user := range []string{"segmentd", "least", "guest"} {
			users = append(users, fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, user, canary))
		}
	}
	cluster := kafkatest.Options{Properties: properties, SCRAM: users, Listeners: map[string]string{
		"tls": "SSL", "mtls": "SSL", "plain": "SASL_SSL", "clear": "SASL_PLAINTEXT", "scram": "SASL_SSL", "short": "SASL_SSL",
	}}.StartCluster(t)
	s.node = cluster.Nodes[0]
	client, err := kafka.New(kafka.Config{Brokers: cluster.Brokers()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if s.admin, err = kadm.NewOptClient(kgo.SeedBrokers(cluster.Brokers()...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.admin.Close)
	s.crash = &crash{client: client}
	return s
}

// on is a place for processes that talk to a listener, in a test of its own.
func (s *secure) on(t *testing.T, listener string) *secure {
	t.Helper()
	bin, err := exec.LookPath("segmentd") // this test's binary
	if err != nil {
		t.Fatal(err)
	}
	own := *s
	own.crash = &crash{t: t, dir: t.TempDir(), bin: bin, broker: s.node.Addr, http: freeAddress(t), client: s.client}
	if listener != "" {
		own.broker = s.node.Listeners[listener]
	}
	own.must(os.MkdirAll(filepath.Join(own.dir, "rules"), 0o700))
	own.write("rules/shop.yaml", secureRules(1))
	return &own
}

// of is the same place for a part of its test.
func (s *secure) of(t *testing.T) *secure {
	own, place := *s, *s.crash
	place.t, own.crash = t, &place
	return &own
}

// secureRules are rules of which each revision removes a segment and adds another.
func secureRules(revision int) string {
	return fmt.Sprintf(`
revision: %d
purposes:
  - {key: marketing, description: Offers, lawful_basis: consent, retention: 5h}
segments:
  - {key: buyer, purpose: marketing, when: 'events("Order Completed").exists()'}
  - {key: of_revision_%d, purpose: marketing, when: 'events("Order Cancelled").exists()'}
`, revision, revision)
}

// configure writes c.yaml with a block of `kafka`, and a file password.
func (s *secure) configure(group, kafkaBlock, password string) {
	s.t.Helper()
	s.write("password", password+"\n")
	s.write("c.yaml", fmt.Sprintf("group: %s\nrules: %s/rules\ndata: %s/data\ninputs: [{topic: %s.events, kind: event}, {topic: %s.decisions, kind: decision}, {topic: %s.requests, kind: request}]\n"+
		"topics: {partitions: 2}\nkafka: %s\nlog: {level: debug}\nhttp: {listen: %q, pprof: true}\n", group, s.dir, s.dir, group, group, group, kafkaBlock, s.http))
}

// trust is TLS without a certificate of our own.
func (s *secure) trust() string {
	return fmt.Sprintf("tls: {enabled: true, ca_file: %s}", s.authority.CAFile)
}

// show is TLS with a certificate of our own.
func (s *secure) show(p kafkatest.Pair) string {
	return fmt.Sprintf("tls: {enabled: true, ca_file: %s, cert_file: %s, key_file: %s}", s.authority.CAFile, p.CertFile, p.KeyFile)
}

func (s *secure) login(mechanism, user string) string {
	return fmt.Sprintf("sasl: {mechanism: %s, username: %s, password_file: %s/password}", mechanism, user, s.dir)
}

// testConnections makes one right and many wrong connections to each listener.
func (s *secure) testConnections(t *testing.T) {
	const missing = `connections-changes .* missing` // it has come that far
	for _, c := range []struct {
		name, listener string
		kafka          func(*secure) string
		password       string
		status         int
		says           string // what stderr must match
	}{
		{"TLS", "tls", func(s *secure) string { return s.trust() }, "", 1, missing},
		{"wrong authority", "tls", func(s *secure) string { return fmt.Sprintf("tls: {enabled: true, ca_file: %s}", s.foreign.CAFile) }, "", 2,
			`kafka\.tls\.ca_file: its authorities have not signed the broker's certificate: .*unknown authority`},
		{"no authority", "tls", func(s *secure) string { return "tls: {enabled: true}" }, "", 2, `kafka\.tls\.ca_file: it is not set, and the system's authorities have not signed`},
		{"authority's file absent", "tls", func(s *secure) string { return "tls: {enabled: true, ca_file: /nowhere/ca.pem}" }, "", 2, `kafka\.tls: ca_file: open /nowhere/ca\.pem`},
		{"server name", "tls", func(s *secure) string {
			return fmt.Sprintf("tls: {enabled: true, server_name: kafka.test, ca_file: %s}", s.authority.CAFile)
		}, "", 1, missing},
		{"wrong host", "tls", func(s *secure) string {
			return fmt.Sprintf("tls: {enabled: true, server_name: other.test, ca_file: %s}", s.authority.CAFile)
		}, "", 2, `kafka\.tls\.server_name: the broker's certificate is for another host.*kafka\.test, not other\.test`},
		{"plain text to TLS", "tls", func(s *secure) string { return "{}" }, "", 2, `kafka\.tls\.enabled: it is not set, and the broker speaks TLS on this port`},
		{"TLS to plain text", "", func(s *secure) string { return s.trust() }, "", 2, `kafka\.tls\.enabled: the broker does not speak TLS on this port`},
		{"mTLS", "mtls", func(s *secure) string { return s.show(s.app) }, "", 1, missing},
		{"no certificate", "mtls", func(s *secure) string { return s.trust() }, "", 2, `kafka\.tls\.cert_file: the broker asks for a certificate, and none is set`},
		{"foreign certificate", "mtls", func(s *secure) string { return s.show(s.stranger) }, "", 2, `kafka\.tls\.cert_file: the broker does not accept our certificate`},
		{"PLAIN", "plain", func(s *secure) string { return "{" + s.trust() + ", " + s.login("plain", "segmentd") + "}" }, canary, 1, missing},
		{"PLAIN in the clear", "clear", func(s *secure) string { return s.login("plain", "segmentd") }, canary, 1, missing},
		{"PLAIN with its password in the configuration", "plain", func(s *secure) string {
			return "{" + s.trust() + ", sasl: {mechanism: plain, username: segmentd, password: " + canary + "}}"
		}, "", 1, missing},
		{"PLAIN with wrong password", "plain", func(s *secure) string { return "{" + s.trust() + ", " + s.login("plain", "segmentd") + "}" }, otherCanary, 2,
			`kafka\.sasl: the broker refused the login: .*Invalid username or password`},
		{"PLAIN with unknown user", "plain", func(s *secure) string { return "{" + s.trust() + ", " + s.login("plain", "nobody") + "}" }, canary, 2, `kafka\.sasl: the broker refused the login`},
		{"PLAIN on SCRAM", "scram", func(s *secure) string { return "{" + s.trust() + ", " + s.login("plain", "segmentd") + "}" }, canary, 2,
			`kafka\.sasl\.mechanism: the broker does not offer it on this listener, but scram-sha-(256|512), scram-sha-(256|512)`},
		{"SCRAM-SHA-256", "scram", func(s *secure) string { return "{" + s.trust() + ", " + s.login("scram-sha-256", "segmentd") + "}" }, canary, 1, missing},
		{"SCRAM-SHA-512", "scram", func(s *secure) string { return "{" + s.trust() + ", " + s.login("scram-sha-512", "segmentd") + "}" }, canary, 1, missing},
		{"SCRAM with wrong password", "scram", func(s *secure) string { return "{" + s.trust() + ", " + s.login("scram-sha-512", "segmentd") + "}" }, otherCanary, 2,
			`kafka\.sasl: the broker refused the login: .*invalid credentials`},
		{"SCRAM with unknown user", "scram", func(s *secure) string { return "{" + s.trust() + ", " + s.login("scram-sha-256", "nobody") + "}" }, canary, 2, `kafka\.sasl: the broker refused the login`},
		{"no login", "scram", func(s *secure) string { return s.trust() }, "", 2, `kafka\.sasl\.mechanism: it is not set, and the broker wants a login by one of scram-sha-`},
		{"login that nobody asks for", "tls", func(s *secure) string { return "{" + s.trust() + ", " + s.login("plain", "segmentd") + "}" }, canary, 2,
			`kafka\.sasl\.mechanism: this listener of the broker takes no login`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.on(t, c.listener)
			block := c.kafka(s)
			if !strings.HasPrefix(block, "{") {
				block = "{" + block + "}"
			}
			s.configure("connections", block, c.password)
			began := time.Now()
			p := s.start("topics", "--config", filepath.Join(s.dir, "c.yaml"), "--log-level", "debug")
			s.ends(p, c.status, c.says)
			t.Logf("after %v", time.Since(began).Round(time.Millisecond))
			p = s.start("config", "--config", filepath.Join(s.dir, "c.yaml"))
			<-p.ended
			s.discreet(p)
		})
	}
}

// ends waits for a process to end by itself, with a status and words that name
// the cause, and without a password among them.
func (s *secure) ends(p *process, status int, says string) {
	s.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		s.t.Fatalf("it does not end\n%s", p.log.String())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status || !regexp.MustCompile(says).MatchString(p.log.String()) {
		s.t.Errorf("status %d, want %d and the words %q:\n%s", got, status, says, p.log.String())
	}
	s.discreet(p)
}

// discreet looks for passwords in what a process has said.
func (s *secure) discreet(p *process) {
	s.t.Helper()
	if strings.Contains(p.log.String(), "canary") {
		s.t.Errorf("a password is printed:\n%s", p.log.String())
	}
}

// pages looks for passwords on the pages of a process.
func (s *secure) pages() {
	s.t.Helper()
	for _, page := range []string{"metrics", "readyz?verbose", "v1/segments", "v1/subjects/u1", "debug/pprof/cmdline", "debug/pprof/goroutine?debug=2", "debug/pprof/heap?debug=1"} {
		body, err := get("http://" + s.http + "/" + page)
		s.must(err)
		if strings.Contains(body, canary) || len(body) == 0 {
			s.t.Errorf("%s is empty or prints a password:\n%s", page, body)
		}
	}
}

// try asks the cluster as the super user.
func (s *secure) try(fn func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	s.must(fn(ctx))
}
