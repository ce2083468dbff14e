package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

const (
	usageMemoryMin     = 64 << 20
	usageMemoryDefault = 512 << 20
	usageMemoryMax     = 1 << 40
	// internalSecretMin is long enough not to be guessed when it is random.
	internalSecretMin = 16
)

// internal checks what gateways of a cluster need to ask each other.
func (k *checker) internal() {
	c := k.c
	if c.InternalSecret != "" && c.InternalSecretFile != "" {
		k.refuse("internal_secret", "", "stands beside internal_secret_file", "give one of them, better the file: it holds the secret alone")
	}
	k.readable("internal_secret_file", c.InternalSecretFile)
	if c.InternalListen == "" {
		if c.InternalAdvertise != "" {
			k.refuse("internal_advertise", c.InternalAdvertise, "is given without internal_listen", "give both, or neither when there is one gateway")
		}
		return
	}
	k.address("internal_listen", c.InternalListen, "10.0.0.5:9191")
	if !c.onKafka() {
		k.refuse("internal_listen", c.InternalListen, "is given without kafka.brokers: a journal belongs to one gateway, and there is no other to ask",
			"leave it out, or name the brokers that the gateways share")
	}
	for _, other := range []string{c.Listen, c.AdminListen} {
		if c.InternalListen == other && !strings.HasSuffix(other, ":0") {
			k.refuse("internal_listen", c.InternalListen, "is the address of another listener", "give it a port of its own, in a network where only gateways are")
		}
	}
	secret, err := c.internalSecret()
	switch {
	case err != nil:
		k.refuse("internal_secret_file", c.InternalSecretFile, reason(err), "name a file that the gateway's user can read")
	case len(secret) < internalSecretMin:
		k.refuse("internal_listen", c.InternalListen, fmt.Sprintf("needs a secret of at least %d bytes, and there are %d", internalSecretMin, len(secret)),
			"set internal_secret_file on every gateway to a file with the same secret, as from `openssl rand -base64 32`")
	}
	if c.InternalAdvertise != "" {
		k.address("internal_advertise", c.InternalAdvertise, "10.0.0.5:9191, or gateway-1.example.com:9191")
	}
	host, _, _ := net.SplitHostPort(c.advertised(c.InternalListen))
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		k.refuse("internal_listen", c.InternalListen, "is every interface, and the others have to be told one address",
			"set internal_advertise to the HOST:PORT at which they reach this gateway")
	}
}

// internalSecret is the shared secret.
func (c *Config) internalSecret() (string, error) {
	return secretOf(c.InternalSecret, "internal_secret_file", c.InternalSecretFile)
}

// advertised is the address that the others are told, for a listener that has this one. Port 0 is the listener's own.
func (c *Config) advertised(listening string) string {
	if c.InternalAdvertise == "" {
		return listening
	}
	host, port, err := net.SplitHostPort(c.InternalAdvertise)
	if n, _ := strconv.Atoi(port); err != nil || n != 0 {
		return c.InternalAdvertise
	}
	_, port, _ = net.SplitHostPort(listening)
	return net.JoinHostPort(host, port)
}
