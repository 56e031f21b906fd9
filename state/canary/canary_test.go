package canary

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// Every spelling is found where it is planted, and none where it is not.
func TestEverySpellingIsFound(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []Canary{Text("text", "anna.canary@example.org"), Bytes("key", []byte("0123456789abcdef")), Number("number", 8_123_456_789_012)} {
		for _, f := range c.forms {
			name := filepath.Join(dir, "file")
			if err := os.WriteFile(name, append([]byte("before"), append(f.bytes, "after"...)...), 0o600); err != nil {
				t.Fatal(err)
			}
			finds, err := Scan([]Canary{c, Text("other", "somebody else")}, dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(finds) == 0 || len(Names(finds)) != 1 || finds[0].File != name {
				t.Errorf("%s as %s: found %v", c.Name, f.name, finds)
			}
		}
	}
}

// A text is found in base64 and hexadecimal digits wherever it begins.
func TestTextsWithinOthersAreFound(t *testing.T) {
	dir := t.TempDir()
	c := Text("text", "anna.canary@example.org??>>")
	for n := range 7 {
		around := append(append(make([]byte, n), "anna.canary@example.org??>>"...), "xyz"[:n%4%3]...)
		for name, text := range map[string]string{"std": base64.StdEncoding.EncodeToString(around), "url": base64.RawURLEncoding.EncodeToString(around), "hex": hex.EncodeToString(around)} {
			if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if finds, err := Scan([]Canary{c}, dir); err != nil || len(finds) == 0 {
				t.Errorf("behind %d bytes, in %s: %v, %v", n, name, finds, err)
			}
		}
	}
}

func TestDeletedFilesAreSearched(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(binary.AppendVarint(nil, 8_123_456_789_012)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	finds, err := Scan([]Canary{Number("number", 8_123_456_789_012)}, t.TempDir())
	if err != nil || len(finds) != 1 || finds[0].File != f.Name()+" (deleted)" {
		t.Errorf("found %v, %v", finds, err)
	}
}
