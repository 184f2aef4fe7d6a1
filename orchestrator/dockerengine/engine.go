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

	// Agent returns the program that becomes PID 1 of every container, for an architecture as Go names it. nil = the program
	// that is embedded in this module.
	Agent func(arch string) ([]byte, error)

	// TLS returns the configuration of connections to the engine of a launch. trust is Endpoint.Trust. The configuration
	// must accept the certificate of this launch's machine and no other. TLS is called for every connection, so that this
	// program's own certificate can be replaced. Without TLS, an engine whose Endpoint has Trust is not used.
	TLS func(launch, trust string) (*tls.Config, error)
	// Dialer connects to an engine. network is "tcp" or "unix". It must return when its context ends. TLS is spoken over
	// the connection that it returns. nil = a direct connection.
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)
	// RegistryAuth returns the credentials that a registry requires for an image. It is called before every pull. The
	// credentials are passed on to the engine, and neither kept nor logged. It must return when its context ends. nil = no
	// credentials.
	RegistryAuth func(ctx context.Context, image string) (orchestrator.RegistryAuth, error)

	// Runtime is the name of the engine's runtime that runs the containers, such as runsc or kata. Without runc or crun,
	// sessions have no rooms. If the engine does not have it, starts fail with an ErrRuntime. "" = the engine's default.
	Runtime string

	// CallTimeout bounds a call that an engine answers in milliseconds. 0 = 30 s.
	CallTimeout time.Duration
	// StartTimeout bounds each of these: the start of a container, the first answer of its agent, its removal. 0 = 1 min.
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
	o.CallTimeout = cmp.Or(o.CallTimeout, orchestrator.DefaultCallTimeout)
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
	machine, err := e.seen.identify(ctx, docker, at)
	if err != nil {
		docker.Close()
		return nil, explain(at.Address, err)
	}
	h, err := e.newHost(docker, at, machine)
	if err != nil {
		docker.Close()
		return nil, err
	}
	return h, nil
}
