package fleet

import "tollgate/internal/metrics"

// counts are the metrics of a Fleet.
type counts struct {
	answered, away, failed, again            *metrics.Counter // questions, by how they ended; asked a second time
	strangers, busy                          *metrics.Counter // questions of others that were turned away
	announceFaults, readFaults, listenFaults *metrics.Counter
	badAnnouncements                         *metrics.Counter
}

func newCounts(f *Fleet) counts {
	r := f.cfg.Metrics
	const asks, asksHelp = "tollgate_fleet_questions_total", "Questions about totals, fates, verdicts and amounts that this gateway put to the owners of partitions, by how they ended."
	const turned, turnedHelp = "tollgate_fleet_turned_away_total", "Questions of other gateways that were not answered, by reason."
	const faults, faultsHelp = "tollgate_fleet_faults_total", "What kept partitions from being announced, announcements from being read, or questions from arriving."
	r.GaugeFunc("tollgate_fleet_partitions_away", "Partitions of the usage topic whose owner this gateway can not ask now.", func() float64 {
		return float64(len(f.Away()))
	})
	return counts{
		answered:         r.Counter(asks, asksHelp, "outcome", "answered"),
		away:             r.Counter(asks, asksHelp, "outcome", "owner_away"),
		failed:           r.Counter(asks, asksHelp, "outcome", "failed"),
		again:            r.Counter("tollgate_fleet_second_rounds_total", "Questions that were put again to partitions that had moved or did not answer."),
		strangers:        r.Counter(turned, turnedHelp, "reason", "wrong_secret"),
		busy:             r.Counter(turned, turnedHelp, "reason", "busy"),
		announceFaults:   r.Counter(faults, faultsHelp, "at", "announce"),
		readFaults:       r.Counter(faults, faultsHelp, "at", "read"),
		listenFaults:     r.Counter(faults, faultsHelp, "at", "listen"),
		badAnnouncements: r.Counter(faults, faultsHelp, "at", "announcement"),
	}
}
