// Package report prints what a program that measures itself has to say: one line of JSON, the last on its standard
// output. Its one decision is what counts as the program's time: user and system time of the process from Begin to
// the line, so that a preparation before Begin costs nothing.
//
//	m := report.Begin()
//	…
//	err := m.Print(os.Stdout, report.Line{Records: n})
//
// A Meter belongs to one goroutine.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Line is what is printed. Seconds and CPUSeconds are Print's to fill in.
type Line struct {
	Records    int64   `json:"records"`
	Bytes      int64   `json:"bytes"`
	Groups     int64   `json:"groups,omitempty"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

// A Meter measures from Begin on.
type Meter struct {
	at  time.Time
	cpu time.Duration
}

// Begin starts to measure.
func Begin() Meter { return Meter{time.Now(), cpu()} }

// Elapsed is the time since Begin.
func (m Meter) Elapsed() time.Duration { return time.Since(m.at) }

// Print ends the measurement.
func (m Meter) Print(out io.Writer, l Line) error {
	l.Seconds, l.CPUSeconds = m.Elapsed().Seconds(), (cpu() - m.cpu).Seconds()
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", text)
	return err
}

// Settings are what such a program is told by its environment.
type Settings struct {
	For        time.Duration // PEER_SECONDS
	BatchBytes int           // PEER_BATCH_BYTES
	Rate       float64       // PEER_RATE, records a second; 0: as fast as it goes
}

const (
	defaultFor        = 10 * time.Second
	defaultBatchBytes = 256 << 10
	batchBytesMax     = 8 << 20 // below what a broker of ours takes in a batch
)

// Read takes the settings from the environment; a variable that is not set has its default, 10 s and 256 KiB.
func Read() (Settings, error) {
	s := Settings{For: defaultFor, BatchBytes: defaultBatchBytes}
	if text := os.Getenv("PEER_SECONDS"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || seconds <= 0 {
			return s, fmt.Errorf("PEER_SECONDS=%s is not a number of seconds", text)
		}
		s.For = time.Duration(seconds * float64(time.Second))
	}
	if text := os.Getenv("PEER_BATCH_BYTES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 || n > batchBytesMax {
			return s, fmt.Errorf("PEER_BATCH_BYTES=%s is not a number from 1 to %d", text, batchBytesMax)
		}
		s.BatchBytes = n
	}
	if text := os.Getenv("PEER_RATE"); text != "" {
		rate, err := strconv.ParseFloat(text, 64)
		if err != nil || rate <= 0 {
			return s, fmt.Errorf("PEER_RATE=%s is not a number of records a second", text)
		}
		s.Rate = rate
	}
	return s, nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
