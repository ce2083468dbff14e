package main

import (
	"strings"
	"testing"
)

func TestTheWorkersMemoryFitsTheContainer(t *testing.T) {
	const mib = 1 << 20
	f := func(configured, container, want int64) {
		t.Helper()
		if got := usageMemory(configured*mib, container*mib); got != want*mib {
			t.Errorf("%d MiB configured in a container of %d: %d, want %d", configured, container, got/mib, want)
		}
	}
	f(0, 0, 512)
	f(0, 1024, 256)
	f(0, 16384, 512)
	f(0, 100, 64)
	f(3000, 1024, 3000)
}

func TestCheckConfigShowsNoInternalSecret(t *testing.T) {
	var out strings.Builder
	c, err := loadText(t, "internal_secret: hunter2hunter2hunter2\ninternal_listen: 10.0.0.5:9191\nkafka: {brokers: [\"a:9092\"]}\n", settings{})
	if err != nil {
		t.Fatal(err)
	}
	code := (&Main{Stdout: &out, Stderr: &out}).Run([]string{"check-config", "--config", c.from.path})
	if code != exitOK || strings.Contains(out.String(), "hunter2") || !strings.Contains(out.String(), "internal_listen: 10.0.0.5:9191") {
		t.Errorf("exit %d:\n%s", code, out.String())
	}
}
