package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/segmentd/segmentd/processor/stream"
)

// The codecs of a batch's attributes.
const (
	codecNone = iota
	codecGzip
	codecSnappy
	codecLZ4
	codecZstd
)

// maxPlainBytes bounds what one batch may unpack to: a thousandth of it can
// expand to any size.
const maxPlainBytes = 128 << 20

var errTooLarge = fmt.Errorf("unpacks to more than %d bytes: %w", maxPlainBytes, ErrCorrupt)

// xerialMagic begins the framing that Java puts around snappy blocks: magic,
// two versions of four bytes, then blocks behind their lengths.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderBytes = 16

// unpacker decompresses batches and keeps its decoders. The zero unpacker is ready.
type unpacker struct {
	src  bytes.Reader
	gzip *gzip.Reader
	lz4  *lz4.Reader
	zstd *zstd.Decoder
}

// body is the records of a batch: b itself where it is not compressed, else
// memory at the end of buf.Plain.
func (u *unpacker) body(b []byte, codec uint16, buf *stream.Buffer) ([]byte, error) {
	if codec == codecNone {
		return b, nil
	}
	mark := len(buf.Plain)
	plain, err := u.unpack(buf.Plain, b, codec)
	if err != nil {
		return nil, unpackError(err)
	}
	buf.Plain = plain
	return plain[mark:], nil
}

func unpackError(err error) error {
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return errTooLarge
	}
	if errors.Is(err, ErrCorrupt) || errors.Is(err, stream.ErrFatal) {
		return err
	}
	return fmt.Errorf("decompress: %w: %w", ErrCorrupt, err)
}

func (u *unpacker) unpack(dst, b []byte, codec uint16) ([]byte, error) {
	switch codec {
	case codecGzip:
		return u.unpackGzip(dst, b)
	case codecSnappy:
		return unpackSnappy(dst, b)
	case codecLZ4:
		return u.unpackLZ4(dst, b)
	case codecZstd:
		return u.unpackZstd(dst, b)
	}
	return nil, fmt.Errorf("compression codec %d is unknown: %w", codec, stream.ErrFatal)
}

func (u *unpacker) unpackGzip(dst, b []byte) ([]byte, error) {
	u.src.Reset(b)
	if u.gzip == nil {
		u.gzip = new(gzip.Reader)
	}
	if err := u.gzip.Reset(&u.src); err != nil {
		return nil, err
	}
	return readAll(dst, u.gzip, len(b))
}

func (u *unpacker) unpackLZ4(dst, b []byte) ([]byte, error) {
	u.src.Reset(b)
	if u.lz4 == nil {
		u.lz4 = lz4.NewReader(nil)
	}
	u.lz4.Reset(&u.src)
	return readAll(dst, u.lz4, len(b))
}

func (u *unpacker) unpackZstd(dst, b []byte) ([]byte, error) {
	if u.zstd == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPlainBytes))
		if err != nil {
			return nil, err
		}
		u.zstd = d
	}
	// DecodeAll makes room for a frame and nothing beyond it: many small batches in
	// one answer would all be copied for each.
	if guess := 8 * len(b); cap(dst)-len(dst) < guess {
		dst = slices.Grow(dst, max(guess, len(dst)))
	}
	return u.zstd.DecodeAll(b, dst)
}

// readAll appends what r has, at most maxPlainBytes.
func readAll(dst []byte, r io.Reader, packed int) ([]byte, error) {
	mark := len(dst)
	dst = slices.Grow(dst, min(4*packed, 1<<20)+bytes.MinRead)
	for {
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst)-mark > maxPlainBytes:
			return nil, errTooLarge
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return nil, err
		}
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, bytes.MinRead)
		}
	}
}

func unpackSnappy(dst, b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, xerialMagic) {
		return unpackSnappyBlock(dst, b, len(dst))
	}
	if len(b) < xerialHeaderBytes {
		return nil, io.ErrUnexpectedEOF
	}
	mark := len(dst)
	for b = b[xerialHeaderBytes:]; len(b) > 0; {
		if len(b) < 4 || int64(binary.BigEndian.Uint32(b)) > int64(len(b)-4) {
			return nil, io.ErrUnexpectedEOF
		}
		n := int(binary.BigEndian.Uint32(b))
		var err error
		if dst, err = unpackSnappyBlock(dst, b[4:4+n], mark); err != nil {
			return nil, err
		}
		b = b[4+n:]
	}
	return dst, nil
}

// unpackSnappyBlock appends one block; mark is where the batch begins in dst.
func unpackSnappyBlock(dst, block []byte, mark int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if n > maxPlainBytes-(len(dst)-mark) {
		return nil, errTooLarge
	}
	dst = slices.Grow(dst, n)
	plain, err := snappy.Decode(dst[len(dst):len(dst)+n], block)
	if err != nil {
		return nil, err
	}
	return dst[:len(dst)+len(plain)], nil
}

// Compression is how produced batches are compressed.
type Compression uint8

// The compressions that can be produced.
const (
	Zstd Compression = iota
	LZ4
	None
)

// packer compresses batches and keeps its encoders. The zero packer compresses
// with zstd.
type packer struct {
	compression Compression
	zstd        *zstd.Encoder
	lz4         *lz4.Writer
	out         bytes.Buffer
}

// leastPacked is the size below which compressing is not worth a thing.
const leastPacked = 256

// pack appends the compressed body, or returns codecNone and dst as it was
// where that would not make it smaller.
func (p *packer) pack(dst, body []byte) (packed []byte, codec uint16, err error) {
	if p.compression == None || len(body) < leastPacked {
		return dst, codecNone, nil
	}
	codec = codecZstd
	if p.compression == LZ4 {
		codec = codecLZ4
		packed, err = p.packLZ4(dst, body)
	} else {
		packed, err = p.packZstd(dst, body)
	}
	if err != nil || len(packed)-len(dst) >= len(body) {
		return dst, codecNone, err
	}
	return packed, codec, nil
}

func (p *packer) packZstd(dst, body []byte) ([]byte, error) {
	if p.zstd == nil {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithWindowSize(maxBatchWindow), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return dst, err
		}
		p.zstd = e
	}
	return p.zstd.EncodeAll(body, dst), nil
}

// maxBatchWindow is no less than a batch, so that all of it can be referred to.
const maxBatchWindow = 1 << 20

func (p *packer) packLZ4(dst, body []byte) ([]byte, error) {
	p.out.Reset()
	if p.lz4 == nil {
		p.lz4 = lz4.NewWriter(&p.out)
		// Blocks of 64 kB, as Java's clients write them.
		if err := p.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)); err != nil {
			return dst, err
		}
	}
	p.lz4.Reset(&p.out)
	if _, err := p.lz4.Write(body); err != nil {
		return dst, err
	}
	if err := p.lz4.Close(); err != nil {
		return dst, err
	}
	return append(dst, p.out.Bytes()...), nil
}
