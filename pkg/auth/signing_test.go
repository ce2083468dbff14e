package auth

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func mustSigning(t testing.TB) *SigningKeys {
	t.Helper()
	s, err := NewSigningKeys(rand.Reader, noon)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustParse(t testing.TB, text string) *SigningKeys {
	t.Helper()
	s, err := ParseSigningKeys([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var secretBytes = bytes.Repeat([]byte{0xfb, 0xef, 0x01, 0x80}, 8)

func TestASigningSecretHasManySpellingsAndOneID(t *testing.T) {
	want := mustParse(t, hex.EncodeToString(secretBytes)).signer()
	for _, text := range []string{
		strings.ToUpper(hex.EncodeToString(secretBytes)),
		base64.StdEncoding.EncodeToString(secretBytes),
		base64.RawStdEncoding.EncodeToString(secretBytes),
		base64.URLEncoding.EncodeToString(secretBytes) + "  created=2026-11-21T12:00:00Z # the first one",
		"# signing keys\n\n   \n\t" + base64.RawURLEncoding.EncodeToString(secretBytes) + "\r\n# end",
	} {
		got := mustParse(t, text).signer()
		if got.id != want.id || !bytes.Equal(got.secret, want.secret) {
			t.Errorf("%q is another key", text)
		}
	}
}

func TestBadSigningKeysAreRefusedByLineAndNotShown(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(secretBytes)
	other := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 33))
	f := func(text, want string) {
		t.Helper()
		s, err := ParseSigningKeys([]byte(text))
		if err == nil || s != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
			return
		}
		for word := range strings.FieldsSeq(text) {
			if len(word) > 12 && strings.Contains(err.Error(), word[:12]) {
				t.Errorf("%v shows the file", err)
			}
		}
	}
	f("", "there is no signing key")
	f("# nothing\n", "there is no signing key")
	f("# comment\n\nsecret!secret!secret!secret!secret!", "line 3: the secret is neither base64 nor hex")
	f(good+"\n"+base64.StdEncoding.EncodeToString(secretBytes[:31]), "line 2: the secret has 31 bytes; it must have 32 to 128")
	f(hex.EncodeToString(bytes.Repeat(secretBytes, 5)), "line 1: the secret has 160 bytes")
	f(hex.EncodeToString(secretBytes[:16]), "line 1: the secret has 24 bytes") // 32 hex digits are read as base64, and still too short
	f(good+"\n\n"+other+"\n"+good, "line 4: this key stands on an earlier line")
	f(good+" creatde=2026-11-21T12:00:00Z", "line 1: behind the secret only")
	f(good+" created=yesterday", "line 1: created= wants a time")
	f(good+"\n"+other+" until=2026-11-21", "line 2: until= wants a time")
	f(good+" until=2026-11-21T12:00:00Z", "line 1: the first key signs")
	var many strings.Builder
	for i := range signingKeysMax + 1 {
		many.WriteString(hex.EncodeToString(bytes.Repeat([]byte{byte(i)}, 32)) + "\n")
	}
	f(many.String(), "there are 17 signing keys; at most 16")
}

func TestTheTextFormIsReadBackTheSame(t *testing.T) {
	s := mustSigning(t)
	for i := range 3 {
		var err error
		if s, err = s.Rotate(rand.Reader, noon.Add(time.Duration(i+1)*time.Minute), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	text := s.AppendText([]byte("# mine\n"))
	again := mustParse(t, string(text))
	if again.Len() != 4 || !bytes.Equal(again.AppendText([]byte("# mine\n")), text) {
		t.Errorf("%s became\n%s", text, again.AppendText(nil))
	}
	if !again.Created().Equal(noon.Add(3 * time.Minute)) {
		t.Errorf("created %v", again.Created())
	}
}

func TestRotationKeepsAKeyForAsLongAsItsTokensLive(t *testing.T) {
	const keep = 15*time.Minute + 30*time.Second
	first := mustSigning(t)
	second, err := first.Rotate(rand.Reader, noon.Add(time.Hour), keep)
	if err != nil {
		t.Fatal(err)
	}
	if second.Len() != 2 || second.signer().id == first.signer().id || second.find(first.signer().id) == nil || !second.signer().until.IsZero() {
		t.Error("the second set is not new key, old key")
	}
	if until := second.find(first.signer().id).until; until.Before(noon.Add(time.Hour + keep)) {
		t.Errorf("the old key verifies until %v only", until)
	}
	if first.Len() != 1 || !first.signer().until.IsZero() {
		t.Error("rotation changed the old set")
	}
	soon, err := second.Rotate(rand.Reader, noon.Add(time.Hour+keep), keep)
	if err != nil || soon.Len() != 3 {
		t.Errorf("%d keys, %v: the first is still needed", soon.Len(), err)
	}
	late, err := second.Rotate(rand.Reader, noon.Add(time.Hour+keep+time.Second), keep)
	if err != nil || late.Len() != 2 || late.find(first.signer().id) != nil {
		t.Errorf("%d keys, %v: the first is not needed any more", late.Len(), err)
	}
}

func TestAKeyThatWaitsForItsTurnSurvivesRotation(t *testing.T) {
	waiting := hex.EncodeToString(secretBytes)
	s := mustParse(t, string(mustSigning(t).AppendText(nil))+waiting+"\n")
	next, err := s.Rotate(rand.Reader, noon.Add(1000*time.Hour), time.Minute)
	if err != nil || next.find(mustParse(t, waiting).signer().id) == nil {
		t.Errorf("the key added by hand is gone (%v)", err)
	}
}

func TestRotationIsBoundedAndReportsBadDice(t *testing.T) {
	s := mustSigning(t)
	var err error
	for range signingKeysMax - 1 {
		if s, err = s.Rotate(rand.Reader, noon, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if _, err = s.Rotate(rand.Reader, noon, time.Hour); err == nil || !strings.Contains(err.Error(), "at most 16") {
		t.Errorf("got %v", err)
	}
	broken := errors.New("no dice")
	if _, err = s.Rotate(iotest.ErrReader(broken), noon, time.Hour); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err = NewSigningKeys(io.LimitReader(rand.Reader, 31), noon); err == nil {
		t.Error("a short secret was taken")
	}
	if _, err = mustSigning(t).Rotate(bytes.NewReader(mustSigning(t).signer().secret), noon, time.Hour); err != nil {
		t.Errorf("got %v", err)
	}
	same := mustSigning(t)
	if _, err = same.Rotate(bytes.NewReader(same.signer().secret), noon, time.Hour); err == nil {
		t.Error("dice that repeat themselves were taken")
	}
}
