package embedded

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// cleanName marks a data directory whose broker was closed, not killed.
const cleanName = "clean"

// repair makes the logs of a killed broker whole before kfake opens them. kfake
// by itself would take the transactions that were open for aborted without
// writing markers, so that readers would leave out the same producer's next
// transactions too. Here each gets its markers: of commit where the journal says
// that it was being committed, else of abort. And the epochs of all
// transactional producers are raised, so that whoever believes in a transaction
// from before the kill is fenced.
func repair(dir string) error {
	committing, err := readJournal(dir)
	if err != nil {
		return err
	}
	partitions, err := os.ReadDir(filepath.Join(dir, "partitions"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("repair the broker's logs: %w", err)
	}
	for _, p := range partitions {
		if err := repairPartition(filepath.Join(dir, "partitions", p.Name()), committing); err != nil {
			return fmt.Errorf("repair the broker's log %s: %w", p.Name(), err)
		}
	}
	if err := fenceProducers(filepath.Join(dir, "pids.log")); err != nil {
		return fmt.Errorf("repair the broker's producers: %w", err)
	}
	return nil
}

// wasClean reports whether the directory is new or was closed, and removes the mark.
func wasClean(dir string) (bool, error) {
	err := os.Remove(filepath.Join(dir, cleanName))
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("remove the mark of a clean stop: %w", err)
	}
	_, err = os.Stat(filepath.Join(dir, "partitions"))
	return errors.Is(err, fs.ErrNotExist), nil
}

func markClean(dir string) error {
	return os.WriteFile(filepath.Join(dir, cleanName), nil, 0o600)
}

// segmentEnd is where a log may go on.
type segmentEnd struct {
	path    string // of the segment's data file
	next    int64  // offset
	bytes   int    // of whole batches
	entries []byte // of the index
}

