package httpd

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"tollgate/pkg/control"
	"tollgate/pkg/stripe"
	"tollgate/pkg/webhook"
)

// Bounds of a destination's texts. Stripe documents those of metadata alone.
const (
	destinationNameCharsMax        = 250
	destinationDescriptionCharsMax = 500
	enabledEventsMax               = 100
	metadataKeyCharsMax            = 40
	metadataValueCharsMax          = 500
	topicCharsMax                  = 249 // as Kafka has it
)

// What an answer may be asked to include beyond the object. A signing secret is shown to whoever made it, once.
const (
	includeSecret = "webhook_endpoint.signing_secret"
	includeURL    = "webhook_endpoint.url"
)

// included is what was asked for.
type included struct{ secret, url bool }

// includedIn reads what a body, or a query, asks to include. Only what makes a secret may show it.
func includedIn(names []string, secretToo bool) (in included, err error) {
	for _, name := range names {
		switch {
		case name == includeURL:
			in.url = true
		case name == includeSecret && secretToo:
			in.secret = true
		case name == includeSecret:
			return in, stripe.InvalidFields("include", "can not have "+includeSecret+" here: a signing secret is shown when the destination is created or the secret is rolled")
		case secretToo:
			return in, stripe.InvalidFields("include", "has '"+clipped(name)+"', and can have "+includeSecret+" and "+includeURL+" only")
		default:
			return in, stripe.InvalidFields("include", "has '"+clipped(name)+"', and can have "+includeURL+" only")
		}
	}
	return in, nil
}

// bodyIncludes reads the include of a body.
func bodyIncludes(body *jsonValue, secretToo bool) (included, error) {
	v := body.get("include")
	if v == nil {
		return included{}, nil
	}
	names, err := v.strs("include")
	if err != nil {
		return included{}, err
	}
	return includedIn(names, secretToo)
}

