package webhook

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// refusedError is that an address may not be connected to.
type refusedError struct{ what string }

func (e *refusedError) Error() string { return e.what }

// guard decides which addresses may be connected to. Names are looked at after DNS, when the connection is made: what a
// name resolved to a moment ago says nothing.
type guard struct {
	allow    []netip.Prefix
	loopback bool // is allowed: destinations of test mode
}

// special are IPv4 networks that are not the public internet (RFC 6890 and its registry), and what clouds answer their
// machines' questions at.
var special = parsePrefixes(map[string]string{
	"0.0.0.0/8":        "not an address of a host",
	"10.0.0.0/8":       "private",
	"100.64.0.0/10":    "inside a provider's network",
	"127.0.0.0/8":      "loopback",
	"168.63.129.16/32": "a cloud's metadata",
	"169.254.0.0/16":   "link-local, where clouds have their metadata",
	"172.16.0.0/12":    "private",
	"192.0.0.0/24":     "reserved for protocols",
	"192.0.2.0/24":     "for documentation",
	"192.88.99.0/24":   "reserved for relays",
	"192.168.0.0/16":   "private",
	"198.18.0.0/15":    "for benchmarks",
	"198.51.100.0/24":  "for documentation",
	"203.0.113.0/24":   "for documentation",
	"224.0.0.0/4":      "multicast",
	"240.0.0.0/4":      "reserved",

	"2001::/23":     "reserved for protocols",
	"2001:db8::/32": "for documentation",
	"3fff::/20":     "for documentation",
	"fc00::/7":      "private",
	"fe80::/10":     "link-local",
	"ff00::/8":      "multicast",
})

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixToFour = netip.MustParsePrefix("2002::/16")    // RFC 3056
	global    = netip.MustParsePrefix("2000::/3")     // all of IPv6 that is given out to the public
)

type specialNetwork struct {
	prefix netip.Prefix
	what   string
}

func parsePrefixes(m map[string]string) (list []specialNetwork) {
	for text, what := range m {
		list = append(list, specialNetwork{netip.MustParsePrefix(text), what})
	}
	return list
}

// dialFunc is Config.Dial.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// check returns a *refusedError when an address may not be connected to.
func (g *guard) check(addr netip.Addr) error {
	if what := g.why(addr); what != "" {
		return &refusedError{fmt.Sprintf("the address %v is %s and may not be connected to", addr, what)}
	}
	return nil
}

// why is what keeps an address from being connected to; empty: nothing.
func (g *guard) why(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	for _, p := range g.allow {
		if p.Contains(addr) {
			return ""
		}
	}
	if addr.IsLoopback() {
		if g.loopback {
			return ""
		}
		return "loopback"
	}
	if inner, ok := embedded(addr); ok {
		return g.why(inner)
	}
	for _, s := range special {
		if s.prefix.Contains(addr) {
			return s.what
		}
	}
	if !addr.Is4() && !global.Contains(addr) {
		return "not public"
	}
	return ""
}

// embedded is the IPv4 address that a translator would connect to.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	switch {
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// guardKey is the guard in the context of a dial.
type guardKey struct{}

// checkBeforeConnect is a net.Dialer's ControlContext: it is called for each address that a name has led to, before the
// connection is made, with the guard that dial put into the context.
func checkBeforeConnect(ctx context.Context, _, address string, _ syscall.RawConn) error {
	g, ok := ctx.Value(guardKey{}).(*guard)
	ap, err := netip.ParseAddrPort(address)
	if !ok || err != nil {
		return &refusedError{"an address that can not be checked"}
	}
	return g.check(ap.Addr())
}

// dial connects, if the address may be connected to. Whatever the dialer is, a literal address is checked before it is
// called, and what it has connected to before anything is sent.
func (g *guard) dial(dialer dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if ap, err := netip.ParseAddrPort(address); err == nil {
			if err := g.check(ap.Addr()); err != nil {
				return nil, err
			}
		}
		conn, err := dialer(context.WithValue(ctx, guardKey{}, g), network, address)
		if err != nil {
			return nil, err
		}
		if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			if err := g.check(tcp.AddrPort().Addr()); err != nil {
				_ = conn.Close()
				return nil, err
			}
		}
		return conn, nil
	}
}
