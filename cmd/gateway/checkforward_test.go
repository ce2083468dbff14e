package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func checkConfigOf(t *testing.T, text string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	m := &Main{Stdout: &out, Stderr: &errs}
	code = m.Run([]string{"check-config", "--config", writeFile(t, "gateway.yaml", text)})
	return out.String(), errs.String(), code
}

func TestWhatCanNotBeForwardedIsRefused(t *testing.T) {
	key := writeFile(t, "key", "sk_test_secret9\n")
	for name, c := range map[string]struct{ text, want string }{
		"mode":           {"forward:\n  mode: v2\n", `:2: forward.mode = "v2": is neither stream nor v1`},
		"fraction":       {"forward:\n  rollup: 1500ms\n", "is no whole number of seconds"},
		"long roll-up":   {"forward:\n  rollup: 2h\n", "is not between 0s and 1h0m0s"},
		"nobody":         {"forward:\n  rollup: 60s\n", "names no businesses"},
		"no key":         {"forward:\n  businesses:\n    acct_demo: {api_base: \"http://127.0.0.1:1\"}\n", "there is no key"},
		"two keys":       {"forward:\n  businesses:\n    acct_demo: {stripe_key: sk_test_secret9, stripe_key_env: X}\n", "there is more than one key"},
		"no variable":    {"forward:\n  businesses:\n    acct_demo: {stripe_key_env: TOLLGATE_TEST_NONE}\n", "TOLLGATE_TEST_NONE is not set"},
		"no file":        {"forward:\n  businesses:\n    acct_demo: {stripe_key_file: /nowhere}\n", "no such file"},
		"publishable":    {"forward:\n  businesses:\n    acct_demo: {stripe_key: pk_test_secret9}\n", "is no secret key of Stripe"},
		"key with space": {"forward:\n  businesses:\n    acct_demo: {stripe_key: \"sk_test_secret9 x\"}\n", "is no secret key of Stripe"},
		"business":       {"forward:\n  businesses:\n    a/b: {stripe_key: sk_test_secret9}\n", "is no business id"},
		"base":           {"forward:\n  businesses:\n    acct_demo: {stripe_key: sk_test_secret9, api_base: api.stripe.com}\n", "is no address"},
		"key as name":    {"forward:\n  businesses:\n    acct_demo: {stripe_key_env: sk_live_secret9}\n", "is a key (it is not shown)"},
		"key as file":    {"forward:\n  businesses:\n    acct_demo: {stripe_key_file: sk_test_secret9}\n", "is a key (it is not shown)"},
		"live in clear":  {"forward:\n  businesses:\n    acct_demo: {stripe_key: sk_live_secret9, api_base: \"http://stripe.example.com\"}\n", "would have a live key sent without TLS"},
		"since":          {"forward:\n  businesses:\n    acct_demo: {stripe_key: sk_test_secret9, since: yesterday}\n", "is no time"},
		"rate":           {"forward:\n  businesses:\n    acct_demo: {stripe_key: sk_test_secret9, events_per_second: -1}\n", "is not between"},
		"not counted":    {"usage: {disabled: true}\nforward:\n  businesses:\n    acct_demo: {stripe_key: sk_test_secret9}\n", "is given with usage.disabled"},
		"misspelt":       {"forward:\n  businesses:\n    acct_demo: {stripe_keys: sk_test_secret9}\n", "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs, code := checkConfigOf(t, c.text)
			if code != exitUsage || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, %q, want %q", code, errs, c.want)
			}
			if strings.Contains(out+errs, "secret9") {
				t.Error("it shows the key")
			}
		})
	}
	t.Setenv("TOLLGATE_TEST_KEY", "rk_live_secret9")
	out, errs, code := checkConfigOf(t, "forward:\n  rollup: 60s\n  mirror_meters: true\n  businesses:\n"+
		"    acct_a: {stripe_key_env: TOLLGATE_TEST_KEY, since: \"2026-12-01T00:00:00Z\"}\n"+
		"    acct_b: {stripe_key: sk_test_secret9, events_per_second: 1000, api_base: \"http://127.0.0.1:1\", meter_events_base: \"http://127.0.0.1:1\"}\n"+
		"    acct_c: {stripe_key_file: "+key+"}\n")
	if code != exitOK || strings.Contains(out, "secret9") || !strings.Contains(out, "stripe_key: sk_test_…") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	printed := out
	if _, errs, code := checkConfigOf(t, strings.ReplaceAll(printed, "sk_test_…", "sk_test_1")); code != exitOK {
		t.Errorf("what it prints is refused: %s", errs)
	}
}
