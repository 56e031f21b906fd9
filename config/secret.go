package config

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
)

// Secret is a text that is never printed: every way to format it gives "***".
// string(s) is the text itself.
type Secret string

const masked = "***"

var secretType = reflect.TypeFor[Secret]()

// String is "***", or "" where there is none.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// Format masks the secret under every verb.
func (s Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, s.String()) }

// LogValue masks the secret in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks the secret in JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const (
	// minSecretBytes is the size of the keys that the secret makes.
	minSecretBytes = 16
	// embeddedSecretName is the secret's file in the data directory of a process with its own broker.
	embeddedSecretName = "secret"
	howToMakeSecret    = "make one with: openssl rand -base64 32"
)

var errNoSecret = errors.New("real brokers need a secret: set secret_file or SEGMENTD_SECRET; " + howToMakeSecret)

// ReadSecret returns the secret, at least 16 bytes: SEGMENTD_SECRET, else what
// secret_file holds, else, with the embedded broker, the one kept in the data
// directory. That one is made at the first call, so the caller must hold the
// data directory's lock. Without white space at its end.
func (c *Config) ReadSecret() ([]byte, error) {
	switch {
	case c.Secret != "":
		return checkSecret([]byte(c.Secret), envPrefix+"SECRET")
	case c.SecretFile != "":
		return readSecretFile(c.SecretFile)
	case !c.Embedded:
		return nil, errNoSecret
	}
	path := filepath.Join(c.Data, embeddedSecretName)
	secret, err := readSecretFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeSecretFile(path)
	}
	return secret, err
}

func readSecretFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return checkSecret(text, path)
}

func checkSecret(text []byte, where string) ([]byte, error) {
	secret := bytes.TrimRight(text, " \t\r\n")
	if len(secret) < minSecretBytes {
		return nil, fmt.Errorf("%s holds a secret of %d bytes; at least %d are needed; %s", where, len(secret), minSecretBytes, howToMakeSecret)
	}
	return secret, nil
}

// makeSecretFile leaves either no file or a whole one, whenever it is interrupted.
func makeSecretFile(path string) ([]byte, error) {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails (crypto/rand)
	secret := []byte(base64.StdEncoding.EncodeToString(raw))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := writeSynced(path+".new", append(bytes.Clone(secret), '\n')); err != nil {
		return nil, fmt.Errorf("make secret: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return nil, fmt.Errorf("make secret: %w", err)
	}
	return secret, nil
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// ReadPassword returns the password: the configured one, else what
// password_file holds without the line end at its end.
func (s SASL) ReadPassword() (string, error) {
	if s.Password != "" || s.PasswordFile == "" {
		return string(s.Password), nil
	}
	text, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", err
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 {
		return "", fmt.Errorf("%s is empty", s.PasswordFile)
	}
	return string(text), nil
}
