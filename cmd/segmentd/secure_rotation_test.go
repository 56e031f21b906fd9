package main

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// begins makes the topics of a group, runs the processor, and sees it publish.
func (s *secure) begins(group string) *process {
	s.t.Helper()
	s.ends(s.command("topics", "--create"), 0, group+`-changelog .* ok`)
	s.round(group, 1)
	p := s.command("run")
	s.awaitChanges(p, group, 1)
	return p
}

// readiness is the status of the processor's /readyz.
func (s *secure) readiness() int {
	s.t.Helper()
	res, err := http.Get("http://" + s.http + "/readyz")
	s.must(err)
	s.must(res.Body.Close())
	return res.StatusCode
}

// says waits until a process that goes on has said something.
func (s *secure) says(p *process, what string) {
	s.t.Helper()
	pattern := regexp.MustCompile(what)
	s.until("it says "+what, func() bool {
		select {
		case <-p.ended:
			s.t.Fatalf("it ended by itself\n%s", p.log.String())
		default:
		}
		return pattern.MatchString(p.log.String())
	})
}

// testCertificateExpires lets a client's certificate expire while the processor
// runs, and takes all connections away: it says why it stands still, and goes on
// once the files hold a new one.
func (s *secure) testCertificateExpires(t *testing.T) {
	s = s.on(t, "mtls")
	expiry := time.Now().Add(8 * time.Second)
	s.app = s.authority.Issue("segmentd", expiry)
	s.configure("expires", "{"+s.show(s.app)+"}", "")
	p := s.begins("expires")
	if !time.Now().Before(expiry) {
		t.Skip("this machine is too slow: the certificate expired before it was used")
	}
	s.alive(p, time.Until(expiry.Add(time.Second)))
	s.node.Stop()
	s.must(s.node.Start())
	s.says(p, `kafka\.tls: the broker refused the TLS handshake: .*certificate`)
	s.until("it is not ready", func() bool { return s.readiness() == http.StatusServiceUnavailable })
	s.authority.Issue("segmentd", time.Now().Add(time.Hour))
	s.until("a round is produced", func() bool { _, err := s.client.Topics(t.Context()); return err == nil })
	s.round("expires", 2)
	s.awaitChanges(p, "expires", 2)
	s.until("it is ready", func() bool { return s.readiness() == http.StatusOK })
	p.stops(0)
}

// testUserRevoked takes the user away while the processor runs, and lets the
// broker end its sessions: it says why it stands still, and goes on once there
// is a user again, whose new password it reads from the file.
func (s *secure) testUserRevoked(t *testing.T) {
	s = s.on(t, "short")
	s.configure("revoked", "{"+s.trust()+", "+s.login("scram-sha-512", "segmentd")+"}", canary)
	p := s.begins("revoked")
	s.pages()
	s.ends(s.command("config"), 0, "password_file")
	const rounds = 6 // over which connections are cut several times
	for n := 2; n < rounds; n++ {
		s.round("revoked", n)
		s.alive(p, time.Second)
	}
	s.awaitChanges(p, "revoked", rounds-1)
	scram := func(remove []kadm.DeleteSCRAM, set []kadm.UpsertSCRAM) {
		t.Helper()
		s.try(func(ctx context.Context) error {
			res, err := s.admin.AlterUserSCRAMs(ctx, remove, set)
			if err == nil {
				err = res.Error()
			}
			return err
		})
	}
	scram([]kadm.DeleteSCRAM{{User: "segmentd", Mechanism: kadm.ScramSha512}}, nil)
	s.says(p, `kafka\.sasl: the broker refused the login: `)
	s.round("revoked", rounds)
	s.write("password", otherCanary)
	scram(nil, []kadm.UpsertSCRAM{{User: "segmentd", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: otherCanary}})
	s.awaitChanges(p, "revoked", rounds)
	p.stops(0)
	s.discreet(p)
	s.ends(s.command("verify"), 0, ` 0 faults`)
	t.Logf("%d generations, partitions recovered %d times", strings.Count(p.log.String(), "generation begins"), strings.Count(p.log.String(), "partition recovers"))
}
