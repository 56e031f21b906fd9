package state

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// Names in a data directory.
const (
	lockName   = "segmentd.lock"
	markerName = "segmentd.json"
	imageName  = "badger" // Badger's directory
)

// ImageFormat is the format of the data directory this version writes and the
// newest it reads.
const ImageFormat = 1

// marker says what the image in a data directory is and how it was left.
type marker struct {
	Format int    `json:"format"`
	Group  string `json:"group"`
	Secret string `json:"secret"` // fingerprint
	Boot   string `json:"boot"`   // id of the boot under which the image was last open; "" unknown
	Clean  bool   `json:"clean"`  // it was closed in order
	// Manifest is a digest of Badger's manifest at a clean stop: one that has lost
	// entries at its end is sound by all its checksums. "": not known.
	Manifest string `json:"manifest,omitempty"`
	// Opening counts the attempts to open the image since it was last open: a
	// damaged one can end the process.
	Opening int  `json:"opening"`
	Damaged bool `json:"damaged"` // found while it was open
}

// maxOpening is how often opening may end with the process before the image
// counts as damaged.
const maxOpening = 2

// unusable says why the image must not be used, "" if it may.
func (m marker) unusable(group, secret, boot string) string {
	switch {
	case m.Damaged:
		return "it was found damaged"
	case m.Opening >= maxOpening:
		return "opening it ended the process repeatedly"
	case m.Group != group:
		return "it is of another consumer group"
	case m.Secret != secret:
		return "it was made with another secret"
	case !m.Clean && (boot == "" || m.Boot != boot):
		return "the machine was restarted without a clean stop"
	}
	return ""
}

// changed reports whether the manifest is not that of a clean stop. An attempt to
// open the image may have written to it since.
func (m marker) changed(dir *directory) (bool, error) {
	if !m.Clean || m.Manifest == "" || m.Opening > 0 {
		return false, nil
	}
	now, err := dir.manifest()
	return now != m.Manifest, err
}

// manifest digests Badger's manifest; "" where there is none.
func (d *directory) manifest() (string, error) {
	b, err := os.ReadFile(filepath.Join(d.image(), badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read manifest: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// directory is a locked data directory.
type directory struct {
	path string
	lock *os.File
}

// lockDirectory locks a data directory, made where it is absent. A directory
// that holds anything but ours is ErrForeign and not touched.
func lockDirectory(path string, ours []string) (*directory, error) {
	if err := refuseForeign(path, ours); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	held, err := lockFile(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory %s: %w", path, err), f.Close())
	}
	if !held {
		return nil, errors.Join(inUse(path, f), f.Close())
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory %s: %w", path, err), f.Close())
	}
	return &directory{path, f}, nil
}

func inUse(path string, f *os.File) error {
	text, _ := io.ReadAll(io.LimitReader(f, 32))
	pid := strings.TrimSpace(string(text))
	if pid == "" {
		pid = "unknown"
	}
	return fmt.Errorf("data directory %s: %w (process id %s): stop that process, or give this one another directory (--data)", path, ErrInUse, pid)
}

// refuseForeign looks at a directory without changing anything.
func refuseForeign(path string, ours []string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read data directory: %w", err)
	}
	foreign, marked := "", false
	for _, e := range entries {
		switch name := e.Name(); {
		case name == markerName:
			marked = true
		case name != lockName && name != markerName+".new" && !slices.Contains(ours, name):
			foreign = name
		}
	}
	if foreign != "" && !marked {
		return fmt.Errorf("data directory %s: %w (it contains %s): give an empty or a new directory (--data)", path, ErrForeign, foreign)
	}
	return nil
}

func (d *directory) unlock() error { return d.lock.Close() }

func (d *directory) image() string { return filepath.Join(d.path, imageName) }

// read returns the marker; ok is false if there is none.
func (d *directory) read() (m marker, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(d.path, markerName))
	if errors.Is(err, os.ErrNotExist) {
		return marker{}, false, nil
	}
	if err != nil {
		return marker{}, false, fmt.Errorf("read data directory: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil || m.Format < 1 {
		return marker{Format: ImageFormat, Damaged: true}, true, nil
	}
	if m.Format > ImageFormat {
		return marker{}, false, fmt.Errorf("data directory %s has format %d, this version knows %d: %w: "+
			"run that version, or move the directory away: the state is restored from Kafka", d.path, m.Format, ImageFormat, ErrNewerVersion)
	}
	return m, true, nil
}

// write replaces the marker; after a power loss the old or the new one is there.
func (d *directory) write(m marker) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode marker: %w", err)
	}
	name := filepath.Join(d.path, markerName)
	if err := writeSynced(name+".new", append(b, '\n')); err != nil {
		return fmt.Errorf("mark data directory: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("mark data directory: %w", err)
	}
	return syncDirectory(d.path)
}

func writeSynced(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// bootFile tells one boot of the machine from another (proc(5)).
const bootFile = "/proc/sys/kernel/random/boot_id"

// bootID returns "" where it is not known.
func bootID(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
