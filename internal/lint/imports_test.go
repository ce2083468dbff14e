package lint

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A room is one line of the import table in docs/ARCHITECTURE.md.
type room struct {
	layer int
	ours  []string // what its code may import of ours, beside internal/invariants
	third []string // what it may import of others, as module or package path prefixes
	pure  bool     // neither files nor sockets
}

// The table. Imports go down only. A package that is not in it fails the test: where it belongs is decided here.
var rooms = map[string]room{
	"internal/invariants": {layer: 0, pure: true},
	"internal/lint":       {layer: 0},
	"internal/metrics":    {layer: 0, third: []string{"github.com/prometheus/"}},
	"internal/vfs":        {layer: 0, third: []string{"golang.org/x/sys/"}},
	"internal/socket":     {layer: 0},
	"internal/rowstore":   {layer: 0, third: []string{"github.com/cockroachdb/pebble/v2"}},
	// Disks and tables that fail, for the tests of what has a rowstore.
	"internal/rowstore/baddisk": {layer: 0, third: []string{"github.com/cockroachdb/pebble/v2"}},
	"pkg/ring":                  {layer: 0, pure: true},
	"pkg/recordbatch":           {layer: 0, pure: true, third: []string{"github.com/klauspost/compress", "github.com/pierrec/lz4/v4"}},
	"pkg/meterevent":            {layer: 0, pure: true, third: []string{"github.com/zeebo/xxh3"}},
	"pkg/stripe":                {layer: 0, pure: true},

	"pkg/commitlog": {layer: 1, pure: true, ours: []string{"pkg/recordbatch"}},
	"pkg/auth":      {layer: 1, pure: true},
	"pkg/dedup":     {layer: 1, ours: []string{"internal/vfs"}},

	"pkg/commitlog/journal":  {layer: 2, ours: []string{"pkg/commitlog", "pkg/recordbatch", "internal/vfs", "internal/metrics"}},
	"pkg/commitlog/kafkalog": {layer: 2, ours: []string{"pkg/commitlog", "pkg/recordbatch", "internal/metrics", "internal/socket"}, third: []string{"github.com/segmentio/kafka-go"}},
	"pkg/commitlog/follow":   {layer: 2, pure: true, ours: []string{"pkg/commitlog", "pkg/recordbatch"}},
	"pkg/commitlog/propose":  {layer: 2, pure: true, ours: []string{"pkg/commitlog", "pkg/recordbatch"}},
	"pkg/commitlog/logtest":  {layer: 2, ours: []string{"pkg/commitlog", "pkg/recordbatch"}},

	// The one log made of two: it stands in front of Kafka and keeps in a journal what Kafka does not take.
	"pkg/commitlog/spill": {layer: 3, ours: []string{"pkg/commitlog", "pkg/commitlog/journal", "pkg/commitlog/kafkalog", "pkg/recordbatch", "internal/vfs", "internal/metrics"}},

	"pkg/ingest": {layer: 3, pure: true, ours: []string{"pkg/ring", "pkg/recordbatch", "pkg/commitlog", "internal/metrics"}},
	// stripe renders the meters' ids, as every id that a client sees.
	"pkg/control": {layer: 3, pure: true, ours: []string{"pkg/recordbatch", "pkg/commitlog", "pkg/commitlog/follow", "pkg/commitlog/propose", "pkg/stripe"}},
	"pkg/opened":  {layer: 3, pure: true, ours: []string{"pkg/recordbatch", "pkg/commitlog", "pkg/commitlog/follow", "pkg/commitlog/propose", "pkg/stripe"}},

	// An index of the last month of events, with the keys that lists are walked by.
	"pkg/thinevent": {
		layer: 3,
		ours:  []string{"pkg/recordbatch", "pkg/commitlog", "pkg/commitlog/follow", "pkg/stripe", "internal/rowstore", "internal/metrics"},
		third: []string{"github.com/cockroachdb/pebble/v2"},
	},

	"pkg/usage": {
		layer: 4,
		ours:  []string{"pkg/commitlog", "pkg/recordbatch", "pkg/control", "pkg/dedup", "pkg/meterevent", "pkg/thinevent", "internal/rowstore", "internal/metrics", "internal/vfs"},
		third: []string{"github.com/cockroachdb/pebble/v2", "github.com/zeebo/xxh3"},
	},
	"pkg/webhook": {layer: 4, ours: []string{"pkg/stripe", "pkg/recordbatch", "pkg/commitlog", "pkg/commitlog/follow", "pkg/control", "pkg/thinevent", "internal/metrics"}},

	"pkg/fleet": {layer: 5, ours: []string{"pkg/meterevent", "pkg/recordbatch", "pkg/commitlog", "pkg/commitlog/follow", "pkg/usage", "internal/metrics"}},
	// The official client speaks with Stripe wherever one request is one thing; the stream is written by hand.
	"pkg/forward": {
		layer: 5,
		ours:  []string{"pkg/meterevent", "pkg/stripe", "pkg/recordbatch", "pkg/commitlog", "pkg/commitlog/follow", "pkg/control", "pkg/thinevent", "pkg/usage", "internal/metrics"},
		third: []string{"github.com/stripe/stripe-go"},
	},
	"pkg/httpd": {
		layer: 5,
		ours:  []string{"pkg/stripe", "pkg/auth", "pkg/meterevent", "pkg/ingest", "pkg/control", "pkg/opened", "pkg/usage", "pkg/thinevent", "pkg/webhook", "internal/metrics", "internal/socket"},
		third: []string{"github.com/valyala/fasthttp", "github.com/klauspost/compress"},
	},

	"cmd/gateway": {layer: 6, ours: []string{"pkg", "internal"}, third: []string{
		"github.com/rs/zerolog", "go.uber.org/automaxprocs", "github.com/alecthomas/kong", "github.com/goccy/go-yaml",
	}},
}

