package stage

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func script(t *testing.T, text string) PeerConfig {
	t.Helper()
	return PeerConfig{
		Name: "p", Run: []string{"sh", "-c", text}, WorkDir: t.TempDir(), Out: t.TempDir(), Dir: t.TempDir(), Brokers: []string{"127.0.0.1:1"}, Topic: "usage",
	}
}

func TestAProgramThatMakesItsOwnLoadSaysAtItsEndWhatItDid(t *testing.T) {
	c := script(t, `echo hello; echo '{"records":1}'; [ "$PEER_KAFKA $PEER_TOPIC {out}" = "127.0.0.1:1 usage $OUT" ] && [ -d "$PEER_DIR" ] && [ "$PWD" = "`+"$WANT"+`" ] &&
		echo "{\"records\":10,\"bytes\":$PEER_BATCH_BYTES,\"seconds\":$PEER_SECONDS}"; echo bye >&2`)
	t.Setenv("WANT", c.WorkDir)
	t.Setenv("OUT", c.Out)
	said, err := RunPeer(context.Background(), c, 1500*time.Millisecond, 4096, 0)
	if err != nil || said.Records != 10 || said.Bytes != 4096 || said.Seconds != 1.5 || said.RSSMaxMiB == 0 {
		t.Errorf("%+v, %v", said, err)
	}
	for text, want := range map[string]string{
		"echo no such topic; exit 3": "code 3: no such topic",
		"echo done":                  "did not say at its end",
		`echo '{"records":"many"}'`:  "did not say at its end",
	} {
		if _, err := RunPeer(context.Background(), script(t, text), time.Second, 1, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := RunPeer(ctx, script(t, "sleep 60"), time.Second, 1, 0); err == nil {
		t.Error("a program was waited for when nobody wanted it any more")
	}
}

func TestAServerThatEndsBeforeItServesIsAnError(t *testing.T) {
	if p, err := StartPeer(context.Background(), script(t, "exit 1")); err == nil {
		p.Kill()
		t.Error("it serves")
	}
}

func TestAPeerIsBuiltWhereItsSourcesAre(t *testing.T) {
	work, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "source"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := BuildPeer(context.Background(), []string{"cp", "source", "{out}/product"}, work, out); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(out, "product")); err != nil {
		t.Error(err)
	}
	if err := BuildPeer(context.Background(), []string{"cp", "no-such", "{out}/product"}, work, out); err == nil || !strings.Contains(err.Error(), "no-such") {
		t.Errorf("%v", err)
	}
	if err := BuildPeer(context.Background(), nil, work, out); err != nil {
		t.Errorf("nothing to build: %v", err)
	}
}
