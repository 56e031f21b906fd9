package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// badgerOptions are Badger's settings with every default that matters here
// overridden.
//
// Memory: at most four memtables (one filled, two waiting, one being flushed)
// of 1.3 × memTableBytes, and the tables' indices and Bloom filters, about 2 MB
// a million subjects. Badger keeps eight of the buffers in which tables are built for
// as long as there is work, each of them as large as the largest it was needed for,
// in powers of two from twice a table on: so all tables are about as large as a
// memtable's, memtables are small, and more of them are merged at once. Tables themselves are mapped files. Without compression
// a block cache would only copy what the kernel caches.
//
// Values stay in the LSM tree (ValueThreshold is at its maximum, 1 MiB): what
// lies in the value log outlives deletion, see MaxRecordBytes.
func badgerOptions(dir string, opts Options) badger.Options {
	o := badger.DefaultOptions(dir)
	o.Logger = badgerLog{opts.Logger}
	o.MetricsEnabled = false // its expvar globals
	o.SyncWrites = false     // process death is safe, power loss is told by the boot id
	o.NumVersionsToKeep = 1
	o.DetectConflicts = false // each key has one writer
	o.Compression = options.None
	o.BlockCacheSize = 0
	o.IndexCacheSize = 0
	o.MemTableSize = int64(opts.memTableBytes)
	o.BaseTableSize = tableBytes
	o.TableSizeMultiplier = 1
	o.NumMemtables = 2
	o.NumLevelZeroTables = 10
	o.NumLevelZeroTablesStall = 20
	o.NumCompactors = 2
	o.ValueLogFileSize = 64 << 20
	o.ChecksumVerificationMode = options.NoVerification // verifyImage does it
	return o
}

// memTableBytes bounds a transaction too, to 15 % of it, in which the largest
// record must fit; tableBytes is the size of all tables, by which the memory to
// build one is at first 16 MiB.
const (
	memTableBytes = 8 << 20
	tableBytes    = 8 << 20
)

// MaxRecordBytes is the size above which an encoded record is kept outside of
// what physical erasure reaches. Kafka's default message limit is lower.
const MaxRecordBytes = 1 << 20

// openBadger opens a database after verifying its files, and turns panics into
// ErrDamaged too.
func openBadger(opts badger.Options) (db *badger.DB, err error) {
	defer guard(&err)
	if err := verifyImage(opts.Dir, opts); err != nil {
		return nil, err
	}
	return badger.Open(opts)
}

// guard turns a panic of Badger, which it has for damaged files, into an error.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("badger: %v: %w\n%s", p, ErrDamaged, debug.Stack())
	}
}

