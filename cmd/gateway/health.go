package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// healthCommand asks /readyz, since the container image has neither shell nor curl.
type healthCommand struct {
	Live        bool          `help:"Ask /livez (is it running) instead of /readyz (can it acknowledge now)."`
	Timeout     time.Duration `help:"How long to wait for the answer." default:"2s"`
	adminAccess `embed:""`
}

// healthBytesMax bounds the answer that is printed.
const healthBytesMax = 4096

func (c *healthCommand) Run(m *Main) error {
	path := "/readyz"
	if c.Live {
		path = "/livez"
	}
	client := &http.Client{Timeout: c.Timeout}
	res, err := client.Get(c.base() + path)
	if err != nil {
		return fmt.Errorf("%w; does the gateway run, and is this its --admin-listen?", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, healthBytesMax))
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(body))
	if res.StatusCode != http.StatusOK {
		return errors.New(text)
	}
	fmt.Fprintln(m.Stdout, text)
	return nil
}
