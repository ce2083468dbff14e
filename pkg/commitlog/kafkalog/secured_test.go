package kafkalog_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tollgate/pkg/commitlog/kafkalog"
	kafkatest "tollgate/test/kafka"
)

func TestSecuredKafka(t *testing.T) {
	authority := newAuthority(t)
	server, client := authority.issue(t, "broker"), authority.issue(t, "client")
	dir := t.TempDir()
	const jaas = "org.apache.kafka.common.security"
	c := kafkatest.Start(t, kafkatest.Options{
		Listeners: map[string]string{"TLS": "SSL", "SASL": "SASL_PLAINTEXT", "BOTH": "SASL_SSL"},
		Properties: map[string]string{
			"ssl.keystore.type":                 "PEM",
			"ssl.keystore.location":             write(t, dir, "broker.pem", server.key+server.certificate+authority.certificate),
			"ssl.truststore.type":               "PEM",
			"ssl.truststore.location":           write(t, dir, "ca.pem", authority.certificate),
			"listener.name.tls.ssl.client.auth": "required",

			"listener.name.sasl.sasl.enabled.mechanisms":        "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
			"listener.name.sasl.plain.sasl.jaas.config":         jaas + `.plain.PlainLoginModule required user_alice="right";`,
			"listener.name.sasl.scram-sha-256.sasl.jaas.config": jaas + ".scram.ScramLoginModule required;",
			"listener.name.sasl.scram-sha-512.sasl.jaas.config": jaas + ".scram.ScramLoginModule required;",
			"listener.name.sasl.connections.max.reauth.ms":      "3000",
			"listener.name.both.sasl.enabled.mechanisms":        "SCRAM-SHA-512",
			"listener.name.both.scram-sha-512.sasl.jaas.config": jaas + ".scram.ScramLoginModule required;",
		},
	})
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		c.CLI("configs", "--bootstrap-server", c.Brokers[0], "--alter", "--entity-type", "users", "--entity-name", "alice",
			"--add-config", mechanism+"=[iterations=4096,password=right]")
	}

	trusting := &tls.Config{RootCAs: authority.pool}
	known := &tls.Config{RootCAs: authority.pool, Certificates: []tls.Certificate{client.pair}}
	login := func(mechanism, password string) kafkalog.SASL {
		return kafkalog.SASL{Mechanism: mechanism, User: "alice", Password: password}
	}
	for _, test := range []struct {
		name, listener string
		tls            *tls.Config
		sasl           kafkalog.SASL
		want           string // in what Ready says; empty: it works
	}{
		{"TLS", "TLS", known, kafkalog.SASL{}, ""},
		{"TLS without our certificate", "TLS", trusting, kafkalog.SASL{}, "certificate"},
		{"TLS without their authority", "TLS", &tls.Config{}, kafkalog.SASL{}, "unknown authority"},
		{"no TLS where it is expected", "TLS", nil, kafkalog.SASL{}, "does it expect TLS?"},
		{"PLAIN", "SASL", nil, login("PLAIN", "right"), ""},
		{"PLAIN, wrong password", "SASL", nil, login("PLAIN", "wrong"), "Invalid username or password"},
		{"SCRAM-SHA-256", "SASL", nil, login("SCRAM-SHA-256", "right"), ""},
		{"SCRAM-SHA-256, wrong password", "SASL", nil, login("SCRAM-SHA-256", "wrong"), "Authentication failed"},
		{"SCRAM-SHA-512", "SASL", nil, login("SCRAM-SHA-512", "right"), ""},
		{"no SASL where it is expected", "SASL", nil, kafkalog.SASL{}, "does the listener expect SASL?"},
		{"SCRAM-SHA-512 over TLS", "BOTH", trusting, login("SCRAM-SHA-512", "right"), ""},
		{"a mechanism that is not offered", "BOTH", trusting, login("PLAIN", "right"), "SCRAM-SHA-512"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := open(t, c.Listeners[test.listener], func(config *kafkalog.Config) {
				config.TLS, config.SASL = test.tls, test.sasl
			})
			if test.want != "" {
				until(t, func() bool { return strings.Contains(log.Ready().Error(), test.want) }, func() string { return log.Ready().Error() })
				return
			}
			untilReady(t, log)
			if b := append1(t, log, 0, "a"); b.Err != nil {
				t.Error(b.Err)
			}
		})
	}
	t.Run("sessions that end while appending", func(t *testing.T) {
		log := openReady(t, c.Listeners["SASL"], func(config *kafkalog.Config) {
			config.SASL = login("SCRAM-SHA-256", "right")
			config.Topics = []kafkalog.TopicConfig{{Name: "sessions", Partitions: 2}}
		})
		l := startLoad(t, log, "sessions", 10)
		time.Sleep(7 * time.Second)
		l.finish()
	})
}

// authority is a certificate authority that lives as long as its test.
type authority struct {
	certificate string // PEM
	pool        *x509.CertPool
	parsed      *x509.Certificate
	key         *ecdsa.PrivateKey
}

type issued struct {
	key, certificate string // PEM
	pair             tls.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{certificate: asPEM("CERTIFICATE", der), pool: x509.NewCertPool(), parsed: parsed, key: key}
	a.pool.AddCert(parsed)
	return a
}

func (a *authority) issue(t *testing.T, name string) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.parsed, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	i := issued{key: asPEM("PRIVATE KEY", pkcs8), certificate: asPEM("CERTIFICATE", der)}
	if i.pair, err = tls.X509KeyPair([]byte(i.certificate), []byte(i.key)); err != nil {
		t.Fatal(err)
	}
	return i
}

func asPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
