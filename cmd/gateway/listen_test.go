package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/pkg/stripe"
)

// fakeEvents answers lists of events as a gateway does, and takes what is forwarded.
type fakeEvents struct {
	mu sync.Mutex
	// Guarded by mu.
	events []apiEvent
	status int // of every answer; 0: it answers
	asked  []string
	posts  []string // what the endpoint was sent, with its signature
}

func (f *fakeEvents) add(id string, created time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := apiEvent{Event: stripe.Event{
		ID: id, Type: "v1.billing.meter.error_report_triggered", CreatedMs: created.UnixMilli(),
		Related: &stripe.RelatedObject{ID: "mtr_test_1", Type: "billing.meter", URL: "/v1/billing/meters/mtr_test_1"},
		Data:    []byte(`{"developer_message_summary":"There is 1 invalid event"}`),
	}}
	f.events = append(f.events, e)
	slices.SortStableFunc(f.events, func(a, b apiEvent) int { return int(b.CreatedMs - a.CreatedMs) })
}

func (f *fakeEvents) say(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = status
}

// questions are the queries of all lists so far.
func (f *fakeEvents) questions() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// sent is what the endpoint was sent so far.
func (f *fakeEvents) sent() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.posts)
}

func (f *fakeEvents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodPost {
		body, _ := io.ReadAll(r.Body)
		f.posts = append(f.posts, r.Header.Get("Stripe-Signature")+" "+string(body))
		if r.Header.Get("Content-Type") != "application/json" { // as of a destination's
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		w.WriteHeader(http.StatusFound) // a failure, which is not followed
		return
	}
	q := r.URL.Query()
	f.asked = append(f.asked, r.URL.RawQuery)
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	status := f.status
	if r.Header.Get("Authorization") != "Bearer sk_test_1" {
		status = 401
	}
	if status != 0 {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":{"code":"x","message":"refused with %d"}}`, status)
		return
	}
	from, _ := time.Parse(time.RFC3339, q.Get("created[gte]"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	skip, _ := strconv.Atoi(q.Get("page"))
	var list []json.RawMessage
	more := false
	for i := range f.events {
		switch {
		case q.Get("created[gte]") != "" && f.events[i].CreatedMs < from.UnixMilli():
		case skip > 0:
			skip--
		case len(list) == limit:
			more = true
		default:
			list = append(list, stripe.AppendEvent(nil, &f.events[i].Event))
		}
	}
	next := "null"
	if more {
		page, _ := strconv.Atoi(q.Get("page"))
		q.Set("page", strconv.Itoa(page+limit))
		next = strconv.Quote("/v2/core/events?" + q.Encode())
	}
	data, _ := json.Marshal(list)
	if list == nil {
		data = []byte("[]")
	}
	_, _ = fmt.Fprintf(w, `{"data":%s,"next_page_url":%s,"previous_page_url":null}`, data, next)
}

// RoundTrip answers without a network, so that time may be the test's.
func (f *fakeEvents) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w.Result(), nil
}

// listenTo begins to listen, and runs until the test ends it.
func listenTo(t *testing.T, f *fakeEvents, args listenCommand) (out, said *lockedBuffer, ended chan error, end func()) {
	t.Helper()
	out, said = &lockedBuffer{}, &lockedBuffer{}
	args.Key, args.URL, args.Timeout = "sk_test_1", "http://gateway", time.Second
	l, err := args.listener(&Main{Stdout: out, Stderr: said})
	if err != nil {
		t.Fatal(err)
	}
	l.say = said
	l.api.http.Transport, l.forward.http.Transport = f, f
	ctx, cancel := context.WithCancel(t.Context())
	if err := l.begin(ctx); err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- l.run(ctx) }()
	return out, said, ended, cancel
}

// told is the ids of the lines, in order.
func told(out *lockedBuffer) (ids []string) {
	for line := range strings.Lines(out.String()) {
		ids = append(ids, strings.Fields(line)[1])
	}
	return ids
}

func TestListenTellsEachEventOnceTheOldestFirstAndLateOnesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeEvents{}
		f.add("evt_before", time.Now().Add(-time.Minute))
		out, _, ended, end := listenTo(t, f, listenCommand{})
		var want []string
		time.Sleep(5*time.Second + pollEvery/2) // between two looks: the pages of this fake are not stable
		for i := range 250 {                    // more than two pages at once
			f.add(fmt.Sprint("evt_", i), time.Now().Add(time.Duration(i)*time.Millisecond))
			want = append(want, fmt.Sprint("evt_", i))
		}
		time.Sleep(2 * time.Second)
		if got := told(out); !slices.Equal(got, want) {
			t.Errorf("told %d events: %v", len(got), got)
		}
		// What was created before events that were told comes into sight, behind more than a page of them.
		f.add("evt_late", time.Now().Add(-6*time.Second))
		time.Sleep(sweepEvery + time.Second)
		if got := told(out); !slices.Equal(got, append(want, "evt_late")) {
			t.Errorf("a late event: told %d, the last %v", len(got), got[len(got)-1])
		}
		time.Sleep(time.Hour)
		if got := told(out); len(got) != 251 {
			t.Errorf("told %d, want 251: events are told once", len(got))
		}
		asked := len(f.questions())
		time.Sleep(time.Minute)
		if n := len(f.questions()) - asked; n < 55 || n > 65 {
			t.Errorf("%d requests in a minute without events", n)
		}
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestListenGoesOnWhereItWasWhenTheGatewayComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeEvents{}
		out, said, ended, end := listenTo(t, f, listenCommand{})
		time.Sleep(3 * time.Second)
		f.say(503)
		asked := len(f.questions())
		f.add("evt_away", time.Now().Add(time.Second))
		time.Sleep(30 * time.Minute) // far longer than events may be late
		if n := len(f.questions()) - asked; n > 70 {
			t.Errorf("%d requests in half an hour to a gateway that is away", n)
		}
		f.say(0)
		time.Sleep(pollPauseMax + time.Second)
		if got := told(out); !slices.Equal(got, []string{"evt_away"}) {
			t.Errorf("told %v", got)
		}
		if text := said.String(); strings.Count(text, "No answer") != 1 || strings.Count(text, "answers again") != 1 || !strings.Contains(text, "refused with 503") {
			t.Errorf("it said\n%s", text)
		}
		end()
		<-ended
	})
}

func TestListenReadsPagesOfTheLongestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeEvents{}
		out, said, _, end := listenTo(t, f, listenCommand{})
		f.mu.Lock()
		for i := range listenPageEvents {
			data := fmt.Sprintf(`{"developer_message_summary":"","x":%q}`, strings.Repeat("x", 128<<10-64)) // as long as a report may be
			f.events = append(f.events, apiEvent{Event: stripe.Event{
				ID: fmt.Sprintf("evt_%d", i), Type: "v1.billing.meter.no_meter_found", CreatedMs: time.Now().UnixMilli(), Data: []byte(data),
			}})
		}
		f.mu.Unlock()
		time.Sleep(5 * time.Second)
		if n := len(told(out)); n != listenPageEvents {
			t.Errorf("it told %d of %d events, and said: %s", n, listenPageEvents, said)
		}
		end()
	})
}

func TestListenEndsWhenItsKeyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeEvents{}
		_, _, ended, end := listenTo(t, f, listenCommand{})
		defer end()
		time.Sleep(3 * time.Second)
		f.say(429)
		time.Sleep(time.Minute)
		f.say(403)
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "refused with 403") {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestListenForwardsTheNotificationSignedAndSaysWhatWasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeEvents{}
		_, said, ended, end := listenTo(t, f, listenCommand{ForwardTo: "http://app/hook"})
		time.Sleep(time.Second)
		f.add("evt_1", time.Now())
		time.Sleep(2 * time.Second)
		secret := secretOfKey("sk_test_1")
		posts := f.sent()
		if len(posts) != 1 {
			t.Fatalf("%d posts:\n%s", len(posts), said.String())
		}
		signature, body, _ := strings.Cut(posts[0], " ")
		unix, _ := strconv.ParseInt(strings.TrimPrefix(strings.Split(signature, ",")[0], "t="), 10, 64)
		if want := string(stripe.AppendSignature(nil, unix, []byte(body), secret)); signature != want || time.Since(time.Unix(unix, 0)) > 3*time.Second {
			t.Errorf("signed %s, want %s", signature, want)
		}
		e := f.events[0].Event
		if want := string(stripe.AppendNotification(nil, &e)); body != want {
			t.Errorf("the body is\n%s, want\n%s", body, want)
		}
		for _, want := range []string{secret, "http://app/hook", "evt_1: 302 Found in 0 ms"} {
			if !strings.Contains(said.String(), want) {
				t.Errorf("it does not say %q:\n%s", want, said.String())
			}
		}
		end()
		<-ended
	})
}

func TestIDsThatAreRememberedAreBounded(t *testing.T) {
	r := newRecent(3)
	for i := range 10 {
		r.add(strconv.Itoa(i))
	}
	if len(r.known) != 3 || len(r.order) != 3 || r.has("6") || !r.has("7") || !r.has("9") {
		t.Errorf("it remembers %v", r.known)
	}
}

