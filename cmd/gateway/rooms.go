package main

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"tollgate/internal/metrics"
	"tollgate/internal/vfs"
	"tollgate/pkg/auth"
	"tollgate/pkg/commitlog"
	"tollgate/pkg/commitlog/journal"
	"tollgate/pkg/commitlog/spill"
	"tollgate/pkg/control"
	"tollgate/pkg/fleet"
	"tollgate/pkg/forward"
	"tollgate/pkg/httpd"
	"tollgate/pkg/ingest"
	"tollgate/pkg/opened"
	"tollgate/pkg/thinevent"
	"tollgate/pkg/usage"
	"tollgate/pkg/webhook"
)

// gateway is the open rooms. open builds them top down; drain closes them bottom up.
//
// Its goroutine is run's: reload, rotate and drain are called from there and nowhere else. What other goroutines read
// of it is atomic.
type gateway struct {
	cfg      *Config
	started  *Config // as at the start: what needs a restart is read there, by other goroutines as well
	log      zerolog.Logger
	registry *metrics.Registry

	// name is this process's among all gateways, new for each start.
	name string

	lock      io.Closer
	commitLog commitlog.Log
	spill     *spill.Log // commitLog, when it is one; else nil
	control   *control.Control
	opened    *opened.Opened
	events    *thinevent.Store
	forwarder *forward.Forwarder // nil: nothing is forwarded
	usage     *usage.Worker
	counter   *worker // runs usage
	courier   *webhook.Courier
	deliverer *worker // runs courier
	fleet     *fleet.Fleet
	ingest    *ingest.Ingester
	sessions  *auth.Sessions
	signing   *auth.SigningKeys
	http      *httpd.Server
	public    net.Listener
	admin     *admin

	cert     atomic.Pointer[tls.Certificate]
	draining atomic.Bool
	// faults are those of rooms that try on by themselves.
	faults  faults
	sharing sharing
	served  chan error // what the public listener ended with

	defaultKey, defaultKeyPath string // set when no key is configured
}

// open builds every room. On an error nothing is left open.
func open(cfg *Config, log zerolog.Logger) (*gateway, error) {
	g := &gateway{cfg: cfg, started: cfg, log: log, registry: metrics.New(), name: rand.Text(), served: make(chan error, 1)}
	for _, step := range []func() error{
		g.openDataDir, g.openLog, g.openControl, g.openOpened, g.openEvents, g.openForward, g.openUsage, g.openCourier, g.openFleet, g.openIngest, g.openAuth,
		g.openPublic, g.openAdmin,
	} {
		if err := step(); err != nil {
			g.abandon()
			return nil, err
		}
	}
	go func() { g.served <- g.http.Serve(g.public) }()
	return g, nil
}

func (g *gateway) openDataDir() error {
	if err := makeDir(vfs.OS, g.cfg.DataDir); err != nil {
		return fmt.Errorf("data dir: %w; give --data-dir a folder that the gateway's user may write", err)
	}
	lock, err := vfs.Lock(filepath.Join(g.cfg.DataDir, "lock"))
	var held *vfs.LockedError
	if errors.As(err, &held) {
		return fmt.Errorf("%w; stop it, or give this gateway a --data-dir of its own", err)
	}
	if err != nil {
		return fmt.Errorf("data dir: %w; the gateway's user must be able to write there", err)
	}
	g.lock = lock
	return nil
}