// fences: what only certain rooms may import, and why. The reason is what a reader gets instead of "forbidden".
var fences = []struct{ prefix, why string }{
	{"tollgate/cmd/", "the command is the top: what others need of it belongs into a room below"},
	{"tollgate/pkg/httpd", "httpd is the edge: nothing but the command knows that HTTP exists"},
	{"tollgate/pkg/commitlog/journal", "which log it is, is chosen once, in cmd/gateway; everyone else knows commitlog.Log"},
	{"tollgate/pkg/commitlog/kafkalog", "which log it is, is chosen once, in cmd/gateway; everyone else knows commitlog.Log"},
	{"tollgate/pkg/commitlog/logtest", "logtest is for tests"},
	{"tollgate/pkg/commitlog", "only ingest writes usage, control its changes, opened its sessions, and the workers what they have to say, so that batching and backpressure exist once; the layers below a log do not know what a log is"},
	{"tollgate/pkg/control", "meters are looked at by who judges events or answers requests; the rooms below know texts and bytes"},
	{"tollgate/pkg/ingest", "frames are filled by httpd alone"},
	{"tollgate/pkg/", "imports go down only, along the table in docs/ARCHITECTURE.md"},
	{"tollgate/internal/metrics", "a room without I/O has nothing to report at 3 a.m. that its caller can not count"},
	{"tollgate/internal/rowstore", "a store is a cache of the log that its room can lose; what must not be lost goes into the log"},
	{"tollgate/internal/socket", "it is for sockets with thousands of requests a second: httpd's and kafkalog's"},
	{"tollgate/internal/vfs", "only journal, index and state write files, so that crashes are simulated where it matters"},
	{"tollgate/test/", "test/ drives the binary from outside; a room's own tests live beside it"},
	{"tollgate/bench", "bench/ drives the binary from outside"},
	{"github.com/valyala/fasthttp", "fasthttp reuses a request's memory when the handler returns; only httpd may have to think of that"},
	{"github.com/segmentio/kafka-go", "kafka-go's retries, staleness and error classes are mended in kafkalog and nowhere else"},
	{"github.com/prometheus/", "internal/metrics is the one home of the client, so that hot counters stay free of it"},
	{"github.com/rs/zerolog", "libraries return errors, count, or call back; the command logs"},
	{"go.uber.org/automaxprocs", "a library must not change the process it runs in"},
	{"github.com/alecthomas/kong", "flags belong to the command; rooms take a Config"},
	{"github.com/goccy/go-yaml", "files of configuration belong to the command; rooms take a Config"},
	{"github.com/zeebo/xxh3", "identifiers are derived in meterevent alone, or two rooms would derive them differently"},
	{"github.com/cockroachdb/pebble", "a store's rows are one room's, the worker's state in usage and the index of events in thinevent, and how it fails is internal/rowstore's"},
	{"github.com/klauspost/compress", "codecs belong where bytes are framed: recordbatch, and httpd for request bodies"},
	{"github.com/pierrec/lz4", "codecs belong where bytes are framed: recordbatch"},
	{"golang.org/x/sys", "system calls go through internal/vfs"},
}

