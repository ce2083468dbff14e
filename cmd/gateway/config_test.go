package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// loadText loads the YAML text with these flags, as `serve` would.
func loadText(t *testing.T, yaml string, s settings) (*Config, error) {
	t.Helper()
	if yaml != "" {
		s.Config = filepath.Join(t.TempDir(), "gateway.yaml")
		if err := os.WriteFile(s.Config, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s.load()
}

const issueYAML = `listen: 127.0.0.1:8080
admin_listen: 127.0.0.1:9090
data_dir: ./data
session_ttl: 15m
kafka:
  brokers: []            # empty: embedded journal
  compression: none
  topic_prefix: tollgate.
  partitions: 12
  replication_factor: 1
businesses:
  - id: acct_demo
    keys:
      - key: sk_test_123                        # secret key: everything
      - key: rk_test_456                        # restricted key: only what is listed
        permissions: [billing_meter_event_write]
    meters:
      - {event_name: api_requests, spread: 4}
    limits:
      events_per_second: 100000
      stream_events_per_second: 10000
`

func TestTheDocumentedFileIsRead(t *testing.T) {
	c, err := loadText(t, issueYAML, settings{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Businesses) != 1 || len(c.Businesses[0].Keys) != 2 || c.Businesses[0].Meters[0].Spread != 4 ||
		c.Businesses[0].Keys[1].Permissions[0] != "billing_meter_event_write" || c.SessionTTL.Duration != 15*time.Minute {
		t.Fatalf("read as %+v", c)
	}
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	file := "listen: 127.0.0.1:1111\nadmin_listen: 127.0.0.1:2222\nsession_ttl: 2m\nkafka: {compression: lz4, topic_prefix: x.}\n"
	t.Setenv("GATEWAY_ADMIN_LISTEN", "127.0.0.1:3333")
	t.Setenv("GATEWAY_SESSION_TTL", "3m")
	t.Setenv("GATEWAY_KAFKA_COMPRESSION", "zstd")
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	m := &Main{Stdout: &out, Stderr: &out}
	if code := m.Run([]string{"check-config", "--config", path, "--session-ttl", "4m"}); code != exitOK {
		t.Fatalf("exit %d: %s", code, out.String())
	}
	for _, want := range []string{
		"listen: 127.0.0.1:1111", "admin_listen: 127.0.0.1:3333", "session_ttl: 4m", "compression: zstd", "topic_prefix: x.", "partitions: 12",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestAKeyOfTheFileKeepsDefaultsBesideIt(t *testing.T) {
	c, err := loadText(t, "kafka:\n  partitions: 3\njournal: {segment_bytes: 2097152}\n", settings{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Kafka.Partitions != 3 || c.Kafka.TopicPrefix != "tollgate." || c.Journal.Partitions != 1 || c.Journal.SegmentBytes != 2<<20 {
		t.Fatalf("read as %+v", c)
	}
	for _, empty := range []string{"# nothing yet\n", "\n", "---\n", "kafka:\n  # brokers: [a:1]\njournal:\n", "listen:\n", "kafka:\n  partitions:\nsession_ttl:\n"} {
		c, err := loadText(t, empty, settings{})
		if err != nil || c.Kafka.Partitions != 12 || c.Journal.Partitions != 1 || c.Listen != "127.0.0.1:8080" {
			t.Errorf("a key without a value is a key left out: %q: %v", empty, err)
		}
	}
}

func TestShortFormOfKeysReplacesTheKeysOfTheFileAndKeepsItsLimits(t *testing.T) {
	c, err := loadText(t, issueYAML, settings{APIKeys: "acct_demo:sk_test_new, acct_demo:rk_test_new,acct_b:sk_live_abc"})
	if err != nil {
		t.Fatal(err)
	}
	demo, b := c.Businesses[0], c.Businesses[1]
	if len(c.Businesses) != 2 || len(demo.Keys) != 2 || demo.Keys[0].Key != "sk_test_new" || demo.Keys[0].Permissions != nil ||
		len(demo.Keys[1].Permissions) != 2 || demo.Limits.EventsPerSecond != 100000 || b.Keys[0].Key != "sk_live_abc" {
		t.Fatalf("read as %+v", c.Businesses)
	}
}

func TestConfigurationErrorsNamePlaceValueReasonAndRemedy(t *testing.T) {
	keys := "businesses: [{id: a, keys: [{key: sk_test_1}]}]\n"
	f := func(name, yaml string, s settings, want ...string) {
		t.Helper()
		_, err := loadText(t, yaml, s)
		if err == nil {
			t.Errorf("%s: accepted", name)
			return
		}
		for _, w := range append(want, "; ") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: no %q in: %v", name, w, err)
			}
		}
		for _, secret := range []string{"hunter2", "sk_test_secret"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: shows a secret: %v", name, err)
			}
		}
	}
	f("unknown key", "listen: 127.0.0.1:1\nlistn: x\n", settings{}, "gateway.yaml:2", `unknown field "listn"`, "docs/CONFIG.md")
	f("unknown nested key", "kafka:\n  partitions: 3\n  partition: 4\n", settings{}, "gateway.yaml:3", "partition")
	f("twice", "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", settings{}, "gateway.yaml:2", "already defined")
	f("wrong type", "kafka:\n  partitions: many\n", settings{}, "gateway.yaml:2", "a whole number is expected")
	f("list expected", "kafka:\n  brokers: a:1\n", settings{}, "gateway.yaml:2", "a list is expected here, not a text")
	f("block expected", "kafka: none\n", settings{}, "gateway.yaml:1", "a block of keys is expected here, not a text")
	f("fraction", "kafka:\n  partitions: 1.5\n", settings{}, "gateway.yaml:2", "fraction", "a whole number")
	f("two documents", "listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2\n", settings{}, "second YAML document")
	f("tabs", "kafka:\n\tpartitions: 3\n", settings{}, "gateway.yaml:2")
	f("bad duration", "session_ttl: soon\n", settings{}, "gateway.yaml:1", "session_ttl", `"soon"`, "15m")
	f("bare number as duration", "session_ttl: 15\n", settings{}, "gateway.yaml:1", "15m")
	f("bad duration by flag", "", settings{SessionTTL: "soon", onLine: map[string]bool{"session-ttl": true}}, "--session-ttl", `"soon"`)
	f("bad duration by env", "", settings{SessionTTL: "soon"}, "GATEWAY_SESSION_TTL", `"soon"`)
	f("range", "kafka:\n  partitions: 0\n", settings{}, "gateway.yaml:2", "kafka.partitions", `"0"`, "1 and 4096")
	f("codec", "kafka: {compression: gzip}\n", settings{}, "gateway.yaml:1", `"gzip"`, "lz4")
	f("address", "listen: here\n", settings{}, "gateway.yaml:1", `"here"`, "HOST:PORT")
	f("same address", "listen: 127.0.0.1:9090\n", settings{}, "admin_listen", "a port of its own")
	f("broker", "kafka:\n  brokers:\n    - a:9092\n    - b\n", settings{}, "gateway.yaml:4", "kafka.brokers[1]", `"b"`, "broker1.example.com:9092")
	f("key form", "businesses:\n  - id: a\n    keys:\n      - key: hunter2\n", settings{}, "gateway.yaml:4", "businesses[0].keys[0].key", "not shown", "sk_test_")
	f("key twice", "businesses:\n  - {id: a, keys: [{key: sk_test_secret}]}\n  - {id: b, keys: [{key: sk_test_secret}]}\n", settings{},
		"gateway.yaml:3", "already belongs to a")
	f("business twice", "businesses:\n  - id: a\n  - id: a\n", settings{}, "gateway.yaml:3", "stands twice")
	f("business with slash", "businesses:\n  - id: a/b\n", settings{}, "gateway.yaml:2", `"a/b"`)
	f("permissions on sk", "businesses:\n  - id: a\n    keys:\n      - key: sk_test_1\n        permissions: [event_read]\n", settings{}, "gateway.yaml:5", "may do everything")
	f("unknown permission", "businesses:\n  - id: a\n    keys:\n      - key: rk_test_1\n        permissions: [everything]\n", settings{}, "gateway.yaml:5", "everything")
	f("short form", "", settings{APIKeys: "acct_a:sk_test_1,hunter2"}, "GATEWAY_API_KEYS", "item 2", "acct_demo:sk_test_123")
	f("short form key", "", settings{APIKeys: "acct_a:sk_test_1,acct_b:hunter2"}, "GATEWAY_API_KEYS", "not shown")
	f("spread", keys[:len(keys)-3]+", meters: [{event_name: m, spread: 0}]}]\n", settings{}, "gateway.yaml:1", "spread")
	f("half tls", "tls: {cert: c.pem}\n", settings{}, "gateway.yaml:1", "without tls.key")
	f("tls file missing", "", settings{TLSCert: "/nope/c.pem", TLSKey: "/nope/k.pem"}, "GATEWAY_TLS_CERT", "/nope/c.pem", "no such file")
	f("signing keys missing", "session_keys: /nope/keys\n", settings{}, "gateway.yaml:1", "session_keys", "/nope/keys", "no such file", "openssl rand")
	f("signing keys malformed", "session_keys: config_test.go\n", settings{}, "gateway.yaml:1", "session_keys", "line 1")
	f("kafka CA that is none", "kafka: {tls: {ca: config_test.go}}\n", settings{}, "gateway.yaml:1", "kafka.tls", "config_test.go holds no PEM certificate")
	f("kafka certificate without its key", "kafka:\n  tls: {cert: config_test.go, key: load.go}\n", settings{}, "gateway.yaml:2", "kafka.tls", "config_test.go does not go with load.go")
	f("sasl without mechanism", "kafka: {sasl: {username: u, password: hunter2}}\n", settings{}, "gateway.yaml:1", "mechanism")
	f("sasl two passwords", "kafka: {sasl: {mechanism: PLAIN, username: u, password: hunter2, password_file: /dev/null}}\n", settings{}, "and not both")
	f("everybody without a key", "listen: 0.0.0.0:8080\n", settings{}, "gateway.yaml:1", "no API key is configured", "GATEWAY_API_KEYS")
	f("everybody without a key, by env", "", settings{Listen: ":8080"}, "GATEWAY_LISTEN", "no API key is configured")
	const kafka, secret = "kafka: {brokers: [\"a:9092\"]}\n", "internal_secret: hunter2hunter2hunter2\n"
	f("internal listener without Kafka", secret+"internal_listen: 10.0.0.5:9191\n", settings{}, "gateway.yaml:2", "internal_listen", "kafka.brokers")
	f("internal listener without a secret", kafka+"internal_listen: 10.0.0.5:9191\n", settings{}, "gateway.yaml:2", "at least 16 bytes", "openssl rand")
	f("internal secret too short", kafka+"internal_secret: hunter2\ninternal_listen: 10.0.0.5:9191\n", settings{}, "gateway.yaml:3", "there are 7")
	f("two internal secrets", kafka+secret+"internal_secret_file: /dev/null\n", settings{}, "internal_secret", "beside internal_secret_file")
	f("internal secret file missing", kafka, settings{InternalSecretFile: "/nope"}, "GATEWAY_INTERNAL_SECRET_FILE", "/nope", "no such file")
	f("internal listener on every interface", kafka+secret, settings{InternalListen: "0.0.0.0:9191"}, "GATEWAY_INTERNAL_LISTEN", "internal_advertise")
	f("internal listener on another's port", kafka+secret+"internal_listen: 127.0.0.1:9090\n", settings{}, "gateway.yaml:3", "another listener")
	f("advertised and not listening", kafka+"internal_advertise: 10.0.0.5:9191\n", settings{}, "gateway.yaml:2", "without internal_listen")
	f("advertised nonsense", kafka+secret+"internal_listen: 0.0.0.0:9191\n", settings{InternalAdvertise: "here"}, "GATEWAY_INTERNAL_ADVERTISE", "HOST:PORT")
	f("little memory", "usage: {memory_bytes: 1000}\n", settings{}, "gateway.yaml:1", "usage.memory_bytes")
	f("network", "webhooks:\n  allow_networks:\n    - 10.0.0.0/8\n    - 10.0.0.5\n", settings{}, "gateway.yaml:4", "webhooks.allow_networks[1]", `"10.0.0.5"`, "10.1.2.3/32")
	f("network with bits behind", "webhooks: {allow_networks: [10.0.0.5/8]}\n", settings{}, "gateway.yaml:1", "10.0.0.0/8 for the network, or 10.0.0.5/32")
	f("network in two forms", "webhooks: {allow_networks: [\"::ffff:10.0.0.0/104\"]}\n", settings{}, "write it as IPv4")
	f("auto disable", "webhooks: {auto_disable_after: 5s}\n", settings{}, "gateway.yaml:1", "webhooks.auto_disable_after", `"5s"`)
	f("auto disable nonsense", "webhooks: {auto_disable_after: never}\n", settings{}, "webhooks.auto_disable_after", "is no duration")
	f("topics without Kafka", "webhooks: {kafka_topics: [company.events]}\n", settings{}, "gateway.yaml:1", "webhooks.kafka_topics", "kafka.brokers")
	f("our topic", kafka+"webhooks:\n  kafka_topics:\n    - company.events\n    - tollgate.events\n", settings{}, "gateway.yaml:5", "kafka_topics[1]", "of the gateway itself")
	f("Kafka's topic", kafka+"webhooks: {kafka_topics: [__consumer_offsets]}\n", settings{}, "of Kafka itself")
	f("empty topic", kafka+"webhooks: {kafka_topics: [\"\"]}\n", settings{}, "kafka_topics[0]", "is empty", "company.events")
	f("topic with a slash", kafka+"webhooks: {kafka_topics: [a/b]}\n", settings{}, "is no topic name")
	f("topic twice", kafka+"webhooks: {kafka_topics: [a, a]}\n", settings{}, "kafka_topics[1]", "stands twice")
	f("spill without Kafka", "spill:\n  enabled: true\n", settings{}, "gateway.yaml:2", "spill.enabled", "kafka.brokers")
	f("small spill", kafka+"spill: {enabled: true, max_bytes: 1000000}\n", settings{}, "gateway.yaml:2", "spill.max_bytes", `"1000000"`, "16777216")
	f("boundless spill", kafka+"spill: {enabled: true, max_bytes: 0}\n", settings{}, "spill.max_bytes", `"0"`)
	f("spill that is neither", kafka+"spill: {enabled: maybe}\n", settings{}, "gateway.yaml:2")
	f("account with slash", "businesses:\n  - id: a\n    keys:\n      - key: sk_test_1\n        accounts:\n          - acct_b\n          - a/b\n", settings{},
		"gateway.yaml:7", "keys[0].accounts[1]", `"a/b"`)
	f("own account", "businesses:\n  - {id: a, keys: [{key: sk_test_1, accounts: [a]}]}\n", settings{}, "the key's own business")
	f("account twice", "businesses:\n  - {id: a, keys: [{key: sk_test_1, accounts: [b, b]}]}\n", settings{}, "accounts[1]", "stands twice")
	f("no file", "", settings{Config: "/nope/gateway.yaml"}, "/nope/gateway.yaml", "no such file")
}

func TestUnusableCommandLinesExitWithTwoAndSayWhereToLook(t *testing.T) {
	for _, args := range [][]string{{"serve", "--nope"}, {"nope"}, {"serve", "--session-ttl", "x"}, {"serve", "--listen", "0.0.0.0:0"}} {
		var out strings.Builder
		if code := (&Main{Stdout: &out, Stderr: &out}).Run(args); code != exitUsage || !strings.Contains(out.String(), "gateway: ") {
			t.Errorf("%v: exit %d, %q", args, code, out.String())
		}
	}
}

func TestWrongArgumentsPointToTheHelpOfTheirCommand(t *testing.T) {
	for line, help := range map[string]string{
		"nope": "gateway --help", "serve --nope": "gateway serve --help", "journal": "gateway journal --help", "journal dump --nope": "gateway journal dump --help",
	} {
		var out strings.Builder
		if (&Main{Stdout: &out, Stderr: &out}).Run(strings.Fields(line)); !strings.Contains(out.String(), "see "+help) {
			t.Errorf("gateway %s: %q, which does not name %s", line, out.String(), help)
		}
	}
}

func TestExamplesOfTheHelpAreOfTheGrammar(t *testing.T) {
	for command, text := range examples {
		for line := range strings.Lines(strings.TrimSpace(text)) {
			line, _, _ = strings.Cut(line, "#")
			var out strings.Builder
			args := append(strings.Fields(line)[1:], "--help")
			if code := (&Main{Stdout: &out, Stderr: &out}).Run(args); code != exitOK || !strings.Contains(out.String(), "Examples:") {
				t.Errorf("%s: %s: exit %d, %s", command, line, code, out.String())
			}
		}
	}
}

func TestWebhooksAndAccountsAreReadPrintedAndHanded(t *testing.T) {
	c, err := loadText(t, "kafka: {brokers: [\"a:9092\"]}\nwebhooks: {allow_networks: [10.0.0.0/8, \"fd00::/8\"], auto_disable_after: 0s, kafka_topics: [company.events]}\n"+
		"businesses: [{id: a, keys: [{key: sk_test_1, accounts: [acct_b]}]}]\n", settings{})
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Webhooks.networks(); len(n) != 2 || n[0].String() != "10.0.0.0/8" || n[1].String() != "fd00::/8" || c.Webhooks.autoDisable() >= 0 {
		t.Errorf("networks %v, disabled after %v", n, c.Webhooks.autoDisable())
	}
	if _, ok := c.policy().Businesses["acct_b"]; !ok {
		t.Error("a connected account has no budget of its own")
	}
	var out strings.Builder
	if code := (&Main{Stdout: &out, Stderr: &out}).Run([]string{"check-config", "--config", c.from.path}); code != exitOK {
		t.Fatalf("exit %d: %s", code, out.String())
	}
	for _, want := range []string{"- 10.0.0.0/8", "auto_disable_after: 0s", "- company.events", "- acct_b"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if d := defaults(); d.Webhooks.autoDisable() != 72*time.Hour {
		t.Errorf("by default a destination is disabled after %v", d.Webhooks.autoDisable())
	}
}

// A key that is not in docs/CONFIG.md does not exist for its readers.
func TestEverySettingIsDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "CONFIG.md"))
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		for i := range typ.NumField() {
			key := typ.Field(i).Tag.Get("yaml")
			if key == "" {
				continue
			}
			ft := typ.Field(i).Type
			switch {
			case ft == reflect.TypeFor[Duration]() || ft.Kind() != reflect.Struct && (ft.Kind() != reflect.Slice || ft.Elem().Kind() != reflect.Struct):
				// Keys of a business stand in the example, the others in tables with their full path.
				if !strings.Contains(doc, "`"+path+key+"`") && !(strings.HasPrefix(path, "businesses.") && strings.Contains(doc, key+":")) {
					t.Errorf("%s%s is not in docs/CONFIG.md", path, key)
				}
			case ft.Kind() == reflect.Slice:
				walk(path+key+".", ft.Elem())
			default:
				walk(path+key+".", ft)
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
	for _, s := range (&settings{}).all() {
		for _, name := range []string{"`--" + s.flag + " ", "`" + s.env + "`", "`" + s.key + "`"} {
			if !strings.Contains(doc, name) {
				t.Errorf("%s is not in docs/CONFIG.md", name)
			}
		}
	}
}

func TestTheInternalListenerTellsOthersAnAddressTheyCanReach(t *testing.T) {
	const kafka = "kafka: {brokers: [\"a:9092\"]}\ninternal_secret: 0123456789abcdef\n"
	f := func(yaml, listening, want string) {
		t.Helper()
		c, err := loadText(t, kafka+yaml, settings{})
		if err != nil {
			t.Error(err)
			return
		}
		if got := c.advertised(listening); got != want {
			t.Errorf("%s: %s, want %s", yaml, got, want)
		}
	}
	f("internal_listen: 10.0.0.5:0\n", "10.0.0.5:4711", "10.0.0.5:4711")
	f("internal_listen: 0.0.0.0:9191\ninternal_advertise: gw-1.example.com:443\n", "0.0.0.0:9191", "gw-1.example.com:443")
	f("internal_listen: :0\ninternal_advertise: gw-1.example.com:0\n", "[::]:4711", "gw-1.example.com:4711")
}

func TestWhatTheControlTopicMayForgetIsOlderThanWhatIsReadAgain(t *testing.T) {
	f := func(yaml string, want time.Duration) {
		t.Helper()
		c, err := loadText(t, yaml, settings{})
		if err != nil {
			t.Error(err)
			return
		}
		if got := c.controlKept(); got != want {
			t.Errorf("%s: %v, want %v", yaml, got, want)
		}
	}
	const day = 24 * time.Hour
	f("", 45*day)
	f("journal: {retention: 24h}\n", 35*day)
	f("journal: {retention: 2400h}\nkafka: {retention: 1h}\n", 105*day)
	f("journal: {retention: 2400h}\nkafka: {retention: 960h, brokers: [\"a:1\"]}\n", 45*day)
}
