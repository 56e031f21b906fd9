// Package state keeps the local image of the changelog: the records and timers
// of the partitions that this process owns, in one Badger database, behind an
// overlay of what is committed and not yet written and a cache of decoded
// records. Kafka is the truth; the image may be lost at any time and is
// restored from the changelog.
//
// The package also owns the formats that image and changelog share: the codec
// of subject records, the keyed hash that names them, and the checkpoint.
//
// INVARIANT: a partition's position is never ahead of its records: whatever
// moment the process dies, the image holds every record that the changelog had
// before the position. It may hold newer ones; catching up from the position
// brings all to the same state.
package state

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Errors of the store. All but ErrDamaged need the operator; their messages say
// what to do.
var (
	// ErrInUse: another process, or another Store, has the data directory open.
	ErrInUse = errors.New("in use by another process")
	// ErrForeign: the data directory holds files that are not segmentd's. Nothing was touched.
	ErrForeign = errors.New("not a data directory of segmentd")
	// ErrDamaged: what was read cannot have been written. The image is thrown away
	// when it is next opened.
	ErrDamaged = errors.New("the local image is damaged")
	// ErrClosed: the partition or the store is closed.
	ErrClosed = errors.New("closed")
)

// Options are the settings of a Store. Group and Secret are required.
type Options struct {
	Group  string
	Secret []byte // of the keyed hash

	CacheBytes   int           // of decoded records, over all partitions: 128 MiB (an estimate)
	OverlayBytes int           // a partition's committed records are written at the latest when they exceed it: 8 MiB
	WriteDelay   time.Duration // and after it: 1 s
	TimerWindow  int           // timers a partition keeps in memory, up to twice as many: 65,536

	// Ours are names in the data directory that other parts of the process own.
	Ours   []string
	Logger *slog.Logger // nil: none
	// WriteObserved is told how long each write to Badger took, from the writer's goroutine; nil: nobody.
	WriteObserved func(time.Duration)
	// Reached is told each step of changing the image, on the goroutine that takes
	// it: a process that ends there leaves what it would leave to a crash; nil: nobody.
	Reached func(Step)
	Now     func() time.Time // nil: time.Now

	bootFile      string // for tests
	memTableBytes int    // of Badger; for tests
}

// Step is a moment of changing the image, between two of which a crash finds
// another state of it.
type Step string

// The steps, in order: of writing a batch, of dropping a partition's image, and of
// a scrub, of which all but the last come once for each drop.
const (
	StepWrite    Step = "write"    // nothing of the batch is written
	StepPart     Step = "part"     // of a large batch: a part is written
	StepPosition Step = "position" // all but the position is written, or about to be with it
	StepWritten  Step = "written"
	StepDrop     Step = "drop"     // nothing is dropped
	StepDropping Step = "dropping" // the position is dropped, the records are not
	StepDropped  Step = "dropped"

	StepScrub         Step = "scrub"          // nothing is done
	StepScrubNoted    Step = "scrub noted"    // the values to be written back are in a file
	StepScrubMarked   Step = "scrub marked"   // keys that were removed are live again
	StepScrubDropped  Step = "scrub dropped"  // the keys are not in Badger
	StepScrubRestored Step = "scrub restored" // they are again, the file is there still
	StepScrubbed      Step = "scrubbed"       // all is done but the journal
)