// damage marks errors of an open database that only damaged files explain.
// Badger wraps errors as text.
func damage(err error) error {
	if err == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	for _, sign := range []string{"checksum", "CHECKSUM", "orrupt", "EOF"} {
		if strings.Contains(err.Error(), sign) {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return err
}

// badgerLog passes Badger's log on at debug level: what matters of it comes
// back as an error.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, args ...any)   { l.write("error", f, args) }
func (l badgerLog) Warningf(f string, args ...any) { l.write("warning", f, args) }
func (l badgerLog) Infof(f string, args ...any) {
	if !strings.HasPrefix(f, "DropPrefix called") { // it lists keys
		l.write("info", f, args)
	}
}
func (l badgerLog) Debugf(f string, args ...any) {}

func (l badgerLog) write(severity, f string, args []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("badger", "severity", severity, "message", strings.TrimSpace(fmt.Sprintf(f, args...)))
	}
}

// writeBatch writes a batch in one or more Badger transactions, in an order in
// which every prefix is a sound image: what is to be scrubbed is noted first, timers are set before the records that
// need them, removed only after, and the position comes last.
func (s *Store) writeBatch(space keyspace, b *batch) (err error) {
	defer guard(&err)
	s.dropping.RLock()
	defer s.dropping.RUnlock()
	if s.broken != nil {
		return s.broken
	}
	if err := s.dir.room(); err != nil {
		return err
	}
	s.opts.Reached(StepWrite)
	w := s.newWriter((len(b.values)+len(b.scrub))*recordKeyBytes + len(b.timers)*timerKeyBytes)
	defer func() { w.txn.Discard() }()
	for key, noted := range b.scrub {
		w.set(w.keyOf(space, kindScrub, key), binary.BigEndian.AppendUint64(nil, uint64(noted)))
	}
	for t, armed := range b.timers {
		if armed {
			w.set(w.timerKey(space, t), nil)
		}
	}
	for key, value := range b.values {
		w.value(space, key, value)
	}
	for t, armed := range b.timers {
		if !armed {
			w.remove(w.timerKey(space, t))
		}
	}
	for key, value := range b.fixed {
		w.put(space.meta(key), value)
	}
	s.opts.Reached(StepPosition)
	if b.position != nil {
		w.set(space.meta(positionName), b.position)
	}
	if err := w.finish(); err != nil {
		return err
	}
	s.opts.Reached(StepWritten)
	return nil
}

// positionName is the meta key of the position; the others are named by fixed keys.
const positionName = "position"

// txnWriter writes in order, in as many transactions as it takes, each
// committed before the next begins. After an error it does nothing.
type txnWriter struct {
	db      *badger.DB
	reached func(Step)
	room    func() error // looked for before each transaction but the first
	txn     *badger.Txn
	keys    []byte // Badger keeps keys until the commit
	err     error
}

// newWriter returns a writer whose keys take about so many bytes.
func (s *Store) newWriter(keyBytes int) *txnWriter {
	return &txnWriter{db: s.db, reached: s.opts.Reached, room: s.dir.room, txn: s.db.NewTransaction(true), keys: make([]byte, 0, keyBytes)}
}

// value writes a record or a dossier; nil removes whichever has that key: no two do.
func (w *txnWriter) value(space keyspace, key Key, value []byte) {
	switch {
	case value == nil:
		w.remove(w.keyOf(space, kindRecord, key))
		w.remove(w.keyOf(space, kindDossier, key))
	case IsDossier(value):
		w.set(w.keyOf(space, kindDossier, key), value)
	default:
		w.set(w.keyOf(space, kindRecord, key), value)
	}
}

func (w *txnWriter) keyOf(space keyspace, kind byte, key Key) []byte {
	at := len(w.keys)
	w.keys = space.appendKey(w.keys, kind, key)
	return w.keys[at:len(w.keys):len(w.keys)]
}

func (w *txnWriter) timerKey(space keyspace, t timer) []byte {
	at := len(w.keys)
	w.keys = space.appendTimer(w.keys, t)
	return w.keys[at:len(w.keys):len(w.keys)]
}

func (w *txnWriter) put(key, value []byte) {
	if value == nil {
		w.remove(key)
		return
	}
	w.set(key, value)
}

func (w *txnWriter) set(key, value []byte) {
	w.do(func() error { return w.txn.Set(key, value) })
}

func (w *txnWriter) remove(key []byte) {
	w.do(func() error { return w.txn.Delete(key) })
}

// do applies an operation; where the transaction has no room for it, to the next one.
func (w *txnWriter) do(op func() error) {
	if w.err != nil {
		return
	}
	err := op()
	if errors.Is(err, badger.ErrTxnTooBig) {
		if err = w.txn.Commit(); err == nil {
			w.reached(StepPart)
			w.txn = w.db.NewTransaction(true)
			if err = w.room(); err == nil {
				err = op()
			}
		}
	}
	w.err = err
}

func (w *txnWriter) finish() error {
	if w.err != nil {
		return w.err
	}
	return w.txn.Commit()
}

// view runs f in a read transaction; panics become ErrDamaged.
func (s *Store) view(f func(*badger.Txn) error) (err error) {
	defer guard(&err)
	return damage(s.db.View(f))
}

// read passes the value of a key to f, if there is one. f must not read.
func (s *Store) read(key []byte, f func([]byte) error) (found bool, err error) {
	s.reading.RLock()
	defer s.reading.RUnlock()
	if k, ok := s.lent[string(key)]; ok {
		return k.pass(f)
	}
	err = s.view(func(txn *badger.Txn) error {
		found, err = valueOf(txn, key, f)
		return err
	})
	return found, err
}

// readIn is read in a transaction that lasts for several reads: each that is begun, and
// ended, goes through one goroutine of Badger's, for which a reader waits where
// compactions keep the processors busy. written is how many batches of the reader's
// partition are in Badger, all of which is read.
func (s *Store) readIn(snap *snapshot, written uint64, key []byte, f func([]byte) error) (found bool, err error) {
	defer guard(&err)
	s.reading.RLock()
	defer s.reading.RUnlock()
	if k, ok := s.lent[string(key)]; ok {
		return k.pass(f)
	}
	if snap.txn == nil || snap.written != written || snap.scrubbed != s.scrubbed {
		snap.end()
		snap.txn, snap.written, snap.scrubbed = s.db.NewTransaction(false), written, s.scrubbed
	}
	found, err = valueOf(snap.txn, key, f)
	return found, damage(err)
}

// valueOf passes the value of a key to f, if there is one.
func valueOf(txn *badger.Txn, key []byte, f func([]byte) error) (found bool, err error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, item.Value(f)
}

// snapshot is a transaction in which a partition reads, with what was there when it began.
type snapshot struct {
	txn      *badger.Txn // nil: none was begun
	written  uint64
	scrubbed uint64
}

func (s *snapshot) end() {
	if s.txn != nil {
		s.txn.Discard()
		s.txn = nil
	}
}

// scan passes keys from an inclusive start within a prefix to f, until f
// returns false. f must not scan.
func (s *Store) scan(prefix, from []byte, f func(*badger.Item) (bool, error)) error {
	s.scanning.RLock()
	defer s.scanning.RUnlock()
	return s.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix, o.PrefetchValues = prefix, false
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(from); it.Valid(); it.Next() {
			more, err := f(it.Item())
			if err != nil || !more {
				return err
			}
		}
		return nil
	})
}
