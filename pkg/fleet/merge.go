package fleet

import (
	"errors"
	"fmt"

	"tollgate/pkg/meterevent"
	"tollgate/pkg/usage"
)

// How the answers of two sets of partitions become one is the worker's to know: it does the same with its own.

func mergeTotals(q usage.Query, a, b usage.Totals) (usage.Totals, error) {
	return usage.Merge(q, a, b), nil
}

func mergeAmounts(q usage.AmountsQuery, a, b usage.Amounts) (usage.Amounts, error) {
	return usage.MergeAmounts(q, a, b), nil
}

func mergeFates(_ usage.FateQuery, a, b usage.Fate) (usage.Fate, error) {
	return usage.MergeFates(a, b), nil
}

// mergeVerdicts is never needed: a verdict is about one partition.
func mergeVerdicts(usage.VerdictQuery, usage.Verdict, usage.Verdict) (usage.Verdict, error) {
	return usage.Verdict{}, errors.New("two partitions gave a verdict on one record")
}

// soundTotals refuses what came over the network and is not what a gateway of this version sends: it would be added.
func soundTotals(_ usage.Query, t usage.Totals) error {
	for _, w := range t.Windows {
		if _, err := meterevent.ParseDecimal([]byte(w.Value)); err != nil || w.EndMs <= w.StartMs {
			return fmt.Errorf("a total of %q from %d to %d", w.Value, w.StartMs, w.EndMs)
		}
	}
	return nil
}

// soundAmounts refuses likewise a page that is out of order, or longer than was asked for: customers would be left out.
func soundAmounts(q usage.AmountsQuery, a usage.Amounts) error {
	after := q.After
	for _, c := range a.Customers {
		if _, err := meterevent.ParseDecimal([]byte(c.Value)); err != nil || usage.CompareCustomers(c.Customer, after) <= 0 {
			return fmt.Errorf("a total of %q of %q behind %q", c.Value, c.Customer, after)
		}
		after = c.Customer
	}
	if len(a.Customers) > q.Limit || a.More && len(a.Customers) == 0 {
		return fmt.Errorf("a page of %d of %d customers, and more: %v", len(a.Customers), q.Limit, a.More)
	}
	return nil
}

func soundFate(_ usage.FateQuery, f usage.Fate) error {
	switch f.Status {
	case usage.NotFound, usage.Accepted, usage.Counted, usage.Refused, usage.Cancelled:
		return nil
	}
	return fmt.Errorf("a fate of %q", f.Status)
}

func soundVerdict(_ usage.VerdictQuery, v usage.Verdict) error {
	switch v.Outcome {
	case usage.OutcomeNew, usage.OutcomeReplay, usage.OutcomeKeyReused, usage.OutcomeDuplicate, usage.OutcomeRefused:
		return nil
	}
	return fmt.Errorf("a verdict of %q", v.Outcome)
}
