package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The text form of signing keys, for a file or a list in the configuration: a key a line, the one that signs first.
//
//	# comments and empty lines are skipped
//	<secret> [created=<RFC 3339>] [until=<RFC 3339>]
//
// The secret is 32 to 128 bytes in base64, of either alphabet and padded or not, or in hex. What consists of an even
// number of at least 64 hex digits and nothing else is hex.

// ParseSigningKeys reads the text form. Errors name the line and never show what is in it.
func ParseSigningKeys(text []byte) (*SigningKeys, error) {
	s := &SigningKeys{}
	line := 0
	for raw := range bytes.Lines(text) {
		line++
		words := strings.Fields(string(raw))
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		key, err := parseSigningLine(words)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if s.find(key.id) != nil {
			return nil, fmt.Errorf("line %d: this key stands on an earlier line too", line)
		}
		if len(s.keys) == 0 && !key.until.IsZero() {
			return nil, fmt.Errorf("line %d: the first key signs, so it can not have until=…; put the key that is to sign first", line)
		}
		s.keys = append(s.keys, key)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, nil
}

func parseSigningLine(words []string) (*signingKey, error) {
	secret, err := parseSigningSecret(words[0])
	if err != nil {
		return nil, err
	}
	var created, until time.Time
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		if strings.HasPrefix(word, "#") {
			break
		}
		var at *time.Time
		switch name {
		case "created":
			at = &created
		case "until":
			at = &until
		default:
			return nil, errors.New("behind the secret only created=… and until=… may stand, and a # comment")
		}
		if *at, err = time.Parse(time.RFC3339, value); err != nil {
			return nil, fmt.Errorf("%s= wants a time such as 2026-11-21T12:00:00Z", name)
		}
	}
	return newSigningKey(secret, created, until), nil
}

func parseSigningSecret(word string) ([]byte, error) {
	secret, err := hex.DecodeString(word)
	if err != nil || len(secret) < signingSecretBytesMin {
		// The two alphabets differ in two characters, and padding is no information: one spelling for all.
		plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(word, "="))
		if secret, err = base64.RawStdEncoding.DecodeString(plain); err != nil {
			return nil, errors.New("the secret is neither base64 nor hex")
		}
	}
	if len(secret) < signingSecretBytesMin || len(secret) > signingSecretBytesMax {
		return nil, fmt.Errorf("the secret has %d bytes; it must have %d to %d, as from `openssl rand -base64 32`",
			len(secret), signingSecretBytesMin, signingSecretBytesMax)
	}
	return secret, nil
}

// AppendText appends the text form: secrets in clear, so it belongs in a file that only the gateway can read.
func (s *SigningKeys) AppendText(dst []byte) []byte {
	dst = append(dst, "# Signing keys of meter event session tokens. The first line signs, all verify. Keep this file secret.\n"...)
	for _, k := range s.keys {
		dst = base64.RawURLEncoding.AppendEncode(dst, k.secret)
		if !k.created.IsZero() {
			dst = k.created.UTC().AppendFormat(append(dst, " created="...), time.RFC3339)
		}
		if !k.until.IsZero() {
			dst = k.until.UTC().AppendFormat(append(dst, " until="...), time.RFC3339)
		}
		dst = append(dst, '\n')
	}
	return dst
}
