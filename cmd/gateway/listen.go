package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"
)

// listenCommand is a developer's loop: what an event destination would be sent is printed, and posted to a program on this
// machine, without a public URL and without a destination. It asks again and again; docs/adr/0036 says why.
type listenCommand struct {
	ForwardTo string `help:"Post each event there, signed as a destination's are; without it they are printed only." placeholder:"URL"`
	Secret    string `help:"Sign with this secret. Without it one is made of the key, the same each time; it is printed at the start." placeholder:"WHSEC"`
	PrintJSON bool   `name:"print-json" help:"Print each event as the API has it, one to a line; all else goes to standard error."`
	eventTypes
	apiAccess `embed:"" set:"needs=event_read and billing_meter_read"`
}

func (c *listenCommand) Run(m *Main) error {
	l, err := c.listener(m)
	if err != nil {
		return &exitError{exitUnknown, err}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := l.begin(ctx); err != nil {
		return &exitError{exitUnknown, err}
	}
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx) }()
	for {
		select {
		case err := <-ended:
			return err
		case s := <-m.Signals:
			if s == syscall.SIGHUP { // a reload, which is nothing here
				continue
			}
			cancel()
			<-ended
			return nil
		}
	}
}

func (c *listenCommand) listener(m *Main) (*listener, error) {
	api, err := c.client()
	if err != nil {
		return nil, err
	}
	l := &listener{
		api: api, pause: pollEvery, json: c.PrintJSON, out: m.Stdout, say: m.Stdout, seen: newRecent(listenSeenMax),
		forward: forwarder{to: c.ForwardTo, secret: c.Secret, http: &http.Client{
			Timeout:       forwardMax,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}},
	}
	if c.PrintJSON {
		l.say = m.Stderr
	}
	if l.types, err = c.query(); err != nil {
		return nil, err
	}
	if c.ForwardTo == "" {
		return l, nil
	}
	if err := httpAddress(c.ForwardTo); err != nil {
		return nil, fmt.Errorf("--forward-to %w", err)
	}
	if c.Secret == "" {
		l.forward.secret = secretOfKey(api.key)
	}
	return l, nil
}

// secretOfKey makes a signing secret of an API key, from which nobody learns the key: a program that was told it once goes
// on when it is listened again.
func secretOfKey(key string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte("gateway listen"))
	return "whsec_" + hex.EncodeToString(mac.Sum(nil))[:48]
}

// forwardMax is how long an endpoint may take, as for a destination.
const forwardMax = 10 * time.Second

// begin finds out whether the gateway can be listened to, and what time it is there: events from then on are told.
func (l *listener) begin(ctx context.Context) error {
	q := l.query()
	q.Set("limit", "1")
	if _, _, err := l.api.events(ctx, "/v2/core/events?"+q.Encode()); err != nil {
		return err
	}
	l.began, l.from = time.Now(), time.Now()
	if at, err := http.ParseTime(l.api.date); err == nil {
		l.from = at
	}
	l.polled = l.from
	text := fmt.Sprintf("Listening to thin events of %s", l.api.base)
	if l.forward.to != "" {
		text += fmt.Sprintf(", which are forwarded to %s and signed with %s", l.forward.to, l.forward.secret)
	}
	_, err := io.WriteString(l.say, text+". Ctrl-C ends it.\n")
	return err
}
