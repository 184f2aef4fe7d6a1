package enginetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

const (
	// patience bounds everything that must end by itself. Real engines are slow on a busy machine.
	patience = 3 * time.Minute
	// prompt bounds the return of a call whose context has ended.
	prompt = time.Minute

	firstUID = 20000 // of the sessions of a case
)

// fixture is the context of a case. Its helpers end the case when they fail.
type fixture struct {
	*testing.T
	Rig
	ctx     context.Context
	nextUID int
}

func newFixture(t *testing.T, rig Rig) *fixture {
	// t.Context would end before the cleanup begins.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	f := &fixture{T: t, Rig: rig, ctx: ctx, nextUID: firstUID}
	for _, at := range []orchestrator.Endpoint{rig.Pool, rig.Other} {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			h, err := rig.Engine.Connect(ctx, at)
			if err != nil {
				t.Errorf("cleaning up: %v", err)
				return
			}
			defer h.Close()
			tidy := h.Purge
			if rig.Tidy != nil {
				tidy = func(ctx context.Context) error { return rig.Tidy(ctx, h) }
			}
			if err := tidy(ctx); err != nil {
				t.Errorf("cleaning up: %v", err)
			}
		})
	}
	return f
}

// connect returns a host that is closed when the case ends.
func (f *fixture) connect(at orchestrator.Endpoint) orchestrator.Host {
	f.Helper()
	h, err := f.Engine.Connect(f.ctx, at)
	if err != nil {
		f.Fatalf("Connect(%s): %v", at.Address, err)
	}
	f.Cleanup(func() {
		if err := h.Close(); err != nil {
			f.Errorf("Host.Close: %v", err)
		}
	})
	return h
}

// successor returns the endpoint of a later process with the same pool name and another store.
func (f *fixture) successor() orchestrator.Endpoint {
	at := f.Pool
	at.PoolUID += "-successor"
	return at
}

// spec describes the container of a remote's repository in a pool.
func (f *fixture) spec(at orchestrator.Endpoint, r Remote) orchestrator.ContainerSpec {
	f.Helper()
	repository, err := naming.ParseRepository(r.URL)
	if err != nil {
		f.Fatalf("the rig's remote %q: %v", r.URL, err)
	}
	key := naming.Key{Repository: repository}
	return orchestrator.ContainerSpec{Name: key.ContainerName(at.Pool), Key: key, Image: f.Image, Egress: f.Egress}
}

// own returns the spec of the first remote's container in the first pool.
func (f *fixture) own() orchestrator.ContainerSpec {
	f.Helper()
	return f.spec(f.Pool, f.Remote)
}

func (f *fixture) ensure(h orchestrator.Host, spec orchestrator.ContainerSpec) orchestrator.Container {
	f.Helper()
	c, err := h.Ensure(f.ctx, spec, nil)
	if err != nil {
		f.Fatalf("Ensure: %v", err)
	}
	return c
}

func (f *fixture) attach(h orchestrator.Host, name string) orchestrator.Inside {
	f.Helper()
	in, err := h.Attach(f.ctx, name)
	if err != nil {
		f.Fatalf("Attach: %v", err)
	}
	f.Cleanup(func() { in.Close() })
	return in
}

// inside returns the first remote's container, ensured and attached.
func (f *fixture) inside() (orchestrator.Host, orchestrator.Inside) {
	f.Helper()
	h := f.connect(f.Pool)
	return h, f.attach(h, f.ensure(h, f.own()).Name)
}

func (f *fixture) fetch(in orchestrator.Inside, r Remote) agent.Mirror {
	f.Helper()
	m, err := in.Fetch(f.ctx, agent.Fetch{URL: r.URL}, nil)
	if err != nil {
		f.Fatalf("Fetch: %v", err)
	}
	return m
}

// session describes a session with a uid of its own.
func (f *fixture) session(id string) agent.Session {
	f.nextUID++
	return agent.Session{
		ID:     id,
		UID:    f.nextUID,
		Dir:    "work",
		URL:    f.Remote.URL,
		Author: agent.Author{Name: "Ann", Email: "ann@example.org"},
	}
}

