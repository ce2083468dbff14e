package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"tollgate/bench/internal/compare"
	"tollgate/bench/internal/stage"
)

// tiny makes this test binary a peer when its first argument is one's name.
func tiny(name string) bool {
	switch name {
	case "tiny-http":
		tinyHTTP(true)
	case "tiny-floor":
		tinyHTTP(false)
	case "tiny-self":
		seconds, err := time.ParseDuration(os.Getenv("PEER_SECONDS") + "s")
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		time.Sleep(seconds / 10)
		fmt.Printf("starting\n{\"records\":1000,\"bytes\":%s,\"seconds\":%g,\"cpu_seconds\":0.01}\n", os.Getenv("PEER_BATCH_BYTES")+"000", seconds.Seconds())
	default:
		return false
	}
	return true
}

// tinyHTTP serves what the contract of peers asks for, with as little as possible, and keeps events in the topic or not.
func tinyHTTP(keep bool) {
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Getenv("PEER_KAFKA")), kgo.DefaultProduceTopic(os.Getenv("PEER_TOPIC")),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	http.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("POST /v2/billing/meter_event_session", func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") != "Bearer "+os.Getenv("PEER_KEY") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"authentication_token":"t","expires_at":"%s"}`, time.Now().Add(time.Hour).Format(time.RFC3339))
	})
	http.HandleFunc("POST /v2/billing/meter_event_stream", func(w http.ResponseWriter, q *http.Request) {
		var body struct {
			Events []json.RawMessage `json:"events"`
		}
		err := json.NewDecoder(q.Body).Decode(&body)
		var records []*kgo.Record
		for _, e := range body.Events {
			records = append(records, &kgo.Record{Value: e})
		}
		if err == nil && keep {
			err = client.ProduceSync(q.Context(), records...).FirstErr()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "{}")
	})
	fmt.Println(http.ListenAndServe(os.Getenv("PEER_LISTEN"), nil))
}

// tinyList writes a list of peers that are this binary, and limits.
func tinyList(t *testing.T, limits string) (file string) {
	t.Helper()
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := "peers:\n"
	for _, p := range [][3]string{{"tiny", "http", "tiny-http"}, {"floor-http", "http", "tiny-floor"}, {"floor-produce", "self", "tiny-self"}, {"floor-fsync", "self", "tiny-self"}} {
		text += fmt.Sprintf("  - {name: %s, about: a peer, promise: a word, kind: %s, dir: ., run: [%q, %s]}\n", p[0], p[1], exe, p[2])
	}
	text += "  - {name: dream, about: a peer, promise: a word, kind: http, needs: [no-such-command], run: [no-such-command]}\n"
	text += "  - {name: broken, about: a peer, promise: a word, kind: http, build: [\"false\"], run: [\"true\"]}\n"
	file = filepath.Join(dir, "peers.yaml")
	if err := errors.Join(os.WriteFile(file, []byte(text), 0o644), os.WriteFile(filepath.Join(dir, "limits.yaml"), []byte(limits), 0o644)); err != nil {
		t.Fatal(err)
	}
	return file
}

func tinyKafka(t *testing.T) []string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()
}

func comparison(t *testing.T, file string) *compare.Result {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := compare.Parse(text)
	if err != nil || r == nil {
		t.Fatalf("%v in %s", err, text)
	}
	return r
}

