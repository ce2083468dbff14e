package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"
)

const (
	eventsMax     = 100
	identifierMax = 100 // characters
	timeForm      = "2006-01-02T15:04:05.000Z"
)

// request is the body of POST /v2/billing/meter_event_stream.
type request struct {
	Events []event `json:"events"`
}

type event struct {
	EventName  string            `json:"event_name"`
	Identifier string            `json:"identifier"`
	Timestamp  *time.Time        `json:"timestamp"`
	Payload    map[string]string `json:"payload"`
}

// record is what becomes of an event in Kafka.
type record struct {
	Object     string            `json:"object"`
	Business   string            `json:"business"`
	Livemode   bool              `json:"livemode"`
	EventName  string            `json:"event_name"`
	Identifier string            `json:"identifier"`
	Timestamp  string            `json:"timestamp"`
	Received   string            `json:"received"`
	Payload    map[string]string `json:"payload"`
}

// decode reads a request, and says what is wrong with it.
func decode(body io.Reader) ([]event, error) {
	var r request
	decoder := json.NewDecoder(body)
	if err := decoder.Decode(&r); err != nil {
		return nil, fmt.Errorf("the body is not what is expected: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("there is more in the body than one object")
	}
	if len(r.Events) == 0 || len(r.Events) > eventsMax {
		return nil, fmt.Errorf("events must be an array of 1 to %d events", eventsMax)
	}
	for i, e := range r.Events {
		switch {
		case e.EventName == "":
			return nil, fmt.Errorf("events[%d].event_name is missing", i)
		case e.Payload == nil:
			return nil, fmt.Errorf("events[%d].payload is missing", i)
		case utf8.RuneCountInString(e.Identifier) > identifierMax:
			return nil, fmt.Errorf("events[%d].identifier is longer than %d characters", i, identifierMax)
		}
	}
	return r.Events, nil
}

// messages makes the records of a request.
func messages(business string, events []event, now time.Time) ([]kafka.Message, error) {
	received := now.UTC().Format(timeForm)
	list := make([]kafka.Message, len(events))
	for i, e := range events {
		r := record{
			Object: "meter_event", Business: business, EventName: e.EventName, Identifier: e.Identifier,
			Timestamp: received, Received: received, Payload: e.Payload,
		}
		if r.Identifier == "" {
			r.Identifier = rand.Text()
		}
		if e.Timestamp != nil {
			r.Timestamp = e.Timestamp.UTC().Format(timeForm)
		}
		value, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		list[i] = kafka.Message{Key: []byte(business + "/testmode/" + e.EventName), Value: value}
	}
	return list, nil
}
