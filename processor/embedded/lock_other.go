//go:build !unix

package embedded

import (
	"fmt"
	"os"
	"strings"
)

// lockDir creates dir; where there is no flock nothing keeps a second broker out.
func lockDir(dir string) (unlock func() error, err error) {
	unlock = func() error { return nil }
	if dir == "" {
		return unlock, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create broker data directory: %w", err)
	}
	return unlock, nil
}

func addressInUse(err error) bool {
	return err != nil && strings.Contains(err.Error(), "Only one usage of each socket address")
}