func TestListenEndsWithACodeForScripts(t *testing.T) {
	f := &fakeEvents{}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	t.Setenv("TOLLGATE_KEY", "")
	t.Setenv("STRIPE_API_KEY", "")
	fail := func(text string, args ...string) {
		t.Helper()
		var out strings.Builder
		code := (&Main{Stdout: &out, Stderr: &out}).Run(append([]string{"listen"}, args...))
		if code != exitUnknown || !strings.Contains(out.String(), text) {
			t.Errorf("gateway listen %v: exit %d, want 2 and %q:\n%s", args, code, text, out.String())
		}
	}
	fail("refused with 401", "--url", s.URL, "--key", "sk_test_2")
	fail("does the gateway run", "--url", "http://127.0.0.1:1", "--key", "sk_test_1")
	fail("no API key", "--url", s.URL, "--data-dir", t.TempDir())
	fail("--forward-to", "--url", s.URL, "--key", "sk_test_1", "--forward-to", "localhost:3000")
	fail("--url", "--url", "localhost:8080", "--key", "sk_test_1")
	fail("more than 20", "--url", s.URL, "--key", "sk_test_1", "--events", strings.Repeat("a,", 20)+"a")

	var out, errs lockedBuffer
	signals := make(chan os.Signal, 2)
	exit := make(chan int)
	go func() {
		exit <- (&Main{Stdout: &out, Stderr: &errs, Signals: signals}).Run([]string{"listen", "--url", s.URL, "--key", "sk_test_1", "--print-json", "--events", "a.b,c.d"})
	}()
	for !strings.Contains(errs.String(), "Listening") {
		time.Sleep(time.Millisecond)
	}
	f.add("evt_1", time.Now())
	for end := time.Now().Add(5 * time.Second); out.String() == "" && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	signals <- syscall.SIGHUP
	signals <- syscall.SIGINT
	if code := <-exit; code != exitOK {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	var e struct {
		ID   string
		Data map[string]string
	}
	if err := json.Unmarshal([]byte(out.String()), &e); err != nil || e.ID != "evt_1" || e.Data["developer_message_summary"] == "" {
		t.Errorf("standard output is %q: %v", out.String(), err)
	}
	if asked := f.questions()[len(f.questions())-1]; !strings.Contains(asked, "types%5B0%5D=a.b&types%5B1%5D=c.d") {
		t.Errorf("it asked for %s", asked)
	}
}

func TestEventsAreListedAndResentFromTheCommandLine(t *testing.T) {
	f := &fakeEvents{}
	f.add("evt_1", time.UnixMilli(1795000000123))
	f.add("evt_2", time.UnixMilli(1795000001123))
	mux := http.NewServeMux()
	mux.Handle("GET /v2/core/events", f)
	mux.HandleFunc("POST /v2/core/events/{id}/resend", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != "evt_1" || r.URL.Query().Get("destination") != "ed_1" {
			w.WriteHeader(map[bool]int{true: 503, false: 404}[r.URL.Query().Get("destination") == "ed_away"])
			_, _ = w.Write([]byte(`{"error":{"code":"not_found","message":"No such event or destination"}}`))
			return
		}
		_, _ = w.Write([]byte(`{"id":"evt_1","object":"v2.core.event"}`))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	run := func(want int, text string, args ...string) {
		t.Helper()
		var out strings.Builder
		code := (&Main{Stdout: &out, Stderr: &out}).Run(append([]string{"events"}, append(args, "--url", s.URL, "--key", "sk_test_1")...))
		if code != want || !strings.Contains(out.String(), text) {
			t.Errorf("gateway events %v: exit %d, want %d and %q:\n%s", args, code, want, text, out.String())
		}
	}
	run(0, "2026-11-18T11:06:41.123Z  evt_2  v1.billing.meter.error_report_triggered  mtr_test_1  \"There is 1 invalid event\"\n2026-11-18T11:06:40.123Z  evt_1", "list")
	run(0, `{"id":"evt_2",`, "list", "--print-json", "--limit", "1")
	run(0, "evt_1 is delivered to ed_1 once more", "resend", "evt_1", "--destination", "ed_1")
	run(1, "No such event", "resend", "evt_3", "--destination", "ed_1")
	run(2, "No such event", "resend", "evt_1", "--destination", "ed_away")
	run(2, "missing flags: --destination", "resend", "evt_1")
}
