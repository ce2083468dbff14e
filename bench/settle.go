package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

const (
	settleMax    = 5 * time.Minute
	metricsBytes = 4 << 20
)

// lagFigure is how many records the gateway has acknowledged and not counted.
var lagFigure = regexp.MustCompile(`(?m)^tollgate_usage_lag_records (\S+)$`)

// settle waits until the gateway has counted what it has acknowledged: twice in a row, since it asks the log for its end
// once a second.
func settle(ctx context.Context, metrics string) error {
	begin, counted := time.Now(), 0
	for {
		lag, err := lagOf(ctx, metrics)
		if err != nil {
			return err
		}
		if counted++; lag > 0 {
			counted = 0
		}
		switch {
		case counted == 2:
			return nil
		case time.Since(begin) > settleMax:
			return fmt.Errorf("the gateway is %.0f events behind what it acknowledged, after %v", lag, settleMax)
		case !wait(ctx, 2*time.Second):
			return ctx.Err()
		}
	}
}

func lagOf(ctx context.Context, metrics string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, metrics, http.NoBody)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, metricsBytes))
	if err != nil {
		return 0, err
	}
	found := lagFigure.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%s does not say how far the worker is behind", metrics)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}
