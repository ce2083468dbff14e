package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// forwardCommand is about what was, or was not, brought to Stripe. It asks a running gateway's admin listener.
type forwardCommand struct {
	Dead forwardDead `cmd:"" help:"Dead letters: what Stripe refused, or may have or not."`
}

type forwardDead struct {
	List  deadList  `cmd:"" help:"Print the dead letters that are open, the oldest first."`
	Retry deadRetry `cmd:"" help:"Send dead letters to Stripe once more, as they were."`
}

type deadList struct {
	Business    string `help:"Only of this business." placeholder:"ID"`
	Limit       int    `help:"How many, 1 to 10000." default:"100" placeholder:"N"`
	PrintJSON   bool   `name:"print-json" help:"Print each letter as the topic has it, one to a line."`
	adminAccess `embed:""`
}

func (c *deadList) Run(m *Main) error {
	page, err := c.page(url.Values{"business": {c.Business}, "limit": {strconv.Itoa(c.Limit)}})
	if err != nil {
		return &exitError{exitUnknown, err}
	}
	for i := range page.Data {
		if err := page.Data[i].print(m, c.PrintJSON); err != nil {
			return err
		}
	}
	if page.HasMore {
		fmt.Fprintf(m.Stderr, "gateway: there are more than these %d; --limit prints more\n", len(page.Data))
	}
	return nil
}

func (a *adminAccess) page(q url.Values) (page deadPage, err error) {
	_, err = a.ask(context.Background(), http.MethodGet, pathDead+"?"+q.Encode(), nil, &page)
	return page, err
}

// print writes a letter for a person, or for a program.
func (l *deadLetter) print(m *Main, asJSON bool) error {
	if asJSON {
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(m.Stdout, "%s\n", text)
		return err
	}
	words := []string{l.At, l.ID, l.Business, l.Kind, l.EventName, l.Identifier, l.Reason}
	if a := l.Answer; a != nil {
		words = append(words, strconv.Itoa(a.Status), a.Code, strconv.Quote(a.Message))
	}
	_, err := fmt.Fprintln(m.Stdout, strings.Join(words, "  "))
	return err
}

type deadRetry struct {
	IDs         []string `arg:"" optional:"" name:"id" help:"Ids of letters, as list prints them."`
	Business    string   `help:"Only of this business." placeholder:"ID"`
	Refused     bool     `help:"All letters that Stripe refused, such as before a meter was made there. Those whose outcome is unknown have to be named: should they be at Stripe already, they would count twice."`
	adminAccess `embed:""`
}

func (c *deadRetry) Run(m *Main) error {
	ids, more, err := c.which()
	if err != nil {
		return &exitError{exitUnknown, err}
	}
	if more {
		fmt.Fprintf(m.Stderr, "gateway: more than %d letters were refused; these are the oldest\n", deadListMax)
	}
	var all retryAnswer
	for len(ids) > 0 {
		some := ids[:min(len(ids), retryMax)]
		ids = ids[len(some):]
		var a retryAnswer
		_, err := c.ask(context.Background(), http.MethodPost, pathRetry, retryRequest{c.Business, some}, &a)
		all.Settled += a.Settled
		all.Left = append(all.Left, a.Left...)
		if err != nil {
			fmt.Fprintf(m.Stdout, "%d sent, %d refused again, and then it ended\n", all.Settled, len(all.Left))
			return &exitError{exitUnknown, err}
		}
	}
	for i := range all.Left {
		if err := all.Left[i].print(m, false); err != nil {
			return err
		}
	}
	fmt.Fprintf(m.Stdout, "%d sent, %d refused again\n", all.Settled, len(all.Left))
	if more {
		return &exitError{exitFailed, errors.New("there are more; run it again")}
	}
	if len(all.Left) > 0 {
		return &exitError{exitFailed, fmt.Errorf("%d were refused again and remain dead letters", len(all.Left))}
	}
	return nil
}

// which is the ids to try. more: there are others that one run does not take.
func (c *deadRetry) which() (ids []string, more bool, err error) {
	switch {
	case len(c.IDs) > 0 && c.Refused:
		return nil, false, errors.New("give ids or --refused, not both")
	case len(c.IDs) > 0:
		return c.IDs, false, nil
	case !c.Refused:
		return nil, false, errors.New("give the ids of letters, or --refused; `gateway forward dead list` prints them")
	}
	page, err := c.page(url.Values{"business": {c.Business}, "limit": {strconv.Itoa(deadListMax)}, "refused": {"true"}})
	for i := range page.Data {
		ids = append(ids, page.Data[i].ID)
	}
	return ids, page.HasMore, err
}

// drainCommand waits for what is under way. Its exit code is what a script that closes invoices goes by.
type drainCommand struct {
	Before      string        `help:"Everything received before this time, RFC 3339; default now." placeholder:"TIME"`
	Timeout     time.Duration `help:"How long to wait at most; 0: for as long as it takes." default:"0s"`
	adminAccess `embed:""`
}

func (c *drainCommand) Run(m *Main) error {
	before := time.Now()
	if c.Before != "" {
		var err error
		if before, err = time.Parse(time.RFC3339Nano, c.Before); err != nil {
			return &exitError{exitUnknown, fmt.Errorf("--before %q is no time; write RFC 3339, for example 2026-12-01T00:00:00Z", c.Before)}
		}
	}
	ctx := context.Background()
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	lacking, err := c.wait(ctx, m, before)
	switch {
	case err == nil:
		fmt.Fprintf(m.Stdout, "everything received before %s is at Stripe or among the dead letters\n", before.UTC().Format(time.RFC3339Nano))
		return nil
	case ctx.Err() != nil:
		return &exitError{exitFailed, fmt.Errorf("not drained within %v: %s", c.Timeout, cmp.Or(lacking, "the gateway did not say what is lacking"))}
	}
	return &exitError{exitUnknown, err}
}

// wait prints what is lacking, and returns what was at last.
func (c *drainCommand) wait(ctx context.Context, m *Main, before time.Time) (lacking string, err error) {
	err = readLines(ctx, &c.adminAccess, pathDrain+"?before="+url.QueryEscape(before.UTC().Format(time.RFC3339Nano)), nil, "drained", func(l *drainLine) (last bool, err error) {
		switch {
		case l.Error != "":
			return true, errors.New(l.Error)
		case !l.Drained:
			lacking = l.Lacking
			fmt.Fprintf(m.Stderr, "waiting: %s\n", lacking)
		}
		return l.Drained, nil
	})
	return lacking, err
}
