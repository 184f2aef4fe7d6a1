package dockerengine_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
	"github.com/berth-go/berth/orchestrator/enginetest"
)

// remoteEngine is a second engine that is reached only by mutual TLS, like an engine on another machine.
type remoteEngine struct {
	*testenv.SecondEngine
	opts dockerengine.Options
	at   orchestrator.Endpoint
}

func startRemote(t testing.TB) *remoteEngine {
	t.Helper()
	const launch = "launch-of-the-remote-engine"
	machine, clients := newAuthority(t), newAuthority(t)
	r := &remoteEngine{opts: dockerengine.Options{TLS: verify(clients.client())}}
	r.SecondEngine = testenv.StartSecondEngine(t, testenv.SecondEngineOptions{
		Label: "berth.launch=" + launch,
		Args:  append(dockerdTLS(t, machine.server(launch), clients), "--live-restore"),
	})
	r.at = orchestrator.Endpoint{
		Pool: "remote", PoolUID: "one", Launch: launch, Address: "tcp://" + r.IP + ":2376", Trust: machine.pem(),
	}
	return r
}

// conns are connections that may be cut.
type conns struct {
	mu   sync.Mutex // protects open
	open []net.Conn
}

// dial is Options.Dialer.
func (c *conns) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open = append(c.open, conn)
	}
	return conn, err
}

func (c *conns) cut(*testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		conn.Close()
	}
	c.open = nil
}

// shortSuite are the rules that depend most on the connection. The long version checks all rules.
var shortSuite = []string{
	"an engine that cannot be reached is ErrUnreachable, and names the address",
	"another machine at the address is ErrWrongHost",
	"a probe of a healthy engine succeeds",
	"closing a host twice succeeds",
	"concurrent ensures make one container",
	"a later process of the same pool adopts a running container, with its sessions",
	"large binary input comes back unchanged",
	"commands go on and lose no output when the connection is cut",
	"every call ends with its context",
	"an ensure that is given up leaves nothing, and the next one succeeds",
	"closing a host closes every Inside that was attached through it",
	"purging a pool removes everything of it",
}

func TestRemoteEngine(t *testing.T) {
	r := startRemote(t)
	t.Run("it is an engine", r.conform)
	opts := r.opts
	opts.Logger = testLogger(t)
	s := newSite(t, opts, r.at)
	t.Run("it may be given notice", func(t *testing.T) { r.notices(t, s.host) })
	t.Run("its address may pass on to others", r.passOn)
	t.Run("it may hang", func(t *testing.T) { r.absent(t, s, r.Hang, r.Resume) })
	t.Run("it may vanish", func(t *testing.T) { r.absent(t, s, r.Vanish, r.Reappear) })
	t.Run("it may be restarted", func(t *testing.T) { r.restart(t, s) })
}

func (r *remoteEngine) conform(t *testing.T) {
	docker, err := client.New(client.WithHost(r.Address))
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	stranger := httptest.NewTLSServer(nil)
	defer stranger.Close()
	h := enginetest.Harness{Parallel: true, New: func(t *testing.T) enginetest.Rig {
		rig := rigOn(t, docker, [2]string{testenv.PoolName(t), testenv.PoolName(t)})
		opts := r.opts
		opts.Logger = testLogger(t)
		var own conns // of this case: it must not cut those of others, which run in parallel
		opts.Dialer = own.dial
		rig.Engine = dockerengine.New(opts)
		for _, at := range []*orchestrator.Endpoint{&rig.Pool, &rig.Other} {
			at.Launch, at.Address, at.Trust = r.at.Launch, r.at.Address, r.at.Trust
		}
		rig.Unreachable = "tcp://" + r.IP + ":1"
		rig.WrongHost = "tcp://" + stranger.Listener.Addr().String()
		rig.CutConnections = own.cut
		return rig
	}}
	if !testenv.Soak() {
		h.Only = shortSuite
	}
	t.Run("suite", func(t *testing.T) { enginetest.Run(t, h) }) // returns when all cases have ended
}

// passOn checks that an engine at the address of a launch is trusted only if it belongs to that launch.
func (r *remoteEngine) passOn(t *testing.T) {
	next := r.at // the next machine has the same address, and an authority of its own
	next.Launch, next.Trust = "another-launch", newAuthority(t).pem()
	if _, err := dockerengine.New(r.opts).Connect(t.Context(), next); !errors.Is(err, orchestrator.ErrWrongHost) {
		t.Errorf("connecting to a machine whose address another one has got: %v", err)
	}
	plain := r.at
	plain.Trust = ""
	if _, err := dockerengine.New(r.opts).Connect(t.Context(), plain); err == nil {
		t.Error("the engine answers without TLS")
	}
	opts := r.opts
	opts.TLS = verify(newAuthority(t).client())
	if _, err := dockerengine.New(opts).Connect(t.Context(), r.at); err == nil || !strings.Contains(err.Error(), "this program's certificate") {
		t.Errorf("connecting with a certificate of another authority: %v", err)
	}
}

