package main

import (
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// Keys of log lines. A line is a change of state or a fault, never a request; who wants requests looks at /metrics.
const (
	logAddr        = "addr"
	logAdmin       = "admin_addr"
	logBusiness    = "businesses"
	logBytes       = "bytes"
	logDataDir     = "data_dir"
	logCount       = "count"
	logDestination = "destination"
	logDetail      = "detail"
	logFile        = "file"
	logHint        = "hint"
	logKeys        = "keys"
	logKind        = "log"
	logOffset      = "offset"
	logPartition   = "partition"
	logReason      = "reason"
	logRoom        = "room"
	logScope       = "scope"
	logSignal      = "signal"
	logStack       = "stack"
	logTook        = "took_ms"
	logTopic       = "topic"
	logVersion     = "version"
)

func init() {
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
}

// newLogger writes JSON lines, or lines for a person when w is a terminal.
func newLogger(w io.Writer) zerolog.Logger {
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		w = zerolog.ConsoleWriter{Out: f, TimeFormat: "15:04:05.000"}
	}
	return zerolog.New(w).With().Timestamp().Logger()
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" && info.Name() != "null"
}
