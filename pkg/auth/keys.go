package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
)

// Bounds of what is configured.
const (
	// BusinessBytesMax is the longest business id. It bounds a token, see token.go.
	BusinessBytesMax = 64
	// secretBytesMax is the longest API key; Stripe's have some 110 bytes.
	secretBytesMax = 255
)

// KeySpec is an API key as it is configured. Who reads the configuration should forget it after NewKeys.
type KeySpec struct {
	// Business is the id that the key acts for: letters, digits, '_', '-' and '.'.
	Business string
	// Secret begins with sk_test_, sk_live_, rk_test_ or rk_live_, which gives kind and mode.
	Secret string
	// Permissions of a restricted key (rk_), by name; none means that it may do nothing. A secret key (sk_) may do
	// everything and takes none.
	Permissions []string
	// Accounts are the connected accounts that the key may act for beside its own business; each is the id of a business,
	// which may have keys of its own or none. In the mode of the key and with its permissions.
	Accounts []string
}

// String is what may be printed of a spec.
func (s KeySpec) String() string { return s.Business + ":" + secretPrefix(s.Secret) + "…" }

// GoString is String: %#v would show the secret otherwise.
func (s KeySpec) GoString() string { return s.String() }

// where says in an error which key is meant. A text that does not begin like a key may be any secret, pasted into the
// wrong place: nothing of it is shown.
func (s KeySpec) where() string {
	if prefix := secretPrefix(s.Secret); prefix != "" {
		return "business " + s.Business + ", key " + prefix + "…"
	}
	return "business " + s.Business
}

// Key is one API key, without its secret. It is immutable; the same *Key is returned for the life of its Keys.
type Key struct {
	Business string
	Livemode bool
	// ID is the fingerprint: the same at every gateway and after every restart, fit for logs and tokens. It is a
	// truncated SHA-256 of the secret, which does not help to find a secret that was drawn at random.
	ID         [8]byte
	Permission Permission

	accounts []string          // sorted
	digest   [sha256.Size]byte // salted, to compare with in constant time
}

// Has says whether the key has every permission of the set.
func (k *Key) Has(p Permission) bool { return k.Permission&p == p }

// Lacks is what is missing of the set; 0 when the key has it all.
func (k *Key) Lacks(p Permission) Permission { return p &^ k.Permission }

// Keys is the API keys of all businesses. It is immutable.
//
// A secret is looked up by its hash with a salt that is drawn anew for each Keys: what a map does with such a hash
// takes a time that tells an attacker nothing about any secret, since he can not compute the hash of his guesses.
type Keys struct {
	salt     [32]byte
	byDigest map[[sha256.Size]byte]*Key
	byID     map[[8]byte]*Key
}

