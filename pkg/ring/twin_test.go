package ring

import "sync"

// queue is what a Ring and its twins have in common.
type queue interface {
	TryAppend(frame []byte) bool
	Drain(bytesMax int, fn func(frame []byte)) int
}

// twin is the ring as one would write it with a mutex: the oracle of the model test and the peer in the benchmarks. It
// follows the same rules on room (units, padding at the end of the buffer), by other means.
type twin struct {
	mu     sync.Mutex
	data   []byte
	frames []span // frames and padding, oldest first; guarded by mu
	read   int    // frames before this one are drained; guarded by mu
	tail   int    // index behind the newest frame; guarded by mu
	used   int    // bytes in use, padding included; guarded by mu
}

// span is a frame in data and the room it takes; padding has n -1.
type span struct{ at, n, room int }

func newTwin(ringBytes int) *twin { return &twin{data: make([]byte, ringBytes)} }

func (w *twin) TryAppend(frame []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	room := (max(len(frame), 1) + unitBytes - 1) / unitBytes * unitBytes
	padding := 0
	if w.tail+room > len(w.data) {
		padding = len(w.data) - w.tail
	}
	if w.used+padding+room > len(w.data) {
		return false
	}
	if padding > 0 {
		w.frames = append(w.frames, span{w.tail, -1, padding})
		w.tail = 0
	}
	copy(w.data[w.tail:], frame)
	w.frames = append(w.frames, span{w.tail, len(frame), room})
	w.used += padding + room
	w.tail = (w.tail + room) % len(w.data)
	return true
}

func (w *twin) Drain(bytesMax int, fn func(frame []byte)) (n int) {
	w.mu.Lock()
	frames := w.frames[w.read:]
	w.mu.Unlock()
	room, spans := 0, 0
	for _, f := range frames {
		if room >= bytesMax {
			break
		}
		if f.n >= 0 {
			fn(w.data[f.at : f.at+f.n])
			n++
		}
		room += f.room
		spans++
	}
	w.mu.Lock()
	w.used -= room
	if w.read += spans; w.read == len(w.frames) {
		w.frames, w.read = w.frames[:0], 0
	}
	w.mu.Unlock()
	return n
}

// channel is the ring as a buffered channel of pooled buffers.
type channel struct {
	frames chan *[]byte
	pool   sync.Pool
}

func newChannel(frames int) *channel {
	return &channel{frames: make(chan *[]byte, frames), pool: sync.Pool{New: func() any { return new([]byte) }}}
}

func (c *channel) TryAppend(frame []byte) bool {
	b := c.pool.Get().(*[]byte)
	*b = append((*b)[:0], frame...)
	select {
	case c.frames <- b:
		return true
	default:
		c.pool.Put(b)
		return false
	}
}

func (c *channel) Drain(bytesMax int, fn func(frame []byte)) (n int) {
	for bytesMax > 0 {
		select {
		case b := <-c.frames:
			fn(*b)
			bytesMax -= len(*b)
			n++
			c.pool.Put(b)
		default:
			return n
		}
	}
	return n
}
