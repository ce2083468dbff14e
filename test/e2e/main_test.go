// Package e2e tests the real binary from outside, on the embedded journal and on a real Kafka, with faults.
//
// E2E_ROUNDS sets how often the tests with Kill in their name kill; without it, few enough for CI.
package e2e

import (
	"os"
	"strconv"
	"testing"

	"tollgate/test/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// rounds is E2E_ROUNDS, or n.
func rounds(n int) int {
	if v, err := strconv.Atoi(os.Getenv("E2E_ROUNDS")); err == nil && v > 0 {
		return v
	}
	return n
}

// loud says on standard error, where no -v is needed, that a test was skipped and why.
func loud(t *testing.T, why string) {
	t.Helper()
	os.Stderr.WriteString("SKIPPED: " + t.Name() + ": " + why + "\n")
	t.Skip("SKIPPED: " + why)
}
