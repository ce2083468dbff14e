package scenario

import (
	"fmt"
	"maps"
)

// Businesses are made in a row when there are more than one writes down: acct_bench_0000 with the key
// sk_test_bench_0000, and so on.
type Businesses struct {
	Count int `yaml:"count" json:"count"`
}

const businessesMax = 10_000 // four digits

func businessName(i int) string { return fmt.Sprintf("acct_bench_%04d", i) }
func businessKey(i int) string  { return fmt.Sprintf("sk_test_bench_%04d", i) }

// GatewayConfig is the gateway's configuration with the businesses made in a row behind those that are written down.
func (s *Scenario) GatewayConfig() map[string]any {
	config := maps.Clone(s.Gateway)
	if s.Businesses.Count == 0 {
		return config
	}
	if config == nil {
		config = map[string]any{}
	}
	written, _ := config["businesses"].([]any)
	all := append([]any(nil), written...)
	for i := range s.Businesses.Count {
		all = append(all, map[string]any{"id": businessName(i), "keys": []any{map[string]any{"key": businessKey(i)}}})
	}
	config["businesses"] = all
	return config
}

// BusinessesOf are those that a load is sent by, NAME:KEY each.
func (s *Scenario) BusinessesOf(l *Load) []string {
	if len(l.Businesses) > 0 {
		return l.Businesses
	}
	var all []string
	for i := range s.Businesses.Count {
		all = append(all, businessName(i)+":"+businessKey(i))
	}
	return all
}
