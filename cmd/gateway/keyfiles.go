package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tollgate/pkg/auth"
)

// Files of secrets in the data dir, readable by the gateway's user alone.
const (
	defaultKeyFile  = "default-key"
	sessionKeysFile = "session-keys"
)

const (
	defaultBusiness  = "acct_default"
	defaultKeyPrefix = "sk_test_"

	// sessionKeysLife is how long a signing key of our own making signs. A token outlives it by its TTL and grace,
	// during which the old key still verifies: no token is refused for a rotation.
	sessionKeysLife = 24 * time.Hour
	// sessionGrace is how long a token is accepted after expires_at, for clocks that are behind.
	sessionGrace = 30 * time.Second
)

// defaultKey returns the test key of a gateway without configured keys, made on the first start.
func defaultKey(dataDir string) (key, path string, err error) {
	path = filepath.Join(dataDir, defaultKeyFile)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		key = strings.TrimSpace(string(text))
		if !strings.HasPrefix(key, defaultKeyPrefix) || len(key) <= len(defaultKeyPrefix) {
			return "", "", fmt.Errorf("%s does not hold a %s… key; remove the file and a new key is made, or configure keys", path, defaultKeyPrefix)
		}
		return key, path, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", "", err
	}
	key = defaultKeyPrefix + rand.Text()
	return key, path, writeSecret(path, []byte(key+"\n"))
}

// sessionKeys returns the signing keys of session tokens: those of the configured file, or our own, made on the first
// start and rotated when the newest has signed for sessionKeysLife.
func sessionKeys(cfg *Config, now time.Time) (*auth.SigningKeys, error) {
	if cfg.SessionKeys != "" {
		return readSessionKeys(cfg.SessionKeys)
	}
	path := filepath.Join(cfg.DataDir, sessionKeysFile)
	keys, err := readSessionKeys(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		keys, err = auth.NewSigningKeys(rand.Reader, now)
	case err == nil && now.Sub(keys.Created()) >= sessionKeysLife:
		keys, err = keys.Rotate(rand.Reader, now, cfg.SessionTTL.Duration+sessionGrace)
	case err != nil:
		return nil, fmt.Errorf("%w; move the file away and a new key is made: clients then open new sessions", err)
	default:
		return keys, nil
	}
	if err != nil {
		return nil, err
	}
	// Written before it signs: a token must not outlive its key because of a crash.
	return keys, writeSecret(path, keys.AppendText(nil))
}

func readSessionKeys(path string) (*auth.SigningKeys, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := auth.ParseSigningKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// writeSecret replaces a file with mode 0600 such that after a crash it holds the old text or the new one, whole.
func writeSecret(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // made with 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // no longer there once it was renamed
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
