package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"tollgate/pkg/commitlog/follow"
	"tollgate/pkg/usage"
)

// Fleet answers questions about all partitions of the usage topic. Use Open.
type Fleet struct {
	cfg    Config
	board  *board
	counts counts

	// What is below is there with a Listener alone.
	secret   [32]byte // hash of the shared secret
	slots    chan struct{}
	server   *http.Server
	client   *http.Client
	follower *follow.Follower // of the board
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// Open starts to announce, to follow and to listen, if there is a Listener; from then on it is the Fleet's. It does not
// wait for the log.
func Open(cfg Config) (*Fleet, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	f := &Fleet{cfg: cfg, board: newBoard()}
	f.counts = newCounts(f)
	if cfg.Listener == nil {
		return f, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	if err := f.follow(ctx); err != nil {
		cancel()
		return nil, fmt.Errorf("fleet: %w", err)
	}
	f.serve()
	f.client = newClient(cfg)
	f.wg.Go(func() { f.announce(ctx) })
	return f, nil
}

// Close stops announcing and listening. Questions that are being answered are, until ctx ends.
func (f *Fleet) Close(ctx context.Context) error {
	if f.cfg.Listener == nil {
		return nil
	}
	f.cancel()
	err := f.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, f.server.Close())
	}
	f.client.CloseIdleConnections()
	f.wg.Wait()
	return errors.Join(err, f.follower.Close(ctx))
}

// partitions is how many there are; 0 while the log does not know the topic.
func (f *Fleet) partitions() int { return f.cfg.Log.Partitions(f.cfg.UsageTopic) }

// Totals answers a query exactly, from all partitions; AsOfMs is that of the partition that is furthest behind. The
// error is ErrOwnerAway, the context's, or a worker's.
func (f *Fleet) Totals(ctx context.Context, q usage.Query) (usage.Totals, error) {
	all, err := f.all()
	if err != nil {
		return usage.Totals{}, err
	}
	return gather(ctx, f, totals, q, all)
}

// Amounts answers a query with the next customers of a meter, each with its exact total from all partitions. Whoever
// asks for the next page asks anew: what was received meanwhile is in it. Errors are as for Totals.
func (f *Fleet) Amounts(ctx context.Context, q usage.AmountsQuery) (usage.Amounts, error) {
	all, err := f.all()
	if err != nil {
		return usage.Amounts{}, err
	}
	return gather(ctx, f, amounts, q, all)
}

// Fate tells what became of an identifier, from all partitions: of several answers the one that says most. Errors are
// as for Totals.
func (f *Fleet) Fate(ctx context.Context, q usage.FateQuery) (usage.Fate, error) {
	all, err := f.all()
	if err != nil {
		return usage.Fate{}, err
	}
	return gather(ctx, f, fates, q, all)
}

// Verdict asks the owner of the record's partition what became of it. Errors are as for Totals.
func (f *Fleet) Verdict(ctx context.Context, q usage.VerdictQuery) (usage.Verdict, error) {
	return gather(ctx, f, verdicts, q, []int32{q.Partition})
}

// Available is nil when the partition has an owner that could be asked now, as far as this process knows, and wraps
// ErrOwnerAway otherwise. It does not block: who is about to write a record whose verdict it needs asks here first.
func (f *Fleet) Available(partition int32) error {
	return f.available(f.cfg.Worker.Owned(), partition)
}

// Away is what Available says of each partition that has no such owner, in the partitions' order.
func (f *Fleet) Away() (why []error) {
	owned := f.cfg.Worker.Owned() // once: it sorts
	for p := range int32(f.partitions()) {
		if err := f.available(owned, p); err != nil {
			why = append(why, err)
		}
	}
	return why
}

func (f *Fleet) available(owned []int32, partition int32) error {
	if _, ok := slices.BinarySearch(owned, partition); ok {
		return nil
	}
	_, err := f.elsewhere(partition)
	return err
}

func (f *Fleet) all() ([]int32, error) {
	list := make([]int32, f.partitions())
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: how many partitions %s has is not known yet", ErrOwnerAway, f.cfg.UsageTopic)
	}
	for p := range list {
		list[p] = int32(p)
	}
	return list, nil
}

// elsewhere is the other gateway that runs a partition, as the newest announcement says, while that is fresh.
func (f *Fleet) elsewhere(partition int32) (owner, error) {
	if err := f.cfg.Worker.Damage(); err != nil && f.cfg.Listener == nil {
		return owner{}, fmt.Errorf("%w: %w", ErrOwnerAway, err)
	}
	if f.cfg.Listener == nil {
		return owner{}, fmt.Errorf("%w: partition %d is not run by this gateway, and without internal_listen it can not ask another: "+
			"set internal_listen and internal_secret_file on every gateway of the cluster", ErrOwnerAway, partition)
	}
	o, ok := f.board.owner(partition)
	switch {
	case !ok:
		return o, fmt.Errorf("%w: nobody has announced partition %d yet", ErrOwnerAway, partition)
	case o.gateway == f.cfg.Gateway:
		return o, fmt.Errorf("%w: partition %d was given back and nobody has announced it yet", ErrOwnerAway, partition)
	}
	now := f.cfg.Now()
	if f.board.missing(o.gateway, now) {
		return o, fmt.Errorf("%w: partition %d is run by the gateway at %s, and nobody listens there", ErrOwnerAway, partition, o.address)
	}
	if age := now.Sub(o.seen); age > f.cfg.FreshMax {
		return o, fmt.Errorf("%w: partition %d was last announced by %s, %v ago", ErrOwnerAway, partition, o.address, age.Round(1e9))
	}
	return o, nil
}
