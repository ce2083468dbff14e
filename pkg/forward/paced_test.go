package forward

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/journal"
	"tollgate/pkg/meterevent"
	"tollgate/pkg/recordbatch"
	"tollgate/pkg/usage"
	"tollgate/test/fakestripe"
)

// load is what the log brings: so many events a second of each business, in batches as a gateway writes them.
type load struct {
	name       string
	businesses int
	perSecond  int // of each
	batch      int // records
	partitions int
	ahead      bool // all of it is in the log at the beginning, and the pace alone holds it back
	tls        bool
	seconds    int
	limit      int // of events a second; 0: so that perSecond is what is left below it
}

var loads = []load{
	{name: "one/as-it-comes", businesses: 1, perSecond: 10_000, batch: 100, partitions: 1, seconds: 12},
	{name: "one/as-it-comes-by-tens", businesses: 1, perSecond: 10_000, batch: 10, partitions: 1, seconds: 12},
	{name: "one/behind", businesses: 1, perSecond: 10_000, batch: 100, partitions: 1, ahead: true, seconds: 12},
	{name: "one/as-it-comes-tls", businesses: 1, perSecond: 10_000, batch: 100, partitions: 1, tls: true, seconds: 12},
	{name: "one/behind-tls", businesses: 1, perSecond: 10_000, batch: 100, partitions: 1, ahead: true, tls: true, seconds: 12},
	{name: "hundred/100-a-second-of-10000", businesses: 100, perSecond: 100, batch: 100, partitions: 12, seconds: 12, limit: 10_000},
	{name: "hundred/100-a-second", businesses: 100, perSecond: 100, batch: 100, partitions: 12, seconds: 12},
	{name: "hundred/300-a-second", businesses: 100, perSecond: 300, batch: 100, partitions: 12, seconds: 12},
	{name: "hundred/1000-a-second", businesses: 100, perSecond: 1000, batch: 100, partitions: 12, seconds: 12},
}

// BenchmarkPaced is what forwarding costs while events come at a rate, and the Stripe that takes them is another process:
// CPU is of this process alone, over sockets of the loopback. The usage log is in memory and costs little, the cursors
// are in a journal on disk with its fsyncs. Stripe must have counted each event once and refused nothing for its rate.
//
//	go test -run '^$' -bench Paced -benchtime 1x ./pkg/forward
//
// Requirement: at most 5 % of a core for 10,000 events a second of one business.
func BenchmarkPaced(b *testing.B) {
	for _, l := range loads {
		b.Run(l.name, func(b *testing.B) {
			for range b.N {
				paced(b, l)
			}
		})
	}
}

func paced(b *testing.B, l load) {
	limit := l.limit
	for limit == 0 || newPace(limit, time.Now).full < float64(l.perSecond) {
		limit = max(limit, l.perSecond) + 1
	}
	stripe := startStripe(b, l, limit)
	log := newPacedLog(b, l)
	cfg := Config{
		Log: log, UsageTopic: usageTopic, CursorsTopic: cursorsTopic, DeadTopic: deadTopic, Businesses: map[string]Business{},
	}
	if l.tls {
		t := ownTransport(http.DefaultTransport.(*http.Transport).Clone(), 32*l.businesses)
		t.TLSClientConfig = &tls.Config{RootCAs: stripe.roots}
		cfg.Transport = t
	}
	for n := range l.businesses {
		cfg.Businesses[benchBusiness(n)] = Business{StripeKey: benchKey(n), APIBase: stripe.url, MeterEventsBase: stripe.url, EventsPerSecond: limit}
	}
	f, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	total := uint64(l.businesses * l.perSecond * l.seconds)
	var memory, memoryAfter runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	before, begun := cpu(), time.Now()
	log.begun = begun
	var wait sync.WaitGroup
	for n := range l.partitions {
		wait.Go(func() { f.run(ctx, int32(n), func() View { return new(countedView) }) })
	}
	for f.counts.events.Value() < total && time.Since(begun) < 2*time.Duration(l.seconds)*time.Second {
		time.Sleep(20 * time.Millisecond)
	}
	took, used := time.Since(begun), cpu()-before
	runtime.ReadMemStats(&memoryAfter)
	cancel()
	wait.Wait()
	if err := f.Close(context.Background()); err != nil {
		b.Error(err)
	}
	counted, refused := stripe.counted(b)
	if counted != int64(total) {
		b.Errorf("Stripe has counted %d of %d", counted, total)
	}
	b.ReportMetric(float64(refused), "refused")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(used.Microseconds())/float64(total), "cpu-µs/event")
	b.ReportMetric(100*used.Seconds()/took.Seconds(), "%core")
	b.ReportMetric(float64(total)/took.Seconds(), "events/s")
	b.ReportMetric(float64((took - time.Duration(l.seconds)*time.Second).Milliseconds()), "late-ms")
	b.ReportMetric(float64(memoryAfter.TotalAlloc-memory.TotalAlloc)/float64(total), "B/event")
	b.ReportMetric(float64(f.counts.ranges.Value())/float64(l.seconds), "ranges/s")
}

