package kafkalog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"

	"tollgate/internal/socket"
)

// conn is one connection to one broker, with one request at a time on it. We make them ourselves and do not use
// kafka-go's Transport: there a request that was given up goes on being sent from the caller's bytes, nothing tells
// whether a request reached the socket, leaders are known up to six seconds too late, and a refused password reads
// "topic not found". Here a round trip that has returned is over, and written says whether it can have been heard.
type conn struct {
	raw      net.Conn       // the socket; closing it ends whatever is going on, and never blocks as closing TLS may
	socket   *socket.Socket // the same; nil unless it is a *net.TCPConn
	kafka    *protocol.Conn
	counting *countingConn
	address  string
	clientID string
	// expires is when the broker will close the connection because its SASL session ends; zero: never.
	expires time.Time
	// generation is the broker's when the connection was made; see broker.
	generation int

	produceVersion int16
	correlation    int32 // of the last produce request
}

// countingConn counts what is written.
type countingConn struct {
	net.Conn
	written int64
}

func (c *countingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.written += int64(n)
	return n, err
}

// dialer makes connections. It is immutable.
type dialer struct {
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	timeout   time.Duration
	clientID  string
	tls       *tls.Config
	mechanism sasl.Mechanism
}

// connect returns a connection that is encrypted, versioned and authenticated as configured. The error says which of
// these failed and why.
func (d *dialer) connect(ctx context.Context, address string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	raw, err := d.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err // net's errors name the address
	}
	deadline, _ := ctx.Deadline()
	raw.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	c, err := d.introduce(ctx, raw, address)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	raw.SetDeadline(time.Time{})
	return c, nil
}

func (d *dialer) introduce(ctx context.Context, raw net.Conn, address string) (*conn, error) {
	c := &conn{raw: raw, socket: socket.Of(raw), address: address, clientID: d.clientID}
	stream := raw
	if c.socket != nil {
		stream = c.socket
	}
	if d.tls != nil {
		config := d.tls
		if config.ServerName == "" {
			config = config.Clone()
			config.ServerName, _, _ = net.SplitHostPort(address)
		}
		secure := tls.Client(raw, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
		stream = secure
	}
	c.counting = &countingConn{Conn: stream}
	c.kafka = protocol.NewConn(c.counting, d.clientID)
	if err := c.negotiate(); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("the broker closed the connection at the first request; does it expect TLS? (%w)", err)
		}
		return nil, fmt.Errorf("agreeing on versions: %w", err)
	}
	if d.mechanism != nil {
		if err := c.authenticate(ctx, d.mechanism); err != nil {
			return nil, fmt.Errorf("SASL %s: %w", d.mechanism.Name(), err)
		}
	}
	return c, nil
}

// negotiate settles the version of each API: the newest that both sides know.
func (c *conn) negotiate() error {
	answer, err := c.kafka.RoundTrip(new(apiversions.Request))
	if err != nil {
		return err
	}
	versions := answer.(*apiversions.Response)
	if versions.ErrorCode != 0 {
		return describe(versions.ErrorCode, "")
	}
	chosen := make(map[protocol.ApiKey]int16, len(versions.ApiKeys))
	for _, v := range versions.ApiKeys {
		key := protocol.ApiKey(v.ApiKey)
		chosen[key] = key.SelectVersion(v.MinVersion, v.MaxVersion)
		if most, bounded := groupVersionMax[key]; bounded {
			chosen[key] = min(chosen[key], most)
		}
	}
	c.kafka.SetVersions(chosen)
	c.produceVersion = min(chosen[protocol.Produce], produceVersionMax)
	if c.produceVersion < produceVersionMin {
		return fmt.Errorf("the broker takes Produce up to version %d; %d, of Kafka 0.11, is the least", c.produceVersion, produceVersionMin)
	}
	return nil
}

func (c *conn) authenticate(ctx context.Context, mechanism sasl.Mechanism) error {
	answer, err := c.kafka.RoundTrip(&saslhandshake.Request{Mechanism: mechanism.Name()})
	if err != nil {
		return err
	}
	if handshake := answer.(*saslhandshake.Response); handshake.ErrorCode != 0 {
		return fmt.Errorf("%w (the broker offers %q)", describe(handshake.ErrorCode, ""), handshake.Mechanisms)
	}
	host, _, _ := net.SplitHostPort(c.address)
	session, token, err := mechanism.Start(sasl.WithMetadata(ctx, &sasl.Metadata{Host: host}))
	if err != nil {
		return err
	}
	for done := false; !done; {
		answer, err := c.kafka.RoundTrip(&saslauthenticate.Request{AuthBytes: token})
		if err != nil {
			return err
		}
		step := answer.(*saslauthenticate.Response)
		if step.ErrorCode != 0 {
			return describe(step.ErrorCode, step.ErrorMessage)
		}
		if step.SessionLifetimeMs > 0 {
			// kafka-go can not authenticate again on a connection: make a new one before the broker ends this one.
			c.expires = time.Now().Add(time.Duration(step.SessionLifetimeMs) * time.Millisecond * 8 / 10)
		}
		if done, token, err = session.Next(ctx, step.AuthBytes); err != nil {
			return err
		}
	}
	return nil
}

// roundTrip sends a request and waits for its answer. After an error the connection is of no use; written tells whether
// the broker can have got the request.
func (c *conn) roundTrip(request protocol.Message, timeout time.Duration) (answer protocol.Message, written bool, err error) {
	before := c.counting.written
	c.raw.SetDeadline(time.Now().Add(timeout))
	answer, err = c.kafka.RoundTrip(request)
	if err != nil {
		err = fmt.Errorf("%s: %w", c.address, err)
	}
	return answer, c.counting.written != before, err
}

// hungUp tells whether the broker has ended a connection on which nothing is under way, as far as the kernel knows: a
// request that is written to such a one could not be told from one that was heard and not answered. A path that broke without
// a word while nothing was sent is not seen here but by TCP's keep-alive, or at the next request, which then is in doubt.
func (c *conn) hungUp() bool {
	return c.socket != nil && c.socket.HungUp()
}

func (c *conn) close() {
	if c != nil {
		c.raw.Close()
	}
}
