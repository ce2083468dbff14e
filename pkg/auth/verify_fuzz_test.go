package auth

import (
	"bytes"
	"testing"
)

// FuzzVerify starts from tokens that are genuine, or nearly, and accepts nothing that was not minted. The signing keys
// are the same in every run, so that a corpus of genuine tokens stays genuine.
func FuzzVerify(f *testing.F) {
	d := newDesk(f, SessionConfig{}, demoKey, KeySpec{Business: "acct_b", Secret: "sk_live_4"})
	old, young := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	d.signing = &SigningKeys{keys: []*signingKey{newSigningKey(young, noon, noon.Add(0)), newSigningKey(old, noon, noon)}}
	d.signing.keys[0].until = d.signing.keys[0].until.AddDate(1, 0, 0)
	if err := d.Update(nil, d.signing); err != nil {
		f.Fatal(err)
	}
	minted := make(map[string]Session)
	for i := range byte(8) {
		for _, key := range d.keys.byID {
			session := Session{
				ID: [16]byte{i}, Business: key.Business, Livemode: key.Livemode, KeyID: key.ID, Key: key,
				CreatedMs: d.nowMs(), ExpiresMs: d.nowMs() + ttlMs, SigningKey: d.signing.keys[0].id,
			}
			token := appendToken(nil, d.signing.keys[0], &session)
			minted[string(token)] = session
			f.Add(token)
			f.Add(appendToken(nil, d.signing.keys[1], &session)) // a retired key's
			session.ExpiresMs = d.nowMs() - graceMs
			f.Add(appendToken(nil, d.signing.keys[0], &session)) // expired
		}
	}
	f.Add([]byte("tgst_"))
	f.Add([]byte("sk_test_123"))
	f.Fuzz(func(t *testing.T, token []byte) {
		before := bytes.Clone(token)
		session, err := d.Verify(token, d.nowMs())
		if !bytes.Equal(token, before) {
			t.Fatal("the token was changed")
		}
		want, genuine := minted[string(token)]
		if genuine != (err == nil) || (session == nil) != (err != nil) {
			t.Fatalf("%q: genuine %v, got %+v, %v", token, genuine, session, err)
		}
		if genuine && *session != want {
			t.Fatalf("got %+v, want %+v", *session, want)
		}
	})
}
