package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// configBytesMax bounds the file: 10,000 businesses with their keys fit several times.
const configBytesMax = 16 << 20

// settings are the flags that say how to run; each is an environment variable too. They are texts, so that every
// refusal is worded in one place (check.go) and names flag or variable. Empty means: not set here.
type settings struct {
	Config             string `help:"YAML file; its keys are in docs/CONFIG.md." placeholder:"FILE" env:"GATEWAY_CONFIG"`
	Listen             string `help:"Address of the public listener (default 127.0.0.1:8080)." placeholder:"ADDR" env:"GATEWAY_LISTEN"`
	AdminListen        string `help:"Address of the admin listener: /livez /readyz /metrics /debug/pprof/ (default 127.0.0.1:9090)." placeholder:"ADDR" env:"GATEWAY_ADMIN_LISTEN"`
	DataDir            string `help:"Folder of the journal, made keys and the lock (default ./data)." placeholder:"DIR" env:"GATEWAY_DATA_DIR"`
	KafkaBrokers       string `help:"Kafka bootstrap brokers; empty: the embedded journal." placeholder:"A,B" env:"GATEWAY_KAFKA_BROKERS"`
	KafkaCompression   string `help:"none, lz4 or zstd (default none)." placeholder:"CODEC" env:"GATEWAY_KAFKA_COMPRESSION"`
	APIKeys            string `name:"api-keys" help:"Short form of businesses: acct_demo:sk_test_123,acct_demo:rk_test_456." placeholder:"LIST" env:"GATEWAY_API_KEYS"`
	InternalListen     string `help:"Address where the other gateways on the same Kafka ask this one (default: none)." placeholder:"ADDR" env:"GATEWAY_INTERNAL_LISTEN"`
	InternalAdvertise  string `help:"How they reach it (default: the address of --internal-listen)." placeholder:"ADDR" env:"GATEWAY_INTERNAL_ADVERTISE"`
	InternalSecretFile string `help:"File with a secret that they share." placeholder:"FILE" env:"GATEWAY_INTERNAL_SECRET_FILE"`
	SessionTTL         string `help:"Life of a meter event session (default 15m)." placeholder:"DUR" env:"GATEWAY_SESSION_TTL"`
	TLSCert            string `help:"PEM certificate chain of the public listener." placeholder:"FILE" env:"GATEWAY_TLS_CERT"`
	TLSKey             string `help:"PEM key of the public listener." placeholder:"FILE" env:"GATEWAY_TLS_KEY"`

	// onLine holds the names of the flags given on the command line, as opposed to the environment.
	onLine map[string]bool
}

// setting ties a flag and its variable to the YAML key and the place in Config that they override.
type setting struct {
	flag, env, key string
	value          string
	apply          func(*Config, string) error
}

func (s *settings) all() []setting {
	return []setting{
		{"listen", "GATEWAY_LISTEN", "listen", s.Listen, func(c *Config, v string) error { c.Listen = v; return nil }},
		{"admin-listen", "GATEWAY_ADMIN_LISTEN", "admin_listen", s.AdminListen, func(c *Config, v string) error { c.AdminListen = v; return nil }},
		{"data-dir", "GATEWAY_DATA_DIR", "data_dir", s.DataDir, func(c *Config, v string) error { c.DataDir = v; return nil }},
		{"kafka-brokers", "GATEWAY_KAFKA_BROKERS", "kafka.brokers", s.KafkaBrokers, func(c *Config, v string) error { c.Kafka.Brokers = splitList(v); return nil }},
		{"kafka-compression", "GATEWAY_KAFKA_COMPRESSION", "kafka.compression", s.KafkaCompression, func(c *Config, v string) error { c.Kafka.Compression = v; return nil }},
		{"api-keys", "GATEWAY_API_KEYS", "businesses", s.APIKeys, applyAPIKeys},
		{"internal-listen", "GATEWAY_INTERNAL_LISTEN", "internal_listen", s.InternalListen, func(c *Config, v string) error { c.InternalListen = v; return nil }},
		{"internal-advertise", "GATEWAY_INTERNAL_ADVERTISE", "internal_advertise", s.InternalAdvertise, func(c *Config, v string) error { c.InternalAdvertise = v; return nil }},
		{"internal-secret-file", "GATEWAY_INTERNAL_SECRET_FILE", "internal_secret_file", s.InternalSecretFile, func(c *Config, v string) error { c.InternalSecretFile = v; return nil }},
		{"session-ttl", "GATEWAY_SESSION_TTL", "session_ttl", s.SessionTTL, func(c *Config, v string) error { c.SessionTTL = parseDuration(v); return nil }},
		{"tls-cert", "GATEWAY_TLS_CERT", "tls.cert", s.TLSCert, func(c *Config, v string) error { c.TLS.Cert = v; return nil }},
		{"tls-key", "GATEWAY_TLS_KEY", "tls.key", s.TLSKey, func(c *Config, v string) error { c.TLS.Key = v; return nil }},
	}
}

