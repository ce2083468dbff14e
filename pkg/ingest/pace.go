package ingest

import "time"

const (
	// framesEnough and bytesEnough end a pause: the cost of a set is then spread over enough.
	framesEnough = 32
	bytesEnough  = 256 << 10

	// crowdMin is the number of requests waiting at once from which on sets are paced. Below it the machine is not
	// busy, and to answer at once is worth more than to save a wake-up.
	crowdMin = 8
	// crowdMax is the most that is of interest: three quarters of it are framesEnough.
	crowdMax = (framesEnough*4 + 2) / 3

	// probeEvery: where requests seem to come one by one, one wake-up of so many looks whether that is still so.
	probeEvery = 16
	// yieldFrames is how many frames must fit into the rings for a yield to be safe: about as many handlers may run
	// before the drainer is on.
	yieldFrames = 512
)

// pace decides when the next set of batches goes to the log, and how long the drainer sleeps.
//
// A log that takes milliseconds makes its own pace: what arrives while a batch flies is the next batch (D5). With a log
// that answers at once every request would become a set, and to wake the drainer and the log for each would cost more
// than all else. So while many requests come in, sets keep a distance of pause, or wait until there is enough for one.
//
// What is enough depends on how many requests wait at once, the crowd: when all of them are here nobody else will come,
// and to wait longer would only be late; for a client that is alone this is so with its first frame. The crowd can not
// be seen, only how many frames were found at a time: it grows to that, and shrinks when a pause brings less.
type pace struct {
	pause     time.Duration
	ringBytes int // of all rings, the spare included

	frames int // taken since the last set
	bytes  int // of these
	crowd  int // how many requests wait at once, by the last sets

	frameBytes   int  // the average of the last set
	wakeUps      uint // by frames
	lastHandOver time.Time
	lastMissed   time.Time // when a sweep last brought frames, and all of them for partitions that are flying
}

// took counts a frame.
func (p *pace) took(frameBytes int) {
	p.frames++
	p.bytes += frameBytes
}

// enough is the number of frames worth a set before the pause is over. Three quarters, since a crowd has stragglers.
func (p *pace) enough() int {
	if p.crowd < crowdMin {
		return 1
	}
	return min(framesEnough, p.crowd*3/4)
}

// due tells whether what is ready should go now.
func (p *pace) due(now time.Time) bool {
	return p.frames >= p.enough() || p.bytes >= bytesEnough || now.Sub(p.lastHandOver) >= p.pause
}

// handedOver learns from a set that goes now, and begins the next one.
func (p *pace) handedOver(now time.Time) {
	early := now.Sub(p.lastHandOver) < p.pause && p.enough() > 1
	if !early { // then this is all who came
		p.crowd = (p.crowd + p.frames) / 2
	}
	p.crowd = min(max(p.crowd, p.frames), crowdMax)
	if p.frames > 0 {
		p.frameBytes = p.bytes / p.frames
	}
	p.frames, p.bytes = 0, 0
	p.lastHandOver = now
}

// missed notes a sweep that brought frames for flying partitions only.
func (p *pace) missed(now time.Time) { p.lastMissed = now }

// worthYielding tells, when a frame has woken the drainer, whether to let other goroutines run first. Often that frame
// is the first of several: the handlers that can run now append theirs, and one set serves them all. It is not worth it
// where there is one client (the drainer would only move to another core; but whether there are more is seen by trying),
// nor where the crowd is known to be large (then the drainer sleeps until enough of it is here), and it is not safe
// where frames are so large that the rings may be full before the drainer is on again.
func (p *pace) worthYielding() bool {
	p.wakeUps++
	if p.crowd >= crowdMax || p.frameBytes*yieldFrames > p.ringBytes {
		return false
	}
	return p.crowd > 1 || p.wakeUps%probeEvery == 0
}

// untilDue is how long to sleep when something is ready and not due.
func (p *pace) untilDue(now time.Time) (arrivals int, timeout time.Duration) {
	return max(1, p.enough()-p.frames), p.pause - now.Sub(p.lastHandOver)
}

// untilWorth is how long to sleep when nothing is ready. Shortly after a set, or after frames that could not go
// anywhere, a single one more is not worth waking up for if there is a crowd.
func (p *pace) untilWorth(now time.Time) (arrivals int, timeout time.Duration) {
	last := p.lastHandOver
	if p.lastMissed.After(last) {
		last = p.lastMissed
	}
	if since := now.Sub(last); since < p.pause && p.enough() > 1 {
		return p.enough(), p.pause - since
	}
	return 1, noTimeout
}
