package rules

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// MaxArchiveBytes bounds an archive of a rule set's files: it is one record of
// a Kafka topic, whose batches may have 1 MiB (message.max.bytes).
const MaxArchiveBytes = 900_000

// maxUnpackedBytes bounds what an archive may unpack to: lists compress well.
const maxUnpackedBytes = 1 << 30

// ErrArchiveTooLarge means that a rule set's files, compressed, are larger than
// MaxArchiveBytes.
var ErrArchiveTooLarge = errors.New("the rule files are too large to be kept beside the state that they decide")

// ErrArchive means that bytes are no archive of rule files.
var ErrArchive = errors.New("not an archive of rule files")

// Archive packs the files that the set was loaded from, lists' files among
// them: LoadArchive makes the same set of them. Sets of the same files have the
// same archive. It takes the time of compressing them; ErrArchiveTooLarge.
func (s *Set) Archive() ([]byte, error) {
	var files bytes.Buffer
	w := zip.NewWriter(&files)
	for _, name := range slices.Sorted(maps.Keys(s.sources)) {
		// Stored: what compresses is around the whole. Without a date: equal files, equal bytes.
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = f.Write(s.sources[name])
		}
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack rule files: %w", err)
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return nil, fmt.Errorf("pack rule files: %w", err)
	}
	packed := z.EncodeAll(files.Bytes(), nil)
	if len(packed) > MaxArchiveBytes {
		return nil, fmt.Errorf("%w: they are %d kB compressed, at most %d kB can be kept; make static lists shorter",
			ErrArchiveTooLarge, len(packed)/1000, MaxArchiveBytes/1000)
	}
	return packed, nil
}

// LoadArchive is Load of the files in an archive. What is no archive is one
// problem, ErrArchive's text.
func LoadArchive(packed []byte) (*Set, []Problem) {
	files, err := unpack(packed)
	if err != nil {
		return nil, []Problem{{Message: err.Error()}}
	}
	return loadNamed(files, "", LoadOptions{NoSegments: true})
}

func unpack(packed []byte) (*zip.Reader, error) {
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArchive, err)
	}
	defer z.Close()
	plain, err := io.ReadAll(io.LimitReader(z, maxUnpackedBytes))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArchive, err)
	}
	files, err := zip.NewReader(bytes.NewReader(plain), int64(len(plain)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArchive, err)
	}
	return files, nil
}
