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
