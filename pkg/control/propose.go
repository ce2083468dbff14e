package control

// Idempotency is the caller's Idempotency-Key with what it was used for.
type Idempotency struct {
	API         string // "v1" or "v2": keys are kept for 24 h or 30 days
	Key         string
	Fingerprint [16]byte // of method, path and parameters
}

// Change is a proposal. Exactly one of Create and what follows it is set.
type Change struct {
	Business    string
	Livemode    bool
	Idempotency *Idempotency // nil: none
	Create      *NewMeter
	Rename      *Rename
	Status      *StatusChange

	CreateDestination *NewDestination
	UpdateDestination *DestinationUpdate
	DestinationStatus *DestinationStatus
	RollSecret        *SecretRoll
	RemoveDestination *DestinationRemoval
}

// NewMeter is a meter that does not exist yet, with every default filled in.
type NewMeter struct {
	DisplayName, EventName string
	Formula                Formula
	CustomerKey, ValueKey  string
	Window                 Window
}

// Rename gives the meter of that id another display name. "" is none: the meter stays as it is, and the Idempotency-Key
// is used up.
type Rename struct{ ID, DisplayName string }

// StatusChange deactivates the meter of that id, or makes it active again.
type StatusChange struct {
	ID     string
	Active bool
}

// Verdict is what the fold decided at the proposal's offset.
type Verdict struct {
	// Meter is as it was right after the change; nil when it was refused.
	Meter *Meter
	// Destination is likewise what a change of a destination left; of a removal, what it was.
	Destination *Destination
	// Replayed: the same Idempotency-Key and parameters were used before, and this is the verdict of then.
	Replayed bool
	// Refusal is why nothing changed; NotRefused: it did.
	Refusal Refusal
}

// Refusal is why a change was not made.
type Refusal uint8

// The refusals.
const (
	NotRefused           Refusal = iota
	NameTaken                    // a meter of that event name exists in this business and mode
	NoSuchMeter                  // no meter of that id exists in this business and mode
	KeyReused                    // the Idempotency-Key was used with other parameters
	TooManyMeters                // the business has MetersMax in this mode
	NoSuchDestination            // no destination of that id exists in this business and mode
	TooManyDestinations          // the business has DestinationsMax in this mode
	WrongDestinationType         // only a WebhookEndpoint has a URL and a secret
	TooMuchMetadata              // with what it has already, the destination would have more than MetadataMax keys

	// changedMeanwhile: a record that says that something already was so came behind one that changed it. Propose tries
	// again, and nobody else sees it.
	changedMeanwhile
)
