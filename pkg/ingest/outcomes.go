package ingest

import "tollgate/pkg/commitlog"

// The outcomes that a log gives, under the names by which those who know no log can tell them apart.
var (
	// ErrUnknown: the records may be in the log or not, now or later, all of them or a part.
	ErrUnknown = commitlog.ErrUnknown
	// ErrUnavailable: nothing was written; the log can not take records now.
	ErrUnavailable = commitlog.ErrUnavailable
	// ErrRefused: nothing was written and never will be, for what the records are.
	ErrRefused = commitlog.ErrRefused
)