// NewKeys checks the configured keys and hashes them. Its errors name the business, and of a secret its prefix at most.
func NewKeys(specs []KeySpec) (*Keys, error) {
	k := &Keys{
		byDigest: make(map[[sha256.Size]byte]*Key, len(specs)),
		byID:     make(map[[8]byte]*Key, len(specs)),
	}
	rand.Read(k.salt[:]) // never fails: the process dies first
	for _, spec := range specs {
		if err := k.add(spec); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (k *Keys) add(spec KeySpec) error {
	if err := checkBusiness(spec.Business); err != nil {
		return err
	}
	key := &Key{Business: spec.Business}
	restricted, livemode, err := parseSecret(spec.Secret)
	if err != nil {
		return fmt.Errorf("%s: %w", spec.where(), err)
	}
	key.Livemode = livemode
	if key.Permission, err = parsePermissions(spec.Permissions); err != nil {
		return fmt.Errorf("%s: %w", spec.where(), err)
	}
	if !restricted {
		if spec.Permissions != nil {
			return fmt.Errorf("%s: a secret key may do everything and takes no permissions; use a restricted key (rk_…) to limit it", spec.where())
		}
		key.Permission = allPermissions
	}
	if key.accounts, err = parseAccounts(spec); err != nil {
		return fmt.Errorf("%s: accounts: %w", spec.where(), err)
	}
	key.digest = k.hash([]byte(spec.Secret))
	key.ID = fingerprint(spec.Secret)
	if other := k.byID[key.ID]; other != nil {
		return fmt.Errorf("%s: the same key is listed before, for business %s", spec.where(), other.Business)
	}
	k.byDigest[key.digest], k.byID[key.ID] = key, key
	return nil
}

// Len is the number of keys.
func (k *Keys) Len() int { return len(k.byID) }

// ByID finds a key by its fingerprint, nil when there is none.
func (k *Keys) ByID(id [8]byte) *Key { return k.byID[id] }

// Authenticate finds the key in an Authorization header: "Bearer <key>", or "Basic" with the key as user name and an
// empty password. It allocates nothing. The error is ErrNoCredentials, ErrBadAuthorization, ErrTokenAsKey or
// ErrUnknownKey.
func (k *Keys) Authenticate(authorization []byte) (*Key, error) {
	var scratch [CredentialBytesMax]byte
	secret, err := Credential(authorization, &scratch)
	if err != nil {
		return nil, err
	}
	if len(secret) > secretBytesMax {
		if hasTokenPrefix(secret) {
			return nil, ErrTokenAsKey
		}
		return nil, ErrUnknownKey
	}
	digest := k.hash(secret)
	key := k.byDigest[digest]
	// The map has compared the digests already, in a time that is its own affair; this one is constant by contract.
	if key == nil || subtle.ConstantTimeCompare(key.digest[:], digest[:]) != 1 {
		if hasTokenPrefix(secret) {
			return nil, ErrTokenAsKey
		}
		return nil, ErrUnknownKey
	}
	return key, nil
}

// hash is SHA-256 of salt and secret. The salt comes first and the digest stays in this process, so there is nothing
// that a length extension could be used for. len(secret) <= secretBytesMax.
func (k *Keys) hash(secret []byte) [sha256.Size]byte {
	var text [len(k.salt) + secretBytesMax]byte
	copy(text[:], k.salt[:])
	n := copy(text[len(k.salt):], secret)
	return sha256.Sum256(text[:len(k.salt)+n])
}

func fingerprint(secret string) (id [8]byte) {
	sum := sha256.Sum256([]byte("tollgate api key fingerprint v1\x00" + secret))
	copy(id[:], sum[:])
	return id
}

func checkBusiness(id string) error {
	if isKeyShaped([]byte(id)) {
		return errors.New("a business id begins like an API key; the business comes first, then its key")
	}
	if id == "" || len(id) > BusinessBytesMax {
		return fmt.Errorf("business id %.80q: it must have 1 to %d characters", id, BusinessBytesMax)
	}
	for _, c := range []byte(id) {
		if !isAlphanumeric(c) && c != '_' && c != '-' && c != '.' {
			return fmt.Errorf("business id %q: only letters, digits, '_', '-' and '.' may be in it, for it becomes part of the log's keys", id)
		}
	}
	return nil
}

// secretPrefixes gives kind and mode.
var secretPrefixes = [...]struct {
	text                 string
	restricted, livemode bool
}{
	{"sk_test_", false, false},
	{"sk_live_", false, true},
	{"rk_test_", true, false},
	{"rk_live_", true, true},
}

func parseSecret(secret string) (restricted, livemode bool, err error) {
	for _, p := range secretPrefixes {
		rest, found := strings.CutPrefix(secret, p.text)
		if !found {
			continue
		}
		switch {
		case rest == "":
			return false, false, fmt.Errorf("there is nothing behind the prefix %s", p.text)
		case len(secret) > secretBytesMax:
			return false, false, fmt.Errorf("it is longer than %d bytes", secretBytesMax)
		}
		for _, c := range []byte(rest) {
			if !isAlphanumeric(c) && c != '_' && c != '-' {
				return false, false, fmt.Errorf("only letters, digits, '_' and '-' may follow the prefix %s", p.text)
			}
		}
		return p.restricted, p.livemode, nil
	}
	if strings.HasPrefix(secret, "pk_") {
		return false, false, errors.New("a publishable key is public and proves nothing; use a secret (sk_) or restricted (rk_) key")
	}
	return false, false, errors.New("a key must begin with sk_test_, sk_live_, rk_test_ or rk_live_")
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// secretPrefix is what may be said of a secret: its prefix if that is one of ours, which is public, and else nothing.
func secretPrefix(secret string) string {
	for _, p := range secretPrefixes {
		if strings.HasPrefix(secret, p.text) {
			return p.text
		}
	}
	return ""
}
