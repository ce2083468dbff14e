package fleet

import (
	"errors"
	"fmt"
	"net/http"

	"tollgate/pkg/usage"
)

const (
	pathTotals  = "/internal/usage/totals"
	pathFate    = "/internal/usage/fate"
	pathVerdict = "/internal/usage/verdict"
	pathAmounts = "/internal/usage/amounts"

	// requestBytesMax is several times a query and the numbers of 4,096 partitions.
	requestBytesMax = 64 << 10
	// answerBytesMax is several times ten thousand windows with long values, and more than a page of customers with long
	// names.
	answerBytesMax = 8 << 20
)

// request is the body of a question to another gateway.
type request[Q any] struct {
	Partitions []int32 `json:"partitions"`
	Query      Q       `json:"query"`
}

// response is the body of an answer: about these partitions, a part of those asked for.
type response[A any] struct {
	Partitions []int32 `json:"partitions"`
	Answer     A       `json:"answer"`
}

// refusal is the body of every other answer.
type refusal struct {
	Error   string `json:"error"`
	Message string `json:"message"`
	// Incomplete is which times are, when that is the error.
	Incomplete *usage.IncompleteError `json:"incomplete,omitempty"`
}

// refusals are the errors that mean the same on both sides, with the code and the status they travel under. Whatever
// else a worker says arrives as an error without a kind.
var refusals = []struct {
	code   string
	status int
	err    error
}{
	{"not_here", http.StatusMisdirectedRequest, usage.ErrNotOwned},
	{"no_trace", http.StatusGone, usage.ErrNoTrace},
}

const (
	codeFailed       = "failed"
	codeIncomplete   = "incomplete"
	codeBusy         = "busy"
	codeMalformed    = "malformed"
	codeUnauthorized = "unauthorized"
)

// refusalOf is how an error travels.
func refusalOf(err error) (int, refusal) {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.status, refusal{Error: r.code, Message: err.Error()}
		}
	}
	var incomplete *usage.IncompleteError
	if errors.As(err, &incomplete) {
		return http.StatusUnprocessableEntity, refusal{codeIncomplete, err.Error(), incomplete}
	}
	return http.StatusInternalServerError, refusal{Error: codeFailed, Message: err.Error()}
}

// err is what an answer that is none means to the asker.
func (r refusal) err(o owner) error {
	for _, known := range refusals {
		if r.Error == known.code {
			return &remoteError{o.address, r.Message, known.err}
		}
	}
	switch {
	case r.Incomplete != nil:
		return &remoteError{o.address, r.Message, r.Incomplete}
	case r.Error == codeFailed:
		return &remoteError{o.address, r.Message, nil}
	}
	return fmt.Errorf("%w: the gateway at %s refused the question (%s): %s", ErrOwnerAway, o.address, r.Error, r.Message)
}

// remoteError is an error of another gateway's worker.
type remoteError struct {
	address, message string
	kind             error
}

func (e *remoteError) Error() string { return "the gateway at " + e.address + ": " + e.message }
func (e *remoteError) Unwrap() error { return e.kind }
