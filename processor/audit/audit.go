// Package audit keeps the audit log: who asked for a subject's data or changed
// how an instance runs, when, and what came of it. It is a hash chain of JSON
// lines in files of one directory; package verify checks it, with no code of
// this one.
//
// A line ends in `,"hash":"…"}`: the SHA-256 of all of the line before that, of
// which the hash of the line before is a member ("prev"). The chain goes on from
// file to file; a file bears the number of its first line in its name.
//
// An entry is on disk (written and synced) when Append returns nil. A crash can
// leave a part of a line, of an entry that Append did not return for; Open cuts
// it off. Only the newest end of the chain can be cut off without a trace in it:
// publish the Head elsewhere.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Config says where the log is.
type Config struct {
	Dir          string // made where it is absent (0700)
	MaxFileBytes int64  // after which a file is closed; 0: 64 MiB
}

const defaultMaxFileBytes = 64 << 20

// Deps are what the log needs. Zero values are safe.
type Deps struct {
	Logger  *slog.Logger
	Now     func() time.Time
	Written func(count uint64) // called after each entry with the number of the newest, which never falls
	Failed  func()             // called after each that could not be written
}

// Entry is one access, act, or denial. It holds no id, no path and no token.
type Entry struct {
	Who     string `json:"who"`            // a token's name, loopback, or segmentd itself
	Role    string `json:"role,omitempty"` // of the token
	Method  string `json:"method,omitempty"`
	Route   string `json:"route"`             // template, such as /v1/subjects/{id}
	Subject string `json:"subject,omitempty"` // keyed hash of the subject's id
	Ticket  string `json:"ticket,omitempty"`  // what the access was for, as the asker says
	Phase   string `json:"phase,omitempty"`   // Begun: an act that begins
	Status  int    `json:"status,omitempty"`  // HTTP status of the outcome
	Denied  string `json:"denied,omitempty"`  // why it was refused
	Omitted int    `json:"omitted,omitempty"` // denials of this asker before this one that have no entry
	Cut     int64  `json:"cut,omitempty"`     // bytes of a torn line that were cut off at the start
}

// Begun is the phase of an act's first entry; a second one has its outcome. An
// act without a second one was under way when the process ended.
const Begun = "begun"

// line is an entry as it is written, but for its hash.
type line struct {
	Seq  uint64 `json:"seq"`
	Time string `json:"time"`
	Entry
	Prev string `json:"prev"`
}

// Head is the newest end of the chain.
type Head struct {
	Count uint64 // entries ever written
	Hash  string // of the newest, 64 hexadecimal digits; 64 zeros where there is none
}

// String is the head as verify takes it: COUNT:HASH.
func (h Head) String() string { return fmt.Sprintf("%d:%s", h.Count, h.Hash) }

var origin = Head{Hash: hex.EncodeToString(make([]byte, sha256.Size))}

// Log is the log. Safe for concurrent use by one process; the caller holds the
// data directory's lock.
type Log struct {
	cfg  Config
	deps Deps

	syncing sync.Mutex // held while a file is synced or closed; taken before mu
	synced  uint64     // guarded by syncing: entries on disk

	mu   sync.Mutex
	file *os.File // guarded by mu
	size int64    // guarded by mu: of whole lines
	head Head     // guarded by mu
	torn bool     // guarded by mu: a part of a line may follow
}

// Open opens the log, goes on with its chain and writes an entry that says so.
func Open(cfg Config, deps Deps) (*Log, error) {
	if cfg.MaxFileBytes == 0 {
		cfg.MaxFileBytes = defaultMaxFileBytes
	}
	l := &Log{cfg: cfg, deps: safe(deps), head: origin}
	cut, err := l.open()
	if err == nil {
		err = l.Append(Entry{Who: "segmentd", Route: "start", Cut: cut})
	}
	if err != nil {
		return nil, fmt.Errorf("open the audit log in %s: %w", cfg.Dir, err)
	}
	return l, nil
}

func safe(d Deps) Deps {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Written == nil {
		d.Written = func(uint64) {}
	}
	if d.Failed == nil {
		d.Failed = func() {}
	}
	return d
}

