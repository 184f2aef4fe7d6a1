package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

const dialTimeout = 10 * time.Second

// keepAlive finds out within half a minute that the machine at the other end has died without a word.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// connect makes a client of the engine at address and exchanges the first word with it.
func connect(ctx context.Context, address string) (*client.Client, error) {
	network, target, ok := strings.Cut(address, "://")
	if !ok || target == "" || network != "unix" && network != "tcp" {
		return nil, fmt.Errorf("the Docker engine at %q: the address must begin with unix:// or tcp://", address)
	}
	dial := func(ctx context.Context) (net.Conn, error) { return dialEngine(ctx, network, target) }

	// The client hides why it cannot connect, and the reason decides what the user has to do. So try first.
	conn, err := dial(ctx)
	if err != nil {
		return nil, explain(address, err)
	}
	conn.Close()

	transport := &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		MaxIdleConns:        16,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     30 * time.Second,
	}
	docker, err := client.New(
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithHost(address),
		client.WithDialContext(transport.DialContext), // WithHost has set its own
	)
	if err != nil {
		return nil, explain(address, err)
	}
	if _, err := docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		docker.Close()
		return nil, explain(address, err)
	}
	return docker, nil
}

// dialEngine is the one place where a connection to an engine is made, those of attached streams included.
func dialEngine(ctx context.Context, network, target string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepAlive}
	return d.DialContext(ctx, network, target)
}

// explain says what to do about an engine that cannot be used.
func explain(address string, err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("the Docker engine at %s: %w", address, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no right to use the Docker engine at %s: add the user to the group docker and log in again, or set DOCKER_HOST to an engine that you may use: %w", address, err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("the Docker engine at %s does not answer in time: %w", address, err)
	case errors.Is(err, os.ErrNotExist), isRefused(err):
		return fmt.Errorf("no Docker engine at %s: start it, or set DOCKER_HOST to the address of one that runs: %w", address, err)
	}
	return fmt.Errorf("the Docker engine at %s: %w", address, err)
}

// identify returns the engine's architecture, in Go's words. An engine that says by a label which launch it belongs to
// must belong to the right one: addresses are given to other machines sooner or later.
func identify(ctx context.Context, docker *client.Client, at orchestrator.Endpoint) (arch string, err error) {
	info, err := docker.Info(ctx, client.InfoOptions{})
	if err != nil {
		return "", explain(at.Address, err)
	}
	for _, label := range info.Info.Labels {
		if launch, ok := strings.CutPrefix(label, labelLaunch+"="); ok && launch != at.Launch {
			return "", fmt.Errorf("the Docker engine at %s: %w: it is launch %q, not %q", at.Address, orchestrator.ErrWrongHost, launch, at.Launch)
		}
	}
	if info.Info.OSType != "linux" {
		return "", fmt.Errorf("the Docker engine at %s: it runs %s containers, and Linux ones are needed", at.Address, info.Info.OSType)
	}
	switch arch := info.Info.Architecture; arch {
	case "x86_64":
		return "amd64", nil
	case "aarch64":
		return "arm64", nil
	default:
		return arch, nil
	}
}
