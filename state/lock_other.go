//go:build !unix

package state

import "os"

// lockFile takes no lock: here only Badger's own keeps a second process out.
func lockFile(*os.File) (held bool, err error) { return true, nil }

// syncDirectory does nothing: directories cannot be synced here.
func syncDirectory(string) error { return nil }
