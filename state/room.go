package state

import (
	"errors"
	"fmt"
)

// ErrNoRoom means that the file system of the data directory is nearly full.
var ErrNoRoom = errors.New("no room left for the image")

// minRoomBytes is the free space below which nothing is written: what Badger may
// still write by itself of what it has. It maps its files, and where a page of one
// finds no room the kernel ends the process (SIGBUS) without a word. Four memtables
// of 1.3 × memTableBytes may become tables; one compaction may write up to twenty
// tables of level 0 anew (NumLevelZeroTablesStall), and another some tables of a
// deeper level, before what they replace is removed: 42 + 208 + about 100 MiB.
const minRoomBytes = 512 << 20

// room refuses to go on where the file system is nearly full. One whose free
// space cannot be told is taken to have some.
func (d *directory) room() error {
	free, ok := freeBytes(d.path)
	if !ok || free >= minRoomBytes {
		return nil
	}
	return fmt.Errorf("%w: %s has %d MiB left, at least %d MiB are needed: make room, or give another --data (it is restored there)",
		ErrNoRoom, d.path, free>>20, minRoomBytes>>20)
}
