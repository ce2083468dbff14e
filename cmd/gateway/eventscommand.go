package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tollgate/pkg/stripe"
)

// eventsCommand is about thin events, asked for over the public API.
type eventsCommand struct {
	List   eventsList   `cmd:"" help:"Print the latest thin events, the newest first."`
	Resend eventsResend `cmd:"" help:"Have an event delivered to a destination once more, whatever became of it there."`
}

// eventTypes is which thin events a command is about.
type eventTypes struct {
	Events []string `help:"Only events of these types." placeholder:"TYPE,…"`
}

// eventTypesMax is how many types the API takes.
const eventTypesMax = 20

// query is the types as parameters of a list.
func (t *eventTypes) query() (url.Values, error) {
	if len(t.Events) > eventTypesMax {
		return nil, fmt.Errorf("--events names %d types, more than %d", len(t.Events), eventTypesMax)
	}
	q := url.Values{}
	for i, name := range t.Events {
		q.Set(fmt.Sprintf("types[%d]", i), name)
	}
	return q, nil
}

type eventsList struct {
	eventTypes
	Limit     int  `help:"How many, 1 to 100." default:"20" placeholder:"N"`
	PrintJSON bool `name:"print-json" help:"Print each event as the API has it, one to a line."`
	apiAccess `embed:"" set:"needs=event_read and billing_meter_read"`
}

func (c *eventsList) Run(m *Main) error {
	api, err := c.client()
	if err != nil {
		return &exitError{exitUnknown, err}
	}
	q, err := c.query()
	if err != nil {
		return &exitError{exitUnknown, err}
	}
	q.Set("limit", strconv.Itoa(c.Limit))
	page, _, err := api.events(context.Background(), "/v2/core/events?"+q.Encode())
	if err != nil {
		return &exitError{exitUnknown, err}
	}
	for i := range page.Data {
		if _, err := fmt.Fprintln(m.Stdout, page.Data[i].line(c.PrintJSON)); err != nil {
			return err
		}
	}
	return nil
}

type eventsResend struct {
	Event       string `arg:"" help:"The event's id, evt_…"`
	Destination string `required:"" help:"The destination's id, ed_…" placeholder:"ID"`
	apiAccess   `embed:"" set:"needs=webhook_write and event_read"`
}

func (c *eventsResend) Run(m *Main) error {
	api, err := c.client()
	if err != nil {
		return &exitError{exitUnknown, err}
	}
	path := "/v2/core/events/" + url.PathEscape(c.Event) + "/resend?destination=" + url.QueryEscape(c.Destination)
	var answer map[string]any
	status, err := api.ask(context.Background(), http.MethodPost, path, &answer)
	switch {
	case status == http.StatusNotFound:
		return &exitError{exitNotFound, err}
	case err != nil:
		return &exitError{exitUnknown, err}
	}
	_, err = fmt.Fprintf(m.Stdout, "%s is delivered to %s once more, in a moment.\n", c.Event, c.Destination)
	return err
}

// eventsPage is a page of the API's list.
type eventsPage struct {
	Data []apiEvent `json:"data"`
	Next string     `json:"next_page_url"`
}

// apiEvent is an event of the API: as it came, and as it is understood here.
type apiEvent struct {
	stripe.Event
	summary string
	raw     json.RawMessage
}

// events asks for a page.
func (a *apiClient) events(ctx context.Context, path string) (page eventsPage, status int, err error) {
	status, err = a.ask(ctx, http.MethodGet, path, &page)
	if err == nil && page.Next != "" && !strings.HasPrefix(page.Next, "/") {
		err = fmt.Errorf("the next page is at %q, which is no path", page.Next)
	}
	return page, status, err
}

// UnmarshalJSON reads what the form that is pushed has, and the sentence that sums up a report.
func (e *apiEvent) UnmarshalJSON(text []byte) error {
	var v struct {
		ID, Type, Context string
		Created           time.Time
		Livemode          bool
		Reason            *struct {
			Request struct {
				ID             string
				IdempotencyKey string `json:"idempotency_key"`
			}
		}
		RelatedObject *struct{ ID, Type, URL string } `json:"related_object"`
		Data          struct {
			Summary string `json:"developer_message_summary"`
		}
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	if v.ID == "" || v.Type == "" {
		return errors.New("an event without id or type")
	}
	e.Event = stripe.Event{ID: v.ID, Type: v.Type, CreatedMs: v.Created.UnixMilli(), Livemode: v.Livemode, Context: v.Context}
	if v.Reason != nil {
		e.Reason = &stripe.EventReason{RequestID: v.Reason.Request.ID, IdempotencyKey: v.Reason.Request.IdempotencyKey}
	}
	if r := v.RelatedObject; r != nil {
		e.Related = &stripe.RelatedObject{ID: r.ID, Type: r.Type, URL: r.URL}
	}
	e.summary = v.Data.Summary
	e.raw = append([]byte(nil), text...)
	return nil
}

// line is the event for a person, or for a program.
func (e *apiEvent) line(asJSON bool) string {
	if asJSON {
		return string(e.raw)
	}
	words := []string{time.UnixMilli(e.CreatedMs).UTC().Format(stripe.TimeLayout), e.ID, e.Type}
	if e.Related != nil {
		words = append(words, e.Related.ID)
	}
	if e.summary != "" {
		words = append(words, strconv.Quote(e.summary))
	}
	return strings.Join(words, "  ")
}
