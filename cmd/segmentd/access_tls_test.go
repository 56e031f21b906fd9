package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/processor/access"
	"github.com/segmentd/segmentd/processor/kafka/kafkatest"
)

// runCommandLine runs a command in this process.
func runCommandLine(t *testing.T, args ...string) (status int, out string) {
	t.Helper()
	var b bytes.Buffer
	status = run(t.Context(), args, streams{in: strings.NewReader(""), out: &b, err: &b})
	return status, b.String()
}

// tokenFile writes a token where a command reads it.
func tokenFile(t *testing.T, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAccessBeyondLoopback asks a service on all addresses, over TLS, by commands:
// who has a token and trusts the right authority is answered, and nobody else; new
// certificates are shown at the next connection.
func TestAccessBeyondLoopback(t *testing.T) {
	keys, later := newKeyring(t), time.Now().Add(time.Hour)
	home, abroad := kafkatest.NewAuthority(t, "home"), kafkatest.NewAuthority(t, "abroad")
	server, client, stranger := home.Issue("server", later, "127.0.0.1"), home.Issue("client", later), abroad.Issue("client", later)
	s := startServiceAs(t, serviceSetup{listen: "0.0.0.0:0", rules: exampleRules, environ: append(keys.environ(), "SEGMENTD_HTTP_TLS_CERT_FILE="+server.CertFile,
		"SEGMENTD_HTTP_TLS_KEY_FILE="+server.KeyFile, "SEGMENTD_HTTP_TLS_CLIENT_CA_FILE="+home.CAFile)})
	_, port, err := net.SplitHostPort(s.admin.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	reader, operator := tokenFile(t, keys.byRole[access.Reader]), tokenFile(t, keys.byRole[access.Operator])
	at := []string{"--url", "https://127.0.0.1:" + port}
	with := func(args []string, more ...string) []string { return slices.Concat(args, more) }
	trust := with(at, "--ca-file", home.CAFile)
	ours := with(trust, "--cert-file", client.CertFile, "--key-file", client.KeyFile)
	members := func(more ...string) []string { return with([]string{"members", "u1"}, more...) }
	poll(t, "the service answers", func() bool {
		status, _ := runCommandLine(t, members(with(ours, "--token-file", reader)...)...)
		return status == 0
	})
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"no token":          {members(ours...), 2, "answered 401"},
		"another role":      {members(with(ours, "--token-file", operator)...), 2, "the token's role is operator; this page is for reader or privacy"},
		"no certificate":    {members(with(trust, "--token-file", reader)...), 3, "certificate required"},
		"another's":         {members(with(trust, "--cert-file", stranger.CertFile, "--key-file", stranger.KeyFile, "--token-file", reader)...), 3, ""},
		"another authority": {members(with(at, "--ca-file", abroad.CAFile, "--token-file", reader)...), 3, "unknown authority"},
		"plain HTTP":        {members("--url", "127.0.0.1:"+port, "--token-file", reader), 2, "answered 400"},
		"no act":            {with([]string{"resume", "--partition", "1"}, with(ours, "--token-file", reader)...), 2, "answered 403"},
		"an act":            {with([]string{"resume", "--partition", "1"}, with(ours, "--token-file", operator)...), 0, "goes on"},
		"a short token":     {members(with(ours, "--token-file", tokenFile(t, "secret"))...), 2, "holds no token"},
		"no such file":      {members(with(ours, "--token-file", "absent")...), 2, "--token-file"},
	} {
		if status, out := runCommandLine(t, c.args...); status != c.status || !strings.Contains(out, c.says) || strings.Contains(out, keys.byRole[access.Reader]) {
			t.Errorf("%s: %d %s; want %d … %s", name, status, out, c.status, c.says)
		}
	}
	t.Setenv(config.EnvToken, keys.byRole[access.Reader])
	if status, out := runCommandLine(t, members(ours...)...); status != 0 || strings.Contains(out, "TOKEN") {
		t.Errorf("by the environment: %d %s", status, out)
	}
	replace(t, abroad.Issue("server", later, "127.0.0.1"), server)
	if status, out := runCommandLine(t, members(ours...)...); status != 3 || !strings.Contains(out, "unknown authority") {
		t.Errorf("after the certificate was replaced: %d %s", status, out)
	}
}

// replace puts one pair's files in the place of another's.
func replace(t *testing.T, by, old kafkatest.Pair) {
	t.Helper()
	for from, to := range map[string]string{by.CertFile: old.CertFile, by.KeyFile: old.KeyFile} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAccessToOwners: two instances on two addresses, with tokens and TLS. A command
// that asks the one gets what the other owns, where it may show the token there.
func TestAccessToOwners(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a second loopback address")
	}
	f, keys := newFleet(t), newKeyring(t)
	authority := kafkatest.NewAuthority(t, "home")
	pair := authority.Issue("server", time.Now().Add(time.Hour), "127.0.0.1", "127.0.0.2")
	var first *member
	for i, host := range []string{"127.0.0.1", "127.0.0.2"} {
		m := f.add(host, fleetRules)
		cfg := m.config()
		cfg.HTTP.Listen, cfg.HTTP.TokensFile, cfg.HTTP.TLS = host+":0", keys.file, config.ServerTLS{CertFile: pair.CertFile, KeyFile: pair.KeyFile}
		f.must(m.launch(cfg))
		if i == 0 {
			first = m
		}
	}
	ask := func(id string, more ...string) (int, string) {
		return runCommandLine(t, append([]string{"members", id, "--url", first.service.admin.Address(), "--ca-file", authority.CAFile,
			"--token-file", tokenFile(t, keys.byRole[access.Reader])}, more...)...)
	}
	ids, here, there := subjects(30), 0, 0
	poll(t, "both have partitions, and each subject is answered", func() bool {
		here, there = 0, 0
		for _, id := range ids {
			switch status, out := ask(id); {
			case status == 0:
				here++
			case status == 2 && strings.Contains(out, "https://127.0.0.2:") && strings.Contains(out, "--owners"):
				there++
			}
		}
		return here > 0 && there > 0 && here+there == len(ids)
	})
	poll(t, "the owner answers", func() bool {
		for _, id := range ids {
			if status, _ := ask(id, "--owners", "127.0.0.*"); status != 0 {
				return false
			}
		}
		return true
	})
}

// TestAskKeepsTheToken: where the token is sent on to, and where not.
func TestAskKeepsTheToken(t *testing.T) {
	const token = "segmentd_0123456789012345678901234567890123456789"
	shown := ""
	answer := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown = r.Header.Get("Authorization") })
	owner, secure := httptest.NewServer(answer), httptest.NewTLSServer(answer)
	defer owner.Close()
	defer secure.Close()
	byName := strings.Replace(owner.URL, "127.0.0.1", "localhost", 1)
	for name, c := range map[string]struct {
		from   func(http.Handler) *httptest.Server
		to     string
		owners []string
		shown  bool
	}{
		"another port":               {httptest.NewServer, owner.URL, nil, true},
		"another host":               {httptest.NewServer, byName, nil, false},
		"another host that is named": {httptest.NewServer, byName, []string{"elsewhere", "localhost"}, true},
		"by a pattern":               {httptest.NewServer, byName, []string{"local*"}, true},
		"out of TLS":                 {httptest.NewTLSServer, owner.URL, []string{"*"}, false},
		"within TLS":                 {httptest.NewTLSServer, secure.URL, nil, true},
	} {
		asked := c.from(http.RedirectHandler(c.to+"/v1/subjects/lookup?redirected=true", http.StatusTemporaryRedirect))
		shown = ""
		a := &asker{url: asked.URL, token: token, owners: c.owners, client: *asked.Client()}
		_, err := a.ask(t.Context(), "/v1/subjects/lookup", map[string]string{"userId": "u1"})
		if (shown == "Bearer "+token) != c.shown || (err == nil) != c.shown || !c.shown && (shown != "" || status(err) != exitUsage) {
			t.Errorf("%s: shown %q, %v", name, shown, err)
		}
		asked.Close()
	}
}
