package config

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// exposed warns of files with secrets that every user of the machine can read.
func (c *Config) exposed() []string {
	if runtime.GOOS == "windows" {
		return nil // modes say nothing there
	}
	var warnings []string
	for _, f := range []struct{ setting, path string }{
		{"secret_file", c.SecretFile}, {"kafka.sasl.password_file", c.Kafka.SASL.PasswordFile},
		{"kafka.tls.key_file", c.Kafka.TLS.KeyFile}, {"http.tls.key_file", c.HTTP.TLS.KeyFile}, {"http.tokens_file", c.HTTP.TokensFile},
		{"opendsr.key_file", c.OpenDSR.KeyFile},
		{"kafka.sasl.password", c.passwordIn()},
	} {
		if f.path == "" {
			continue
		}
		// A file that is not there is reported where it is read.
		if info, err := os.Stat(f.path); err == nil && info.Mode().Perm()&0o004 != 0 {
			warnings = append(warnings, fmt.Sprintf("%s: every user of this machine can read %s (mode %o); take that right away: chmod o-r", f.setting, f.path, info.Mode().Perm()))
		}
	}
	return warnings
}

// passwordIn is the configuration file that holds the password itself, "" where
// none does.
func (c *Config) passwordIn() string {
	where := c.origin("kafka.sasl.password") // file:line, or a variable's name
	return where[:max(0, strings.LastIndexByte(where, ':'))]
}