// clipped is text that a message repeats, cut where it is long.
func clipped(text string) string {
	const bytesMax = 60
	if len(text) <= bytesMax {
		return text
	}
	cut := bytesMax
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// newDestination reads the parameters of a destination to be created; its secret is the caller's to draw.
func (s *Server) newDestination(x *exchange, body *jsonValue) (*control.NewDestination, error) {
	n := &control.NewDestination{}
	settings, err := destinationSettings(body, true)
	if err != nil {
		return nil, err
	}
	n.Name, n.Description, n.EnabledEvents = *settings.Name, *settings.Description, settings.EnabledEvents
	n.Metadata = make(map[string]string, len(settings.Metadata))
	for key, value := range settings.Metadata {
		n.Metadata[key] = *value
	}
	if err := fixedFields(body); err != nil {
		return nil, err
	}
	kind, err := oneOf(body, "type", string(control.WebhookEndpoint), string(control.KafkaTopic))
	if err != nil {
		return nil, err
	}
	n.Type = control.DestinationType(kind)
	switch n.Type {
	case control.WebhookEndpoint:
		n.URL, err = s.endpointURL(x, body)
	case control.KafkaTopic:
		n.Topic, err = s.topicOf(body)
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

// fixedFields reads what a destination may say and can not choose here: thin events of the account itself.
func fixedFields(body *jsonValue) error {
	if _, err := oneOf(body, "event_payload", "thin"); err != nil {
		return err
	}
	if v := body.get("snapshot_api_version"); v != nil && v.kind != jsonNull {
		return stripe.InvalidFields("snapshot_api_version", "must be null or absent: thin events have no version")
	}
	v := body.get("events_from")
	if v == nil {
		return nil
	}
	from, err := v.strs("events_from")
	if err != nil {
		return err
	}
	if len(from) != 1 || from[0] != "self" && from[0] != "@self" {
		return stripe.InvalidFields("events_from", `must be ["self"] or absent: a destination gets the events of its own account`)
	}
	return nil
}

// oneOf is a field that must be there and be one of the words.
func oneOf(body *jsonValue, field string, words ...string) (string, error) {
	v := body.get(field)
	if v == nil {
		return "", missingField(field)
	}
	if err := v.is(field, jsonString); err != nil {
		return "", err
	}
	if !slices.Contains(words, v.text) {
		return "", stripe.InvalidFields(field, "must be "+strings.Join(words, " or ")+", got '"+clipped(v.text)+"'")
	}
	return v.text, nil
}

func missingField(path string) error {
	return stripe.InvalidFields(path, "is missing")
}

// endpointURL reads webhook_endpoint, which has nothing but its URL.
func (s *Server) endpointURL(x *exchange, body *jsonValue) (string, error) {
	v, err := onlyField(body, "webhook_endpoint", "url")
	if err != nil {
		return "", err
	}
	url, err := v.str(includeURL, 1, jsonBodyBytesMax)
	if err != nil {
		return "", err
	}
	if err := webhook.CheckURL(x.livemode, url, s.cfg.AllowNetworks); err != nil {
		return "", stripe.InvalidFields(includeURL, err.Error())
	}
	return url, nil
}

// topicOf reads kafka_topic, which is ours.
func (s *Server) topicOf(body *jsonValue) (string, error) {
	const path = "kafka_topic.topic"
	v, err := onlyField(body, "kafka_topic", "topic")
	if err != nil {
		return "", err
	}
	topic, err := v.str(path, 1, topicCharsMax)
	if err != nil {
		return "", err
	}
	if !s.cfg.KafkaTopics(topic) {
		return "", stripe.InvalidFields(path, "is not a topic that destinations may name: webhooks.kafka_topics in the gateway's configuration lists those")
	}
	return topic, nil
}

// onlyField is the one field that an object may have, and must.
func onlyField(body *jsonValue, object, field string) (*jsonValue, error) {
	v := body.get(object)
	if v == nil {
		return nil, missingField(object)
	}
	if err := v.is(object, jsonObject); err != nil {
		return nil, err
	}
	inner := v.get(field)
	if inner == nil {
		return nil, missingField(inside(object, field))
	}
	return inner, v.unknown(object)
}

// destinationSettings reads what can be changed of a destination, but for its URL. When it is created all is there.
func destinationSettings(body *jsonValue, creating bool) (u control.DestinationUpdate, err error) {
	if u.Name, err = optionalText(body, "name", 1, destinationNameCharsMax); err != nil {
		return u, err
	}
	if v := body.find("description"); v != nil && v.value.kind == jsonNull {
		v.value = jsonValue{kind: jsonString} // null clears it
	}
	if u.Description, err = optionalText(body, "description", 0, destinationDescriptionCharsMax); err != nil {
		return u, err
	}
	if v := body.get("enabled_events"); v != nil {
		if u.EnabledEvents, err = enabledEvents(v); err != nil {
			return u, err
		}
	}
	if v := body.get("metadata"); v != nil {
		if u.Metadata, err = metadata(v, creating); err != nil {
			return u, err
		}
	}
	switch {
	case !creating:
	case u.Name == nil:
		return u, missingField("name")
	case u.EnabledEvents == nil:
		return u, missingField("enabled_events")
	case u.Description == nil:
		u.Description = new(string)
	}
	return u, nil
}

func optionalText(body *jsonValue, field string, charsMin, charsMax int) (*string, error) {
	v := body.get(field)
	if v == nil {
		return nil, nil
	}
	text, err := v.str(field, charsMin, charsMax)
	return &text, err
}

// enabledEvents reads the types that a destination wants: some that the gateway makes, each named.
func enabledEvents(v *jsonValue) ([]string, error) {
	const field = "enabled_events"
	names, err := v.strs(field)
	if err != nil {
		return nil, err
	}
	if len(names) < 1 || len(names) > enabledEventsMax {
		return nil, stripe.InvalidFields(field, "must have 1 to "+strconv.Itoa(enabledEventsMax)+" names")
	}
	known := strings.Join(slices.Sorted(maps.Keys(typePermissions)), ", ")
	if slices.Contains(names, "*") {
		return nil, stripe.InvalidFields(field, "can not have * with thin events: name them, "+known)
	}
	var unknown []string
	for i, name := range names {
		if _, ok := typePermissions[name]; !ok && len(unknown) < 3 && !slices.Contains(names[:i], name) {
			unknown = append(unknown, "'"+clipped(name)+"'")
		}
	}
	if len(unknown) > 0 {
		return nil, stripe.InvalidFields(field, "has "+strings.Join(unknown, ", ")+", which this gateway never sends. It sends "+known)
	}
	once := names[:0]
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once, nil
}

// metadata reads entries; a null removes one where there is something to remove.
func metadata(v *jsonValue, creating bool) (map[string]*string, error) {
	const field = "metadata"
	if err := v.is(field, jsonObject); err != nil {
		return nil, err
	}
	entries := make(map[string]*string, len(v.members))
	for i := range v.members {
		m := &v.members[i]
		m.used = true
		path := inside(field, m.name)
		if n := utf8.RuneCountInString(m.name); n < 1 || n > metadataKeyCharsMax {
			return nil, stripe.InvalidFields(path, "must have a key of 1 to "+strconv.Itoa(metadataKeyCharsMax)+" characters")
		}
		if m.value.kind == jsonNull && !creating {
			entries[m.name] = nil
			continue
		}
		text, err := m.value.str(path, 0, metadataValueCharsMax)
		if err != nil {
			return nil, err
		}
		entries[m.name] = &text
	}
	if creating && len(entries) > control.MetadataMax {
		return nil, tooMuchMetadata()
	}
	return entries, nil
}

func tooMuchMetadata() *stripe.Error {
	return stripe.InvalidFields("metadata", "must have at most "+strconv.Itoa(control.MetadataMax)+" entries")
}
