package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// fateCommand asks a running gateway what became of an event, as an application could: over the public API.
type fateCommand struct {
	Identifier string `arg:"" help:"The event's identifier."`
	EventName  string `help:"The meter's event name; without it every meter is asked." placeholder:"NAME"`
	apiAccess  `embed:"" set:"needs=billing_meter_event_read"`
}

// What the commands that ask a running gateway end with, beside exitOK: a script asks "is it there", and that it is not is
// no failure to look.
const (
	exitNotFound = 1
	exitUnknown  = 2
)

// exitError is an error that ends the program with a code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// eventFate is the answer of the API about one event.
type eventFate struct {
	EventName   string       `json:"event_name"`
	Identifier  string       `json:"identifier"`
	Status      string       `json:"status"`
	Record      *eventRecord `json:"record"`
	Timestamp   string       `json:"timestamp"`
	Code        string       `json:"code"`
	Message     string       `json:"message"`
	Duplicate   *eventRecord `json:"duplicate"`
	CancelledBy *eventRecord `json:"cancelled_by"`
}

// eventRecord is where a record is in the log.
type eventRecord struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Received  string `json:"received"`
}

func (c *fateCommand) Run(m *Main) error {
	found, asOf, err := c.ask(m.Stdout)
	switch {
	case err != nil:
		return &exitError{exitUnknown, err}
	case !found:
		return &exitError{exitNotFound, fmt.Errorf("%s was not found among the events that were answered in the 24 hours before %s", c.Identifier, asOf)}
	}
	return nil
}

// ask prints what each meter knows of the event. asOf is up to when the gateway that knows least has looked.
func (c *fateCommand) ask(w io.Writer) (found bool, asOf string, err error) {
	api, err := c.client()
	if err != nil {
		return false, "", err
	}
	names := []string{c.EventName}
	if c.EventName == "" {
		if names, err = api.meters(); err != nil {
			return false, "", err
		}
		if len(names) == 0 {
			return false, "", errors.New("this business has no meters in this mode, and events are counted by meters")
		}
	}
	for _, name := range names {
		f, err := api.fate(c.Identifier, name)
		if err != nil {
			return false, "", err
		}
		if f != nil {
			found = true
			if _, err := io.WriteString(w, f.text()); err != nil {
				return false, "", err
			}
		}
	}
	return found, api.asOf, nil
}

// meters lists the event names of all meters of the key's business and mode.
func (a *apiClient) meters() (names []string, err error) {
	after := ""
	for {
		var page struct {
			Data []struct {
				ID        string `json:"id"`
				EventName string `json:"event_name"`
			} `json:"data"`
			HasMore bool `json:"has_more"`
		}
		if _, err := a.get("/v1/billing/meters?limit=100"+after, &page); err != nil {
			return nil, fmt.Errorf("the meters can not be listed: %w; with --event-name they need not be", err)
		}
		for _, m := range page.Data {
			names = append(names, m.EventName)
		}
		if !page.HasMore || len(page.Data) == 0 {
			return names, nil
		}
		after = "&starting_after=" + url.QueryEscape(page.Data[len(page.Data)-1].ID)
	}
}

// fate is what became of an event of one meter; nil when it was not found.
func (a *apiClient) fate(identifier, name string) (*eventFate, error) {
	var f eventFate
	status, err := a.get("/v1/tollgate/usage_events/"+url.PathEscape(identifier)+"?event_name="+url.QueryEscape(name), &f)
	switch {
	case status == http.StatusNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &f, nil
}

// text is the answer in lines for a person.
func (f *eventFate) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s: %s\n", f.Identifier, f.EventName, f.Status)
	line := func(what, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-13s%s\n", what, value)
		}
	}
	line("code", f.Code)
	line("message", f.Message)
	line("record", f.Record.text())
	line("timestamp", f.Timestamp)
	line("cancelled by", f.CancelledBy.text())
	line("duplicate", f.Duplicate.text())
	return b.String()
}

func (r *eventRecord) text() string {
	if r == nil {
		return ""
	}
	return fmt.Sprintf("%s, partition %d, offset %d, received %s", r.Topic, r.Partition, r.Offset, r.Received)
}
