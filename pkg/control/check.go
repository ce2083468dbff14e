package control

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// What a record can hold. Whoever asks for a change has stricter rules of its own and words for them; these keep keys
// unambiguous and records small, and a fold that refuses what is outside of them must go on doing so.
const (
	businessCharsMax    = 64
	idCharsMax          = 64
	displayNameCharsMax = 250
	nameCharsMax        = 100 // of events and of payload keys
	keyCharsMax         = 255 // of an Idempotency-Key
)

// check says why a proposal can not be a record.
func (p *proposal) check() error {
	if p.object == objectMark {
		return nil
	}
	c := &p.change
	if err := errors.Join(plain("business", c.Business, businessCharsMax), plain("id", p.meter(), idCharsMax)); err != nil {
		return err
	}
	var err error
	switch {
	case c.Create != nil:
		err = c.Create.check()
	case c.Rename != nil:
		err = text("display_name", c.Rename.DisplayName, displayNameCharsMax)
	}
	if c.Idempotency == nil {
		if p.object == objectUnchanged {
			return errors.New("idempotency is missing")
		}
		return err
	}
	return errors.Join(err, c.Idempotency.check())
}

func (m *NewMeter) check() error {
	if !slices.Contains([]Formula{Sum, Count, Last}, m.Formula) {
		return fmt.Errorf("formula is %.40q", m.Formula)
	}
	if !slices.Contains([]Window{NoWindow, Hour, Day}, m.Window) {
		return fmt.Errorf("event_time_window is %.40q", m.Window)
	}
	return errors.Join(
		text("display_name", m.DisplayName, displayNameCharsMax),
		text("event_name", m.EventName, nameCharsMax),
		text("customer_key", m.CustomerKey, nameCharsMax),
		text("value_key", m.ValueKey, nameCharsMax))
}

func (i *Idempotency) check() error {
	if i.API != "v1" && i.API != "v2" {
		return fmt.Errorf("api is %.40q", i.API)
	}
	return text("key", i.Key, keyCharsMax)
}

func text(name, s string, charsMax int) error {
	if n := utf8.RuneCountInString(s); n == 0 || n > charsMax || !utf8.ValidString(s) {
		return fmt.Errorf("%s is not from 1 to %d characters of UTF-8", name, charsMax)
	}
	return nil
}

// plain is a text that can be part of a key.
func plain(name, s string, charsMax int) error {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.') {
			return fmt.Errorf("%s has characters other than letters, digits and _ - . in it", name)
		}
	}
	return text(name, s, charsMax)
}
