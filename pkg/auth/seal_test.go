package auth

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	mrand "math/rand/v2"
	"strings"
	"testing"
	"time"
)

// unsealed expects a text back.
func (d *desk) unsealed(t testing.TB, purpose, sealed, want string) {
	t.Helper()
	if got, err := d.Unseal(purpose, sealed); err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// notSealed expects to be refused.
func (d *desk) notSealed(t testing.TB, purpose, sealed string) {
	t.Helper()
	if got, err := d.Unseal(purpose, sealed); err != ErrNotSealed || got != nil {
		t.Errorf("%q for %q: got %q, %v", sealed, purpose, got, err)
	}
}

func TestASealedTextComesBackForItsPurpose(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	other := newDesk(t, SessionConfig{}, KeySpec{Business: "acct_b", Secret: "sk_live_4"}) // another gateway of the cluster
	if err := other.Update(nil, d.signing); err != nil {
		t.Fatal(err)
	}
	stranger := newDesk(t, SessionConfig{})
	for n := range SealedTextBytesMax + 1 {
		text := make([]byte, n)
		rand.Read(text)
		before := bytes.Clone(text)
		sealed := d.Seal("events", text)
		if !bytes.Equal(text, before) {
			t.Fatal("the text was changed")
		}
		for _, c := range []byte(sealed) {
			if !isAlphanumeric(c) && c != '_' && c != '-' {
				t.Fatalf("%q in %s", c, sealed)
			}
		}
		d.unsealed(t, "events", sealed, string(text))
		other.unsealed(t, "events", sealed, string(text))
		stranger.notSealed(t, "events", sealed)
		for _, purpose := range []string{"", "event", "events ", "events\x00", "Events", "destinations"} {
			d.notSealed(t, purpose, sealed)
		}
		if again := other.Seal("events", text); again != sealed {
			t.Error("two gateways seal the same text in two ways")
		}
	}
	if n := len(d.Seal("", make([]byte, SealedTextBytesMax))); n != sealedBytesMax {
		t.Errorf("the longest has %d characters", n)
	}
	if sealedBytesMax != 1394 {
		t.Errorf("%d characters, which is not what is documented", sealedBytesMax)
	}
	if n := len(d.Seal("", nil)); n != 28 {
		t.Errorf("the shortest has %d characters", n)
	}
}

func TestALongerTextIsNotSealed(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it was sealed, and could not be unsealed")
		}
	}()
	newDesk(t, SessionConfig{}).Seal("events", make([]byte, SealedTextBytesMax+1))
}

// Purpose and text must not run into each other: "ab" of "c" is not "a" of "bc".
func TestWhatIsPurposeAndWhatIsTextIsSettled(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	one, two := d.Seal("ab", []byte("c")), d.Seal("a", []byte("bc"))
	d.notSealed(t, "a", one)
	d.notSealed(t, "ab", two)
	mac := func(sealed string) string {
		raw, _ := base64.RawURLEncoding.DecodeString(sealed)
		return string(raw[len(raw)-sealBytes:])
	}
	if mac(one) == mac(two) {
		t.Error("two texts have one MAC")
	}
}

func TestEveryAlteredSealedTextIsRefused(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	for n := range 4 { // each remainder of a text's length by 3, which is how base64 ends
		sealed := d.Seal("events", []byte("acct")[:n])
		for i := range sealed {
			for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \r\n\x00\xff.") {
				if c != sealed[i] {
					d.notSealed(t, "events", sealed[:i]+string([]byte{c})+sealed[i+1:])
				}
				if altered := sealed[:i] + string([]byte{c}) + sealed[i:]; altered != sealed {
					d.notSealed(t, "events", altered)
				}
			}
			d.notSealed(t, "events", sealed[:i])
			d.notSealed(t, "events", sealed[:i]+sealed[i+1:])
		}
		for _, tail := range []string{"=", "==", "A", "AA", "AAA", "AAAA", "\n", "\r\n", strings.Repeat("A", sealedBytesMax), strings.Repeat("\n", 40)} {
			d.notSealed(t, "events", sealed+tail)
			d.notSealed(t, "events", tail+sealed)
		}
		raw, _ := base64.RawURLEncoding.DecodeString(sealed)
		for bit := range len(raw) * 8 {
			altered := bytes.Clone(raw)
			altered[bit/8] ^= 1 << (bit % 8)
			d.notSealed(t, "events", base64.RawURLEncoding.EncodeToString(altered))
		}
	}
}

