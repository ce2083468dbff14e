package harness

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

var probe = &http.Client{Timeout: 2 * time.Second}

func get(url string) (int, string) {
	res, err := probe.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	return res.StatusCode, string(body)
}

// Post sends one JSON request and returns status, decoded body and headers; status 0 and the error when no answer came.
func Post(url, bearer, body string, headers ...string) (int, map[string]any, http.Header, error) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	var v map[string]any
	err = json.NewDecoder(io.LimitReader(res.Body, 8<<20)).Decode(&v)
	return res.StatusCode, v, res.Header, err
}
