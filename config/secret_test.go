package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	cfg := Default()
	cfg.Secret = "very hidden words"
	cfg.Kafka.SASL.Password = "very hidden words"
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("started", "config", cfg, "secret", cfg.Secret)
	asJSON, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	printed := []string{log.String(), string(asJSON), cfg.Render()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed = append(printed, fmt.Sprintf(verb, cfg.Secret), fmt.Sprintf(verb, *cfg))
	}
	for _, text := range printed {
		if strings.Contains(text, "hidden") || strings.Contains(text, fmt.Sprintf("%x", "hidden")) {
			t.Errorf("the secret is in %s", text)
		}
	}
}

// TestExposedFiles finds the files that others can read, the one with the
// password in it among them.
func TestExposedFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"open", "closed", "c.yaml"} {
		write(t, dir, name, "kafka: {sasl: {mechanism: plain, username: u, password: p}}\n")
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	for name, mode := range map[string]os.FileMode{"open": 0o644, "closed": 0o640, "c.yaml": 0o604} {
		if err := os.Chmod(file(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := Load(Sources{Environ: []string{"SEGMENTD_CONFIG=" + file("c.yaml"), "SEGMENTD_SECRET_FILE=" + file("open"),
		"SEGMENTD_HTTP_TLS_KEY_FILE=" + file("closed"), "SEGMENTD_KAFKA_TLS_KEY_FILE=" + file("absent"), "SEGMENTD_KAFKA_TLS_ENABLED=true"}})
	if err != nil {
		t.Fatal(err)
	}
	warnings := strings.Join(cfg.exposed(), "\n")
	for _, want := range []string{"secret_file: every user of this machine can read " + file("open") + " (mode 644)",
		"kafka.sasl.password: every user of this machine can read " + file("c.yaml") + " (mode 604)"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("no warning %q in\n%s", want, warnings)
		}
	}
	if n := len(cfg.exposed()); n != 2 {
		t.Errorf("%d warnings:\n%s", n, warnings)
	}
}

func TestEmbeddedSecretIsMadeOnce(t *testing.T) {
	cfg := Default()
	cfg.Embedded = true
	cfg.Data = filepath.Join(t.TempDir(), "data")
	first, err := cfg.ReadSecret()
	if err != nil {
		t.Fatal(err)
	}
	second, err := cfg.ReadSecret()
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != string(second) || len(first) < minSecretBytes {
		t.Errorf("first %d bytes, then %d, equal: %v", len(first), len(second), string(first) == string(second))
	}
	info, err := os.Stat(filepath.Join(cfg.Data, embeddedSecretName))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode of the file is %o; want 600", mode)
	}
}

func TestReadSecretSources(t *testing.T) {
	dir := fixtures(t)
	cfg := Default()
	if _, err := cfg.ReadSecret(); err == nil || !strings.Contains(err.Error(), "openssl rand") {
		t.Errorf("error %v does not say how to make one", err)
	}
	cfg.SecretFile = filepath.Join(dir, "secret")
	if secret, err := cfg.ReadSecret(); err != nil || string(secret) != "0123456789abcdef" {
		t.Errorf("from the file: %q, %v", secret, err)
	}
	cfg.Embedded, cfg.Secret = true, "fedcba9876543210"
	if secret, err := cfg.ReadSecret(); err != nil || string(secret) != "fedcba9876543210" {
		t.Errorf("from the environment: %q, %v", secret, err)
	}
}

func TestReadPassword(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "password", " pass word \r\n")
	for _, c := range []struct {
		sasl SASL
		want string
	}{
		{SASL{Password: "p"}, "p"},
		{SASL{PasswordFile: filepath.Join(dir, "password")}, " pass word "},
		{SASL{}, ""},
	} {
		if got, err := c.sasl.ReadPassword(); err != nil || got != c.want {
			t.Errorf("%q, %v; want %q", got, err, c.want)
		}
	}
}
