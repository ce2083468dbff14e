package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// apiAccess is how a command reaches a running gateway: over the public API, as an application would. ${needs} is what a
// restricted key must be allowed.
type apiAccess struct {
	URL     string        `name:"url" help:"The gateway's public address (default ${default})." default:"http://127.0.0.1:8080" env:"GATEWAY_URL" placeholder:"URL"`
	Key     string        `help:"A secret key, or a restricted one with ${needs}. Without it the environment's TOLLGATE_KEY or STRIPE_API_KEY, or the key that the gateway made itself." placeholder:"KEY"`
	DataDir string        `help:"Where the key that the gateway made is (default ${default})." default:"./data" env:"GATEWAY_DATA_DIR" placeholder:"DIR"`
	Timeout time.Duration `help:"How long to wait for each answer." default:"15s"`
}

func (a *apiAccess) client() (*apiClient, error) {
	key, err := a.key()
	if err != nil {
		return nil, err
	}
	base := strings.TrimRight(a.URL, "/")
	if err := httpAddress(base); err != nil {
		return nil, fmt.Errorf("--url %w", err)
	}
	return &apiClient{base: base, key: key, http: &http.Client{Timeout: a.Timeout}}, nil
}

// httpAddress is nil for what can be asked over HTTP.
func httpAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no address: write for example http://127.0.0.1:8080", address)
	}
	return nil
}

// key is the API key to ask with.
func (a *apiAccess) key() (string, error) {
	for _, key := range []string{a.Key, os.Getenv("TOLLGATE_KEY"), os.Getenv("STRIPE_API_KEY")} {
		if key != "" {
			return key, nil
		}
	}
	path := filepath.Join(a.DataDir, defaultKeyFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("no API key: %w; give --key, or set TOLLGATE_KEY", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// apiClient asks the public API.
type apiClient struct {
	base, key string
	http      *http.Client
	asOf      string // the earliest Tollgate-As-Of of all answers
	date      string // the Date of the latest answer
}

// answerBytesMax bounds an answer. The longest is a page of 100 thin events, of which each may have 128 KiB of data.
const answerBytesMax = 16 << 20

// get asks for one object. status is 0 when there was no answer, and then err says why.
func (a *apiClient) get(path string, answer any) (status int, err error) {
	return a.ask(context.Background(), http.MethodGet, path, answer)
}

func (a *apiClient) ask(ctx context.Context, method, path string, answer any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	res, err := a.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%w; does the gateway run, and is this its --url?", err)
	}
	defer res.Body.Close()
	a.date = res.Header.Get("Date")
	if at := res.Header.Get("Tollgate-As-Of"); at != "" && (a.asOf == "" || at < a.asOf) { // all have one width
		a.asOf = at
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, answerBytesMax))
	if err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK {
		var refusal struct {
			Error struct {
				Code, Message string
			}
		}
		if json.Unmarshal(text, &refusal) != nil || refusal.Error.Message == "" {
			return res.StatusCode, fmt.Errorf("%s%s answered %s, and not as a gateway does", a.base, path, res.Status)
		}
		return res.StatusCode, errors.New(refusal.Error.Message)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return res.StatusCode, fmt.Errorf("%s%s: %w", a.base, path, err)
	}
	return res.StatusCode, nil
}