// absent checks that every call ends by its deadline while an engine does not answer, and that everything works again
// afterwards.
func (r *remoteEngine) absent(t *testing.T, s *site, leave, comeBack func()) {
	p, err := s.in.Start(t.Context(), agent.Command{Session: session.ID, Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	opts := r.opts
	opts.CallTimeout, opts.StartTimeout = time.Second, 2*time.Second
	e := dockerengine.New(opts)
	h, err := e.Connect(t.Context(), r.at)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	second := s.spec
	second.Name += "-2"
	leave()
	var all sync.WaitGroup
	for what, call := range map[string]func(context.Context) error{
		"Connect":      func(ctx context.Context) error { _, err := e.Connect(ctx, r.at); return err },
		"Probe":        h.Probe,
		"List":         func(ctx context.Context) error { _, err := h.List(ctx); return err },
		"Ensure":       func(ctx context.Context) error { _, err := h.Ensure(ctx, second, nil); return err },
		"Attach":       func(ctx context.Context) error { _, err := h.Attach(ctx, s.spec.Name); return err },
		"Remove":       func(ctx context.Context) error { return h.Remove(ctx, s.spec.Name, "") },
		"RemoveMirror": func(ctx context.Context) error { return h.RemoveMirror(ctx, s.spec.Name) },
		"Purge":        h.Purge,
		"Prefetch": func(ctx context.Context) error {
			return h.(orchestrator.Prefetcher).Prefetch(ctx, s.spec.Image, nil)
		},
	} {
		all.Go(func() { // the caller gives no deadline, so that the engine's own apply
			if err := within(time.Minute, func() error { return call(context.Background()) }); err == nil || errors.Is(err, errSlow) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	all.Wait()
	comeBack()
	if sessions, err := s.in.Sessions(t.Context()); err != nil || sessions[session.ID] != session.UID {
		t.Errorf("afterwards Sessions returned %v, %v", sessions, err)
	}
	if err := s.host.Probe(t.Context()); err != nil {
		t.Errorf("afterwards Probe: %v", err)
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Errorf("afterwards Kill: %v", err)
	}
	if exit, err := p.Wait(); err != nil || exit.Signal != 9 {
		t.Errorf("afterwards Wait returned %+v, %v", exit, err)
	}
}

// restart checks that an engine with live-restore leaves containers and commands running when it is killed, and that the
// commands lose no output.
func (r *remoteEngine) restart(t *testing.T, s *site) {
	before, err := s.host.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stdin, answer := io.Pipe()
	stdout, print := io.Pipe()
	p, err := s.in.Start(t.Context(), agent.Command{
		Session: session.ID, Stdin: stdin, Stdout: print,
		Args: []string{"sh", "-c", "echo one; sleep 1; echo meanwhile; read line; echo $line; exit 3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const first = "one\n"
	if _, err := io.ReadFull(stdout, make([]byte, len(first))); err != nil {
		t.Fatal(err)
	}
	r.Kill()
	if err := within(time.Minute, func() error { return s.host.Probe(context.Background()) }); err == nil || errors.Is(err, errSlow) {
		t.Errorf("probing an engine that was killed: %v", err)
	}
	r.Start()
	if err := s.host.Probe(t.Context()); err != nil {
		t.Errorf("probing the engine that was started again: %v", err)
	}
	var exit agent.Exit
	ended := make(chan error, 1)
	go func() {
		var err error
		exit, err = p.Wait()
		print.Close()
		ended <- err
	}()
	go func() {
		io.WriteString(answer, "two\n")
		answer.Close()
	}()
	rest, _ := io.ReadAll(stdout)
	if err := <-ended; err != nil || exit.Code != 3 || string(rest) != "meanwhile\ntwo\n" {
		t.Errorf("the command ended with %+v, %v, and printed %q after %q", exit, err, rest, first)
	}
	after, err := s.host.List(t.Context())
	if err != nil || len(after.Containers) != 1 || after.Containers[0] != before.Containers[0] {
		t.Errorf("there is %+v, %v; want %+v", after, err, before)
	}
}

// BenchmarkAttach compares the ways to one engine.
func BenchmarkAttach(b *testing.B) {
	r := startRemote(b)
	direct := r.at
	direct.Address, direct.Trust = r.Address, ""
	for _, c := range []struct {
		name string
		at   orchestrator.Endpoint
	}{{"unix", direct}, {"tls", r.at}} {
		b.Run(c.name, func(b *testing.B) {
			s := newSite(b, r.opts, c.at)
			for b.Loop() {
				in, err := s.host.Attach(b.Context(), s.spec.Name)
				if err != nil {
					b.Fatal(err)
				}
				in.Close()
			}
		})
	}
}
