package stripe

import "testing"

func TestAMetersIDTellsItsMode(t *testing.T) {
	const digits = "0000000000000000000000"
	for livemode, want := range map[bool]string{true: "mtr_" + digits, false: "mtr_test_" + digits} {
		if got := string(AppendMeterID(nil, livemode, [16]byte{})); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
