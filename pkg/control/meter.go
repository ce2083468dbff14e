package control

// Formula is how a meter makes one value of many.
type Formula string

// The formulas that meters know, as the wire has them.
const (
	Sum   Formula = "sum"
	Count Formula = "count"
	Last  Formula = "last"
)

// Window is a meter's event_time_window: of the events of one such window only the newest counts.
type Window string

// The windows that meters know, as the wire has them; NoWindow is null there.
const (
	NoWindow Window = ""
	Hour     Window = "hour"
	Day      Window = "day"
)

// historyMax bounds the changes of status that a meter remembers. An event that was received before so many changes is
// judged as if it had been received just before the oldest of them.
const historyMax = 1000

// Meter is one meter as of a snapshot. It is immutable.
type Meter struct {
	ID, Business string
	Livemode     bool
	DisplayName  string
	EventName    string
	Formula      Formula
	CustomerKey  string // the payload's key whose text is the customer
	ValueKey     string // the payload's key whose text is the value
	Window       Window
	// CreatedMs and UpdatedMs are ms since 1970 by the clocks of the gateways that were asked.
	CreatedMs, UpdatedMs int64
	Active               bool
	DeactivatedMs        int64 // 0 while active

	// history holds changes of status, at most historyMax, with rising times, each to the other status than the one before
	// it. Versions of a meter share the memory behind it: only the fold appends, and only to the newest version.
	history []transition
	ruled   bool // a change of status was seen
}

type transition struct {
	atMs   int64
	active bool
}

// ExistedAt tells whether an event received at ms, in ms since 1970, came after the meter was created.
func (m *Meter) ExistedAt(ms int64) bool { return ms >= m.CreatedMs }

// ActiveAt tells whether the meter existed and was active when an event was received, at ms since 1970.
func (m *Meter) ActiveAt(ms int64) bool {
	if ms < m.CreatedMs {
		return false
	}
	for i := len(m.history) - 1; i >= 0; i-- {
		if m.history[i].atMs <= ms {
			return m.history[i].active
		}
	}
	return m.activeAtFirst()
}

// activeAtFirst is the status before the history. Where compaction has left an activation first, the meter was inactive
// before: only what is inactive is activated.
func (m *Meter) activeAtFirst() bool {
	if len(m.history) > 0 {
		return !m.history[0].active
	}
	return m.Active
}

func (m *Meter) withName(name string, atMs int64) *Meter {
	n := *m
	n.DisplayName, n.UpdatedMs = name, atMs
	return &n
}

// withStatus returns the meter after a change of status. The log's order decides which of two changes holds, also when
// the clocks of their gateways disagree: from its own time on, the later record hides the earlier one.
func (m *Meter) withStatus(active bool, atMs int64) *Meter {
	n := *m
	n.Active, n.UpdatedMs, n.DeactivatedMs = active, atMs, 0
	if !active {
		n.DeactivatedMs = atMs
	}
	keep := len(m.history)
	for keep > 0 && m.history[keep-1].atMs >= atMs {
		keep--
	}
	if keep < len(m.history) {
		n.history = m.history[:keep:keep] // what is behind belongs to older versions, so the next append copies
	}
	before := m.activeAtFirst()
	switch {
	case !m.ruled:
		before, n.ruled = !active, true
	case keep > 0:
		before = m.history[keep-1].active
	}
	if before != active {
		n.history = append(n.history, transition{atMs, active})
	}
	if len(n.history) > historyMax {
		n.history = n.history[1:]
	}
	return &n
}