func (f *fixture) open(in orchestrator.Inside, s agent.Session) agent.Checkout {
	f.Helper()
	c, err := in.Open(f.ctx, s)
	if err != nil {
		f.Fatalf("Open %s: %v", s.ID, err)
	}
	return c
}

// opened returns the first remote's container with one open session.
func (f *fixture) opened() (orchestrator.Host, orchestrator.Inside, agent.Session) {
	f.Helper()
	h, in := f.inside()
	f.fetch(in, f.Remote)
	s := f.session("s1")
	f.open(in, s)
	return h, in, s
}

func (f *fixture) start(in orchestrator.Inside, c agent.Command) orchestrator.Process {
	f.Helper()
	p, err := in.Start(f.ctx, c)
	if err != nil {
		f.Fatalf("Start %q: %v", c.Args, err)
	}
	return p
}

// wait returns how a command has ended.
func (f *fixture) wait(p orchestrator.Process) (agent.Exit, error) {
	f.Helper()
	type result struct {
		exit agent.Exit
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		exit, err := p.Wait()
		ended <- result{exit, err}
	}()
	r, ok := received(ended, patience)
	if !ok {
		f.Fatalf("the command did not end within %v", patience)
	}
	return r.exit, r.err
}

// received returns a value from a channel. ok is false if none comes within d.
func received[T any](c <-chan T, d time.Duration) (v T, ok bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case v = <-c:
		return v, true
	case <-timer.C:
		return v, false
	}
}

// run runs a command to its end and returns its output.
func (f *fixture) run(in orchestrator.Inside, session string, args []string, stdin io.Reader) (exit agent.Exit, stdout, stderr string) {
	f.Helper()
	var out, errs bytes.Buffer
	p := f.start(in, agent.Command{Session: session, Args: args, Stdin: stdin, Stdout: &out, Stderr: &errs})
	exit, err := f.wait(p)
	if err != nil {
		f.Fatalf("%q: Wait: %v", args, err)
	}
	return exit, out.String(), errs.String()
}

// list returns the containers and mirrors that a host lists, by name.
func (f *fixture) list(h orchestrator.Host) (containers map[string]orchestrator.Container, mirrors map[string]orchestrator.Mirror) {
	f.Helper()
	held, err := h.List(f.ctx)
	if err != nil {
		f.Fatalf("List: %v", err)
	}
	containers, mirrors = map[string]orchestrator.Container{}, map[string]orchestrator.Mirror{}
	for _, c := range held.Containers {
		containers[c.Name] = c
	}
	for _, m := range held.Mirrors {
		mirrors[m.Name] = m
	}
	return containers, mirrors
}

// wantNothing checks that the pool soon holds neither a container nor a mirror.
func (f *fixture) wantNothing(h orchestrator.Host) {
	f.Helper()
	f.eventually("the pool holds nothing", func() bool {
		containers, mirrors := f.list(h)
		return len(containers)+len(mirrors) == 0
	})
}

func (f *fixture) wantErr(what string, err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Errorf("%s: the error is %v; want one that is %q", what, err, want)
	}
}

// wantDone checks that an Inside ends soon, for the right reason.
func (f *fixture) wantDone(in orchestrator.Inside, why error) {
	f.Helper()
	if _, ok := received(in.Done(), patience); !ok {
		f.Fatalf("Done is not closed after %v", patience)
	}
	f.wantErr("Err", in.Err(), why)
}

// eventually waits until other goroutines or the engine have made something true.
func (f *fixture) eventually(what string, is func() bool) {
	f.Helper()
	for deadline := time.Now().Add(patience / 3); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatalf("after %v this is not yet true: %s", patience/3, what)
		}
	}
}

// note returns the path of the file that cmdWrite writes in a checkout.
func note(c agent.Checkout) string { return path.Join(c.Workdir, "note") }
