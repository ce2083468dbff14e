package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tollgate/pkg/auth"
)

func TestDefaultKeyIsMadeOnceAndReadableByTheOwnerAlone(t *testing.T) {
	dir := t.TempDir()
	key, path, err := defaultKey(dir)
	if err != nil || !strings.HasPrefix(key, "sk_test_") {
		t.Fatalf("%q, %v", key, err)
	}
	if again, _, err := defaultKey(dir); again != key || err != nil {
		t.Fatalf("the next start has %q (%v), the first had %q", again, err, key)
	}
	checkMode(t, path)
	if _, err := auth.NewKeys([]auth.KeySpec{{Business: defaultBusiness, Secret: key}}); err != nil {
		t.Fatal(err)
	}
	write(t, path, "garbage")
	if _, _, err := defaultKey(dir); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove the file") {
		t.Fatalf("a broken file: %v", err)
	}
}

func TestSessionKeysRotateDailyAndRefuseNoToken(t *testing.T) {
	cfg := defaults()
	cfg.DataDir = t.TempDir()
	start := time.Now()
	first, err := sessionKeys(&cfg, start)
	if err != nil {
		t.Fatal(err)
	}
	checkMode(t, filepath.Join(cfg.DataDir, sessionKeysFile))

	keys, err := auth.NewKeys([]auth.KeySpec{{Business: "a", Secret: "sk_test_1"}})
	if err != nil {
		t.Fatal(err)
	}
	now := start
	sessions, err := auth.NewSessions(auth.SessionConfig{Now: func() time.Time { return now }}, keys, first)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := keys.Authenticate([]byte("Bearer sk_test_1"))
	now = start.Add(sessionKeysLife - time.Second)
	_, token, err := sessions.Mint(key, key.Business)
	if err != nil {
		t.Fatal(err)
	}
	if same, _ := sessionKeys(&cfg, now); same.Created() != first.Created() {
		t.Fatal("rotated before its time")
	}
	now = start.Add(sessionKeysLife + time.Second)
	second, err := sessionKeys(&cfg, now)
	if err != nil || second.Len() != 2 || !second.Created().After(first.Created()) {
		t.Fatalf("not rotated: %v, %v", second, err)
	}
	if err := sessions.Update(nil, second); err != nil {
		t.Fatal(err)
	}
	if _, err := sessions.Verify(token, now.UnixMilli()); err != nil {
		t.Fatalf("a token of the old key, a moment after the rotation: %v", err)
	}
	end := now.Add(cfg.SessionTTL.Duration + sessionGrace - 5*time.Second)
	if _, err := sessions.Verify(token, end.UnixMilli()); err != nil {
		t.Fatalf("a token of the old key at the end of its life and grace: %v", err)
	}
}

func TestSharedSessionKeysAreReadAndNeverWritten(t *testing.T) {
	cfg := defaults()
	cfg.DataDir = t.TempDir()
	cfg.SessionKeys = filepath.Join(t.TempDir(), "keys")
	text := strings.Repeat("ab", 32) + " created=2020-01-01T00:00:00Z\n"
	write(t, cfg.SessionKeys, text)
	if _, err := sessionKeys(&cfg, time.Now()); err != nil {
		t.Fatal(err)
	}
	if now, _ := os.ReadFile(cfg.SessionKeys); string(now) != text {
		t.Fatalf("the operator's file was changed to %q", now)
	}
	write(t, cfg.SessionKeys, "# keys\nsecret-but-short\n")
	_, err := sessionKeys(&cfg, time.Now())
	if err == nil || !strings.Contains(err.Error(), cfg.SessionKeys+": line 2") || strings.Contains(err.Error(), "secret-but-short") {
		t.Fatalf("a broken file: %v", err)
	}
}

func checkMode(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %o", path, info.Mode().Perm())
	}
}
