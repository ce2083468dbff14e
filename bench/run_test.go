package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAScenarioWithAKilledGatewayIsPlayedAndJudged(t *testing.T) {
	dir := t.TempDir()
	c := runCommand{Scenario: []string{"testdata/small.yaml"}, Gateway: binary, Dir: dir}
	if err := c.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "small-journal.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got played
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !got.OK || len(got.Limits) != 4 || got.Verdict.Acked == 0 || len(got.Loads["kill"]) != 2 || got.Loads["kill"]["one"].Failed == 0 {
		t.Errorf("%s", text)
	}
	reportOf(t, filepath.Join(dir, "small-journal.json"), "small on journal", "kill, one", "kill, two", "log.missing", "Queues")
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("the data of a run that passed is still there: %v", left)
	}
}

// reportOf writes the HTML page of a result and expects texts in it.
func reportOf(t *testing.T, file string, texts ...string) {
	t.Helper()
	c := reportCommand{Result: file, Out: filepath.Join(t.TempDir(), "page.html")}
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(c.Out)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range append(texts, "<svg", "Throughput", "cores") {
		if !strings.Contains(string(html), text) {
			t.Errorf("%q is not in the page of %s", text, file)
		}
	}
}

func TestWhatIsNoResultHasNoPage(t *testing.T) {
	for _, text := range []string{"", "{}", "[]", `{"scenario":{}}`} {
		if _, err := pageOf([]byte(text)); err == nil {
			t.Errorf("%q has a page", text)
		}
	}
}

func TestAScenarioWhoseLimitDoesNotHoldFailsAndKeepsItsData(t *testing.T) {
	dir := t.TempDir()
	c := runCommand{Scenario: []string{"testdata/impossible.yaml"}, Gateway: binary, Dir: dir}
	if err := c.Run(context.Background()); !errors.Is(err, errFailed) {
		t.Fatalf("%v", err)
	}
	if ledgers, _ := filepath.Glob(filepath.Join(dir, "impossible-journal", "*.ledger")); len(ledgers) != 2 {
		t.Errorf("ledgers: %v", ledgers)
	}
}

func TestEveryScenarioCanBeRead(t *testing.T) {
	names := scenarioNames()
	if len(names) < 6 {
		t.Errorf("only %v", names)
	}
	for _, name := range names {
		if _, err := openScenario(name); err != nil {
			t.Error(err)
		}
	}
	listed := listScenarios()
	for _, name := range names {
		if !strings.Contains(listed, "  "+name+" ") {
			t.Errorf("%s is not in the list:\n%s", name, listed)
		}
	}
	if _, err := openScenario("no-such"); err == nil {
		t.Error("a scenario that does not exist was read")
	}
}
