package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
)

// urlBytesMax is the longest URL of a destination.
const urlBytesMax = 2048

// CheckURL tells what is wrong with the URL of an endpoint, as a sentence's end to "the url": it is asked before a
// destination is created or changed, and again before each try. Names are not resolved here: what they lead to is
// checked when the connection is made.
func CheckURL(livemode bool, raw string, allow []netip.Prefix) error {
	if len(raw) > urlBytesMax {
		return errors.New("must not be longer than 2048 bytes")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		return errors.New("must be a whole URL, such as https://example.com/webhook")
	}
	switch {
	case u.Scheme != "https" && livemode:
		return errors.New("must begin with https:// in live mode")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must begin with https:// or http://")
	case u.User != nil:
		return errors.New("must not contain a user name or password")
	case u.Fragment != "":
		return errors.New("must not contain a fragment")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("must have a port between 1 and 65535")
		}
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if what := (&guard{allow: allow, loopback: !livemode}).why(addr); what != "" {
			return fmt.Errorf("must not lead to %v, which is %s", addr, what)
		}
	}
	return nil
}
