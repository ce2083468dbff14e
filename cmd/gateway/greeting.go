package main

import (
	"io"
	"strings"
	"text/template"
)

// greeting is printed on standard output when the gateway runs with a key it made itself: everything needed to send a
// first event, ready to paste. A test takes the curl lines from here and runs them. Configured keys are never printed,
// so with them there is no greeting.
var greeting = template.Must(template.New("greeting").Parse(`
tollgate gateway {{.Version}} takes usage at {{.URL}} and keeps it in {{.Log}}.
Health and metrics: http://{{.Admin}}/readyz, /metrics.

No API key is configured. This test key of business {{.Business}} was made for you ({{.KeyFile}}):
  {{.Key}}

Open a meter event session and stream an event:

  TOKEN=$(curl -sS -X POST {{.URL}}/v2/billing/meter_event_session{{.Insecure}} \
    -H 'Authorization: Bearer {{.Key}}' -H 'Content-Type: application/json' -d '{}' \
    | sed -n 's/.*"authentication_token": *"\([^"]*\)".*/\1/p')
  curl -sS -X POST {{.URL}}/v2/billing/meter_event_stream{{.Insecure}} \
    -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d '{"events":[{"event_name":"api_requests","payload":{"stripe_customer_id":"cus_1","value":"25"}}]}'

The answer is {}: the event is durable. The same with stripe-go:

  backends := stripe.NewBackendsWithConfig(&stripe.BackendConfig{URL: stripe.String("{{.URL}}")})
  api := stripe.NewClient("{{.Key}}", stripe.WithBackends(backends))
  session, err := api.V2BillingMeterEventSessions.Create(ctx, &stripe.V2BillingMeterEventSessionCreateParams{})
  stream := stripe.NewClient(session.AuthenticationToken, stripe.WithBackends(backends))
  err = stream.V2BillingMeterEventStreams.Create(ctx, &stripe.V2BillingMeterEventStreamCreateParams{
    Events: []*stripe.V2BillingMeterEventStreamCreateEventParams{{"{{"}}
      EventName: stripe.String("api_requests"),
      Payload:   map[string]string{"stripe_customer_id": "cus_1", "value": "25"},
    {{"}}"}},
  })

stripe-node:   new Stripe('{{.Key}}', {protocol: '{{.Scheme}}', host: '{{.Host}}', port: {{.Port}}})
stripe-python: StripeClient('{{.Key}}', base_addresses={'api': '{{.URL}}', 'meter_events': '{{.URL}}'})

`))

type greetingData struct {
	Version, URL, Scheme, Host, Port, Admin, Log string
	Business, Key, KeyFile                       string
	Insecure                                     string // " -k" when our certificate is likely self-signed
}

func (d greetingData) write(w io.Writer) error {
	var b strings.Builder
	if err := greeting.Execute(&b, d); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}
