package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tollgate/pkg/forward"
)

// reconcileCommand compares what a running gateway has counted with what Stripe has. Its exit code is exitOK when nothing
// differs without a known reason, exitFailed when something does, exitUnknown when it could not be compared.
type reconcileCommand struct {
	Business       string   `help:"The business, as in forward.businesses." required:"" placeholder:"ID"`
	From           string   `help:"The beginning, by the events' own time: RFC 3339, or a date for midnight UTC." required:"" placeholder:"TIME"`
	To             string   `help:"The end, which is not in it any more." required:"" placeholder:"TIME"`
	Meter          []string `help:"Only the meter of this event name; may be given more than once." sep:"none" placeholder:"NAME"`
	Customer       []string `help:"A customer to ask Stripe about although nothing of theirs was counted here; may be given more than once." sep:"none" placeholder:"ID"`
	CallsPerSecond int      `help:"How many customers Stripe is asked about, of one meter each (default ${default}). Stripe allows 25 calls a second in test mode and 100 in live mode, of all that use the account." default:"20" placeholder:"N"`
	Format         string   `help:"table, json (a line a difference) or csv (default ${default})." enum:"table,json,csv" default:"table" placeholder:"FORM"`
	adminAccess    `embed:""`
}

// reconcileRequest is what the command asks.
type reconcileRequest struct {
	Business       string    `json:"business"`
	From           time.Time `json:"from"`
	To             time.Time `json:"to"`
	Meters         []string  `json:"meters,omitempty"`
	Customers      []string  `json:"customers,omitempty"`
	CallsPerSecond int       `json:"calls_per_second,omitempty"`
}

// reconcileLine is a line of the answer; it has one of these. Done or Error is the last.
type reconcileLine struct {
	Difference *forward.Difference `json:"difference,omitempty"`
	Progress   *forward.Compared   `json:"progress,omitempty"`
	Done       *forward.Compared   `json:"done,omitempty"`
	Error      string              `json:"error,omitempty"`
}

const (
	pathReconcile = "/forward/reconcile"
	// reconcileBytesMax bounds a request: a thousand customers with long names fit.
	reconcileBytesMax = 1 << 20
	// reconcileSayEvery is how often the command says how far it is.
	reconcileSayEvery = 10 * time.Second
)

