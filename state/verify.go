package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

// verifyImage reads an image that is not open and returns ErrDamaged where a
// checksum or a length is wrong. Badger (v4.9.6) cannot be left to find out: it
// ends the process over a damaged table, from a goroutine where nothing can be
// recovered, cuts a manifest at its first bad entry and then deletes the tables
// it no longer knows, cuts each write-ahead log at its first bad entry, older
// ones too, and leaves goroutines behind where it cannot open. It takes the time of reading all files once.
func verifyImage(dir string, opts badger.Options) (err error) {
	defer guard(&err)
	if _, err := badger.OpenKeyRegistry(badger.KeyRegistryOptions{Dir: dir, ReadOnly: true}); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	tables, err := verifyManifest(filepath.Join(dir, badger.ManifestFilename), opts)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, id := range tables {
		group.Go(func() (err error) {
			defer guard(&err)
			return verifyFile(table.NewFilename(id, dir), verifyTable)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return verifyLogs(dir)
}

// verifyManifest returns the ids of the image's tables; none for a directory
// that was never opened.
func verifyManifest(name string, opts badger.Options) (ids []uint64, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m, end, err := badger.ReplayManifestFile(f, opts.ExternalMagicVersion, opts)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if end != info.Size() {
		return nil, fmt.Errorf("manifest ends at %d of %d bytes: %w", end, info.Size(), ErrDamaged)
	}
	for id, t := range m.Tables {
		if t.Compression != options.None || t.KeyID != 0 {
			return nil, fmt.Errorf("table %d was not written by segmentd: %w", id, ErrDamaged)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func verifyFile(name string, verify func([]byte) bool) error {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("file %s is missing: %w", filepath.Base(name), ErrDamaged)
	}
	if err != nil {
		return err
	}
	if !verify(b) {
		return fmt.Errorf("file %s: %w", filepath.Base(name), ErrDamaged)
	}
	return nil
}

// verifyTable checks an SSTable: blocks, index, length of the index, checksum
// of the index, length of the checksum (table/builder.go).
func verifyTable(b []byte) (sound bool) {
	defer func() {
		if recover() != nil { // the index's decoder trusts what it reads
			sound = false
		}
	}()
	checksum, rest, ok := cutTail(b)
	if !ok {
		return false
	}
	index, blocks, ok := cutTail(rest)
	if !ok || !matches(index, checksum) {
		return false
	}
	ti := fb.GetRootAsTableIndex(index, 0)
	end := uint64(0)
	for i := range ti.OffsetsLength() {
		var at fb.BlockOffset
		if !ti.Offsets(&at, i) {
			return false
		}
		from := uint64(at.Offset())
		if from != end {
			return false
		}
		end = from + uint64(at.Len())
		if end > uint64(len(blocks)) || !verifyBlock(blocks[from:end]) {
			return false
		}
	}
	return end == uint64(len(blocks))
}

// verifyBlock checks a block: data, checksum of them, length of the checksum.
func verifyBlock(b []byte) bool {
	checksum, data, ok := cutTail(b)
	return ok && matches(data, checksum)
}

// cutTail cuts off a part that is followed by its length.
func cutTail(b []byte) (tail, head []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n, b := uint64(binary.BigEndian.Uint32(b[len(b)-4:])), b[:len(b)-4]
	if n > uint64(len(b)) {
		return nil, nil, false
	}
	at := len(b) - int(n)
	return b[at:], b[:at], true
}

func matches(data, checksum []byte) bool {
	var want pb.Checksum
	return proto.Unmarshal(checksum, &want) == nil && y.VerifyChecksum(data, &want) == nil
}

// verifyLogs checks the write-ahead logs but for the newest: they must be whole,
// since what follows them is newer. The newest may be cut anywhere: that leaves
// an older image, with an older position.
func verifyLogs(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return err
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(logNumber(a), logNumber(b)) })
	for i := range max(0, len(names)-1) {
		if err := verifyFile(names[i], verifyLog); err != nil {
			return err
		}
	}
	return nil
}

func logNumber(name string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), ".mem"))
	if err != nil {
		return -1
	}
	return n
}

// The layout of a write-ahead log (memtable.go, structs.go): a header, then
// entries, then zeros. Entries of a transaction are followed by one that ends it.
const (
	logHeaderBytes = 20
	logZeroBytes   = 22 // kept zero after the last entry
	logInTxn       = 1 << 6
	logEndsTxn     = 1 << 7
)

func verifyLog(b []byte) bool {
	if len(b) < logHeaderBytes {
		return false
	}
	b = b[logHeaderBytes:]
	whole := true
	for {
		n, meta := logEntry(b)
		if n == 0 {
			break
		}
		whole = meta&logInTxn == 0 || meta&logEndsTxn != 0
		b = b[n:]
	}
	tail := b[:min(len(b), logZeroBytes)]
	return whole && len(bytes.Trim(tail, "\x00")) == 0
}

// logEntry returns the length of the first entry of b, 0 if there is no sound one.
func logEntry(b []byte) (n int, meta byte) {
	if len(b) < 2 {
		return 0, 0
	}
	meta, n = b[0], 2
	var fields [3]uint64 // key length, value length, expiry
	for i := range fields {
		v, size := binary.Uvarint(b[n:])
		if size <= 0 {
			return 0, 0
		}
		fields[i], n = v, n+size
	}
	left := uint64(len(b) - n)
	if fields[0] == 0 || fields[0] > left || fields[1] > left-fields[0] || left-fields[0]-fields[1] < crc32.Size {
		return 0, 0
	}
	n += int(fields[0] + fields[1])
	if crc32.Checksum(b[:n], y.CastagnoliCrcTable) != binary.BigEndian.Uint32(b[n:]) {
		return 0, 0
	}
	return n + crc32.Size, meta
}
