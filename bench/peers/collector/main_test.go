package main

import (
	"testing"

	"go.opentelemetry.io/collector/otelcol"
)

// A configuration that a new version of the collector refuses is found here, and not by a peer that does not start.
func TestTheCollectorTakesItsConfigurations(t *testing.T) {
	t.Setenv("PEER_LISTEN", "127.0.0.1:4318")
	t.Setenv("PEER_KAFKA", "127.0.0.1:19092")
	t.Setenv("PEER_TOPIC", "usage")
	for _, file := range []string{"raw.yaml", "otlp.yaml"} {
		set := settings()
		set.ConfigProviderSettings.ResolverSettings.URIs = []string{"file:" + file}
		set.ConfigProviderSettings.ResolverSettings.DefaultScheme = "env"
		collector, err := otelcol.NewCollector(set)
		if err != nil {
			t.Fatal(err)
		}
		if err := collector.DryRun(t.Context()); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
