package control

import "testing"

func TestAHistoryOfStatus(t *testing.T) {
	for name, c := range map[string]struct {
		changes []int64 // ms after creation; negative: deactivated then
		active  []int64 // ms at which the meter was active
		not     []int64
	}{
		"never changed":                           {nil, []int64{0, 1e9}, []int64{-1}},
		"deactivated":                             {[]int64{-100}, []int64{0, 99}, []int64{100, 1e9}},
		"deactivated twice":                       {[]int64{-100, -200}, []int64{99}, []int64{100, 150, 200}},
		"and activated":                           {[]int64{-100, 200}, []int64{99, 200, 1e9}, []int64{100, 199}},
		"only an activation is left":              {[]int64{200}, []int64{200, 1e9}, []int64{0, 199}},
		"and one more":                            {[]int64{200, 300}, []int64{200, 300}, []int64{199}},
		"the clock of the second is behind":       {[]int64{-100, 90}, []int64{0, 89, 90, 95, 100, 1e9}, nil},
		"and then there is a third":               {[]int64{-100, 90, 95, -300}, []int64{0, 95, 299}, []int64{300}},
		"a deactivation behind an activation":     {[]int64{-100, 300, -200}, []int64{99}, []int64{100, 200, 250, 300, 1e9}},
		"behind everything":                       {[]int64{-100, 300, -50}, []int64{49}, []int64{50, 100, 300}},
		"before the meter, by another clock":      {[]int64{-1}, []int64{0}, []int64{1, 2}},
		"at the same moment, the log's order":     {[]int64{-100, 100}, []int64{99, 100, 101}, nil},
		"at the same moment, the other way round": {[]int64{-50, 100, -100}, []int64{49}, []int64{50, 99, 100, 101}},
	} {
		m := &Meter{CreatedMs: 1000, Active: true}
		for _, at := range c.changes {
			m = m.withStatus(at > 0, 1000+max(at, -at))
		}
		for _, at := range c.active {
			if !m.ActiveAt(1000 + at) {
				t.Errorf("%s: not active at %d: %v", name, at, m.history)
			}
		}
		for _, at := range c.not {
			if m.ActiveAt(1000 + at) {
				t.Errorf("%s: active at %d: %v", name, at, m.history)
			}
		}
	}
}

func TestAHistoryIsBounded(t *testing.T) {
	m := &Meter{Active: true}
	for i := range int64(3 * historyMax) {
		m = m.withStatus(i%2 == 1, 10*i+10)
	}
	if len(m.history) != historyMax {
		t.Errorf("%d changes are kept", len(m.history))
	}
	for i := int64(2*historyMax + 10); i < 3*historyMax; i++ {
		if m.ActiveAt(10*i+10) != (i%2 == 1) {
			t.Fatalf("wrong at change %d", i)
		}
	}
}

func TestVersionsOfAMeterDoNotShareWhatChanges(t *testing.T) {
	m := (&Meter{Active: true}).withStatus(false, 100).withStatus(true, 200).withStatus(false, 300)
	next := m.withStatus(true, 400)
	behind := next.withStatus(false, 150) // cuts the history, and writes
	behind.withStatus(true, 160)
	for at, want := range map[int64]bool{99: true, 100: false, 200: true, 300: false, 400: false} {
		if m.ActiveAt(at) != want {
			t.Errorf("the old version at %d: %v", at, m.history)
		}
	}
	if !next.ActiveAt(400) || next.ActiveAt(350) || behind.ActiveAt(400) {
		t.Errorf("the newer versions: %v, %v", next.history, behind.history)
	}
}
