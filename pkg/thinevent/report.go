package thinevent

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"tollgate/pkg/stripe"
)

const (
	// samplesMax is how many refused events a report shows for each code.
	samplesMax = 10
	// dataBytesMax bounds the data of a report, so that every log takes it. Ten samples of each code with ordinary texts
	// are 40 KiB; what is above the bound loses samples, never counts.
	dataBytesMax = 128 << 10

	meterType       = "billing.meter"
	meterPath       = "/v1/billing/meters/"
	destinationType = "v2.core.event_destination"
	destinationPath = "/v2/core/event_destinations/"
)

// Report is what was wrong with a meter's events in one window of 10 s of receipt.
type Report struct {
	Business string
	Livemode bool
	MeterID  string // empty: v1.billing.meter.no_meter_found, of all names without a meter
	StartMs  int64
	EndMs    int64
	Source   Source
	Codes    []CodeErrors
}

// CodeErrors is one code of a Report.
type CodeErrors struct {
	Code    string
	Count   int64
	Samples []Sample
}

// Sample is one refused event.
type Sample struct{ Message, Identifier string }

func (r *Report) eventType() string {
	if r.MeterID == "" {
		return TypeNoMeter
	}
	return TypeErrorReport
}

// ReportID is the id of a report. It follows from what the report is about and the offset of its first record, so that a
// worker that counts the same records again, here or elsewhere, comes to the same id.
//
// It is the first half of the SHA-256 over the fields below, each with its length in front, so that no two lists of
// fields have the same bytes. What is counted is no part of it.
func ReportID(r *Report) string {
	var b []byte
	b = appendText(b, r.eventType())
	b = appendText(b, r.Business)
	b = appendText(b, modeName(r.Livemode))
	b = appendText(b, r.MeterID)
	b = appendNumber(b, r.StartMs)
	b = appendNumber(b, int64(r.Source.Partition))
	b = appendNumber(b, r.Source.First)
	sum := sha256.Sum256(b)
	return string(stripe.AppendEventID(nil, r.Livemode, [16]byte(sum[:16])))
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendNumber(dst []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 8), uint64(n))
}

func modeName(livemode bool) string {
	if livemode {
		return "livemode"
	}
	return "testmode"
}

// NewReport makes the event of a report. Codes come with the most frequent first, and show ten samples each at most.
func NewReport(r *Report, createdMs int64) *Event {
	e := &Event{
		Event:    stripe.Event{ID: ReportID(r), Type: r.eventType(), CreatedMs: createdMs, Livemode: r.Livemode, Data: r.data()},
		Business: r.Business,
		Source:   r.Source,
	}
	if r.MeterID != "" {
		e.Related = &stripe.RelatedObject{ID: r.MeterID, Type: meterType, URL: meterPath + r.MeterID}
	}
	return e
}

// NewPing makes the event of a ping. id is random, or follows from the request's Idempotency-Key.
func NewPing(business string, livemode bool, destination string, bits [16]byte, reason *stripe.EventReason, createdMs int64) *Event {
	return &Event{
		Event: stripe.Event{
			ID: string(stripe.AppendEventID(nil, livemode, bits)), Type: TypePing, CreatedMs: createdMs, Livemode: livemode, Reason: reason,
			Related: &stripe.RelatedObject{ID: destination, Type: destinationType, URL: destinationPath + destination},
			Data:    []byte("{}"),
		},
		Business: business,
	}
}

// reportData is the data of both kinds of reports, field by field in the order of the reference.
type reportData struct {
	Summary string       `json:"developer_message_summary"`
	Reason  reportReason `json:"reason"`
	Start   string       `json:"validation_start"`
	End     string       `json:"validation_end"`
}

type reportReason struct {
	Count int64       `json:"error_count"`
	Types []errorType `json:"error_types"`
}

type errorType struct {
	Code    string        `json:"code"`
	Count   int64         `json:"error_count"`
	Samples []sampleError `json:"sample_errors"`
}

type sampleError struct {
	Message string `json:"error_message"`
	Request struct {
		Identifier string `json:"identifier"`
	} `json:"request"`
}

func (r *Report) data() []byte {
	for samples := samplesMax; ; samples /= 2 {
		if data := r.dataWith(samples); len(data) <= dataBytesMax || samples == 0 {
			return data
		}
	}
}

// dataWith is the data with so many samples of each code at most.
func (r *Report) dataWith(samples int) []byte {
	d := reportData{Start: clockText(r.StartMs), End: clockText(r.EndMs)}
	codes := slices.Clone(r.Codes)
	slices.SortFunc(codes, func(a, b CodeErrors) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code))
	})
	d.Reason.Types = make([]errorType, 0, len(codes))
	for _, c := range codes {
		d.Reason.Count += c.Count
		t := errorType{Code: c.Code, Count: c.Count, Samples: make([]sampleError, min(samples, len(c.Samples)))}
		for i := range t.Samples {
			t.Samples[i].Message, t.Samples[i].Request.Identifier = c.Samples[i].Message, c.Samples[i].Identifier
		}
		d.Reason.Types = append(d.Reason.Types, t)
	}
	d.Summary = summary(d.Reason.Count)
	return encodeJSON(&d)
}

func summary(count int64) string {
	if count == 1 {
		return "There is 1 invalid event"
	}
	return fmt.Sprintf("There are %d invalid events", count)
}

func clockText(ms int64) string { return time.UnixMilli(ms).UTC().Format(stripe.TimeLayout) }

// encodeJSON writes a value of ours, which a person can read too: < and > stay what they are.
func encodeJSON(v any) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("BUG: thinevent: %T can not be written as JSON: %v", v, err))
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
