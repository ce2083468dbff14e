package auth

import (
	"bytes"
	"encoding/base64"
)

const (
	// authorizationBytesMax is the longest header value that is looked at: the longest token in base64, and a scheme.
	authorizationBytesMax = 600
	// CredentialBytesMax is the longest credential that can come out of one.
	CredentialBytesMax = authorizationBytesMax
)

// Credential takes the key or token out of an Authorization header: what follows "Bearer", or the user name of
// "Basic", whose password must be empty. The scheme's case does not matter. The result is a view into authorization or
// scratch. The error is ErrNoCredentials or ErrBadAuthorization.
func Credential(authorization []byte, scratch *[CredentialBytesMax]byte) ([]byte, error) {
	authorization = bytes.Trim(authorization, " \t")
	if len(authorization) == 0 {
		return nil, ErrNoCredentials
	}
	if len(authorization) > authorizationBytesMax {
		return nil, ErrBadAuthorization
	}
	scheme, rest, _ := bytes.Cut(authorization, []byte{' '})
	rest = bytes.TrimLeft(rest, " ")
	isBearer := equalFoldASCII(scheme, "bearer")
	switch {
	case !isBearer && !equalFoldASCII(scheme, "basic"):
		return nil, ErrBadAuthorization
	case len(rest) == 0:
		return nil, ErrNoCredentials // what an SDK sends whose key is the empty string
	case isBearer:
		return rest, nil
	}
	return basicUser(rest, scratch)
}

func basicUser(text []byte, scratch *[CredentialBytesMax]byte) ([]byte, error) {
	n, err := base64.StdEncoding.Decode(scratch[:], text)
	if err != nil {
		return nil, ErrBadAuthorization
	}
	user, found := bytes.CutSuffix(scratch[:n], []byte{':'})
	if !found || bytes.IndexByte(user, ':') >= 0 {
		return nil, ErrBadAuthorization // no colon, or a password: nothing of ours has one, so something is mixed up
	}
	if len(user) == 0 {
		return nil, ErrNoCredentials
	}
	return user, nil
}

// equalFoldASCII compares with a word in lower case.
func equalFoldASCII(text []byte, lower string) bool {
	if len(text) != len(lower) {
		return false
	}
	for i := range text {
		if text[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}