func TestWhatIsNothingSealedIsRefused(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	for n := range 40 { // line breaks are nothing to a base64 decoder
		d.notSealed(t, "events", strings.Repeat("\n", n))
		d.notSealed(t, "events", strings.Repeat("A", n))
		d.notSealed(t, "events", "AQ"+strings.Repeat("\n", n))
	}
	// What a later version of this program may make under the same keys is not read as ours.
	next := append([]byte{sealVersion + 1}, d.signing.signer().id[:]...)
	next = append(next, d.signing.signer().seal("events", next)...)
	d.notSealed(t, "events", base64.RawURLEncoding.EncodeToString(next))
	next[0] = sealVersion
	next = append(next[:offSealText], d.signing.signer().seal("events", next[:offSealText])...)
	d.unsealed(t, "events", base64.RawURLEncoding.EncodeToString(next), "")
}

func TestASealedTextIsNoTokenAndATokenIsNotSealed(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	_, token := d.mint(t, demoKey.Secret)
	raw, _ := base64.RawURLEncoding.DecodeString(string(token[len(tokenPrefix):]))
	// Even the very bytes of a token, which have a version and the id of the same key in the same places, and a MAC behind.
	for _, text := range []string{string(token), string(token[len(tokenPrefix):]), base64.RawURLEncoding.EncodeToString(raw[:len(raw)-macBytes+sealBytes])} {
		for _, purpose := range []string{"", "session", "tollgate session token v1"} {
			d.notSealed(t, purpose, text)
		}
	}
	// And what was sealed, with the prefix of a token: the fields of one, whose MAC alone is another.
	sealed := d.Seal("", raw[offSealText:len(raw)-macBytes])
	d.refused(t, []byte(sealed), d.nowMs(), ErrNotAToken)
	d.refused(t, []byte(tokenPrefix+sealed), d.nowMs(), ErrNotAToken)
	state := d.signing.signer().macs.Get().(*macState)
	state.sign(append(state.raw[:0], raw[:len(raw)-macBytes]...))
	if bytes.HasPrefix(state.sum[:], d.signing.signer().seal("", raw[:len(raw)-macBytes])) {
		t.Error("tokens and sealed texts have one key")
	}
	if !strings.HasPrefix(sealed, "A") {
		t.Errorf("%s", sealed)
	}
}

func TestASealedTextSurvivesRotationForAsLongAsAToken(t *testing.T) {
	d := newDesk(t, SessionConfig{})
	sealed := d.Seal("events", []byte("page 2"))
	rotated, err := d.signing.Rotate(rand.Reader, d.now, d.Keep())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Update(nil, rotated); err != nil {
		t.Fatal(err)
	}
	d.unsealed(t, "events", sealed, "page 2")
	young := d.Seal("events", []byte("page 2"))
	if young == sealed {
		t.Error("the old key still seals")
	}
	d.now = d.now.Add(d.Keep() - time.Second)
	d.unsealed(t, "events", sealed, "page 2")
	d.now = d.now.Add(3 * time.Second)
	d.notSealed(t, "events", sealed) // although the key is still there
	d.unsealed(t, "events", young, "page 2")
	if err := d.Update(nil, &SigningKeys{keys: rotated.keys[1:]}); err != nil {
		t.Fatal(err)
	}
	d.notSealed(t, "events", young)
}

// FuzzUnseal starts from texts that are genuine, or nearly, and takes nothing back that was not sealed for the purpose.
func FuzzUnseal(f *testing.F) {
	d := newDesk(f, SessionConfig{})
	d.signing = &SigningKeys{keys: []*signingKey{newSigningKey(bytes.Repeat([]byte{2}, 32), noon, time.Time{})}}
	if err := d.Update(nil, d.signing); err != nil {
		f.Fatal(err)
	}
	dice := mrand.New(mrand.NewPCG(1, 2))
	type made struct{ purpose, sealed string }
	genuine := make(map[made]string)
	for n := range 8 {
		text := make([]byte, n*5)
		for i := range text {
			text[i] = byte(dice.Uint32())
		}
		for _, purpose := range []string{"events", "destinations"} {
			sealed := d.Seal(purpose, text)
			genuine[made{purpose, sealed}] = string(text)
			f.Add("events", sealed)
			f.Add(purpose, sealed+"A")
		}
	}
	f.Add("", "")
	f.Fuzz(func(t *testing.T, purpose, sealed string) {
		text, err := d.Unseal(purpose, sealed)
		want, is := genuine[made{purpose, sealed}]
		if is != (err == nil) || err != nil && (err != ErrNotSealed || text != nil) || string(text) != want {
			t.Fatalf("%q for %q: genuine %v, got %q, %v", sealed, purpose, is, text, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	d := newDesk(b, SessionConfig{})
	text := make([]byte, 24)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Unseal("events", d.Seal("events", text)); err != nil {
			b.Fatal(err)
		}
	}
}
