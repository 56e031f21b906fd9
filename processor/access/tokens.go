package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Why somebody with an Authorization header, or without one, is not known.
var (
	ErrNoToken   = errors.New("a bearer token is needed: Authorization: Bearer TOKEN")
	ErrMalformed = errors.New("the Authorization header is not 'Bearer TOKEN' with a token that segmentd makes")
	ErrUnknown   = errors.New("the token is not known")
	ErrExpired   = errors.New("the token has expired")
)

// pollEvery is how often the file is looked at.
const pollEvery = 2 * time.Second

// Tokens are those of a file, followed while it changes. Safe for concurrent use.
type Tokens struct {
	path    string
	log     *slog.Logger
	entries atomic.Pointer[[]Entry]

	mu       sync.Mutex
	read     [sha256.Size]byte // guarded by mu: digest of the text in force
	complain string            // guarded by mu: the last error that was logged
}

// Open reads the file. Its problems are those of Load.
func Open(path string, log *slog.Logger) (*Tokens, error) {
	t := &Tokens{path: path, log: log}
	return t, t.load()
}

func (t *Tokens) load() error {
	text, err := read(t.path)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(text)
	if t.entries.Load() != nil && digest == t.read {
		return nil
	}
	entries, err := Parse(t.path, text)
	if err != nil {
		return err
	}
	if t.entries.Swap(&entries) != nil {
		t.log.Info("the tokens are read again", "tokens", len(entries))
	}
	t.read = digest
	return nil
}

// Reload reads the file again. Where it cannot be used, the tokens of before stay
// in force, and the log says so, once for each reason.
func (t *Tokens) Reload() {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.load()
	if err == nil {
		t.complain = ""
		return
	}
	if text := err.Error(); text != t.complain {
		t.complain = text
		t.log.Error("the tokens stay as they are: their file cannot be used", "error", err)
	}
}

// Follow reloads the file as it changes, within seconds, until ctx ends.
func (t *Tokens) Follow(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.Reload()
		case <-ctx.Done():
			return nil
		}
	}
}

// Identify tells who presents an Authorization header. The time it takes does
// not depend on how much of a token is right. Errors are the sentinels above.
func (t *Tokens) Identify(authorization string, now time.Time) (Asker, error) {
	if authorization == "" {
		return Asker{}, ErrNoToken
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || !WellFormed(token) {
		return Asker{}, ErrMalformed
	}
	sum := sha256.Sum256([]byte(token))
	presented := []byte(hex.EncodeToString(sum[:]))
	var found Entry
	for _, e := range *t.entries.Load() { // to the end, whatever matches
		if subtle.ConstantTimeCompare(presented, []byte(e.Hash)) == 1 {
			found = e
		}
	}
	switch asker := (Asker{found.Name, found.Role}); {
	case found.Name == "":
		return Asker{}, ErrUnknown
	case !found.Expires.IsZero() && !now.Before(found.Expires):
		return asker, ErrExpired
	default:
		return asker, nil
	}
}