func repairPartition(dir string, committing map[producer]bool) error {
	bases, err := segments(dir)
	if err != nil || len(bases) == 0 {
		return err
	}
	open := map[int64]int16{} // producer's epoch by its id
	var end segmentEnd
	for _, base := range bases {
		if end, err = walk(dir, base, open); err != nil {
			return err
		}
	}
	if len(open) == 0 {
		return nil
	}
	ids := make([]int64, 0, len(open))
	for id := range open {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var markers []byte
	for _, id := range ids {
		p := producer{id, open[id]}
		markers = append(markers, marker(p, end.next, committing[p])...)
		end.entries = append(end.entries, indexEntry(batchHeader{})...)
		end.next++
	}
	return end.append(markers)
}

func segments(dir string) (bases []int64, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		name, isData := strings.CutSuffix(f.Name(), ".dat")
		if base, err := strconv.ParseInt(name, 10, 64); isData && err == nil {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases, nil
}

// walk follows the batches of a segment and keeps open what has no marker yet.
func walk(dir string, base int64, open map[int64]int16) (segmentEnd, error) {
	end := segmentEnd{path: filepath.Join(dir, fmt.Sprintf("%d.dat", base)), next: base}
	data, err := os.ReadFile(end.path)
	if err != nil {
		return end, err
	}
	for {
		batch, ok := wholeBatch(data[end.bytes:])
		if !ok {
			return end, nil
		}
		h := headerOf(batch)
		switch {
		case h.control:
			delete(open, h.id)
		case h.txn:
			open[h.id] = h.epoch
		}
		end.bytes += len(batch)
		end.next = h.last + 1
		end.entries = append(end.entries, indexEntry(h)...)
	}
}

// append writes markers behind the whole batches, and the index anew: a kill
// may have left it an entry short, and all later ones at the wrong place.
func (e *segmentEnd) append(markers []byte) error {
	f, err := os.OpenFile(e.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	index := strings.TrimSuffix(e.path, ".dat") + ".idx"
	return errors.Join(
		f.Truncate(int64(e.bytes)),
		writeAt(f, markers, int64(e.bytes)),
		f.Close(),
		os.WriteFile(index, e.entries, 0o600),
	)
}

func writeAt(f *os.File, b []byte, off int64) error {
	_, err := f.WriteAt(b, off)
	return err
}

// The parts of a record batch's header that we look at
// (https://kafka.apache.org/documentation/#recordbatch).
const batchHeaderBytes = 61

type batchHeader struct {
	producer
	last        int64 // offset
	leaderEpoch int32
	txn         bool
	control     bool
}

func headerOf(b []byte) batchHeader {
	be := binary.BigEndian
	attributes := be.Uint16(b[21:])
	return batchHeader{
		producer:    producer{int64(be.Uint64(b[43:])), int16(be.Uint16(b[51:]))},
		last:        int64(be.Uint64(b)) + int64(int32(be.Uint32(b[23:]))),
		leaderEpoch: int32(be.Uint32(b[12:])),
		txn:         attributes&0x10 != 0,
		control:     attributes&0x20 != 0,
	}
}

func wholeBatch(b []byte) (batch []byte, ok bool) {
	if len(b) < batchHeaderBytes {
		return nil, false
	}
	n := 12 + int64(int32(binary.BigEndian.Uint32(b[8:])))
	if n < batchHeaderBytes || n > int64(len(b)) || binary.BigEndian.Uint32(b[17:]) != castagnoli(b[21:n]) {
		return nil, false
	}
	return b[:n], true
}

func castagnoli(b []byte) uint32 {
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

// marker is the control batch that ends a producer's transaction (KIP-98).
func marker(p producer, offset int64, commit bool) []byte {
	key := kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeAbort}
	if commit {
		key.Type = kmsg.ControlRecordKeyTypeCommit
	}
	rec := kmsg.Record{Key: key.AppendTo(nil), Value: (&kmsg.EndTxnMarker{}).AppendTo(nil)}
	rec.Length = int32(len(rec.AppendTo(nil)) - 1) // the length itself takes a byte
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{
		FirstOffset: offset, Magic: 2, Attributes: 0x30, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: p.id, ProducerEpoch: p.epoch, FirstSequence: -1, NumRecords: 1, Records: rec.AppendTo(nil),
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], castagnoli(raw[21:]))
	return raw
}

// indexEntry is kfake's: version, checksum, epoch, a time that it computes
// itself when it loads, and whether the batch is an open transaction's.
func indexEntry(h batchHeader) []byte {
	b := make([]byte, 15)
	b[0] = 1
	binary.LittleEndian.PutUint32(b[2:], uint32(h.leaderEpoch))
	if h.txn && !h.control {
		b[14] = 1
	}
	b[1] = byte(castagnoli(b[2:]))
	return b
}

// producerEntry is one of kfake's log of producers.
type producerEntry struct {
	Type  string `json:"type"`
	ID    int64  `json:"pid"`
	Epoch int16  `json:"epoch"`
	TxnID string `json:"txid,omitempty"`
}

// fenceProducers raises the epochs of transactional producers the way that
// kfake notes it when a transaction times out.
func fenceProducers(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	known, whole := readProducers(raw)
	out := bytes.NewBuffer(raw[:whole:whole])
	for _, e := range known {
		const last = 1<<15 - 2 // kfake takes a new id then
		if e.TxnID == "" || e.Epoch >= last {
			continue
		}
		data, err := json.Marshal(producerEntry{Type: "timeout", ID: e.ID, Epoch: e.Epoch + 1})
		if err != nil {
			return err
		}
		out.Write(framed(data))
	}
	return os.WriteFile(path, out.Bytes(), 0o600)
}

// readProducers returns the state of each producer and how much of the log is whole.
func readProducers(raw []byte) (known []producerEntry, whole int) {
	byID := map[int64]producerEntry{}
	for {
		data, n := unframed(raw[whole:])
		if n == 0 {
			break
		}
		whole += n
		var e producerEntry
		if json.Unmarshal(data, &e) != nil {
			continue
		}
		if e.TxnID == "" {
			e.TxnID = byID[e.ID].TxnID
		}
		byID[e.ID] = e
	}
	for _, e := range byID {
		known = append(known, e)
	}
	slices.SortFunc(known, func(a, b producerEntry) int { return cmp.Compare(a.ID, b.ID) })
	return known, whole
}

// framed is an entry of kfake's logs: length of what follows the checksum,
// checksum, version, data; all little-endian.
func framed(data []byte) []byte {
	b := make([]byte, 10, 10+len(data))
	b = append(b, data...)
	binary.LittleEndian.PutUint32(b, uint32(2+len(data)))
	binary.LittleEndian.PutUint16(b[8:], 1)
	binary.LittleEndian.PutUint32(b[4:], castagnoli(b[8:]))
	return b
}

func unframed(b []byte) (data []byte, n int) {
	if len(b) < 10 {
		return nil, 0
	}
	end := 8 + int64(binary.LittleEndian.Uint32(b))
	if end < 10 || end > int64(len(b)) || castagnoli(b[8:end]) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, 0
	}
	return b[10:end], int(end)
}
