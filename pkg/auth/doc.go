// Package auth decides who is asking: API keys, what restricted keys may do, for which accounts, and meter event session
// tokens.
//
// Three types are immutable. A Key is one API key as the rest of the gateway knows it: business, mode, permissions, the
// connected accounts it may act for, and a public fingerprint. Keys are the configured API keys of every business, held
// as salted hashes only. SigningKeys are the secrets that session tokens are signed with: the first signs, all verify.
// Sessions alone changes: it holds the Keys and SigningKeys in force, mints tokens and verifies them, and its Update
// replaces both at once.
//
//	keys, err := auth.NewKeys([]auth.KeySpec{{Business: "acct_demo", Secret: "sk_test_123"}})
//	signing, err := auth.NewSigningKeys(rand.Reader, time.Now())
//	sessions, err := auth.NewSessions(auth.SessionConfig{}, keys, signing)
//
//	key, err := keys.Authenticate(header)               // POST /v2/billing/meter_event_session
//	session, token, err := sessions.Mint(key, business) // the key's own, or one of its accounts
//	token = sessions.Token(&session)                    // the same once more, at any gateway with these signing keys
//
//	token, err = auth.Credential(header, scratch)       // POST /v2/billing/meter_event_stream
//	session, err = sessions.Verify(token, nowMs)
//
// A session token carries everything that its verification needs, so that any gateway with the same signing keys
// accepts it without asking anybody (D12). token.go draws its bytes. Tokens that verified are remembered in a cache of
// bounded size; a remembered token costs one comparison, any other one an HMAC-SHA256.
//
// What else a client is given to bring back, such as a page of a list, is sealed under the same signing keys, which
// every gateway of a cluster has: Seal and Unseal. seal.go draws those bytes.
//
//	page := sessions.Seal("events of acct_demo", position)
//	position, err = sessions.Unseal("events of acct_demo", page)
//
// Everything here may be called from many goroutines at once. Errors are the sentinels of errors.go; no error and no
// String ever holds a secret.
//
// The package does no I/O and keeps no clock: files, reloads and the time are the caller's. It does not limit rates,
// keep a list of live sessions, or end one session alone: remove the API key that opened it, or the account from the key,
// and all of its sessions end.
package auth