// load builds the configuration that these flags, the environment and the file give together, and checks it. It is
// called at the start and again for each reload.
func (s *settings) load() (*Config, error) {
	cfg := defaults()
	cfg.from.set = map[string]string{}
	if s.Config != "" {
		if err := cfg.readFile(s.Config); err != nil {
			return nil, err
		}
	}
	for _, o := range s.all() {
		if o.value == "" {
			continue
		}
		from := o.env
		if s.onLine[o.flag] {
			from = "--" + o.flag
		}
		cfg.from.set[o.key] = from
		if err := o.apply(&cfg, o.value); err != nil {
			var ce *ConfigError
			if errors.As(err, &ce) {
				ce.Where = from
			}
			return nil, err
		}
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &cfg, nil
}

// readFile lays the file over what cfg holds. Keys that do not exist are refused: a misspelt limit is no limit.
func (c *Config) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return &ConfigError{Where: path, Reason: reason(err), Remedy: "give --config or GATEWAY_CONFIG a file that can be read"}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, configBytesMax+1))
	if err != nil {
		return &ConfigError{Where: path, Reason: reason(err), Remedy: "give --config or GATEWAY_CONFIG a file that can be read"}
	}
	if len(text) > configBytesMax {
		return &ConfigError{Where: path, Reason: fmt.Sprintf("the file is larger than %d MiB", configBytesMax>>20), Remedy: "is it the right file?"}
	}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return yamlError(path, err)
	}
	if len(tree.Docs) > 1 {
		return &ConfigError{
			Where:  fmt.Sprintf("%s:%d", path, tree.Docs[1].GetToken().Position.Line),
			Reason: "a second YAML document starts here and would be ignored", Remedy: "keep one document in the file",
		}
	}
	c.from.path, c.from.ast = path, tree
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil || tree.Docs[0].Body.Type() == ast.CommentType || tree.Docs[0].Body.Type() == ast.NullType {
		return nil // comments only: decoding it would zero the defaults
	}
	if err := refuseFractions(path, tree); err != nil {
		return err
	}
	if err := yaml.UnmarshalWithOptions(text, c, yaml.Strict()); err != nil && !errors.Is(err, io.EOF) {
		return yamlError(path, err)
	}
	return nil
}

// refuseFractions is for the decoder's sake: it would read 1.5 as 1, and no setting is a fraction.
func refuseFractions(path string, tree *ast.File) error {
	for _, n := range ast.Filter(ast.FloatType, tree.Docs[0]) {
		return &ConfigError{
			Where:  fmt.Sprintf("%s:%d", path, n.GetToken().Position.Line),
			Reason: "a fraction stands here, and no setting is one", // not shown: it may be a password
			Remedy: "write a whole number, or quotes around what is meant as text",
		}
	}
	return nil
}

// shortFormPermissions is what a restricted key of --api-keys may do: the short form has no room for a list, and a
// sidecar that reports usage needs these two.
var shortFormPermissions = []string{"billing_meter_event_write", "billing_meter_event_adjustment_write"}

// applyAPIKeys takes "acct_demo:sk_test_123,acct_demo:rk_test_456,acct_b:sk_live_abc". It replaces all keys of the
// file; meters and limits that the file gives to these businesses stay.
func applyAPIKeys(c *Config, list string) error {
	fromFile := c.Businesses
	c.Businesses = nil
	for i, item := range splitList(list) {
		id, key, ok := strings.Cut(item, ":")
		if !ok || id == "" || key == "" {
			// The item may hold a key: it is named by its place, not shown.
			return &ConfigError{
				Key: fmt.Sprintf("item %d", i+1), Reason: "is not of the form BUSINESS:KEY",
				Remedy: "write for example acct_demo:sk_test_123,acct_demo:rk_test_456",
			}
		}
		k := KeyConfig{Key: key}
		if strings.HasPrefix(key, "rk_") {
			k.Permissions = shortFormPermissions
		}
		at := slices.IndexFunc(c.Businesses, func(b BusinessConfig) bool { return b.ID == id })
		if at < 0 {
			at = len(c.Businesses)
			b := BusinessConfig{ID: id}
			if f := slices.IndexFunc(fromFile, func(b BusinessConfig) bool { return b.ID == id }); f >= 0 {
				b.Meters, b.Limits = fromFile[f].Meters, fromFile[f].Limits
			}
			c.Businesses = append(c.Businesses, b)
		}
		c.Businesses[at].Keys = append(c.Businesses[at].Keys, k)
	}
	return nil
}

func splitList(s string) []string {
	var list []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// reason is an error without the path that its message would repeat.
func reason(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