func benchBusiness(n int) string { return fmt.Sprint("acct_", n) }
func benchKey(n int) string      { return fmt.Sprint("sk_test_", n) }

// pacedLog has the usage topic in memory, and lets it be seen as time goes by; the other topics are a journal's.
type pacedLog struct {
	commitlog.Log
	l     load
	begun time.Time
	parts [][]recordbatch.Record
}

func newPacedLog(b *testing.B, l load) *pacedLog {
	j, err := journal.Open(journal.Config{Dir: b.TempDir(), ReserveBytes: 1, Topics: []journal.TopicConfig{{Name: cursorsTopic, Partitions: 1, Compact: true}, {Name: deadTopic, Partitions: 1}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = j.Close(context.Background()) })
	p := &pacedLog{Log: j, l: l, parts: make([][]recordbatch.Record, l.partitions)}
	now := time.Now().UnixMilli()
	var rec meterevent.Recorder
	for n := range l.perSecond * l.seconds {
		for of := range l.businesses {
			rec.Begin(benchBusiness(of), false, now)
			rec.Meter([]byte("calls"))
			value := rec.Append(nil, &meterevent.Event{Name: []byte("calls"), Identifier: fmt.Appendf(nil, "identifier-%09d", n), Payload: fmt.Appendf(nil, `{"stripe_customer_id":"cus_%08d","value":"25"}`, n%1000)})
			part := &p.parts[of%l.partitions]
			*part = append(*part, recordbatch.Record{Offset: int64(len(*part)), TimestampMs: now, Key: []byte("k"), Value: value})
		}
	}
	return p
}

// seen is how many records of a partition are there.
func (p *pacedLog) seen(partition int32) int64 {
	all := int64(len(p.parts[partition]))
	if p.l.ahead {
		return all
	}
	n := int64(time.Since(p.begun).Seconds() * float64(all) / float64(p.l.seconds))
	return min(all, n-n%int64(p.l.batch))
}

func (p *pacedLog) Partitions(topic string) int {
	if topic == usageTopic {
		return len(p.parts)
	}
	return p.Log.Partitions(topic)
}

func (p *pacedLog) Bounds(ctx context.Context, topic string, partition int32) (oldest, next int64, err error) {
	if topic == usageTopic {
		return 0, p.seen(partition), nil
	}
	return p.Log.Bounds(ctx, topic, partition)
}

func (p *pacedLog) NewReader(topic string, partition int32, offset int64) (commitlog.Reader, error) {
	if topic == usageTopic {
		return &pacedReader{p: p, partition: partition, next: offset}, nil
	}
	return p.Log.NewReader(topic, partition, offset)
}

type pacedReader struct {
	p         *pacedLog
	partition int32
	next      int64
	records   []recordbatch.Record
}

func (r *pacedReader) Next(ctx context.Context) ([]recordbatch.Record, error) {
	all := int64(len(r.p.parts[r.partition]))
	for {
		if seen := r.p.seen(r.partition); r.next < seen {
			to := min(seen, (r.next/int64(r.p.l.batch)+1)*int64(r.p.l.batch))
			r.records = append(r.records[:0], r.p.parts[r.partition][r.next:to]...) // a caller may cut what it gets
			r.next = to
			return r.records, nil
		}
		if r.next == all {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		due := time.Duration(float64(min(all, r.next+int64(r.p.l.batch))) / float64(all) * float64(r.p.l.seconds) * float64(time.Second))
		if err := sleep(ctx, max(time.Until(r.p.begun.Add(due)), 10*time.Microsecond)); err != nil {
			return nil, err
		}
	}
}

func (r *pacedReader) Close() error { return nil }

// countedView says of each record that it counts.
type countedView struct{ reader meterevent.RecordReader }

func (v *countedView) Wait(ctx context.Context, _ int64) error { return ctx.Err() }

func (v *countedView) Each(records []recordbatch.Record, do func(*recordbatch.Record, *usage.Ruling)) error {
	var o usage.Ruling
	for i := range records {
		o = usage.Ruling{Kind: usage.RulingCounted, Other: -1, Meter: simMeters["calls"]}
		if err := v.reader.Read(records[i].Value, &o.Record); err != nil {
			return err
		}
		o.Customer, _ = v.reader.PayloadValue(&o.Record, "stripe_customer_id")
		text, _ := v.reader.PayloadValue(&o.Record, "value")
		o.Value, _ = meterevent.ParseDecimal(text)
		do(&records[i], &o)
	}
	return nil
}

// stripeElsewhere is the fake Stripe in a process of its own.
type stripeElsewhere struct {
	url   string
	http  *http.Client
	roots *x509.CertPool
}

const stripeEnv = "FORWARD_TEST_STRIPE" // in the child: its options

type stripeOptions struct {
	Keys  map[string]string
	Limit int
	TLS   bool
}

func startStripe(b *testing.B, l load, limit int) *stripeElsewhere {
	o := stripeOptions{Keys: map[string]string{}, Limit: limit, TLS: l.tls}
	for n := range l.businesses {
		o.Keys[benchKey(n)] = benchBusiness(n)
	}
	text, _ := json.Marshal(o)
	cmd := exec.Command(os.Args[0], "-test.run", "^TestMain$")
	cmd.Env = append(os.Environ(), stripeEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	url, encoded, _ := strings.Cut(strings.TrimSpace(line), " ")
	s := &stripeElsewhere{url: url, roots: x509.NewCertPool()}
	if encoded != "" {
		der, _ := base64.StdEncoding.DecodeString(encoded)
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			b.Fatal(err)
		}
		s.roots.AddCert(cert)
	}
	s.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots}}}
	return s
}

