package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestTheCommandServesTheFakeAndItsAdmin(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, to := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--key", "sk_test_x=acct_a", "--key", "sk_live_y", "--meter", "acct_a/api_requests/count", "--latency", "1ms"}, to)
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(line)
	for path, want := range map[string]string{"/v1/billing/meters": `"event_name":"api_requests"`, "/fake/state": `"business":"acct_demo","livemode":true`} {
		q, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		q.SetBasicAuth("sk_test_x", "")
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(a.Body)
		a.Body.Close()
		if a.StatusCode != 200 || !strings.Contains(string(text), want) {
			t.Errorf("%s answers %d %s", path, a.StatusCode, text)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, bad := range [][]string{{"--meter", "x"}, {"--meter", "a/b/avg"}, {"--listen", "nowhere"}} {
		if run(t.Context(), bad, io.Discard) == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}