// testOnly is what the tests of rooms may import beside what the rooms may: peers, fakes and oracles.
var testOnly = []string{
	"github.com/bytedance/sonic", "github.com/goccy/go-json", "github.com/valyala/fastjson", // peers of the decoder
	"github.com/segmentio/kafka-go",                              // peer of recordbatch
	"github.com/twmb/franz-go",                                   // kfake, and a second opinion on what is in Kafka
	"github.com/Shopify/toxiproxy",                               // networks that fail
	"github.com/stripe/stripe-go",                                // the SDK itself
	"github.com/valyala/fasthttp",                                // peer of forward's client
	"github.com/klauspost/compress", "github.com/pierrec/lz4/v4", // to build what a client or a broker would send
	"github.com/zeebo/xxh3", // oracle
}

// io is what a room without I/O stays away from.
var ioPackages = []string{"net", "net/http", "os", "os/exec", "os/signal", "syscall", "io/ioutil", "database/sql", "path/filepath"}

const module = "tollgate/"

func TestImportsGoDownOnlyAlongTheTable(t *testing.T) {
	r := read(t)
	for _, s := range r.sources {
		if s.in("test") || s.in("bench") {
			continue // TestTheBlackBoxesImportNoRoom
		}
		self, ok := rooms[s.dir()]
		if !ok {
			t.Errorf("%s: %s is in no line of the import table (internal/lint, docs/ARCHITECTURE.md): give it a layer and say what it may import", s.path, s.dir())
			continue
		}
		for _, i := range s.ast.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := forbidden(self, s, p); why != "" {
				t.Errorf("%s: %s must not import %s: %s", r.line(i.Pos()), s.dir(), p, why)
			}
		}
	}
}

// forbidden returns why a file of a room may not import a package, or nothing.
func forbidden(self room, s *source, imported string) string {
	switch {
	case strings.HasPrefix(imported, module):
		return forbiddenOfOurs(self, s, strings.TrimPrefix(imported, module))
	case strings.Contains(strings.SplitN(imported, "/", 2)[0], "."):
		allowed := self.third
		if s.isTest() || s.isHelper() {
			allowed = slices.Concat(allowed, testOnly)
		}
		if slices.ContainsFunc(allowed, func(p string) bool { return strings.HasPrefix(imported, p) }) {
			return ""
		}
		return reason(imported, "a dependency has to be worth its keep: write a decision record and add it to the table")
	case self.pure && !s.isTest() && slices.Contains(ioPackages, imported):
		return "this room does no I/O, which is what makes it testable by tables and fuzzing; bytes come in through its arguments"
	}
	return ""
}

func forbiddenOfOurs(self room, s *source, imported string) string {
	if imported == "internal/invariants" || imported == s.dir() {
		return ""
	}
	if slices.ContainsFunc(self.ours, func(p string) bool { return imported == p || (self.layer == 6 && strings.HasPrefix(imported, p+"/")) }) {
		return ""
	}
	// A test may use what its room is tested against: everything that is not above it.
	if s.isTest() {
		if other, ok := rooms[imported]; ok && other.layer <= self.layer {
			return ""
		}
		if imported == "test/kafka" {
			return "" // a real broker for tests; it imports no room
		}
		if imported == "test/fakestripe" && s.dir() == "pkg/forward" {
			return "" // what a forwarder sends to; it imports no room either, and works by contract alone
		}
	}
	return reason(module+imported, "imports go down only, along the table in docs/ARCHITECTURE.md")
}

func reason(imported, otherwise string) string {
	for _, f := range fences {
		if strings.HasPrefix(imported, f.prefix) {
			return f.why
		}
	}
	return otherwise
}

