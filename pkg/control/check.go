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

	destinationNameCharsMax = 250
	descriptionCharsMax     = 1000
	enabledEventsMax        = 100
	metadataKeyCharsMax     = 40
	metadataValueCharsMax   = 500
	urlBytesMax             = 2048
	topicCharsMax           = 249 // Kafka's own bound
	secretBytesMax          = 128
	reasonCharsMax          = 500

	timeMaxMs = 253_402_300_799_999 // the last ms that stripe.TimeLayout has room for
)

// MetadataMax is how many keys a destination's metadata may have.
const MetadataMax = 50

// check says why a proposal can not be a record.
func (p *proposal) check() error {
	if p.object == objectMark {
		return nil
	}
	c := &p.change
	if err := errors.Join(plain("business", c.Business, businessCharsMax), plain("id", p.subject(), idCharsMax)); err != nil {
		return err
	}
	var err error
	switch {
	case p.destination():
		err = p.checkDestination()
	case c.Create != nil:
		err = c.Create.check()
	case c.Rename != nil && p.object == objectDisplayName:
		err = text("display_name", c.Rename.DisplayName, displayNameCharsMax)
	}
	if c.Idempotency == nil {
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

func (d *NewDestination) check() error {
	errs := []error{d.Settings.check()}
	switch d.Type {
	case WebhookEndpoint:
		if errs = append(errs, secret("secret", d.Secret)); d.URL == "" || d.Topic != "" {
			errs = append(errs, errors.New("a webhook_endpoint has a url and no topic"))
		}
	case KafkaTopic:
		if errs = append(errs, plain("topic", d.Topic, topicCharsMax)); d.URL != "" || d.Secret != "" {
			errs = append(errs, errors.New("a kafka_topic has no url and no secret"))
		}
	default:
		errs = append(errs, fmt.Errorf("type is %.40q", d.Type))
	}
	return errors.Join(errs...)
}

func (s *Settings) check() error {
	errs := []error{text("name", s.Name, destinationNameCharsMax), optional("description", s.Description, descriptionCharsMax)}
	if n := len(s.EnabledEvents); n < 1 || n > enabledEventsMax {
		errs = append(errs, fmt.Errorf("enabled_events has %d names, not from 1 to %d", n, enabledEventsMax))
	}
	for _, name := range s.EnabledEvents {
		errs = append(errs, plain("a name in enabled_events", name, nameCharsMax))
	}
	if n := len(s.Metadata); n > MetadataMax {
		errs = append(errs, fmt.Errorf("metadata has %d keys, more than %d", n, MetadataMax))
	}
	for k, v := range s.Metadata {
		errs = append(errs, text("a key of metadata", k, metadataKeyCharsMax), optional("a value of metadata", v, metadataValueCharsMax))
	}
	if len(s.URL) > urlBytesMax {
		errs = append(errs, fmt.Errorf("url has %d bytes, more than %d", len(s.URL), urlBytesMax))
	}
	return errors.Join(append(errs, optional("url", s.URL, urlBytesMax))...)
}

// check looks at what is given: as if the rest were right. How many keys the metadata has is known after fill.
func (u *DestinationUpdate) check() error {
	given := Settings{Name: "name", EnabledEvents: []string{"event"}}
	whole := *u
	whole.Metadata = nil
	errs := []error{given.merge(&whole).check()}
	if u.URL != nil && *u.URL == "" {
		errs = append(errs, errors.New("url is empty"))
	}
	for k, v := range u.Metadata {
		if errs = append(errs, text("a key of metadata", k, metadataKeyCharsMax)); v != nil {
			errs = append(errs, optional("a value of metadata", *v, metadataValueCharsMax))
		}
	}
	return errors.Join(errs...)
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

func optional(name, s string, charsMax int) error {
	if s == "" {
		return nil
	}
	return text(name, s, charsMax)
}

// secret is one that a person can copy, and a header can hold.
func secret(name, s string) error {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("%s has characters other than visible ones of ASCII in it", name)
		}
	}
	return text(name, s, secretBytesMax)
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