func TestEverybodyTakesTurnsAndIsJudged(t *testing.T) {
	out := filepath.Join(t.TempDir(), "compare.json")
	c := compareCommand{
		Rounds: 2, Seconds: 0.3, Warmup: 100 * time.Millisecond, Batch: []int{50}, Dir: t.TempDir(), Out: out, Gateway: binary, brokers: tinyKafka(t), built: t.TempDir(),
		List: tinyList(t, "limits:\n"+
			"  - {figure: cpu-ratio, of: every, batch: 50, at_least: 0.0001}\n"+
			"  - {figure: floor-ratio, batch: 50, at_most: 100000}\n"+
			"  - {figure: cpu-ratio, of: tiny, batch: 10, at_least: 8}\n"),
	}
	if err := c.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	r := comparison(t, out)
	var turns []string
	for _, run := range r.Runs {
		if run.Pass == compare.Saturate {
			turns = append(turns, run.Entrant)
			if run.Error != "" || run.Events == 0 || run.CPU == 0 || run.RSSMaxMiB == 0 {
				t.Errorf("%+v", run)
			}
		}
		if run.Log == nil && (run.Entrant == "tiny" || strings.HasPrefix(run.Entrant, "tollgate")) {
			t.Errorf("nobody has looked what %s kept", run.Entrant)
		}
	}
	if want := strings.Fields("tollgate tollgate-journal tiny floor-http tollgate tollgate-journal tiny floor-http"); !slices.Equal(turns, want) {
		t.Errorf("the turns were %v", turns)
	}
	told := map[string]int{}
	for _, table := range r.Tables() {
		told[table.Name] = len(table.Rows)
	}
	for name, rows := range map[string]int{"batch-50": 4, "fixed-rate": 4, "broker-kill": 0, "gateway-floors": 1, "journal-floor": 1, "promises": 6, "left-out": 2} {
		if told[name] != rows {
			t.Errorf("the table %s has %d rows and not %d: %+v", name, told[name], rows, r.Tables())
		}
	}
	var judged []string
	for _, j := range r.Limits {
		judged = append(judged, j.String())
	}
	for _, line := range []string{
		"ok     cpu-ratio of tiny at batch 50", "cpu-ratio of dream at batch 50, at least 0.0001: not judged: dream was left out: not found here: no-such-command",
		"broken was left out: it does not build: false: exit status 1", "ok     floor-ratio", "no requests of this size", "ok     missing of tiny = 0", "ok     duplicated of tollgate = 0",
	} {
		if !strings.Contains(strings.Join(judged, "\n"), line) {
			t.Errorf("%q is not in\n%s", line, strings.Join(judged, "\n"))
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "compare-*")); len(left) > 0 {
		t.Errorf("data is left: %v", left)
	}
	page := filepath.Join(t.TempDir(), "page.html")
	if err := (&reportCommand{Result: out, Out: page}).Run(); err != nil {
		t.Fatal(err)
	}
	if html, _ := os.ReadFile(page); !strings.Contains(string(html), "by tollgate&#39;s (range)") || !strings.Contains(string(html), "<td>tiny</td>") {
		t.Errorf("%s", html)
	}
}

func TestABrokerIsKilledUnderLoadAndWhatWasAcknowledgedIsThere(t *testing.T) {
	for _, command := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(command); err != nil && os.Getenv("REQUIRE_KAFKA") == "" {
			t.Skip("SKIPPED: a real broker needs Java and Maven: ", err)
		}
	}
	out := filepath.Join(t.TempDir(), "compare.json")
	c := compareCommand{
		Rounds: 1, Seconds: 0.5, Batch: []int{20}, Peer: []string{"floor-http"}, Dir: t.TempDir(), Out: out, Gateway: binary, built: t.TempDir(),
		List: tinyList(t, "limits: []"), kill: killPlan{every: 2 * time.Second, down: 300 * time.Millisecond, length: 10 * time.Second, times: 1},
	}
	if err := c.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	r := comparison(t, out)
	last := r.Runs[len(r.Runs)-1]
	if v := last.Log; last.Pass != compare.BrokerKill || v == nil || v.Acked == 0 || v.Missing != 0 || last.BrokerCPU != 0 {
		t.Errorf("%+v", last)
	} else if v.Refused == 0 && last.Max < 300 { // a broker that is back within the gateway's patience has requests wait
		t.Errorf("the broker was away for 300 ms and more, and no request noticed: %+v", last)
	}
	if r.Runs[0].BrokerCPU == 0 || r.Runs[0].ReadPerS == 0 || r.Runs[0].BatchBytes == 0 {
		t.Errorf("%+v", r.Runs[0])
	}
}

