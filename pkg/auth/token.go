package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
)

// A session token is tokenPrefix and the base64url, without padding, of
//
//	offset  bytes  field
//	     0      1  version, 1
//	     1      4  signing key id
//	     5      1  mode: 0 test, 1 live
//	     6      8  API key fingerprint
//	    14     16  session id
//	    30      8  created, Unix ms, big-endian
//	    38      8  expires, Unix ms, big-endian
//	    46      n  business id, 1 <= n <= 64
//	  46+n     32  HMAC-SHA256 of everything before
//
// The MAC is not truncated: 16 bytes would do, but the token is far from its limit as it is. With the longest business
// id it has 195 characters. There is no length field: the business id is what remains.
//
// A token has one spelling. Base64 leaves bits over in its last character, and decoders skip line breaks; so what was
// decoded is encoded again and compared, and two different texts are never the same token.
const (
	tokenPrefix  = "tgst_" // never sk_, rk_ or pk_: those are API keys to SDKs, to us, and to scanners for leaked secrets
	tokenVersion = 1

	offKeyID       = 1
	offMode        = 5
	offFingerprint = 6
	offSession     = 14
	offCreated     = 30
	offExpires     = 38
	offBusiness    = 46

	macBytes         = sha256.Size
	tokenRawBytesMin = offBusiness + 1 + macBytes
	tokenRawBytesMax = offBusiness + BusinessBytesMax + macBytes
	tokenBytesMin    = len(tokenPrefix) + (tokenRawBytesMin*8+5)/6
	tokenBytesMax    = len(tokenPrefix) + (tokenRawBytesMax*8+5)/6
)

var tokenEncoding = base64.RawURLEncoding.Strict()

func hasTokenPrefix(text []byte) bool {
	return len(text) >= len(tokenPrefix) && string(text[:len(tokenPrefix)]) == tokenPrefix
}

// appendToken appends the token of s, signed with k.
func appendToken(dst []byte, k *signingKey, s *Session) []byte {
	state := k.macs.Get().(*macState)
	defer k.macs.Put(state)
	raw := append(state.raw[:0], tokenVersion)
	raw = append(raw, k.id[:]...)
	if s.Livemode {
		raw = append(raw, 1)
	} else {
		raw = append(raw, 0)
	}
	raw = append(raw, s.KeyID[:]...)
	raw = append(raw, s.ID[:]...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(s.CreatedMs))
	raw = binary.BigEndian.AppendUint64(raw, uint64(s.ExpiresMs))
	raw = append(raw, s.Business...)
	state.sign(raw)
	raw = append(raw, state.sum[:]...)
	dst = append(dst, tokenPrefix...)
	return tokenEncoding.AppendEncode(dst, raw)
}

// claims is what a token says.
type claims struct {
	livemode             bool
	fingerprint          [8]byte
	session              [16]byte
	createdMs, expiresMs int64
	business             [BusinessBytesMax]byte
	businessBytes        int
}

// open verifies a token and returns what it says, and the key that signed it. Nothing of a token is believed before its
// MAC is verified, except the id of the key to verify it with. The token may still be expired, or revoked, and the key
// retired. nowMs only chooses the words for a token whose key is unknown.
func (s *SigningKeys) open(token []byte, nowMs int64) (claims, *signingKey, error) {
	if !hasTokenPrefix(token) {
		if isKeyShaped(token) {
			return claims{}, nil, ErrKeyAsToken
		}
		return claims{}, nil, ErrNotAToken
	}
	if len(token) < tokenBytesMin || len(token) > tokenBytesMax {
		return claims{}, nil, ErrNotAToken
	}
	text := token[len(tokenPrefix):]
	var head [6]byte // 8 characters, enough for version and key id
	if n, err := tokenEncoding.Decode(head[:], text[:8]); err != nil || n != len(head) || head[0] != tokenVersion {
		return claims{}, nil, ErrNotAToken
	}
	key := s.find([4]byte(head[offKeyID:]))
	if key == nil {
		return claims{}, nil, unknownSigner(text, nowMs)
	}
	state := key.macs.Get().(*macState)
	defer key.macs.Put(state)
	n, err := tokenEncoding.Decode(state.raw[:], text)
	if err != nil || n < tokenRawBytesMin {
		return claims{}, nil, ErrNotAToken
	}
	raw := state.raw[:n]
	if again := tokenEncoding.AppendEncode(state.text[:0], raw); !bytes.Equal(again, text) {
		return claims{}, nil, ErrNotAToken
	}
	signed, mac := raw[:n-macBytes], raw[n-macBytes:]
	state.sign(signed)
	if subtle.ConstantTimeCompare(state.sum[:], mac) != 1 {
		return claims{}, nil, ErrNotAToken
	}
	return parseClaims(signed), key, nil
}

// parseClaims reads the fields of a token without its MAC; len(raw) is at least offBusiness.
func parseClaims(raw []byte) claims {
	c := claims{
		livemode:    raw[offMode] == 1,
		fingerprint: [8]byte(raw[offFingerprint:]),
		session:     [16]byte(raw[offSession:]),
		createdMs:   int64(binary.BigEndian.Uint64(raw[offCreated:])),
		expiresMs:   int64(binary.BigEndian.Uint64(raw[offExpires:])),
	}
	c.businessBytes = copy(c.business[:], raw[offBusiness:])
	return c
}

// unknownSigner chooses the words for a token that can not be verified because its signing key is not here. It is
// refused either way. But a client that slept through a rotation must be told that its session has expired, or it will
// never open a new one; so a token that says of itself that it has expired is believed in that, whoever made it.
func unknownSigner(text []byte, nowMs int64) error {
	var raw [tokenRawBytesMax]byte
	n, err := tokenEncoding.Decode(raw[:], text)
	if err != nil || n < tokenRawBytesMin {
		return ErrNotAToken
	}
	if parseClaims(raw[:n-macBytes]).expiresMs <= nowMs {
		return ErrExpired
	}
	return ErrUnknownSigningKey
}

// isKeyShaped says whether a credential looks like an API key, of any kind.
func isKeyShaped(text []byte) bool {
	return len(text) > 3 && (text[0] == 's' || text[0] == 'r' || text[0] == 'p') && string(text[1:3]) == "k_"
}
