package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/spf13/pflag"
)

// needs are the commands of the scripts in testdata.
var needs = map[string]Need{
	"load":    0,       // a command that needs nothing, such as check
	"run":     NeedAll, // segmentd run
	"connect": NeedBroker | NeedListener,
}

// TestLoad runs testdata/load/*. Their lines that begin with SEGMENTD_ are the
// environment, those that begin with -- and a letter are flags, the rest is the
// configuration file, which exists only if there is a line of it. $DIR is a
// directory with the files of fixtures, $LONG a long name. The answer is every problem, else
// every setting that is no default, then the warnings.
func TestLoad(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "load"), func(t *testing.T, path string) {
		dir := fixtures(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			src := sources(t, dir, strings.NewReplacer("$DIR", dir, "$LONG", strings.Repeat("a", 250)).Replace(d.Input))
			need, ok := needs[d.Cmd]
			if !ok {
				d.Fatalf(t, "no such command")
			}
			src.Needs = need
			cfg, err := Load(src)
			if err != nil {
				return strings.ReplaceAll(err.Error(), dir, "$DIR") + "\n"
			}
			return strings.ReplaceAll(given(cfg), dir, "$DIR")
		})
	})
}

// given is the part of the effective configuration that is no default.
func given(cfg *Config) string {
	rendered, inList := "", false
	for line := range strings.Lines(cfg.Render()) {
		if inList = inList && (strings.HasPrefix(line, "  - ") || strings.HasPrefix(line, "    ")); inList {
			rendered += line
		} else if strings.Contains(line, "#") {
			rendered += line
			inList = strings.HasPrefix(line, "inputs:")
		}
	}
	for _, w := range cfg.Warnings() {
		rendered += "warning: " + w + "\n"
	}
	if rendered == "" {
		return "defaults\n"
	}
	return rendered
}

func sources(t *testing.T, dir, input string) Sources {
	var src Sources
	var args, file []string
	for line := range strings.SplitSeq(input, "\n") {
		switch {
		case strings.HasPrefix(line, envPrefix):
			src.Environ = append(src.Environ, line)
		case len(line) > 2 && line[:2] == "--" && line[2] != '-':
			args = append(args, strings.Fields(line)...)
		default:
			file = append(file, line)
		}
	}
	if text := strings.Join(file, "\n"); strings.TrimSpace(text) != "" {
		write(t, dir, "segmentd.yaml", text)
		args = append(args, "--config", filepath.Join(dir, "segmentd.yaml"))
	}
	src.Flags = pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(src.Flags)
	if err := src.Flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return src
}

// fixtures makes a directory with a rules directory and with good and bad files
// of each sort.
func fixtures(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rules"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "secret", "0123456789abcdef\n")
	write(t, dir, "short", "0123456789abcde \n")
	write(t, dir, "empty", "\n")
	write(t, dir, "tokens", "- {name: crm, role: reader, hash: "+strings.Repeat("0a", 32)+"}\n")
	cert, key := certificate(t)
	write(t, dir, "cert.pem", cert)
	write(t, dir, "key.pem", key)
	_, other := certificate(t)
	write(t, dir, "other-key.pem", other)
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificate makes one that is signed by itself, for localhost.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", keyDER)
}