func (o Options) withDefaults() Options {
	o.CacheBytes = cmp.Or(o.CacheBytes, 128<<20)
	o.OverlayBytes = cmp.Or(o.OverlayBytes, 8<<20)
	o.WriteDelay = cmp.Or(o.WriteDelay, time.Second)
	o.TimerWindow = cmp.Or(o.TimerWindow, 65_536)
	o.bootFile = cmp.Or(o.bootFile, bootFile)
	o.memTableBytes = cmp.Or(o.memTableBytes, memTableBytes)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.WriteObserved == nil {
		o.WriteObserved = func(time.Duration) {}
	}
	if o.Reached == nil {
		o.Reached = func(Step) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Store is the local image of all partitions of one consumer group. Its methods
// are safe for concurrent use.
type Store struct {
	opts   Options
	dir    *directory
	db     *badger.DB
	secret string // fingerprint

	discarded string // why the image found was thrown away; "": it was not

	// dropping is held by writers, and exclusively while keys are dropped: Badger
	// refuses writes meanwhile.
	dropping  sync.RWMutex
	broken    error        // guarded by dropping: a scrub failed half-way, nothing may be written
	scrubbing sync.Mutex   // held by Scrub
	scanning  sync.RWMutex // held by scans, and exclusively while keys are missing that will be written back
	owned     atomic.Int32 // open partitions: they share the cache's bytes
	noted     atomic.Int64 // the newest time in the scrub journal

	reading sync.RWMutex    // held by reads of one key
	lent    map[string]kept // guarded by reading: what Badger has not got for the moment
	// scrubbed counts, guarded by reading, when values were put back: a transaction from
	// before finds them no more.
	scrubbed uint64

	mu     sync.Mutex
	open   map[int32]*Partition // guarded by mu
	mark   marker               // guarded by mu
	closed bool                 // guarded by mu
}

// Claim is a data directory that is this process's alone, and whose image is not
// touched yet. It is used by one goroutine.
type Claim struct {
	dir  *directory
	over bool // it was released, or passed to a store
}

// Take claims the data directory dir, made where it is absent. ours names what
// else of ours may be in it (Options.Ours). Errors: ErrInUse, ErrForeign, and
// those of the file system.
func Take(dir string, ours []string) (*Claim, error) {
	d, err := lockDirectory(dir, ours)
	if err != nil {
		return nil, err
	}
	return &Claim{dir: d}, nil
}

// Release gives the directory back, unless Open was called.
func (c *Claim) Release() error {
	if c.over {
		return nil
	}
	c.over = true
	return c.dir.unlock()
}

// Open opens the data directory dir: Take and Claim.Open.
func Open(dir string, opts Options) (*Store, error) {
	c, err := Take(dir, opts.Ours)
	if err != nil {
		return nil, err
	}
	return c.Open(opts)
}

// Open opens the image in the directory, which is the store's from then on, and
// given back where it fails. An image that must not be used is removed, logged, and replaced by an
// empty one (Discarded): it is damaged; it is another group's, or was made with
// another secret (whether this secret may be used at all, the changelog's
// checkpoint says: ask it first); or the machine was restarted without a clean
// stop, so that the disk may lack what the kernel had not written. Errors:
// ErrNewerVersion, ErrNoRoom, and those of the file system.
func (c *Claim) Open(opts Options) (*Store, error) {
	c.over = true
	s := &Store{opts: opts.withDefaults(), dir: c.dir, open: map[int32]*Partition{}, secret: NewKeyer(opts.Secret).Fingerprint()}
	if err := s.openImage(); err != nil {
		return nil, errors.Join(fmt.Errorf("open data directory %s: %w", c.dir.path, err), c.dir.unlock())
	}
	return s, nil
}

func (s *Store) openImage() error {
	if err := s.dir.room(); err != nil {
		return err
	}
	m, found, err := s.dir.read()
	if err != nil {
		return err
	}
	boot := bootID(s.opts.bootFile)
	changed, err := m.changed(s.dir)
	if err != nil {
		return err
	}
	why := m.unusable(s.opts.Group, s.secret, boot)
	if why == "" && changed {
		why = "its manifest is not that of the clean stop"
	}
	if !found {
		m.Clean = true
	} else if why != "" {
		if err := s.discard(why); err != nil {
			return err
		}
		m = marker{Clean: true}
	}
	s.mark = marker{Format: ImageFormat, Group: s.opts.Group, Secret: s.secret, Boot: m.Boot, Clean: m.Clean, Manifest: m.Manifest, Opening: m.Opening + 1}
	if err := s.dir.write(s.mark); err != nil {
		return err
	}
	if err := s.openOrDiscard(); err != nil {
		return err
	}
	s.mark.Boot, s.mark.Clean, s.mark.Manifest, s.mark.Opening = boot, false, "", 0
	if err := s.dir.write(s.mark); err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

// openOrDiscard opens Badger, once more with an empty directory where the
// files are damaged.
func (s *Store) openOrDiscard() (err error) {
	err = s.openAndFinish()
	if err == nil || environmental(err) {
		return err
	}
	s.opts.Logger.Debug("open image", "error", err)
	if err := s.discard("it is damaged"); err != nil {
		return err
	}
	return s.openAndFinish()
}

// openAndFinish opens Badger and does what a process was about to do when it died
// in a scrub.
func (s *Store) openAndFinish() (err error) {
	defer guard(&err)
	ks, err := s.dir.readRedo()
	if err != nil {
		return err
	}
	if s.db, err = openBadger(badgerOptions(s.dir.image(), s.opts)); err != nil || ks == nil {
		return err
	}
	if err := s.redo(ks, map[string]bool{}); err != nil {
		return errors.Join(err, closeBadger(s.db))
	}
	return nil
}

// limits are the errors that say nothing about the image.
var limits = []syscall.Errno{syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EAGAIN}

// environmental reports whether an error of opening comes from the file
// system's or the machine's limits. All else is the image's fault. Badger
// wraps errors as text.
func environmental(err error) bool {
	var path *fs.PathError
	var call *os.SyscallError
	if errors.As(err, &path) && !errors.Is(err, fs.ErrNotExist) || errors.As(err, &call) {
		return true
	}
	return !errors.Is(err, ErrDamaged) && slices.ContainsFunc(limits, func(n syscall.Errno) bool { return strings.Contains(err.Error(), n.Error()) })
}

func (s *Store) discard(why string) error {
	s.discarded = why
	s.opts.Logger.Warn("the local image is thrown away and restored from the changelog", "directory", s.dir.path, "reason", why)
	if err := os.RemoveAll(s.dir.image()); err != nil {
		return fmt.Errorf("remove image: %w", err)
	}
	return s.dir.removeRedo()
}

// Discarded says why the image that was in the directory was thrown away when
// the store was opened; "" if it was not.
func (s *Store) Discarded() string { return s.discarded }

// Fingerprint tells the secret of the store's keys apart from others without
// revealing it (Keyer.Fingerprint).
func (s *Store) Fingerprint() string { return s.secret }

// SizeBytes is what the image takes on disk, as of the last minute.
func (s *Store) SizeBytes() int64 {
	lsm, log := s.db.Size()
	return lsm + log
}

// Held lists the partitions below n that have an image with a position, with the
// transaction of its checkpoint; of one that is open, as of what is written.
func (s *Store) Held(n int32) (map[int32]uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	held := map[int32]uint64{}
	for id := range n {
		_, err := s.read(keyspace(id).meta(positionName), func(b []byte) error {
			cp, _, err := decodePosition(b)
			held[id] = cp.Transaction
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("position of partition %d: %w", id, err)
		}
	}
	return held, nil
}

// damaged passes an error on; if it tells of damage, the image will be thrown
// away when it is next opened.
func (s *Store) damaged(err error) error {
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mark.Damaged || s.closed {
		return err
	}
	s.mark.Damaged = true
	return errors.Join(err, s.dir.write(s.mark))
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close closes the image and marks it cleanly stopped. All partitions must be
// closed before. ErrNoRoom: the image is left as a killed process leaves it, for
// Badger writes down what it holds when it is closed, and the kernel would end the
// process; its goroutines stay, so the process should end.
func (s *Store) Close() error {
	s.scrubbing.Lock()
	defer s.scrubbing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if len(s.open) > 0 {
		return fmt.Errorf("close data directory %s: %d partitions are open", s.dir.path, len(s.open))
	}
	s.closed = true
	if err := s.dir.room(); err != nil {
		return errors.Join(fmt.Errorf("close data directory %s: %w", s.dir.path, err), s.dir.unlock())
	}
	if err := closeBadger(s.db); err != nil {
		return errors.Join(fmt.Errorf("close image: %w", err), s.dir.unlock())
	}
	s.mark.Clean = true
	var err error
	s.mark.Manifest, err = s.dir.manifest()
	return errors.Join(err, s.dir.write(s.mark), s.dir.unlock())
}

func closeBadger(db *badger.DB) (err error) {
	defer guard(&err)
	return db.Close()
}
