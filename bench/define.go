package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"tollgate/bench/internal/scenario"
)

// defineMeters makes the meters that a scenario names, by the API that anybody would use.
func defineMeters(ctx context.Context, target string, all []scenario.Meters) error {
	for _, m := range all {
		of, err := parseBusinesses(m.Business)
		if err != nil || len(of) != 1 {
			return fmt.Errorf("meters of %q: NAME:KEY is wanted", m.Business)
		}
		for i := range m.Count {
			name := fmt.Sprintf("meter_%04d", i)
			form := url.Values{"display_name": {name}, "event_name": {name}, "default_aggregation[formula]": {"sum"}}
			if m.ValueKey != "" {
				form.Set("value_settings[event_payload_key]", m.ValueKey)
			}
			if err := defineMeter(ctx, target, of[0].Key, form); err != nil {
				return fmt.Errorf("meter %s of %s: %w", name, of[0].Name, err)
			}
		}
	}
	return nil
}

func defineMeter(ctx context.Context, target, key string, form url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target+"/v1/billing/meters", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered %s: %s", res.Status, body)
	}
	return err
}