func TestALimitThatDoesNotHoldFailsTheComparison(t *testing.T) {
	out := filepath.Join(t.TempDir(), "compare.json")
	c := compareCommand{
		Rounds: 1, Seconds: 0.2, Batch: []int{10}, Peer: []string{"tiny"}, Dir: t.TempDir(), Out: out, Gateway: binary, brokers: tinyKafka(t), built: t.TempDir(),
		List: tinyList(t, "limits: [{figure: cpu-ratio, of: tiny, batch: 10, at_least: 100000}]"),
	}
	if err := c.Run(context.Background()); !errors.Is(err, errLimits) {
		t.Fatalf("%v", err)
	}
	if r := comparison(t, out); r.OK || r.Limits[0].OK || r.Limits[0].NotJudged != "" {
		t.Errorf("%+v", r.Limits)
	}
}

func TestTheListOfPeersAndItsLimitsCanBeRead(t *testing.T) {
	c := compareCommand{Dir: t.TempDir(), built: t.TempDir()}
	if _, err := c.place(); err != nil {
		t.Fatal(err)
	}
	if peers, limits, err := c.lists(); err != nil || len(peers) == 0 || len(limits) == 0 {
		t.Errorf("%v, %v, %v", peers, limits, err)
	}
}

func TestAPeerThatDoesNotExistIsRefused(t *testing.T) {
	c := compareCommand{Rounds: 1, Seconds: 1, Batch: []int{1}, Peer: []string{"no-such"}, Dir: t.TempDir(), built: t.TempDir(), List: tinyList(t, "limits: []")}
	if err := c.Run(context.Background()); !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "tiny") {
		t.Errorf("%v", err)
	}
}

func TestAComparisonThatIsRefusedLeavesNoDirectory(t *testing.T) {
	c := compareCommand{Rounds: 1, Seconds: 1, Batch: []int{1}, Peer: []string{"no-such"}, built: t.TempDir(), List: tinyList(t, "limits: []")}
	places := []string{t.TempDir()}
	if memory, err := os.MkdirTemp("/dev/shm", "tollgate-test-"); err == nil {
		defer os.RemoveAll(memory)
		places = append(places, memory)
	}
	for _, place := range places {
		t.Setenv("TMPDIR", place)
		c.Dir, c.Out = "", ""
		if err := c.Run(context.Background()); !errors.Is(err, errRefused) {
			t.Errorf("%v", err)
		}
		if left, err := os.ReadDir(place); err != nil || len(left) > 0 {
			t.Errorf("%v is left, %v", left, err)
		}
	}
}

func TestAResultDoesNotTellWhereFilesAreKept(t *testing.T) {
	args := []string{"load", "--key", "/k", "--key=/k", "--out=/srv/mine/result.json", "--ledger", "/srv/mine/ledger", "--dir", "here/below", "--target=http://127.0.0.1:1/x"}
	if got, want := commandLine(args), "bench load --key … --key=… --out=result.json --ledger ledger --dir here/below --target=http://127.0.0.1:1/x"; got != want {
		t.Errorf("%s\nand not\n%s", got, want)
	}
	root, err := stage.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	c := compareCommand{Dir: "/srv/mine/tollgate-compare-1", built: "/srv/mine/.cache/peers-1"}
	text := "go -o /srv/mine/.cache/peers-1/x: " + root + "/bench/peers/x.go in " + root + ": see /srv/mine/tollgate-compare-1/compare-001-x/x.log in /srv/mine/tollgate-compare-1"
	if got, want := c.withoutPlaces(text), "go -o {out}/x: bench/peers/x.go in .: see compare-001-x/x.log in tollgate-compare-1"; got != want {
		t.Errorf("%s\nand not\n%s", got, want)
	}
}
