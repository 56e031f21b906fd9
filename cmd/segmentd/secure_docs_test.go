package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/config"
)

// documented are the complete configurations in OPERATIONS.md by the name in
// their first line, with the paths of a machine replaced by dir.
func documented(t *testing.T, dir string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```yaml\n# (\\w+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = strings.NewReplacer("/etc/segmentd", dir, "/var/lib/segmentd", filepath.Join(dir, "data")).Replace(m[2])
	}
	for _, name := range []string{"TLS", "mTLS", "SCRAM", "PLAIN", "Tokens"} {
		if found[name] == "" {
			t.Errorf("OPERATIONS.md has no example %s", name)
		}
	}
	return found
}

// TestOperationsExamples loads the documented configurations, and holds the
// documented ACLs to those that are needed.
func TestOperationsExamples(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "segmentd.yaml")
	for name, text := range documented(t, dir) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
		config.AddFlags(fs)
		if err := fs.Parse([]string{"--config", path}); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Sources{Flags: fs, Needs: config.NeedInputs})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := os.MkdirAll(cfg.Rules, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cfg.Rules, "r.yaml"), []byte(secureRules(1)), 0o600); err != nil {
			t.Fatal(err)
		}
		set, err := loadRules(&invocation{streams: streams{out: os.Stdout, err: os.Stderr}}, cfg.Rules)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, a := range neededACLs(cfg, neededTopics(cfg, set)) {
			resource := map[string]string{"Topic": "--topic ", "Group": "--group ", "TransactionalId": "--transactional-id "}[a.Resource] + a.Name
			if a.Pattern != "literal" {
				resource += " --resource-pattern-type " + a.Pattern
			}
			want = append(want, resource+" --operation "+strings.Join(a.Operations, " --operation "))
		}
		operations, err := os.ReadFile("../../OPERATIONS.md")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range regexp.MustCompile(`(?m)^kafka-acls\.sh … --add --allow-principal User:segmentd (.*)$`).FindAllStringSubmatch(string(operations), -1) {
			got = append(got, m[1])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: OPERATIONS.md has the ACLs\n%s\nand these are needed\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// testDocumented connects with each documented configuration, as it is but for
// paths and addresses.
func (s *secure) testDocumented(t *testing.T) {
	for name, listener := range map[string]string{"TLS": "tls", "mTLS": "mtls", "SCRAM": "scram", "PLAIN": "plain"} {
		t.Run(name, func(t *testing.T) {
			s := s.on(t, listener)
			for file, from := range map[string]string{"ca.pem": s.authority.CAFile, "segmentd.pem": s.app.CertFile, "segmentd-key.pem": s.app.KeyFile} {
				text, err := os.ReadFile(from)
				s.must(err)
				s.write(file, string(text))
			}
			s.write("password", canary)
			s.write("c.yaml", strings.Replace(documented(t, s.dir)[name], "secret_file: "+s.dir+"/secret\n", "", 1)) // it is in the environment
			s.ends(s.command("topics"), 1, "segmentd-changes .* missing")
		})
	}
}
