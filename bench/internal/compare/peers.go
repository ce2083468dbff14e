// Package compare says what is compared with the gateway, and what the measurements of it mean: the list of peers, the
// result with every single run, the ratios over its rounds, the limits on them, and the tables that tell them.
//
// In a round each entrant runs once for each size of requests, in turn, on the same machine with the same events and
// the same broker. What is compared is within a round: an hour in which the machine is slow is slow for all. The median
// over the rounds is told with the smallest and the largest.
//
// The package only reads and judges: it starts nothing.
package compare

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"tollgate/bench/internal/load"
)

// Kinds of peers.
const (
	HTTP = "http" // a server, which is loaded
	Self = "self" // a program that makes its own load and says at its end what it did
)

// Names of entrants and floors that have a meaning here. A floor does one part of the work and none of the rest.
const (
	Tollgate        = "tollgate"         // on the broker: all ratios are by it
	TollgateJournal = "tollgate-journal" // on its own disk
	FloorHTTP       = "floor-http"       // reads requests, answers, and keeps nothing
	FloorProduce    = "floor-produce"    // produces batches that were prepared
	FloorKafkaGo    = "floor-kafka-go"   // the same by kafka-go's own call for it
	FloorFsync      = "floor-fsync"      // writes and syncs groups of bytes
	floors          = "floor-"
)

// A Peer is an entry of peers.yaml: a program that is measured beside the gateway.
type Peer struct {
	Name    string   `yaml:"name"`
	About   string   `yaml:"about"`   // who would run this
	Promise string   `yaml:"promise"` // what a 2xx of it means
	Kind    string   `yaml:"kind"`
	Dialect string   `yaml:"dialect"` // of HTTP; default: stripe
	Needs   []string `yaml:"needs"`   // commands that must be there
	Dir     string   `yaml:"dir"`     // below the list's folder, where it is built and run
	Build   []string `yaml:"build"`
	Run     []string `yaml:"run"`
}

// Floor says that the peer does a part of the work only: it is a bound and no rival.
func (p *Peer) Floor() bool { return p.Kind == Self || strings.HasPrefix(p.Name, floors) }

var word = regexp.MustCompile(`^[a-z0-9-]+$`)

// ParsePeers reads the text of peers.yaml, in which unknown keys are refused.
func ParsePeers(text []byte) ([]Peer, error) {
	var list struct {
		Peers []Peer `yaml:"peers"`
	}
	if err := yaml.UnmarshalWithOptions(text, &list, yaml.Strict()); err != nil {
		return nil, err
	}
	seen := map[string]bool{Tollgate: true, TollgateJournal: true}
	for i := range list.Peers {
		p := &list.Peers[i]
		if p.Kind == HTTP && p.Dialect == "" {
			p.Dialect = load.Stripe
		}
		if err := p.validate(); err != nil {
			return nil, fmt.Errorf("peer %q: %w", p.Name, err)
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("there are two peers %q", p.Name)
		}
		seen[p.Name] = true
	}
	return list.Peers, nil
}

func (p *Peer) validate() error {
	switch {
	case !word.MatchString(p.Name):
		return errors.New("a name of small letters is required")
	case p.About == "" || p.Promise == "" || len(p.Run) == 0:
		return errors.New("about, promise and run are required")
	case p.Kind != HTTP && p.Kind != Self:
		return fmt.Errorf("there is no kind %q", p.Kind)
	case p.Kind == Self && p.Dialect != "":
		return errors.New("a dialect is for a server")
	case p.Kind == HTTP && p.Dialect != load.Stripe && p.Dialect != load.OTLPLogs:
		return fmt.Errorf("there is no dialect %q", p.Dialect)
	}
	return nil
}

// Missing are the commands that the peer needs and found does not find.
func (p *Peer) Missing(found func(command string) bool) []string {
	return slices.DeleteFunc(slices.Clone(p.Needs), found)
}
