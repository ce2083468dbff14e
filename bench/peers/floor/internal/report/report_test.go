package report

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

func TestSettingsComeFromTheEnvironmentOrAreRefused(t *testing.T) {
	for _, c := range []struct {
		seconds, bytes, rate string
		want                 Settings
		ok                   bool
	}{
		{"", "", "", Settings{10 * time.Second, 256 << 10, 0}, true},
		{"0.5", "4096", "100000", Settings{500 * time.Millisecond, 4096, 100_000}, true},
		{"-1", "", "", Settings{}, false},
		{"soon", "", "", Settings{}, false},
		{"", "0", "", Settings{}, false},
		{"", "1e6", "", Settings{}, false},
		{"", "", "0", Settings{}, false},
		{"", "", "fast", Settings{}, false},
	} {
		t.Setenv("PEER_SECONDS", c.seconds)
		t.Setenv("PEER_BATCH_BYTES", c.bytes)
		t.Setenv("PEER_RATE", c.rate)
		got, err := Read()
		if (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("PEER_SECONDS=%s PEER_BATCH_BYTES=%s PEER_RATE=%s: %+v, %v", c.seconds, c.bytes, c.rate, got, err)
		}
	}
}

func TestTheLineHasWhatItsReaderAdds(t *testing.T) {
	var out bytes.Buffer
	if err := Begin().Print(&out, Line{Records: 7, Bytes: 1750}); err != nil {
		t.Fatal(err)
	}
	var line map[string]float64
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"records", "bytes", "seconds", "cpu_seconds"} {
		if _, ok := line[name]; !ok {
			t.Errorf("%s is not in %s", name, out.Bytes())
		}
	}
}
