//go:build linux || darwin

package state

import "syscall"

// freeBytes is what a process without privileges may still write to the file
// system of a path.
func freeBytes(path string) (free uint64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, false
	}
	return uint64(s.Bavail) * uint64(s.Bsize), true
}
