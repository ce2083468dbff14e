package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tollgate/bench/internal/compare"
	"tollgate/bench/internal/load"
	"tollgate/bench/internal/machine"
	"tollgate/bench/internal/page"
	"tollgate/bench/internal/stage"
)

type compareCommand struct {
	Rounds         int           `default:"3" help:"How often all take their turn."`
	Seconds        float64       `default:"6" help:"How long each is measured."`
	Warmup         time.Duration `default:"2s" help:"How long each is loaded before that; four times as long for one that needs java."`
	Batch          []int         `default:"100,10,1" help:"Events a request, 1 to 100."`
	Peer           []string      `help:"Only this peer, beside the gateway on the broker; may be repeated. Also tollgate-journal."`
	SkipBrokerKill bool          `help:"Leave out the pass in which the broker is killed under load."`
	List           string        `type:"existingfile" help:"List of peers, with limits.yaml beside it. Default: the working copy's bench/peers/peers.yaml."`
	Gateway        string        `type:"existingfile" help:"Binary of the gateway. Default: the working copy's, built first."`
	Out            string        `type:"path" help:"File for the result as JSON. Default: compare.json in --dir."`
	Dir            string        `type:"path" help:"Directory for data and log lines, on a disk. Default: a new one in the system's place for temporary files."`

	kill    killPlan
	brokers []string // of a broker that runs already, and is not killed
	built   string   // where peers are built; "": the user's cache
}

// compareSeed decides which meters and customers follow one another, the same for all.
const compareSeed = 1

// Run is called by kong.
func (c *compareCommand) Run(ctx context.Context) error {
	made, err := c.place()
	if err != nil {
		return c.refuse(err, made)
	}
	contest, limits, err := c.open()
	if err != nil {
		return c.refuse(fmt.Errorf("%w: %w", errRefused, err), made)
	}
	r := contest.result
	ran := contest.run(ctx)
	contest.close()
	r.Judge(limits)
	r.OK = r.OK && ran == nil
	if text, err := r.JSON(); err != nil {
		ran = errors.Join(ran, err)
	} else if err := os.WriteFile(c.Out, text, 0o644); err != nil {
		ran = errors.Join(ran, err)
	}
	for _, t := range r.Tables() {
		if len(t.Rows) > 0 {
			fmt.Println(t.Text())
		}
	}
	fmt.Println("result:", c.Out)
	switch {
	case ran != nil:
		return fmt.Errorf("%w; see %s", ran, c.Dir)
	case !r.OK:
		return fmt.Errorf("%w; see %s", errLimits, c.Dir)
	case made && filepath.Dir(c.Out) != c.Dir:
		return os.RemoveAll(c.Dir)
	}
	return nil
}

// errLimits is a comparison whose limits do not hold.
var errLimits = errors.New("a limit does not hold")

// refuse leaves nothing behind of a comparison that did not begin.
func (c *compareCommand) refuse(why error, made bool) error {
	if made {
		return errors.Join(why, os.RemoveAll(c.Dir))
	}
	return why
}

// place finds the directories and says whether that for data was made here.
func (c *compareCommand) place() (made bool, err error) {
	if c.Dir == "" {
		if c.Dir, err = os.MkdirTemp("", "tollgate-compare-"); err != nil {
			return false, err
		}
		made = true
	}
	if c.Out == "" {
		c.Out = filepath.Join(c.Dir, "compare.json")
	}
	if c.List == "" {
		root, err := stage.ModuleRoot()
		if err != nil {
			return made, err
		}
		c.List = filepath.Join(root, "bench", "peers", "peers.yaml")
	}
	if c.List, err = filepath.Abs(c.List); err != nil {
		return made, err
	}
	if c.built == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return made, err
		}
		// What takes minutes to build is built once for each working copy.
		c.built = filepath.Join(cache, "tollgate", fmt.Sprintf("peers-%08x", crc32.ChecksumIEEE([]byte(c.List))))
	}
	if err := errors.Join(os.MkdirAll(c.Dir, 0o755), os.MkdirAll(c.built, 0o755)); err != nil {
		return made, err
	}
	const tmpfs = 0x01021994
	var fs syscall.Statfs_t
	if err := syscall.Statfs(c.Dir, &fs); err == nil && fs.Type == tmpfs {
		return made, fmt.Errorf("%w: %s is in memory, where an fsync costs nothing: give --dir on a disk", errRefused, c.Dir)
	}
	return made, nil
}

