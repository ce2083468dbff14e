package httpd

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tollgate/pkg/ingest"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/stripe"
)

const (
	// smallBodyBytes is what a body may have when the budget of all bodies has nothing left. One that does not fit a
	// small buffer takes a large one from the budget if it can, and is gathered by the library if not.
	smallBodyBytes = 32 << 10
	// keptBodyBytes is the largest inflated body whose buffer is kept for the next request.
	keptBodyBytes = 64 << 10
	// zstdWindowMax is the largest window that a zstd body may ask for: what encoders use for streams of unknown
	// length at their usual levels, however short the stream then is. The window is part of the output, so it costs
	// nothing by itself.
	zstdWindowMax = 8 << 20
)

// A reading is what it takes to read one body and to write its records: the event decoder, what is remembered of meters
// and, for a compressed body, its buffer. It is given back before the exchange waits for the log, so that waiting
// requests hold as little as they can, and few readings, warm in the cache, serve all.
type reading struct {
	events   *meterevent.Decoder
	records  meterevent.Recorder
	keys     [meterevent.MetersKept]ingest.Key // of the meters that records knows
	key      ingest.Key                        // of any other record
	inflated []byte
	gzip     *gzip.Reader
	source   bytes.Reader
}

// decoders is a pool of readings, and the one zstd decoder, which serves many at once.
type decoders struct {
	pool    sync.Pool
	options meterevent.Options
	zstd    *zstd.Decoder
}

func newDecoders(cfg *Config) (*decoders, error) {
	z, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0),
		zstd.WithDecoderLowmem(true),
		// It takes a window over its memory for too large, whatever the content is. So it has the memory of the largest
		// window, as often as it decodes at once, which is once a core, and inflate looks at the length.
		zstd.WithDecoderMaxMemory(uint64(max(cfg.BodyBytesMax, zstdWindowMax))),
		zstd.WithDecoderMaxWindow(zstdWindowMax))
	if err != nil {
		return nil, err
	}
	return &decoders{zstd: z, options: meterevent.Options{CoerceNumbers: cfg.CoerceNumbers, Lenient: cfg.Lenient}}, nil
}

func (d *decoders) get() *reading {
	if r, ok := d.pool.Get().(*reading); ok {
		return r
	}
	return &reading{events: meterevent.NewDecoder(d.options)}
}

// read begins the reading of the request's body: what it returns and what its decoder returns is valid until done.
func (s *Server) read(x *exchange) (*reading, []byte, *stripe.Error) {
	body := x.body
	r := s.decoders.get()
	if len(x.header(hContentEncoding)) == 0 || foldEqual(x.header(hContentEncoding), "identity") {
		return r, body, nil
	}
	refusal := s.inflate(x, r, body)
	if refusal != nil {
		s.done(x, r)
		return nil, nil, refusal
	}
	return r, r.inflated, nil
}

// done ends a reading, and with it the request: of head and body, only what the answer repeats is left.
func (s *Server) done(x *exchange, r *reading) {
	s.endInflated(x)
	if cap(r.inflated) > keptBodyBytes {
		r.inflated = nil
	}
	r.source.Reset(nil)
	s.decoders.pool.Put(r)
	x.letGo()
}

// endInflated gives back what inflate took from the budget. After a panic, no reading is left to be done with.
func (s *Server) endInflated(x *exchange) {
	if x.inflatedHeld > 0 {
		s.bodyBytes.Add(-x.inflatedHeld)
		x.inflatedHeld = 0
	}
}

// inflate undoes the Content-Encoding into r.inflated, which grows to the body cap at most.
func (s *Server) inflate(x *exchange, r *reading, body []byte) *stripe.Error {
	encoding := x.header(hContentEncoding)
	isGzip := foldEqual(encoding, "gzip")
	if !isGzip && !foldEqual(encoding, "zstd") {
		return stripe.UnsupportedEncoding(string(encoding))
	}
	hold := int64(s.cfg.BodyBytesMax)
	if s.bodyBytes.Add(hold) > s.cfg.BodiesBytesMax {
		s.bodyBytes.Add(-hold)
		return refuseBodies
	}
	x.inflatedHeld = hold
	var err error
	if isGzip {
		err = r.gunzip(body, s.cfg.BodyBytesMax)
	} else {
		r.inflated, err = s.decoders.zstd.DecodeAll(body, r.inflated[:0])
		if err == nil && len(r.inflated) > s.cfg.BodyBytesMax {
			err = errInflatedTooLarge
		}
	}
	switch {
	case errors.Is(err, errInflatedTooLarge), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return inflatedTooLarge(s.cfg.BodyBytesMax)
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return stripe.CorruptEncoding("zstd within a window of 8 MiB") // zstdWindowMax, or a block larger than its own window
	case err != nil:
		return stripe.CorruptEncoding(string(encoding))
	}
	return nil
}

// inflatedTooLarge keeps the connection: the body was read to its end.
func inflatedTooLarge(bytesMax int) *stripe.Error {
	r := stripe.BodyTooLarge(bytesMax)
	r.Close = false
	return r
}

var errInflatedTooLarge = errors.New("httpd: the inflated body is too large")

func (r *reading) gunzip(body []byte, bytesMax int) error {
	r.source.Reset(body)
	var err error
	if r.gzip == nil {
		r.gzip, err = gzip.NewReader(&r.source)
	} else {
		err = r.gzip.Reset(&r.source)
	}
	if err != nil {
		return err
	}
	out := r.inflated[:0]
	for {
		if len(out) == cap(out) {
			out = append(out, 0)[:len(out)]
		}
		n, err := r.gzip.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		r.inflated = out
		switch {
		case len(out) > bytesMax:
			return errInflatedTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// The media types of bodies.
const (
	jsonBodies = "application/json"
	formBodies = "application/x-www-form-urlencoded"
)

// takes refuses a body of another kind. Without Content-Type the body is taken for what it should be.
func (x *exchange) takes(want string) *stripe.Error {
	if len(x.header(hContentType)) == 0 || foldEqual(mediaType(x.header(hContentType)), want) {
		return nil
	}
	return stripe.UnsupportedMediaType(string(x.header(hContentType)), "'Content-Type: "+want+"'")
}
