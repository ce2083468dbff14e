package auth

import "errors"

// Why a credential was refused. Each has its own answer to the client, in package stripe.
var (
	// ErrNoCredentials: there is no Authorization header, or an empty one.
	ErrNoCredentials = errors.New("no credentials")
	// ErrBadAuthorization: the header is neither Bearer nor Basic, or is damaged.
	ErrBadAuthorization = errors.New("the Authorization header can not be read")
	// ErrUnknownKey: no such API key.
	ErrUnknownKey = errors.New("unknown API key")
	// ErrTokenAsKey: a session token was given where an API key is needed.
	ErrTokenAsKey = errors.New("a session token is not an API key")
	// ErrKeyAsToken: an API key was given where a session token is needed.
	ErrKeyAsToken = errors.New("an API key is not a session token")
	// ErrNotAToken: not a token that any gateway with our signing keys made.
	ErrNotAToken = errors.New("not a session token")
	// ErrUnknownSigningKey: shaped like a token, but signed with a key that we do not have.
	ErrUnknownSigningKey = errors.New("the session token's signing key is unknown")
	// ErrExpired: the token's time is over, grace included.
	ErrExpired = errors.New("the session token has expired")
	// ErrRevoked: the token is sound, but the API key it came from is gone, or may no longer act for its business.
	ErrRevoked = errors.New("the session token's API key was removed")
	// ErrNotActingFor: a session was to be opened for an account that the key may not act for.
	ErrNotActingFor = errors.New("the API key may not act for this account")
	// ErrNotSealed: not a text that was sealed for this purpose, under signing keys that are in force.
	ErrNotSealed = errors.New("not a sealed text for this purpose")
)
