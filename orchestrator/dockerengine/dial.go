package dockerengine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

const dialTimeout = 10 * time.Second // bounds the connection and the handshake together

// keepAlive detects within half a minute that the machine at the other end has died without closing the connection.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// dialEngine is the default of Options.Dialer.
func dialEngine(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive}
	return d.DialContext(ctx, network, address)
}

// link is the way to the engine of one launch.
type link struct {
	network, target string
	dialer          func(ctx context.Context, network, address string) (net.Conn, error)
	tls             func() (*tls.Config, error) // nil = the address is proof enough
}

func newLink(opts Options, at orchestrator.Endpoint) (*link, error) {
	network, target, ok := strings.Cut(at.Address, "://")
	if !ok || target == "" || network != "unix" && network != "tcp" {
		return nil, fmt.Errorf("the Docker engine at %q: the address must begin with unix:// or tcp://", at.Address)
	}
	l := &link{network: network, target: target, dialer: opts.Dialer}
	if at.Trust == "" {
		return l, nil
	}
	if opts.TLS == nil {
		return nil, fmt.Errorf("the Docker engine at %s must prove by TLS that it is launch %s, but Options.TLS is not set", at.Address, at.Launch)
	}
	l.tls = func() (*tls.Config, error) { return opts.TLS(at.Launch, at.Trust) }
	return l, nil
}

// dial makes a connection to an engine. All connections come from here, those of attached streams included. TLS is spoken
// here and not by the client, whose handshakes have no deadline and do not end with their context.
func (l *link) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := l.dialer(ctx, l.network, l.target)
	if err != nil || l.tls == nil {
		return raw, err
	}
	config, err := l.tls()
	if err == nil && config == nil {
		err = errors.New("Options.TLS returned nothing")
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil { // closes raw if ctx ends
		raw.Close()
		return nil, fmt.Errorf("the TLS handshake: %w", err)
	}
	return conn, nil
}

// connect makes a client of an engine and makes a first call.
func connect(ctx context.Context, opts Options, at orchestrator.Endpoint) (*client.Client, error) {
	l, err := newLink(opts, at)
	if err != nil {
		return nil, err
	}
	// The client hides why it cannot connect, but the user must know the reason. So a connection is tried first.
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, explain(at.Address, err)
	}
	conn.Close()

	transport := &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) },
		MaxIdleConns:        16,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     30 * time.Second,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{}, // dial speaks TLS
	}
	docker, err := client.New(
		client.WithHost(at.Address),
		// This comes after WithHost, which sets a dialer of its own and the environment's HTTP proxy.
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithScheme("http"),
	)
	if err != nil {
		return nil, explain(at.Address, err)
	}
	if _, err := docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		docker.Close()
		if l.tls != nil { // with TLS 1.3 the engine checks the certificate after the handshake, and may just close
			err = fmt.Errorf("the first call after the TLS handshake, which fails if the engine does not accept this program's certificate: %w", err)
		}
		return nil, explain(at.Address, err)
	}
	return docker, nil
}
