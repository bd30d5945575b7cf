package compress

import (
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encoder compresses one response at a time.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

var (
	_ encoder = (*gzip.Writer)(nil)
	_ encoder = (*brotli.Writer)(nil)
	_ encoder = (*zstd.Encoder)(nil)
)

// The windows bound the memory of an encoder, and of the client's decoder.
const (
	windowBits   = 18 // brotli's
	windowSize   = 1 << windowBits
	brotliLevel  = 4 // about as fast as the others
	gzipLevel    = gzip.DefaultCompression
	zstdLevel    = zstd.SpeedDefault
	zstdParallel = 1 // no goroutines
)

// pools keep the encoders that no response uses, by encoding. They never change.
type pools map[string]*sync.Pool

func newPools() pools {
	return pools{
		encodingGzip: {New: func() any {
			w, err := gzip.NewWriterLevel(io.Discard, gzipLevel)
			if err != nil {
				panic(err) // the level is a constant
			}
			return w
		}},
		encodingBrotli: {New: func() any {
			return brotli.NewWriterOptions(io.Discard, brotli.WriterOptions{Quality: brotliLevel, LGWin: windowBits})
		}},
		encodingZstd: {New: func() any {
			w, err := zstd.NewWriter(io.Discard, zstd.WithEncoderLevel(zstdLevel), zstd.WithWindowSize(windowSize),
				zstd.WithEncoderConcurrency(zstdParallel), zstd.WithLowerEncoderMem(true))
			if err != nil {
				panic(err) // the options are constants
			}
			return w
		}},
	}
}

// get returns an encoder that writes to w.
func (p pools) get(encoding string, w io.Writer) encoder {
	e := p[encoding].Get().(encoder)
	e.Reset(w)
	return e
}

// put takes an encoder back, whatever it was amid.
func (p pools) put(encoding string, e encoder) {
	e.Reset(io.Discard) // so that it doesn't hold on to the response
	p[encoding].Put(e)
}