// makeDir makes a folder with its parents and fsyncs each folder that got a new entry: a power cut could otherwise lose
// the folder's name, and with it the fsynced files in it. A folder that was there already may have been made by a run
// that crashed before its fsync, so its parent is fsynced too; there a failure is no fault, since it may not be ours.
func makeDir(disk vfs.FS, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	var parents []string // of folders to be made, the deepest first
	for dir := path; ; dir = filepath.Dir(dir) {
		if _, err := disk.ReadDir(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		parents = append(parents, filepath.Dir(dir))
	}
	if err := disk.MkdirAll(path); err != nil {
		return err
	}
	for _, dir := range parents {
		if err := disk.SyncDir(dir); err != nil {
			return err
		}
	}
	if len(parents) == 0 {
		_ = disk.SyncDir(filepath.Dir(path))
	}
	return nil
}

func (g *gateway) openIngest() (err error) {
	cfg := ingest.Config{Log: g.commitLog, Topic: g.cfg.usageTopic(), Metrics: g.registry}
	if !g.cfg.onKafka() {
		cfg.BehindBytes = journal.BehindBytes
	}
	g.ingest, err = ingest.New(cfg)
	return err
}

func (g *gateway) openAuth() error {
	keys, err := g.apiKeys(g.cfg)
	if err != nil {
		return err
	}
	if g.signing, err = sessionKeys(g.cfg, time.Now()); err != nil {
		return fmt.Errorf("session signing keys: %w", err)
	}
	g.sessions, err = auth.NewSessions(auth.SessionConfig{TTL: g.cfg.SessionTTL.Duration, Grace: sessionGrace}, keys, g.signing)
	return err
}

// apiKeys hashes the configured keys, or makes the default key when there is none.
func (g *gateway) apiKeys(cfg *Config) (*auth.Keys, error) {
	var specs []auth.KeySpec
	for _, b := range cfg.Businesses {
		for _, k := range b.Keys {
			specs = append(specs, auth.KeySpec{Business: b.ID, Secret: k.Key, Permissions: k.Permissions, Accounts: k.Accounts})
		}
	}
	g.defaultKey, g.defaultKeyPath = "", ""
	if len(specs) == 0 {
		var err error
		if g.defaultKey, g.defaultKeyPath, err = defaultKey(cfg.DataDir); err != nil {
			return nil, fmt.Errorf("default API key: %w", err)
		}
		specs = []auth.KeySpec{{Business: defaultBusiness, Secret: g.defaultKey}}
	}
	return auth.NewKeys(specs)
}

func (g *gateway) openPublic() error {
	var err error
	if g.http, err = httpd.New(httpd.Config{
		Sessions:             g.sessions,
		Ingest:               g.ingest,
		Control:              g.control,
		Opened:               g.opened,
		Usage:                g.answerers(),
		Events:               g.events,
		Webhooks:             g.courier,
		KafkaTopics:          func(topic string) bool { return slices.Contains(g.started.Webhooks.KafkaTopics, topic) },
		Policy:               g.cfg.policy(),
		SessionExpiredStatus: g.cfg.SessionExpiredStatus,
		CoerceNumbers:        g.cfg.CoerceNumbers,
		Lenient:              g.cfg.Lenient,
		ConnsMax:             connsMax(),
		Metrics:              g.registry,
		Notify:               g.notifyHTTP,
	}); err != nil {
		return err
	}
	if g.public, err = net.Listen("tcp", g.cfg.Listen); err != nil {
		return fmt.Errorf("%w; choose another address with --listen", err)
	}
	if g.cfg.TLS.Cert == "" {
		return nil
	}
	if err := g.loadCertificate(g.cfg.TLS); err != nil {
		return err
	}
	g.public = tls.NewListener(g.public, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return g.cert.Load(), nil },
	})
	return nil
}

// loadCertificate is for the start and for reloads: connections that are open keep the old one.
func (g *gateway) loadCertificate(t TLSConfig) error {
	if t.Cert == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	g.cert.Store(&cert)
	return nil
}

func (g *gateway) openAdmin() error {
	started := time.Now()
	g.registry.GaugeFunc("tollgate_start_time_seconds", "When this process started, in Unix seconds.",
		func() float64 { return float64(started.UnixMilli()) / 1e3 })
	g.registry.GaugeFunc("tollgate_build_info", "Always 1; the label is the version.", func() float64 { return 1 }, "version", version)
	g.registry.GaugeFunc("tollgate_ready", "1 when an event would be acknowledged now.", func() float64 {
		if len(g.notReady()) > 0 {
			return 0
		}
		return 1
	})
	a, err := openAdmin(g.cfg.AdminListen, g.registry.Handler(), g.notReady, g.status, g.forwardRoutes)
	if err != nil {
		return fmt.Errorf("%w; choose another address with --admin-listen", err)
	}
	g.admin = a
	return nil
}

// notReady says what keeps the gateway from acknowledging an event now; nothing when it would.
func (g *gateway) notReady() []string {
	if g.draining.Load() {
		return []string{"draining: this gateway was told to stop"}
	}
	if err := g.ingest.Ready(); err != nil { // it asks the log as well
		return []string{err.Error()}
	}
	if err := g.control.Ready(); err != nil { // without the meters it would refuse what is good
		return []string{err.Error()}
	}
	if g.sharing.underWay(g, time.Now()) {
		return []string{"the partitions of the usage topic are being shared out among the gateways: synchronous requests would be answered 503"}
	}
	return nil
}

func (g *gateway) notifyHTTP(n httpd.Notice) {
	line := g.log.Error().Str(logRoom, "httpd").Err(n.Err)
	if n.Stack != nil {
		line = line.Bytes(logStack, n.Stack)
	}
	line.Msg(n.What)
}
