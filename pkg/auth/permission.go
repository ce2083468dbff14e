package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Permission is a set of what a key may do. The names are Stripe's.
type Permission uint32

// One bit each. A write permission holds its read permission as well, as at Stripe: who may create meter events may
// also read what they did.
const (
	MeterRead Permission = 1 << iota
	MeterWrite
	MeterEventRead
	MeterEventWrite
	MeterEventAdjustmentRead
	MeterEventAdjustmentWrite
	EventRead
	WebhookRead
	WebhookWrite

	allPermissions = 1<<iota - 1
)

// permissionNames is in the order of the bits.
var permissionNames = [...]string{
	"billing_meter_read",
	"billing_meter_write",
	"billing_meter_event_read",
	"billing_meter_event_write",
	"billing_meter_event_adjustment_read",
	"billing_meter_event_adjustment_write",
	"event_read",
	"webhook_read",
	"webhook_write",
}

// String is the names of the set, joined by commas; for a single permission its name.
func (p Permission) String() string {
	var names []string
	for i, name := range permissionNames {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

func parsePermissions(names []string) (Permission, error) {
	var set Permission
	for _, name := range names {
		i := slices.Index(permissionNames[:], name)
		if i < 0 {
			return 0, fmt.Errorf("unknown permission %.60q; the valid ones are %s", name, strings.Join(permissionNames[:], ", "))
		}
		set |= 1 << i
	}
	const writes = MeterWrite | MeterEventWrite | MeterEventAdjustmentWrite | WebhookWrite
	return set | set&writes>>1, nil // each read bit stands right below its write bit
}
