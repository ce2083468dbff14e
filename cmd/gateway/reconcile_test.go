package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tollgate/pkg/forward"
)

func runMain(args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = (&Main{Stdout: &out, Stderr: &errs}).Run(args)
	return code, out.String(), errs.String()
}

func TestReconcilePrintsWhatDiffersAndEndsWithACodeForScripts(t *testing.T) {
	var asked reconcileRequest
	answer := ""
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathReconcile, func(w http.ResponseWriter, r *http.Request) {
		asked = reconcileRequest{}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(answer))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	admin := strings.TrimPrefix(s.URL, "http://")
	f := func(code int, stdout, stderr string, args ...string) {
		t.Helper()
		args = append([]string{"reconcile", "--admin-listen", admin, "--business", "acct_demo", "--from", "2026-11-01"}, args...)
		got, out, errs := runMain(args...)
		if got != code || out != stdout || !strings.Contains(errs, stderr) {
			t.Errorf("%v: exit %d, want %d\n%s\nwant\n%s\nand %q in\n%s", args, got, code, out, stdout, stderr, errs)
		}
	}
	line := func(l reconcileLine) string {
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	explained := forward.Difference{EventName: "calls", Customer: "cus_1", Ours: "12", Theirs: "7", Missing: "5", Explained: []forward.ReasonPart{{Reason: "refused: archived_meter", Value: "5"}}}
	drift := forward.Difference{EventName: "calls", Customer: "cus\n2", Ours: "3", Theirs: "4.5", Missing: "-1.5", Drift: "-1.5"}
	whole := forward.Difference{EventName: "hits", Explained: []forward.ReasonPart{{Reason: "meter_not_at_stripe"}}}

	answer = line(reconcileLine{Progress: &forward.Compared{Customers: 1}}) + line(reconcileLine{Done: &forward.Compared{Meters: 1, Customers: 2}})
	f(exitOK, "1 meters with 2 customers were compared; 0 differ, 0 of them for no known reason\n", "", "--to", "2026-12-01T00:00:00+01:00", "--meter", "calls", "--meter", "a,b", "--customer", "cus_9")
	if got := fmt.Sprint(asked); got != "{acct_demo 2026-11-01 00:00:00 +0000 UTC 2026-11-30 23:00:00 +0000 UTC [calls a,b] [cus_9] 20}" {
		t.Errorf("asked was %s", got)
	}
	f(exitOK, "event_name,customer,ours,theirs,missing,explained,drift\n", "0 differ", "--to", "2026-12-01", "--format", "csv")

	answer = line(reconcileLine{Difference: &explained}) + line(reconcileLine{Difference: &whole}) +
		line(reconcileLine{Done: &forward.Compared{Meters: 2, Customers: 9, Differences: 2, Waiting: "a lane is behind"}})
	f(exitOK, `METER                     CUSTOMER                             HERE           STRIPE          MISSING  WHY
calls                     cus_1                                  12                7                5  refused: archived_meter 5
hits                                                                                                   meter_not_at_stripe
2 meters with 9 customers were compared; 2 differ, 0 of them for no known reason
`, "a lane is behind; run `gateway drain` first", "--to", "2026-12-01")

	answer = line(reconcileLine{Difference: &explained}) + line(reconcileLine{Difference: &drift}) + line(reconcileLine{Done: &forward.Compared{Meters: 1, Customers: 9, Differences: 2, Drift: 1}})
	f(exitFailed, `METER                     CUSTOMER                             HERE           STRIPE          MISSING  WHY
calls                     cus_1                                  12                7                5  refused: archived_meter 5
calls                     "cus\n2"                                3              4.5             -1.5  no known reason -1.5
1 meters with 9 customers were compared; 2 differ, 1 of them for no known reason
`, "nothing explains it", "--to", "2026-12-01")
	f(exitFailed, `event_name,customer,ours,theirs,missing,explained,drift
calls,cus_1,12,7,5,refused: archived_meter 5,
calls,"cus
2",3,4.5,-1.5,,-1.5
`, "nothing explains it", "--to", "2026-12-01", "--format", "csv")
	f(exitFailed, `{"event_name":"calls","customer":"cus_1","ours":"12","theirs":"7","missing":"5","explained":[{"reason":"refused: archived_meter","value":"5"}]}
{"event_name":"calls","customer":"cus\n2","ours":"3","theirs":"4.5","missing":"-1.5","drift":"-1.5"}
`, "nothing explains it", "--to", "2026-12-01", "--format", "json")

	answer = line(reconcileLine{Difference: &drift})
	f(exitUnknown, `{"event_name":"calls","customer":"cus\n2","ours":"3","theirs":"4.5","missing":"-1.5","drift":"-1.5"}
`, "ended before everything was compared", "--to", "2026-12-01", "--format", "json")
	answer = line(reconcileLine{Error: "the gateway that runs a partition is away"})
	f(exitUnknown, "", "a partition is away", "--to", "2026-12-01")
	f(exitUnknown, "", `--to "December" is no time`, "--to", "December")
	admin = "127.0.0.1:1"
	f(exitUnknown, "", "does the gateway run", "--to", "2026-12-01")
}

// Tollgate in front of tollgate: the second one is the first one's Stripe.
func TestWhatWasForwardedIsReconciled(t *testing.T) {
	const key = "sk_test_reconcile"
	back := serve(t, "--api-keys", "acct_demo:"+key)
	front := serve(t, "--api-keys", "acct_demo:"+key, "--config", writeFile(t, "gateway.yaml", fmt.Sprintf(
		"forward:\n  mirror_meters: true\n  businesses:\n    acct_demo: {stripe_key: %s, api_base: %q, meter_events_base: %q}\n", key, back.url, back.url)))
	admin := strings.TrimPrefix(front.admin, "http://")
	meter := func(s *serving, name string) {
		t.Helper()
		form := "display_name=x&event_name=" + name + "&default_aggregation[formula]=sum"
		req, err := http.NewRequest("POST", s.url+"/v1/billing/meters", strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("creating %s: %s", name, res.Status)
		}
	}
	meter(back, "calls")
	meter(front, "calls")
	meter(front, "only_here")
	_, session := front.post("/v2/billing/meter_event_session", key, "{}")
	token, _ := session["authentication_token"].(string)
	for n := range 5 {
		for _, name := range []string{"calls", "only_here"} {
			body := fmt.Sprintf(`{"events":[{"event_name":%q,"identifier":"%s-%d","payload":{"stripe_customer_id":"cus_%d","value":"0.1"}}]}`, name, name, n, n%2)
			if status, answer := front.post("/v2/billing/meter_event_stream", token, body); status != http.StatusOK {
				t.Fatal(status, answer)
			}
		}
	}
	if code, out, errs := runMain("drain", "--admin-listen", admin, "--timeout", "1m"); code != exitOK {
		t.Fatal(code, out, errs)
	}
	hour := time.Now().UTC().Truncate(time.Hour)
	ask := func(args ...string) (int, string, string) {
		return runMain(append([]string{
			"reconcile", "--admin-listen", admin, "--business", "acct_demo",
			"--from", hour.Add(-time.Hour).Format(time.RFC3339), "--to", hour.Add(2 * time.Hour).Format(time.RFC3339), "--format", "json",
		}, args...)...)
	}
	const onlyHere = `{"event_name":"only_here","customer":"","ours":"","theirs":"","missing":"","explained":[{"reason":"meter_not_at_stripe","value":""}]}` + "\n"
	if code, out, errs := ask("--customer", "cus_9"); code != exitFailed || out != onlyHere || !strings.Contains(errs, "2 meters with 5 customers were compared; 1 differ, 0 of them for no known reason") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if _, text := front.get("/metrics"); !strings.Contains(text, `tollgate_forward_compared_timestamp_seconds{business="acct_demo",livemode="false"}`) {
		t.Error("no metric says when it was compared")
	}
	if code, out, errs := ask("--meter", "calls"); code != exitOK || out != "" {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if code, _, errs := ask("--meter", "nothing"); code != exitUnknown || !strings.Contains(errs, "there is no meter nothing") {
		t.Errorf("exit %d, %s", code, errs)
	}
	if code, _, errs := runMain("reconcile", "--admin-listen", strings.TrimPrefix(back.admin, "http://"), "--business", "acct_demo", "--from", "2026-11-01", "--to", "2026-12-01"); code != exitUnknown || !strings.Contains(errs, "forwards nothing") {
		t.Errorf("exit %d, %s", code, errs)
	}
}
