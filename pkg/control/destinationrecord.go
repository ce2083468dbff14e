package control

import (
	"errors"
	"fmt"
	"time"

	"tollgate/pkg/stripe"
)

// The values of "object" of records about destinations.
const (
	objectDestination          = "destination"
	objectDestinationSettings  = "destination_settings"
	objectDestinationStatus    = "destination_status"
	objectDestinationSecret    = "destination_secret"
	objectDestinationDeleted   = "destination_deleted"
	objectDestinationUnchanged = "destination_unchanged"
)

// destinationRecord is what only records about destinations have.
type destinationRecord struct {
	Type      DestinationType `json:"type,omitempty"`
	Topic     string          `json:"topic,omitempty"`
	Settings  *settingsRecord `json:"settings,omitempty"`
	Enabled   *bool           `json:"enabled,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Secret    string          `json:"secret,omitempty"`
	OldSecret string          `json:"old_secret,omitempty"`
	OldUntil  string          `json:"old_until,omitempty"`
}

// settingsRecord has the fields of Settings, in their order.
type settingsRecord struct {
	Name          string            `json:"name"`
	Description   string            `json:"description,omitempty"`
	EnabledEvents []string          `json:"enabled_events"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	URL           string            `json:"url,omitempty"`
}

// destination tells whether the proposal is about a destination.
func (p *proposal) destination() bool {
	c := &p.change
	return c.CreateDestination != nil || c.UpdateDestination != nil || c.DestinationStatus != nil ||
		c.RollSecret != nil || c.RemoveDestination != nil
}

// destinationID is the id of the destination that a proposal is about, "" when it is about none or creates one.
func (c *Change) destinationID() string {
	switch {
	case c.UpdateDestination != nil:
		return c.UpdateDestination.ID
	case c.DestinationStatus != nil:
		return c.DestinationStatus.ID
	case c.RollSecret != nil:
		return c.RollSecret.ID
	case c.RemoveDestination != nil:
		return c.RemoveDestination.ID
	}
	return ""
}

func (p *proposal) encodeDestination() (r destinationRecord) {
	c := &p.change
	switch {
	case c.CreateDestination != nil:
		d := c.CreateDestination
		r.Type, r.Topic, r.Secret = d.Type, d.Topic, d.Secret
		settings := settingsRecord(d.Settings)
		r.Settings = &settings
	case c.UpdateDestination != nil:
		settings := settingsRecord(*p.settings)
		r.Settings = &settings
	case c.DestinationStatus != nil:
		r.Enabled = &c.DestinationStatus.Enabled
		if !*r.Enabled {
			r.Reason = c.DestinationStatus.Reason
		}
	case c.RollSecret != nil:
		r.Secret = c.RollSecret.Secret
		if p.oldSecret != "" {
			r.OldSecret, r.OldUntil = p.oldSecret, formatTime(c.RollSecret.OldUntilMs)
		}
	}
	return r
}

// decodeDestination is the reverse of encodeDestination. ok is false when the record is not about a destination.
func (p *proposal) decodeDestination(r *record) (ok bool, err error) {
	c := &p.change
	switch r.Object {
	case objectDestination:
		settings, err := r.settings()
		if err != nil {
			return true, err
		}
		p.newID = r.ID
		c.CreateDestination = &NewDestination{r.Type, r.Topic, r.Secret, *settings}
	case objectDestinationSettings:
		c.UpdateDestination = &DestinationUpdate{ID: r.ID}
		p.settings, err = r.settings()
	case objectDestinationStatus:
		err = p.decodeStatus(r)
	case objectDestinationSecret:
		c.RollSecret = &SecretRoll{ID: r.ID, Secret: r.Secret}
		if p.oldSecret = r.OldSecret; p.oldSecret != "" {
			var until time.Time
			until, err = time.Parse(stripe.TimeLayout, r.OldUntil)
			c.RollSecret.OldUntilMs = until.UnixMilli()
		}
	case objectDestinationDeleted:
		c.RemoveDestination = &DestinationRemoval{r.ID}
	case objectDestinationUnchanged:
		if r.Enabled != nil {
			err = p.decodeStatus(r)
			break
		}
		c.UpdateDestination = &DestinationUpdate{ID: r.ID}
		p.settings, err = r.settings()
	default:
		return false, nil
	}
	return true, err
}

func (p *proposal) decodeStatus(r *record) error {
	if r.Enabled == nil {
		return errors.New("enabled is missing")
	}
	p.change.DestinationStatus = &DestinationStatus{ID: r.ID, Enabled: *r.Enabled}
	if !*r.Enabled {
		p.change.DestinationStatus.Reason = r.Reason
	}
	return nil
}

func (r *destinationRecord) settings() (*Settings, error) {
	if r.Settings == nil {
		return nil, errors.New("settings are missing")
	}
	s := Settings(*r.Settings)
	if len(s.Metadata) == 0 {
		s.Metadata = nil
	}
	return &s, nil
}

// checkDestination says why a proposal about a destination can not be a record. Before fill the settings of an update
// are not there yet.
func (p *proposal) checkDestination() error {
	c := &p.change
	var errs []error
	switch {
	case c.CreateDestination != nil:
		errs = append(errs, c.CreateDestination.check())
	case c.UpdateDestination != nil:
		errs = append(errs, c.UpdateDestination.check())
		if p.settings != nil {
			errs = append(errs, p.settings.check())
		}
	case c.DestinationStatus != nil && !c.DestinationStatus.Enabled:
		errs = append(errs, text("reason", c.DestinationStatus.Reason, reasonCharsMax))
	case c.RollSecret != nil:
		errs = append(errs, secret("secret", c.RollSecret.Secret))
		if p.oldSecret != "" {
			errs = append(errs, secret("old_secret", p.oldSecret))
		}
		if c.RollSecret.OldUntilMs > timeMaxMs {
			errs = append(errs, fmt.Errorf("old_until is %d ms, behind the year 9999", c.RollSecret.OldUntilMs))
		}
	}
	return errors.Join(errs...)
}
