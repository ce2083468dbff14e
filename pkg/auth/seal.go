package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// A sealed text is what the gateway gives to a client and takes back unchanged, such as a page of a list. Anybody can read
// it; nobody but a gateway with the same signing keys can make one. It is the base64url, without padding, of
//
//	offset  bytes  field
//	     0      1  version, 1
//	     1      4  signing key id
//	     5      n  the text, 0 <= n <= 1024
//	   5+n     16  the first half of the HMAC-SHA256 of everything before
//
// The key of the MAC is derived from the signing secret for sealed texts and for the purpose. So one that was sealed for
// another purpose is as foreign as a forged one, and a session token and a sealed text can never be taken for each other:
// neither's MAC can be computed with the other's key. (Nor do they look alike: a session token begins with tgst_, a sealed
// text with the A of its version.)
//
// Half of the MAC are 128 bits, which is plenty for what a client can only try out by asking, and keeps URLs short.
// As with tokens, there is one spelling of each: what was decoded is encoded again and compared.
const (
	sealVersion = 1
	offSealText = 5
	sealBytes   = sha256.Size / 2

	// SealedTextBytesMax is the longest text that can be sealed, 1 KiB. Sealed it has 1394 characters.
	SealedTextBytesMax = 1024
	sealedRawBytesMax  = offSealText + SealedTextBytesMax + sealBytes
	sealedBytesMax     = (sealedRawBytesMax*8 + 5) / 6
)

// Seal makes a text that Unseal takes back for the same purpose, at every gateway with the same signing keys: letters,
// digits, '-' and '_'. It says the same for the same text as long as the keys stay.
//
// purpose is any text. What stands in it is bound to the sealed text without making that longer: a list's account and
// filters, so that its pages belong to no other list. text is at most SealedTextBytesMax; a longer one is a bug.
func (s *Sessions) Seal(purpose string, text []byte) string {
	if len(text) > SealedTextBytesMax {
		panic(fmt.Sprintf("BUG: %d bytes are to be sealed, at most %d are possible", len(text), SealedTextBytesMax))
	}
	key := s.state.Load().signing.signer()
	raw := make([]byte, 0, offSealText+len(text)+sealBytes)
	raw = append(raw, sealVersion)
	raw = append(raw, key.id[:]...)
	raw = append(raw, text...)
	raw = append(raw, key.seal(purpose, raw)...)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// Unseal returns the text of what Seal made for the purpose. The error is ErrNotSealed for everything else: what was
// altered, or sealed for another purpose, or under a key that is not in force any more. A rotated key is in force for Keep
// longer, as for session tokens.
func (s *Sessions) Unseal(purpose, sealed string) (text []byte, err error) {
	if len(sealed) > sealedBytesMax {
		return nil, ErrNotSealed
	}
	raw, err := tokenEncoding.DecodeString(sealed)
	if err != nil || len(raw) < offSealText+sealBytes || raw[0] != sealVersion {
		return nil, ErrNotSealed
	}
	if again := tokenEncoding.AppendEncode(nil, raw); !bytes.Equal(again, []byte(sealed)) {
		return nil, ErrNotSealed
	}
	key := s.state.Load().signing.find([4]byte(raw[1:]))
	if key == nil || s.config.Now().UnixMilli() >= key.untilMs() {
		return nil, ErrNotSealed
	}
	signed, mac := raw[:len(raw)-sealBytes], raw[len(raw)-sealBytes:]
	if !hmac.Equal(key.seal(purpose, signed), mac) { // in constant time
		return nil, ErrNotSealed
	}
	return signed[offSealText:], nil
}

// seal is the MAC of a sealed text. Its key is made anew each time, another HMAC: who asks for a page is not in a hurry of
// a microsecond, and a key kept for each purpose would be one more thing to bound.
func (k *signingKey) seal(purpose string, message []byte) []byte {
	mac := hmac.New(sha256.New, derive(k.secret, "tollgate sealed text v1\x00"+purpose))
	mac.Write(message)
	return mac.Sum(nil)[:sealBytes]
}
