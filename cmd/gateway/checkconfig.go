package main

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
)

// checkConfigCommand is for deployments: what a reload or a start would refuse is refused here, before it is rolled out.
type checkConfigCommand struct {
	settings `embed:""`
}

func (c *checkConfigCommand) Run(m *Main, onLine map[string]bool) error {
	c.onLine = onLine
	cfg, err := c.load()
	if err != nil {
		return err
	}
	text, err := yaml.Marshal(cfg.withoutSecrets())
	if err != nil {
		return err
	}
	fmt.Fprintf(m.Stdout, "# This is in force, with flags and environment; keys and passwords are left out.\n%s", text)
	return nil
}

// withoutSecrets is a copy to print: of a key only its kind is left.
func (c *Config) withoutSecrets() Config {
	p := *c
	p.Businesses = make([]BusinessConfig, len(c.Businesses))
	for i, b := range c.Businesses {
		keys := make([]KeyConfig, len(b.Keys))
		for j, k := range b.Keys {
			keys[j] = KeyConfig{Key: keyKind(k.Key), Permissions: k.Permissions, Accounts: k.Accounts}
		}
		b.Keys = keys
		p.Businesses[i] = b
	}
	p.Forward.Businesses = make(map[string]ForwardBusinessConfig, len(c.Forward.Businesses))
	for id, b := range c.Forward.Businesses {
		b.StripeKey = keyKind(b.StripeKey)
		p.Forward.Businesses[id] = b
	}
	if p.Kafka.SASL.Password != "" {
		p.Kafka.SASL.Password = "…"
	}
	if p.InternalSecret != "" {
		p.InternalSecret = "…"
	}
	return p
}

// keyKind is what may be shown of an API key.
func keyKind(key string) string {
	if key == "" {
		return ""
	}
	return key[:min(len("sk_test_"), len(key))] + "…"
}

// errForced ends a drain that a second signal cut short.
var errForced = errors.New("a second signal ended the drain: what was not answered may be sent again")

// exitCode tells a configuration that can not be used from a run that failed.
func exitCode(err error) int {
	var ce *ConfigError
	var ee *exitError
	switch {
	case errors.As(err, &ee):
		return ee.code
	case errors.As(err, &ce):
		return exitUsage
	case errors.Is(err, errForced):
		return exitForced
	default:
		return exitFailed
	}
}
