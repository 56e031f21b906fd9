package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// tokenPrefix lets scanners find tokens where they should not be.
	tokenPrefix = "segmentd_"
	// tokenBytes is how much of a token is random: beyond guessing, so that a
	// plain hash of it reveals nothing.
	tokenBytes = 32
	// minTokenChars is below what New makes, and above what people make up.
	minTokenChars = 40
)

// tokenText is what a bearer token is made of (b64token, RFC 6750, section 2.1).
var tokenText = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// WellFormed reports whether a text may be a token: long enough, and of the
// characters that tokens are made of.
func WellFormed(text string) bool { return len(text) >= minTokenChars && tokenText.MatchString(text) }

// Entry is one token as its file has it.
type Entry struct {
	Name    string    // in the audit log; 1 to 64 letters, digits, '.', '_', '-'
	Role    Role      //
	Hash    string    // SHA-256 of the token, 64 hexadecimal digits
	Expires time.Time // from when on it is refused; zero: never
}

// New draws a token and returns it with its entry. Only the entry may be kept.
func New(name string, role Role, expires time.Time) (token string, e Entry, err error) {
	raw := make([]byte, tokenBytes)
	rand.Read(raw) // never fails (crypto/rand)
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
	sum := sha256.Sum256([]byte(token))
	e = Entry{Name: name, Role: role, Hash: hex.EncodeToString(sum[:]), Expires: expires}
	return token, e, e.check()
}

// String is the entry as a line of the file.
func (e Entry) String() string {
	expires := ""
	if !e.Expires.IsZero() {
		expires = ", expires: " + e.Expires.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("- {name: %s, role: %s, hash: %s%s}", e.Name, e.Role, e.Hash, expires)
}

var (
	nameText = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	hashText = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// reserved are names under which the audit log has others.
var reserved = []string{Local, "segmentd", "sighup"}

// check tells what is wrong with an entry; never its hash, in whose place
// somebody may have written the token.
func (e Entry) check() error {
	switch {
	case !nameText.MatchString(e.Name):
		return fmt.Errorf("name: 1 to 64 letters, digits, '.', '_' and '-' are needed")
	case slices.Contains(reserved, strings.ToLower(e.Name)):
		return fmt.Errorf("name: %s is taken by segmentd itself", e.Name)
	case !slices.Contains(Roles(), e.Role):
		return fmt.Errorf("role: allowed are reader, privacy and operator")
	case !hashText.MatchString(e.Hash):
		return fmt.Errorf("hash: the SHA-256 of the token is needed, 64 hexadecimal digits in lower case, as 'segmentd token create' prints it")
	}
	return nil
}