// reconcile answers line by line, as Compare finds something. It ends with the client.
func (g *gateway) reconcile(f *forward.Forwarder, w http.ResponseWriter, r *http.Request) {
	var q reconcileRequest
	d := json.NewDecoder(io.LimitReader(r.Body, reconcileBytesMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		writeFault(w, http.StatusBadRequest, fmt.Errorf("the body must be what to compare: %w", err))
		return
	}
	say := linesTo[reconcileLine](w)
	done, err := f.Compare(r.Context(), forward.Comparison{
		Business: q.Business, From: q.From, To: q.To, Meters: q.Meters, Customers: q.Customers, CallsPerSecond: q.CallsPerSecond, Ours: g.fleet,
		Differs:  func(d forward.Difference) error { return say(reconcileLine{Difference: &d}) },
		Progress: func(c forward.Compared) { _ = say(reconcileLine{Progress: &c}) },
	})
	if err != nil {
		_ = say(reconcileLine{Error: g.untilStopped(err).Error()})
		return
	}
	_ = say(reconcileLine{Done: &done})
}

func (c *reconcileCommand) Run(m *Main) error {
	done, err := c.compare(m)
	if err != nil {
		return &exitError{exitUnknown, err}
	}
	switch {
	case done.Drift > 0:
		return &exitError{exitFailed, fmt.Errorf("of %d customers the total is another at Stripe, and nothing explains it", done.Drift)}
	case done.NotCompared > 0:
		return &exitError{exitFailed, fmt.Errorf("%d meters have usage here and are not so at Stripe: none of their customers was compared", done.NotCompared)}
	}
	return nil
}

func (c *reconcileCommand) compare(m *Main) (*forward.Compared, error) {
	q := reconcileRequest{Business: c.Business, Meters: c.Meter, Customers: c.Customer, CallsPerSecond: c.CallsPerSecond}
	var err error
	if q.From, err = timeOrDate("--from", c.From); err != nil {
		return nil, err
	}
	if q.To, err = timeOrDate("--to", c.To); err != nil {
		return nil, err
	}
	out := differencesAs(c.Format, m.Stdout)
	done, err := c.read(m, q, out)
	if err2 := out.end(); err == nil {
		err = err2
	}
	if err != nil {
		return nil, err
	}
	if done.Waiting != "" {
		fmt.Fprintf(m.Stderr, "gateway: not everything was at Stripe yet: %s; run `gateway drain` first\n", done.Waiting)
	}
	to := m.Stderr
	if c.Format == "table" {
		to = m.Stdout
	}
	_, err = fmt.Fprintf(to, "%s; %d differ, %d of them for no known reason\n", progressText(done), done.Differences, done.Drift)
	return done, err
}

// read prints the lines as they come.
func (c *reconcileCommand) read(m *Main, q reconcileRequest, out differences) (done *forward.Compared, err error) {
	said := time.Now()
	err = readLines(context.Background(), &c.adminAccess, pathReconcile, q, "compared", func(l *reconcileLine) (last bool, err error) {
		switch {
		case l.Error != "":
			return true, errors.New(l.Error)
		case l.Difference != nil:
			return false, out.add(l.Difference)
		case l.Progress != nil && time.Since(said) >= reconcileSayEvery:
			said = time.Now()
			fmt.Fprintf(m.Stderr, "%s so far\n", progressText(l.Progress))
		}
		done = l.Done
		return done != nil, nil
	})
	return done, err
}

func progressText(c *forward.Compared) string {
	return fmt.Sprintf("%d meters with %d customers were compared", c.Meters, c.Customers)
}

// timeOrDate reads RFC 3339, or a date as its first moment in UTC.
func timeOrDate(flag, text string) (time.Time, error) {
	for _, form := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(form, text); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %q is no time; write RFC 3339, for example 2026-12-01T00:00:00Z, or a date", flag, text)
}

// differences prints them one by one.
type differences interface {
	add(d *forward.Difference) error
	end() error
}

func differencesAs(format string, w io.Writer) differences {
	switch format {
	case "json":
		return jsonDifferences{json.NewEncoder(w)}
	case "csv":
		return &csvDifferences{w: csv.NewWriter(w)}
	}
	return &tableDifferences{w: w}
}

type jsonDifferences struct{ to *json.Encoder }

func (j jsonDifferences) add(d *forward.Difference) error { return j.to.Encode(d) }
func (j jsonDifferences) end() error                      { return nil }

// csvDifferences has a line of names also when nothing differs.
type csvDifferences struct {
	w     *csv.Writer
	begun bool
}

func (c *csvDifferences) begin() {
	if !c.begun {
		c.begun = true
		_ = c.w.Write([]string{"event_name", "customer", "ours", "theirs", "missing", "explained", "drift"}) // Error says it
	}
}

func (c *csvDifferences) add(d *forward.Difference) error {
	c.begin()
	return c.w.Write([]string{d.EventName, d.Customer, d.Ours, d.Theirs, d.Missing, reasonsText(d), d.Drift})
}

func (c *csvDifferences) end() error {
	c.begin()
	c.w.Flush()
	return c.w.Error()
}

// tableDifferences is for a person. Its columns are as wide as what is usual, since rows are printed as they come.
type tableDifferences struct {
	w     io.Writer
	begun bool
}

const tableRow = "%-24s  %-24s  %15s  %15s  %15s  %s\n"

func (t *tableDifferences) add(d *forward.Difference) error {
	if !t.begun {
		t.begun = true
		if _, err := fmt.Fprintf(t.w, tableRow, "METER", "CUSTOMER", "HERE", "STRIPE", "MISSING", "WHY"); err != nil {
			return err
		}
	}
	why := reasonsText(d)
	if d.Drift != "" {
		why = strings.TrimPrefix(why+"; no known reason "+d.Drift, "; ")
	}
	_, err := fmt.Fprintf(t.w, tableRow, printable(d.EventName), printable(d.Customer), d.Ours, d.Theirs, d.Missing, why)
	return err
}

func (t *tableDifferences) end() error { return nil }

// printable is a name as it is, or quoted where a terminal would do something about it.
func printable(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

func reasonsText(d *forward.Difference) string {
	words := make([]string, 0, len(d.Explained))
	for _, p := range d.Explained {
		words = append(words, strings.TrimRight(p.Reason+" "+p.Value, " "))
	}
	return strings.Join(words, "; ")
}
