//go:build !linux && !darwin

package state

// freeBytes cannot tell here.
func freeBytes(string) (free uint64, ok bool) { return 0, false }
