package cdnow

import (
	"embed"
	"io/fs"
)

//go:embed rules/*.yaml
var files embed.FS

// Rules is a rules directory: one purpose, "marketing", and 18 segments.
func Rules() fs.FS {
	dir, err := fs.Sub(files, "rules")
	if err != nil {
		panic(err) // INVARIANT: the directory is embedded above
	}
	return dir
}
