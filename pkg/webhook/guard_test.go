package webhook

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestAddressesThatAreNotPublicAreRefused(t *testing.T) {
	f := func(address, live, test string) {
		t.Helper()
		addr := netip.MustParseAddr(address)
		for _, c := range []struct {
			loopback bool
			want     string
		}{{false, live}, {true, test}} {
			got := (&guard{loopback: c.loopback}).why(addr)
			if got != c.want {
				t.Errorf("%s, loopback allowed %t: %q, want %q", address, c.loopback, got, c.want)
			}
		}
	}
	for address, why := range map[string]string{
		// public
		"1.1.1.1": "", "8.8.8.8": "", "100.63.255.255": "", "100.128.0.1": "", "172.15.255.255": "", "172.32.0.1": "", "169.253.1.1": "",
		"192.0.1.1": "", "198.17.255.255": "", "198.20.0.1": "", "223.255.255.255": "", "2606:4700::1": "", "2a00::1": "", "2001:4860:4860::8888": "",
		"::ffff:1.1.1.1": "", "64:ff9b::1.1.1.1": "", "2002:0101:0101::1": "",
		// RFC 1918, 4193, 6598
		"10.0.0.1": "private", "10.255.255.255": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private",
		"fc00::1": "private", "fd00:ec2::254": "private", "fdff::1": "private",
		"100.64.0.1": "inside a provider's network", "100.100.100.200": "inside a provider's network", "100.127.255.255": "inside a provider's network",
		// link-local, metadata
		"169.254.169.254": "link-local, where clouds have their metadata", "169.254.0.1": "link-local, where clouds have their metadata",
		"fe80::1": "link-local", "fe80::1%eth0": "link-local", "febf::1": "link-local", "168.63.129.16": "a cloud's metadata",
		"192.0.0.192": "reserved for protocols",
		// nobody's, many's, examples
		"0.0.0.0": "not an address of a host", "0.1.2.3": "not an address of a host", "::": "not public",
		"224.0.0.1": "multicast", "239.255.255.255": "multicast", "ff02::1": "multicast", "255.255.255.255": "reserved", "240.0.0.1": "reserved",
		"192.0.2.1": "for documentation", "198.51.100.1": "for documentation", "203.0.113.1": "for documentation", "2001:db8::1": "for documentation",
		"3fff::1": "for documentation", "198.18.0.1": "for benchmarks", "198.19.255.255": "for benchmarks", "192.88.99.1": "reserved for relays",
		"2001::1": "reserved for protocols", "64:ff9b:1::1": "not public", "100::1": "not public", "fec0::1": "not public", "5f00::1": "not public", "::1.2.3.4": "not public",
		// the same inside IPv6
		"::ffff:10.0.0.1": "private", "::ffff:169.254.169.254": "link-local, where clouds have their metadata",
		"64:ff9b::10.0.0.1": "private", "64:ff9b::a9fe:a9fe": "link-local, where clouds have their metadata",
		"2002:0a00:0001::1": "private", "2002:a9fe:a9fe::1": "link-local, where clouds have their metadata",
	} {
		f(address, why, why)
	}
	for _, address := range []string{"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:0001::1"} {
		f(address, "loopback", "")
	}
}

func TestAllowedNetworksMayBeConnectedTo(t *testing.T) {
	g := &guard{allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("fd00:1::/32")}}
	for address, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::10.1.2.3": true, "10.2.0.1": false,
		"127.0.0.1": true, "127.0.0.2": false, "fd00:1::5": true, "fd00:2::5": false,
	} {
		if got := g.why(netip.MustParseAddr(address)) == ""; got != want {
			t.Errorf("%s is allowed: %t, want %t", address, got, want)
		}
	}
}

func TestURLsOfEndpoints(t *testing.T) {
	allow := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	f := func(raw, live, test string) {
		t.Helper()
		for mode, want := range map[bool]string{true: live, false: test} {
			err := CheckURL(mode, raw, allow)
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s, livemode %t: %v, want %q", raw, mode, err, want)
			}
		}
	}
	https := "must begin with https:// in live mode"
	whole := "must be a whole URL"
	f("https://example.com", "", "")
	f("https://example.com:8443/a/b?c=d", "", "")
	f("https://xn--bcher-kva.example/", "", "")
	f("https://"+"10.1.2.3/hook", "", "")
	f("https://[::ffff:10.1.2.3]/hook", "", "")
	f("https://"+"1.1.1.1/", "", "")
	f("http://example.com/", https, "")
	f("HTTPS://EXAMPLE.COM/", "", "")
	f("http://localhost:3000/webhook", https, "")
	f("http://"+"127.0.0.1:3000/webhook", https, "")
	f("https://"+"127.0.0.1:3000/webhook", "must not lead to 127.0.0.1, which is loopback", "")
	f("https://[::1]/webhook", "loopback", "")
	f("https://"+"10.0.0.1/", "private", "private")
	f("https://"+"169.254.169.254/latest/meta-data", "link-local", "link-local")
	f("https://[fe80::1%25eth0]/", "link-local", "link-local")
	f("ftp://example.com/", https, "must begin with https:// or http://")
	f("file:///etc/passwd", whole, whole)
	f("//example.com/", https, "must begin with")
	f("example.com/hook", whole, whole)
	f("https:example.com", whole, whole)
	f("https://", whole, whole)
	f("https://:443/", whole, whole)
	f("", whole, whole)
	f("https://exa mple.com/", whole, whole)
	f("https://example.com/\x00", whole, whole)
	f("https://user@example.com/", "user name", "user name")
	f("https://user:secret@example.com/", "user name", "user name")
	f("https://example.com/#part", "fragment", "fragment")
	f("https://example.com:0/", "port", "port")
	f("https://example.com:65536/", "port", "port")
	f("https://example.com:x/", whole, whole)
	f("https://example.com/"+strings.Repeat("a", urlBytesMax), "2048", "2048")
}

// A dialer that does not ask beforehand is asked afterwards, before a byte is sent.
func TestWhatAnotherDialerHasConnectedToIsLookedAt(t *testing.T) {
	server, client := tcpPair(t)
	_ = server
	g := &guard{}
	dial := g.dial(func(context.Context, string, string) (net.Conn, error) { return client, nil })
	var no *refusedError
	if _, err := dial(context.Background(), "tcp", "hooks.example.com:443"); !errors.As(err, &no) || !strings.Contains(no.Error(), "loopback") {
		t.Errorf("a name that led to loopback: %v", err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection is not closed: %v", err)
	}
	called := false
	dial = g.dial(func(context.Context, string, string) (net.Conn, error) { called = true; return nil, errors.New("no") })
	if _, err := dial(context.Background(), "tcp", "10.0.0.1:443"); !errors.As(err, &no) || called {
		t.Errorf("a literal address: %v, dialed %t", err, called)
	}
}

func tcpPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close(); _ = client.Close() })
	return server, client
}