// open reads the lists and says who takes part.
func (c *compareCommand) open() (*contest, []compare.Limit, error) {
	if c.Rounds < 1 || c.Seconds <= 0 || len(c.Batch) == 0 {
		return nil, nil, errors.New("--rounds, --seconds and --batch can not be nothing")
	}
	peers, limits, err := c.lists()
	if err != nil {
		return nil, nil, err
	}
	q := &contest{
		command: c, length: time.Duration(c.Seconds * float64(time.Second)), kill: c.kill.withDefaults(),
		result: &compare.Result{
			Command: commandLine(os.Args[1:]), Started: time.Now().UTC().Truncate(time.Second), Seed: compareSeed, Machine: machine.Describe(),
		},
	}
	q.result.Setup = compare.Setup{
		Rounds: c.Rounds, Length: q.length, Warmup: c.Warmup, Batches: c.Batch, Connections: contestConnections, Rate: contestRate,
	}
	if !c.SkipBrokerKill {
		q.result.Setup.Kills = q.kill.times
	}
	return q, limits, c.choose(q, peers)
}

// lists reads the peers, and the limits beside them if there are any.
func (c *compareCommand) lists() (peers []compare.Peer, limits []compare.Limit, err error) {
	text, err := os.ReadFile(c.List)
	if err != nil {
		return nil, nil, err
	}
	if peers, err = compare.ParsePeers(text); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.List, err)
	}
	file := filepath.Join(filepath.Dir(c.List), "limits.yaml")
	if text, err = os.ReadFile(file); errors.Is(err, os.ErrNotExist) {
		return peers, nil, nil
	}
	if err == nil {
		limits, err = compare.ParseLimits(text, peers)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return peers, limits, nil
}

// choose fills in who takes part, the gateway first, and why others do not.
func (c *compareCommand) choose(q *contest, peers []compare.Peer) error {
	known := []string{compare.TollgateJournal}
	for _, p := range peers {
		known = append(known, p.Name)
	}
	for _, name := range c.Peer {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no peer %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	const promise = "every event is acknowledged by all in-sync replicas; a repeated request doubles, and no other answer than 500 and a 503 that says so leaves open what was stored"
	const onDisk = "every event is synced to the gateway's own disk; the rest as on Kafka"
	q.add(&entrant{Entrant: compare.Entrant{Name: compare.Tollgate, Kind: compare.HTTP, About: "this gateway on Kafka", Promise: promise}, onKafka: true})
	q.add(&entrant{Entrant: compare.Entrant{Name: compare.TollgateJournal, Kind: compare.HTTP, About: "this gateway on its journal", Promise: onDisk}})
	for _, p := range peers {
		q.add(&entrant{
			Entrant: compare.Entrant{Name: p.Name, Kind: p.Kind, About: p.About, Promise: p.Promise, Floor: p.Floor()},
			peer:    &p, onKafka: !p.Floor(),
		})
	}
	for _, e := range q.entrants[1:] {
		if len(c.Peer) > 0 && !slices.Contains(c.Peer, e.Name) {
			e.LeftOut = "it was not asked for"
		} else if e.peer != nil {
			missing := e.peer.Missing(func(command string) bool { _, err := exec.LookPath(command); return err == nil })
			if len(missing) > 0 {
				e.LeftOut = "not found here: " + strings.Join(missing, ", ")
			}
		}
	}
	return nil
}

// alone keeps other timed runs of this machine away, and says so when it has to wait for one.
func alone(ctx context.Context) (release func(), err error) {
	return machine.Alone(ctx, func(file string) {
		fmt.Fprintln(os.Stderr, "waiting: something else is being timed on this machine, and has", file)
	})
}

// pageOfComparison is a section a table.
func pageOfComparison(r *compare.Result) page.Page {
	p := page.Page{Title: "Comparison of " + r.Started.Format("2006-01-02 15:04 MST"), Facts: about(r.Command, r.Machine)}
	for _, j := range r.Limits {
		p.Facts = append(p.Facts, page.Fact{Name: "limit", Text: j.String(), Bad: !j.OK && j.NotJudged == ""})
	}
	for _, t := range r.Tables() {
		if len(t.Rows) > 0 && t.Name != "limits" {
			p.Sections = append(p.Sections, page.Section{Title: t.Title, Table: page.Table{Columns: t.Columns, Rows: t.Rows}})
		}
	}
	return p
}

// dialectOf is how an entrant is spoken to.
func dialectOf(e *entrant) string {
	if e.peer != nil {
		return e.peer.Dialect
	}
	return load.Stripe
}
