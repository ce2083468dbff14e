package e2e

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	kafkatest "tollgate/test/kafka"

	"tollgate/test/e2e/harness"
)

func sessionKeysFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "session-keys")
	if err := os.WriteFile(file, []byte(strings.Repeat("0123456789abcdef", 4)+" created=2026-01-01T00:00:00Z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestASessionOfOneGatewayIsTakenByAnotherWithTheSameKeysAndSurvivesRotation(t *testing.T) {
	t.Parallel()
	keys := sessionKeysFile(t)
	config := writeConfig(t, "session_keys: "+keys+"\n")
	one := harness.Start(t, harness.Options{Args: []string{"--config", config}})
	two := harness.Start(t, harness.Options{Args: []string{"--config", config}})
	alone := harness.Start(t, harness.Options{})
	_, session, _, _ := harness.Post(one.URL+"/v2/billing/meter_event_session", harness.TestKey, "{}")
	token, _ := session["authentication_token"].(string)
	status := func(g *harness.Gateway) int {
		s, _, _, _ := harness.Post(g.URL+"/v2/billing/meter_event_stream", token, streamBody("shared"))
		return s
	}
	if a, b, c := status(one), status(two), status(alone); a != 200 || b != 200 || c != 401 {
		t.Fatalf("the gateway that made it, its peer, a stranger: %d %d %d, want 200 200 401", a, b, c)
	}
	// The documented rotation, on one of them: new key last, then first, then alone.
	old, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	fresh := strings.Repeat("fedcba9876543210", 4) + "\n"
	reloads := func() float64 { return two.Metric("tollgate_config_reloads_total", `result="in_force"`) }
	for i, step := range []struct {
		text string
		want int
	}{{string(old) + fresh, 200}, {fresh + string(old), 200}, {fresh, 401}} {
		before := reloads()
		if err := os.WriteFile(keys+".new", []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(keys+".new", keys); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, 5*time.Second, "the keys file is reloaded", func() bool { return reloads() > before })
		if got := status(two); got != step.want {
			t.Errorf("step %d of the rotation: %d, want %d", i+1, got, step.want)
		}
	}
}

func TestARollingRestartOfTwoGatewaysOnOneKafkaLosesNothing(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	config := writeConfig(t, "session_keys: "+sessionKeysFile(t)+"\n")
	gateways := []*harness.Gateway{harness.Start(t, onKafka(cluster, "--config", config)), harness.Start(t, onKafka(cluster, "--config", config))}
	loads := []*harness.Load{}
	for i, g := range gateways {
		loads = append(loads, harness.StartLoad(t, harness.LoadOptions{URL: g.URL, Clients: 6, Name: fmt.Sprint("gateway-", i)}))
	}
	for range rounds(2) {
		for i := range gateways {
			time.Sleep(500 * time.Millisecond)
			if code, took := gateways[i].Term(); code != 0 {
				t.Errorf("drain: exit %d after %s", code, took)
			}
			gateways[i] = gateways[i].Restart()
		}
	}
	ledgers := []harness.Ledger{loads[0].Stop(), loads[1].Stop()}
	for i, l := range ledgers {
		needAcked(t, l, 500)
		l.Check(t, func(yield func(harness.Event) bool) {
			for e := range harness.ReadTopic(t, cluster.Brokers, usageTopic) {
				if strings.HasPrefix(e.Identifier, fmt.Sprintf("gateway-%d/", i)) && !yield(e) {
					return
				}
			}
		}, true)
	}
}

// What kafkalog can is tested there; here it is that the configuration's words reach it.
func TestTLSAndSASLOfTheConfigurationReachKafka(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "broker.pem"), filepath.Join(dir, "broker.key")
	writeCertificate(t, cert, key, 1, x509.NewCertPool())
	var store []byte
	for _, file := range []string{key, cert} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		store = append(store, text...)
	}
	keystore, password := filepath.Join(dir, "keystore.pem"), filepath.Join(dir, "password")
	for file, text := range map[string][]byte{keystore: store, password: []byte("right\n")} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cluster := kafkatest.Start(t, kafkatest.Options{
		Listeners: map[string]string{"BOTH": "SASL_SSL"},
		Properties: map[string]string{
			"ssl.keystore.type": "PEM", "ssl.keystore.location": keystore,
			"listener.name.both.sasl.enabled.mechanisms": "PLAIN",
			"listener.name.both.plain.sasl.jaas.config":  `org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="right";`,
		},
	})
	config := fmt.Sprintf("kafka:\n  tls: {ca: %s}\n  sasl: {mechanism: PLAIN, username: alice, password_file: %s}\n", cert, password)
	args := []string{"--kafka-brokers", strings.Join(cluster.Listeners["BOTH"], ",")}
	g := harness.Start(t, harness.Options{Args: append(args, "--config", writeConfig(t, config))})
	sendOne(t, g, "secured")

	wrong := harness.Start(t, harness.Options{NoWait: true, Args: append(args, "--config", writeConfig(t, strings.Replace(config, "password_file: "+password, "password: wrong", 1)))})
	harness.Eventually(t, 20*time.Second, "readyz says that the password is wrong", func() bool {
		status, body := wrong.Readyz()
		return status == 503 && strings.Contains(body, "Invalid username or password")
	})
	if strings.Contains(wrong.Logs(), "password: wrong") {
		t.Errorf("the password is in the log")
	}
	if found := slices.Collect(harness.ReadTopic(t, cluster.Brokers, usageTopic)); len(found) != 1 {
		t.Errorf("the topic holds %v", found)
	}
}