func TestTheBlackBoxesImportNoRoom(t *testing.T) {
	r := read(t)
	for _, s := range r.sources {
		if !s.in("test") && !s.in("bench") {
			continue
		}
		for _, i := range s.ast.Imports {
			p, _ := strconv.Unquote(i.Path.Value)
			if strings.HasPrefix(p, module) && !strings.HasPrefix(p, module+"test/") && !strings.HasPrefix(p, module+"bench") {
				t.Errorf("%s: %s must not import %s: what drives the binary from outside believes nothing that the code says about itself", r.line(i.Pos()), s.dir(), p)
			}
		}
	}
}

func TestEveryLineOfTheTableIsARoom(t *testing.T) {
	r := read(t)
	for dir, self := range rooms {
		if !slices.ContainsFunc(r.sources, func(s *source) bool { return s.dir() == dir }) {
			t.Errorf("the import table has a line for %s, which does not exist", dir)
		}
		for _, o := range self.ours {
			if other, ok := rooms[o]; ok && other.layer >= self.layer && path.Dir(o) != path.Dir(dir) {
				t.Errorf("the import table lets %s on layer %d import %s on layer %d", dir, self.layer, o, other.layer)
			}
		}
	}
}

// The rule is only as good as its refusals: each fence is tried from a room that it keeps out.
func TestAForbiddenImportIsRefusedWithItsReason(t *testing.T) {
	for _, f := range fences {
		s := &source{path: "pkg/ring/ring.go"}
		imported := strings.TrimSuffix(f.prefix, "/") + "/x"
		if got := forbidden(rooms["pkg/ring"], s, imported); got == "" {
			t.Errorf("pkg/ring may import %s", imported)
		}
	}
	for _, c := range [][2]string{
		{"pkg/httpd", "pkg/commitlog"},
		{"pkg/ingest", "pkg/commitlog/journal"},
		{"pkg/commitlog/journal", "pkg/ingest"},
		{"pkg/auth", "internal/metrics"},
		{"pkg/ingest", "pkg/control"},
		{"pkg/control", "pkg/commitlog/journal"},
		{"pkg/commitlog", "internal/vfs"},
	} {
		s := &source{path: c[0] + "/x.go"}
		if forbidden(rooms[c[0]], s, module+c[1]) == "" {
			t.Errorf("%s may import %s", c[0], c[1])
		}
	}
	if got := forbidden(rooms["pkg/ring"], &source{path: "pkg/ring/ring.go"}, "net"); got == "" {
		t.Error("pkg/ring may open sockets")
	}
	if got := forbidden(rooms["cmd/gateway"], &source{path: "cmd/gateway/main.go"}, module+"pkg/commitlog/journal"); got != "" {
		t.Error(fmt.Sprint("cmd/gateway may not import a log: ", got))
	}
}

// The table in docs/ARCHITECTURE.md is the one that is enforced.
func TestTheImportTableInTheDocumentsIsTheOneInForce(t *testing.T) {
	architecture := read(t).text("docs/ARCHITECTURE.md")
	if architecture == nil {
		t.Fatal("docs/ARCHITECTURE.md does not exist")
	}
	type row struct{ layer, ours, third string }
	documented := make(map[string]row)
	architecture.lines(func(_ int, line string) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || len(strings.TrimSpace(cells[1])) != 1 {
			return
		}
		for _, name := range strings.Split(cells[2], ",") {
			documented[strings.TrimSpace(name)] = row{strings.TrimSpace(cells[1]), cells[3], cells[4]}
		}
	})
	for dir, self := range rooms {
		name := path.Base(dir)
		if dir == "cmd/gateway" {
			name = dir
		}
		got, ok := documented[name]
		if !ok || got.layer != strconv.Itoa(self.layer) {
			t.Errorf("docs/ARCHITECTURE.md has no line for %s on layer %d", name, self.layer)
			continue
		}
		for _, o := range self.ours {
			if !strings.Contains(got.ours, path.Base(o)) && dir != "cmd/gateway" {
				t.Errorf("docs/ARCHITECTURE.md does not say that %s may import %s", name, o)
			}
		}
		for _, o := range self.third {
			o = strings.TrimSuffix(strings.TrimSuffix(o, "/"), "/v4")
			if !strings.Contains(got.third, path.Base(o)) {
				t.Errorf("docs/ARCHITECTURE.md does not say that %s may import %s", name, o)
			}
		}
	}
}
