package kafkalog_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"

	"tollgate/pkg/commitlog/kafkalog"
)

// proxied is a fake Kafka behind a proxy that can be bad in the ways of networks.
type proxied struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
	log   *kafkalog.Log
}

func newProxied(t *testing.T) *proxied {
	t.Helper()
	server := &toxiproxy.ApiServer{Metrics: toxiproxy.NewMetricsContainer(nil)}
	server.Logger = zeroOf(server.Logger) // the zero logger says nothing
	p := &proxied{t: t, proxy: toxiproxy.NewProxy(server, "kafka", "127.0.0.1:0", fake(t).ListenAddrs()[0])}
	if err := p.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.proxy.Stop)
	address := p.proxy.Listen
	p.log = openReady(t, []string{address}, func(c *kafkalog.Config) {
		c.RequestTimeout, c.DialTimeout, c.StallMax = 500*time.Millisecond, 500*time.Millisecond, time.Second
		c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address) // whatever address the cluster names
		}
	})
	return p
}

func zeroOf[T any](*T) *T { return new(T) }

// suffer adds a toxic for a while.
func (p *proxied) suffer(toxic string, d time.Duration) {
	p.t.Helper()
	wrapper, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	if err != nil {
		p.t.Fatal(err)
	}
	time.Sleep(d)
	if err := p.proxy.Toxics.RemoveToxic(context.Background(), wrapper.Name); err != nil {
		p.t.Fatal(err)
	}
}

func TestBadNetworksNeitherLoseNorRepeat(t *testing.T) {
	for name, toxic := range map[string]string{
		"answers never come":             `{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`,
		"answers are cut by a reset":     `{"type": "reset_peer", "stream": "downstream", "attributes": {"timeout": 5}}`,
		"requests are cut by a reset":    `{"type": "reset_peer", "stream": "upstream", "attributes": {"timeout": 5}}`,
		"requests are cut in the middle": `{"type": "limit_data", "stream": "upstream", "attributes": {"bytes": 5000}}`,
		"answers are cut in the middle":  `{"type": "limit_data", "stream": "downstream", "attributes": {"bytes": 300}}`,
		"latency beyond the timeout":     `{"type": "latency", "stream": "downstream", "attributes": {"latency": 700, "jitter": 300}}`,
		"a thin line":                    `{"type": "bandwidth", "stream": "upstream", "attributes": {"rate": 20}}`,
		"bytes one by one":               `{"type": "slicer", "stream": "downstream", "attributes": {"average_size": 1, "size_variation": 0, "delay": 100}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProxied(t)
			l := startLoad(t, p.log, usage, 50)
			l.more(500)
			p.suffer(toxic, 1500*time.Millisecond)
			l.more(500)
			l.finish()
		})
	}
}

func TestACutLineHeals(t *testing.T) {
	p := newProxied(t)
	l := startLoad(t, p.log, usage, 50)
	for range 3 {
		l.more(500)
		p.proxy.Stop()
		time.Sleep(300 * time.Millisecond)
		if err := p.proxy.Start(); err != nil {
			t.Fatal(err)
		}
	}
	l.more(500)
	l.finish()
}