func (s *stripeElsewhere) counted(b *testing.B) (counted, refused int64) {
	resp, err := s.http.Get(s.url + "/fake/state")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var states []fakestripe.State
	if err := json.NewDecoder(resp.Body).Decode(&states); err != nil {
		b.Fatal(err)
	}
	for _, st := range states {
		counted += st.Counts[string(fakestripe.Counted)]
		refused += st.RateLimited
	}
	return counted, refused
}

// TestMain turns the test binary into the fake Stripe when startStripe asks for it.
func TestMain(m *testing.M) {
	if text := os.Getenv(stripeEnv); text != "" {
		serveStripe(text)
		return
	}
	os.Exit(m.Run())
}

// serveStripe serves until its input ends, as it does with the process that has started it.
func serveStripe(text string) {
	var o stripeOptions
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	fake := fakestripe.New(fakestripe.Config{Keys: o.Keys, Limits: fakestripe.Limits{SessionEvents: o.Limit}})
	for _, business := range o.Keys {
		if _, err := fake.CreateMeter(fakestripe.Account{Business: business}, fakestripe.Meter{EventName: "calls"}); err != nil {
			panic(err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/", fake)
	mux.Handle("/fake/", fake.Admin())
	server, encoded := httptest.NewUnstartedServer(mux), ""
	if o.TLS {
		server.StartTLS()
		encoded = base64.StdEncoding.EncodeToString(server.Certificate().Raw)
	} else {
		server.Start()
	}
	fmt.Println(server.URL, encoded)
	_, _ = io.Copy(io.Discard, os.Stdin)
	server.CloseClientConnections()
	server.Close()
}
