package dockerengine

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/berth-go/berth/agent/embedded"
	"github.com/berth-go/berth/orchestrator"
)

// Options configure an Engine. The zero value is ready for use.
type Options struct {
	Logger *slog.Logger // nil = discard

	// Agent returns the program that becomes PID 1 of every container, for an architecture in Go's words. nil = the
	// one that is embedded in this module.
	Agent func(arch string) ([]byte, error)

	// TLS says how to speak with the engine of a launch: trust is Endpoint.Trust. What it returns must accept the
	// certificate of this launch's machine and no other. It is called for every connection, so that a certificate of
	// this program's own can be replaced. It is needed where an Endpoint has Trust: without, such an engine is not used.
	TLS func(launch, trust string) (*tls.Config, error)
	// Dialer connects to an engine: network is "tcp" or "unix". It must return when its context ends. TLS is spoken
	// over what it returns. nil = a direct connection.
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)
	// RegistryAuth returns what a registry wants to see before it hands out an image. It is called before every pull,
	// and what it returns is passed on to the engine, and neither kept nor logged. It must return when its context ends.
	// nil = nothing.
	RegistryAuth func(ctx context.Context, image string) (orchestrator.RegistryAuth, error)

	// CallTimeout bounds a call that an engine answers in milliseconds. 0 = 30 s.
	CallTimeout time.Duration
	// StartTimeout bounds each of: starting a container, the first answer of its agent, removing it. 0 = 1 min.
	StartTimeout time.Duration
	// PullTimeout bounds the pull of an image. 0 = 10 min.
	PullTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Agent == nil {
		o.Agent = embedded.Binary
	}
	if o.Dialer == nil {
		o.Dialer = dialEngine
	}
	o.CallTimeout = cmp.Or(o.CallTimeout, 30*time.Second)
	o.StartTimeout = cmp.Or(o.StartTimeout, time.Minute)
	o.PullTimeout = cmp.Or(o.PullTimeout, 10*time.Minute)
	return o
}

// Engine is an [orchestrator.Engine] for Docker.
type Engine struct {
	opts Options
	seen identities
}

var _ orchestrator.Engine = (*Engine)(nil)

// New returns an Engine. It connects to nothing yet.
func New(opts Options) *Engine {
	return &Engine{opts: opts.withDefaults()}
}

// Connect implements [orchestrator.Engine].
func (e *Engine) Connect(ctx context.Context, at orchestrator.Endpoint) (orchestrator.Host, error) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.CallTimeout)
	defer cancel()
	docker, err := connect(ctx, e.opts, at)
	if err != nil {
		return nil, err
	}
	arch, err := e.seen.identify(ctx, docker, at)
	if err != nil {
		docker.Close()
		return nil, explain(at.Address, err)
	}
	h, err := e.newHost(docker, at, arch)
	if err != nil {
		docker.Close()
		return nil, err
	}
	return h, nil
}