// Head returns the newest end of the chain.
func (l *Log) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Append writes an entry and returns once it is on disk. After an error the
// entry may be there or not; the next call tries to go on.
func (l *Log) Append(e Entry) error {
	seq, err := l.write(e)
	if err == nil {
		err = l.sync(seq)
	}
	if err != nil {
		l.deps.Failed()
		l.deps.Logger.Error("the audit log cannot be written: what must be in it is refused", "error", err)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deps.Written(l.head.Count)
	return nil
}

func (l *Log) write(e Entry) (seq uint64, err error) {
	if err := l.rotateIfDue(); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.torn {
		if err := l.file.Truncate(l.size); err != nil {
			return 0, err
		}
		l.torn = false
	}
	text, head, err := l.encode(e)
	if err != nil {
		return 0, err
	}
	l.torn = true
	if _, err := l.file.Write(text); err != nil {
		return 0, err
	}
	l.torn = false
	l.size, l.head = l.size+int64(len(text)), head
	return head.Count, nil
}

// encode lays out the next line; mu is held.
func (l *Log) encode(e Entry) (text []byte, head Head, err error) {
	head.Count = l.head.Count + 1
	text, err = json.Marshal(line{head.Count, l.deps.Now().UTC().Format(time.RFC3339Nano), e, l.head.Hash})
	if err != nil {
		return nil, head, err
	}
	text = text[:len(text)-1]
	sum := sha256.Sum256(text)
	head.Hash = hex.EncodeToString(sum[:])
	return append(text, `,"hash":"`+head.Hash+"\"}\n"...), head, nil
}

// sync returns once entry seq is on disk. Those who wait share one sync.
func (l *Log) sync(seq uint64) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.synced >= seq {
		return nil
	}
	l.mu.Lock()
	file, upTo := l.file, l.head.Count
	l.mu.Unlock()
	if err := file.Sync(); err != nil {
		return err
	}
	l.synced = upTo
	return nil
}

// rotateIfDue begins a new file where the present one is full, or was taken away.
func (l *Log) rotateIfDue() error {
	l.mu.Lock()
	gone, err := l.inspect()
	full := l.size >= l.cfg.MaxFileBytes
	l.mu.Unlock()
	if err != nil || !full && !gone {
		return err
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if gone, err = l.inspect(); err != nil || !gone && l.size < l.cfg.MaxFileBytes {
		return err // somebody else was first
	}
	if gone {
		l.deps.Logger.Error("the file of the audit log was taken away: entries are missing, a new file begins", "head", l.head.String())
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	old := l.file
	if err := l.create(); err != nil {
		return err
	}
	l.synced = l.head.Count
	return old.Close()
}

// inspect compares the file with what was written: gone reports that it is not in the
// directory any more. One that somebody else has put in its place, or has cut off or
// appended to, is an error until it is moved away; what was overwritten in place is not
// seen here (verify finds it: a file's times prove nothing); mu is held.
func (l *Log) inspect() (gone bool, err error) {
	there, err := os.Lstat(l.file.Name())
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	ours, err := l.file.Stat()
	switch {
	case err != nil:
		return false, err
	case !os.SameFile(there, ours):
		return false, fmt.Errorf("%s is not the file that was written: somebody has replaced it (the newest entry was %s); %s", l.file.Name(), l.head, mend)
	case ours.Size() < l.size || !l.torn && ours.Size() > l.size:
		return false, fmt.Errorf("%s has %d bytes, and %d were written: somebody has changed it (the newest entry was %s); %s", l.file.Name(), ours.Size(), l.size, l.head, mend)
	}
	return false, nil
}

// mend is what to do about a file that somebody has changed.
const mend = "keep it as evidence, and move it out of the directory: a new file begins then"

// create begins the file of the next entry; mu is held, or nobody else is there.
func (l *Log) create() error {
	name := filepath.Join(l.cfg.Dir, fmt.Sprintf("audit-%020d.jsonl", l.head.Count+1))
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(l.cfg.Dir); err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.size, l.torn = file, 0, false
	return nil
}

// syncDir makes a new file's name survive a crash.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close closes the file. Nothing may be appended any more.
func (l *Log) Close() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
