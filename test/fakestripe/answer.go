package fakestripe

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// version of the API, by which errors are worded.
type version int

const (
	v1 version = 1
	v2 version = 2
)

// An answer is what the client will be told. cut closes the connection: after half of the body, or with none of it.
type answer struct {
	status int
	header map[string]string
	body   []byte
	cut    bool
	html   bool

	code   string // of the error, for the log
	events tallyOfRequest
}

// tallyOfRequest is what became of a request's events, for the log.
type tallyOfRequest struct{ sent, applied, duplicates int }

func ok(object any) *answer {
	body, err := json.Marshal(object)
	if err != nil {
		panic(fmt.Sprintf("BUG: fakestripe: %v", err))
	}
	return &answer{status: http.StatusOK, body: body}
}

// failure is the inside of an error envelope.
type failure struct {
	Type    string `json:"type"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
	Param   string `json:"param,omitempty"`
	DocURL  string `json:"doc_url,omitempty"`
}

func failed(status int, f failure) *answer {
	if f.Type == "" {
		f.Type = "invalid_request_error"
	}
	a := ok(struct {
		Error failure `json:"error"`
	}{f})
	a.status, a.code = status, f.Code
	if a.code == "" {
		a.code = f.Type
	}
	return a
}

func (a *answer) with(name, value string) *answer {
	if a.header == nil {
		a.header = make(map[string]string)
	}
	a.header[name] = value
	return a
}

func rateLimited(v version, reason string) *answer {
	f := failure{Type: "rate_limit", Code: "rate_limit", Message: "Too many events; slow down."}
	if v == v1 {
		f = failure{Code: "rate_limit", Message: "Too many requests."}
	}
	return failed(http.StatusTooManyRequests, f).with("Stripe-Rate-Limited-Reason", reason).with("Stripe-Should-Retry", "true")
}

// lockTimeout has no reason in its header, which tells it from a limit of rate.
func lockTimeout(v version) *answer {
	f := failure{Code: "lock_timeout", Message: "The object is busy."}
	if v == v2 {
		f.Type = "rate_limit"
	}
	return failed(http.StatusTooManyRequests, f)
}

func sessionExpired() *answer {
	return failed(http.StatusUnauthorized, failure{
		Type: "temporary_session_expired", Code: "billing_meter_event_session_expired",
		Message: "The meter event session has expired; create a new one.", DocURL: "https://docs.example/errors#session",
	})
}

func badKey(v version) *answer {
	if v == v1 {
		return failed(http.StatusUnauthorized, failure{Message: "Invalid API key provided."})
	}
	return failed(http.StatusUnauthorized, failure{Code: "invalid_api_key", Message: "Invalid API key or session token."})
}

func invalidFields(param, format string, args ...any) *answer {
	return failed(http.StatusBadRequest, failure{Code: "invalid_fields", Message: fmt.Sprintf(format, args...), Param: param})
}

func badParam(code, param, format string, args ...any) *answer {
	return failed(http.StatusBadRequest, failure{Code: code, Message: fmt.Sprintf(format, args...), Param: param})
}

func serverError(status int, code, message string) *answer {
	return failed(status, failure{Type: "api_error", Code: code, Message: message})
}

func full(what string) *answer {
	return serverError(http.StatusServiceUnavailable, "fake_is_full", "The fake keeps no more "+what+".")
}

func page(status int, text string) *answer {
	return &answer{status: status, body: []byte("<html><body><h1>" + text + "</h1></body></html>"), html: true, code: "html"}
}
