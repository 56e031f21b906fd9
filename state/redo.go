package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// redoName is the file in the data directory that outlives a process which dies
// while keys are dropped and put back: what is there must be done once more before
// anything is read.
const redoName = "segmentd.scrub"

// kept is a key in Badger that is dropped, and its present value.
type kept struct {
	key   []byte
	live  bool // it has a value, and gets it back
	value []byte
}

// pass passes the value to f, if there is one.
func (k *kept) pass(f func([]byte) error) (found bool, err error) {
	if k.live {
		err = f(k.value)
	}
	return k.live, err
}

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// encodeRedo: uvarint number of keys; for each uvarint length and key, byte live,
// uvarint length and value; CRC-32C of all before, 4 bytes big-endian.
func encodeRedo(ks []kept) []byte {
	b := binary.AppendUvarint(nil, uint64(len(ks)))
	for _, k := range ks {
		b = append(binary.AppendUvarint(b, uint64(len(k.key))), k.key...)
		live := byte(0)
		if k.live {
			live = 1
		}
		b = append(b, live)
		b = append(binary.AppendUvarint(b, uint64(len(k.value))), k.value...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crcTable))
}

var errRedo = fmt.Errorf("%s: %w", redoName, ErrDamaged)

func decodeRedo(b []byte) (ks []kept, err error) {
	if len(b) < 4 || crc32.Checksum(b[:len(b)-4], crcTable) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return nil, errRedo
	}
	r := redoReader{bytes.NewReader(b[:len(b)-4])}
	n, err := binary.ReadUvarint(r)
	for ; err == nil && n > 0; n-- {
		var k kept
		var live byte
		if k.key, err = r.bytes(); err != nil {
			break
		}
		if live, err = r.ReadByte(); err != nil {
			break
		}
		k.live = live == 1
		k.value, err = r.bytes()
		ks = append(ks, k)
	}
	if err != nil || r.Len() > 0 {
		return nil, errRedo
	}
	return ks, nil
}

type redoReader struct{ *bytes.Reader }

func (r redoReader) bytes() ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil || n > uint64(r.Len()) {
		return nil, errRedo
	}
	b := make([]byte, n)
	_, err = r.Read(b)
	if n == 0 {
		err = nil
	}
	return b, err
}

func (d *directory) redoFile() string { return filepath.Join(d.path, redoName) }

// writeRedo replaces the file: all of it is there, or nothing.
func (d *directory) writeRedo(ks []kept) error {
	name := d.redoFile()
	if err := writeSynced(name+".new", encodeRedo(ks)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return syncDirectory(d.path)
}

// readRedo returns what an earlier process was about to put back; nil if nothing.
func (d *directory) readRedo() ([]kept, error) {
	if err := remove(d.redoFile() + ".new"); err != nil { // nothing was dropped yet
		return nil, err
	}
	b, err := os.ReadFile(d.redoFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read data directory: %w", err)
	}
	return decodeRedo(b)
}

// removeRedo removes the file, and what it held: it is overwritten first.
func (d *directory) removeRedo() error {
	if err := errors.Join(remove(d.redoFile()), remove(d.redoFile()+".new")); err != nil {
		return err
	}
	return syncDirectory(d.path)
}

func remove(name string) error {
	info, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	_, err = f.Write(make([]byte, info.Size()))
	if err = errors.Join(err, f.Sync(), f.Close(), os.Remove(name)); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}
