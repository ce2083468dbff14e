package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// adminAccess is how a command reaches the admin listener of a running gateway.
type adminAccess struct {
	AdminListen string `help:"Address of the gateway's admin listener (default ${default}); a configuration file is not read." default:"127.0.0.1:9090" env:"GATEWAY_ADMIN_LISTEN" placeholder:"ADDR"`
}

// base is the listener's URL. One that listens on every interface is asked on loopback.
func (a *adminAccess) base() string {
	addr := strings.Replace(a.AdminListen, "0.0.0.0:", "127.0.0.1:", 1)
	if strings.HasPrefix(addr, ":") {
		addr = "127.0.0.1" + addr
	}
	return "http://" + addr
}

// open asks and returns the answer, whose body the caller closes. What is no 200 comes with an error that says why, and its
// body needs no closing.
func (a *adminAccess) open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base()+path, &text)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w; does the gateway run, and is this its --admin-listen?", err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	answer, _ := io.ReadAll(io.LimitReader(res.Body, answerBytesMax))
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(answer))
	var fault adminFault
	if json.Unmarshal(answer, &fault) != nil || fault.Error == "" {
		return res, fmt.Errorf("%s%s answered %s, and not as a gateway of this version does", a.base(), path, res.Status)
	}
	return res, errors.New(fault.Error)
}

// adminLineMax bounds a line of an answer that comes line by line.
const adminLineMax = 1 << 20

// readLines asks with POST, and hands over the lines of the answer as they come, until one is the last. done is what then is
// done to everything.
func readLines[L any](ctx context.Context, a *adminAccess, path string, body any, done string, each func(line *L) (last bool, err error)) error {
	res, err := a.open(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, adminLineMax)
	for lines.Scan() {
		line := new(L)
		if err := json.Unmarshal(lines.Bytes(), line); err != nil {
			return fmt.Errorf("%s%s: %w", a.base(), path, err)
		}
		if last, err := each(line); last || err != nil {
			return err
		}
	}
	if err := cmp.Or(lines.Err(), ctx.Err()); err != nil {
		return err
	}
	return fmt.Errorf("the gateway's answer ended before everything was %s", done)
}

// ask reads the whole answer, also one that comes with an error, as far as it is one.
func (a *adminAccess) ask(ctx context.Context, method, path string, body, answer any) (status int, err error) {
	res, err := a.open(ctx, method, path, body)
	if res == nil {
		return 0, err
	}
	defer res.Body.Close()
	if err2 := json.NewDecoder(io.LimitReader(res.Body, answerBytesMax)).Decode(answer); err == nil && err2 != nil {
		err = fmt.Errorf("%s%s: %w", a.base(), path, err2)
	}
	return res.StatusCode, err
}
