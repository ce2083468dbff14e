package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is how the records of a batch are compressed; the numbers are Kafka's.
type Codec int8

// The codecs that this package writes and reads.
const (
	None Codec = 0
	LZ4  Codec = 3
	Zstd Codec = 4
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

func (c Codec) String() string {
	if c < 0 || int(c) >= len(codecNames) {
		return fmt.Sprintf("codec %d", int8(c))
	}
	return codecNames[c]
}

// ParseCodec reads a codec's name: none, lz4 or zstd.
func ParseCodec(name string) (Codec, error) {
	for _, c := range []Codec{None, LZ4, Zstd} {
		if name == c.String() {
			return c, nil
		}
	}
	return None, fmt.Errorf("compression %q: want none, lz4 or zstd", name)
}

const (
	// lz4BlockBytes is the size of an independent block in an LZ4 frame: what Kafka's own producer writes, so a
	// reader's buffers stay small.
	lz4BlockBytes = 64 << 10
	// lz4Stored marks a block that did not shrink and is stored as it is.
	lz4Stored = 1 << 31
	// zstdWindowMax bounds what a frame may ask a decoder to remember; RFC 8878 tells encoders to stay within 8 MiB.
	zstdWindowMax = 8 << 20
	// decompressBytesMin is the first guess of a decompressed size.
	decompressBytesMin = 64 << 10
)

// lz4FrameHeader is the magic number, version 1 with independent blocks and no checksums (the batch has its CRC),
// 64 KiB blocks, and the header's own checksum.
var lz4FrameHeader = [...]byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82}

var (
	lz4Compressors = sync.Pool{New: func() any { return new(lz4.Compressor) }}
	lz4Readers     = sync.Pool{New: func() any { return lz4.NewReader(nil) }}
	zstdReaders    = sync.Pool{New: newZstdReader}

	// The zstd encoder holds one state a processor and lends it to each call; more callers than that wait.
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
			zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
		if err != nil {
			panic(fmt.Sprintf("BUG: recordbatch: zstd encoder: %v", err))
		}
		return e
	})
)

// Compress writes the sealed, uncompressed batch with its records compressed into dst's capacity, whose content is
// given up; dst and batch must not overlap. The result is valid. With None it is a copy. Compressing pays from about
// 64 KiB on; what does not shrink grows by a few bytes.
func Compress(dst, batch []byte, c Codec) ([]byte, error) {
	h, err := ParseHeader(batch)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if h.Codec() != None {
		return nil, fmt.Errorf("compress: the batch is compressed already, with %v", h.Codec())
	}
	records := batch[HeaderBytes:h.Length]
	dst = append(dst[:0], batch[:HeaderBytes]...)
	switch c {
	case None:
		return append(dst, records...), nil
	case LZ4:
		dst, err = appendLZ4(dst, records)
		if err != nil {
			return nil, fmt.Errorf("compress: lz4: %w", err)
		}
	case Zstd:
		dst = zstdEncoder().EncodeAll(records, dst)
	default:
		return nil, fmt.Errorf("compress: can not write %v", c)
	}
	binary.BigEndian.PutUint32(dst[posLength:], uint32(len(dst)-lengthBehind))
	binary.BigEndian.PutUint16(dst[posAttributes:], uint16(h.Attributes)|uint16(c))
	setCRC(dst)
	return dst, nil
}

// appendLZ4 writes an LZ4 frame by hand, a block after the other: the library's frame writer allocates and hands
// blocks through channels, its block compressor does neither.
func appendLZ4(dst, src []byte) ([]byte, error) {
	compressor := lz4Compressors.Get().(*lz4.Compressor)
	defer lz4Compressors.Put(compressor)
	dst = append(dst, lz4FrameHeader[:]...)
	for len(src) > 0 {
		block := src[:min(len(src), lz4BlockBytes)]
		src = src[len(block):]
		dst = slices.Grow(dst, 4+lz4.CompressBlockBound(len(block)))
		start := len(dst) + 4
		n, err := compressor.CompressBlock(block, dst[start:cap(dst)])
		if err != nil {
			return nil, err
		}
		if n == 0 || n >= len(block) {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(len(block))|lz4Stored)
			dst = append(dst, block...)
			continue
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
		dst = dst[:start+n]
	}
	return append(dst, 0, 0, 0, 0), nil // a block of no bytes ends the frame
}

func newZstdReader() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxWindow(zstdWindowMax), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(fmt.Sprintf("BUG: recordbatch: zstd decoder: %v", err))
	}
	return d
}

// decompress writes the decompressed src into dst's capacity, growing it up to bytesMax. The frame may be of any
// shape: other writers link blocks, add checksums, and leave the size out.
func decompress(dst, src []byte, c Codec, bytesMax int) ([]byte, error) {
	switch c {
	case LZ4:
		r := lz4Readers.Get().(*lz4.Reader)
		defer lz4Readers.Put(r)
		r.Reset(bytes.NewReader(src))
		return expand(dst, r, len(src), bytesMax, c)
	case Zstd:
		r := zstdReaders.Get().(*zstd.Decoder)
		defer zstdReaders.Put(r)
		if err := r.Reset(bytes.NewReader(src)); err != nil {
			return dst, corrupt("%v: %v", c, err)
		}
		return expand(dst, r, len(src), bytesMax, c)
	}
	return dst, corrupt("can not read %v", c)
}

// expand reads to the end, or until there is more than bytesMax.
func expand(dst []byte, r io.Reader, srcBytes, bytesMax int, c Codec) ([]byte, error) {
	dst = dst[:0]
	for {
		if len(dst) == cap(dst) {
			dst = grow(dst, srcBytes, bytesMax)
		}
		// One byte more than allowed tells a frame that ends at the bound from one that goes on.
		n, err := r.Read(dst[len(dst):min(cap(dst), bytesMax+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > bytesMax:
			return dst, ErrTooLarge
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, corrupt("%v: %v", c, err)
		}
	}
}

// grow doubles dst's capacity, from a first guess of four times the compressed size, to at most bytesMax+1.
func grow(dst []byte, srcBytes, bytesMax int) []byte {
	want := max(2*cap(dst), 4*srcBytes, decompressBytesMin)
	larger := make([]byte, len(dst), min(want, bytesMax+1))
	copy(larger, dst)
	return larger
}
