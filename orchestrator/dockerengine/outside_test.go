package dockerengine_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
)

// run starts a container that is not berth's, and removes it when the test ends.
func (o *outside) run(t *testing.T, c client.ContainerCreateOptions, args ...string) (id string) {
	t.Helper()
	c.Config = &container.Config{Image: o.image, Entrypoint: args}
	made, err := o.docker.ContainerCreate(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := o.docker.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true})
		if err != nil && !errdefs.IsNotFound(err) {
			t.Error(err)
		}
	})
	if _, err := o.docker.ContainerStart(t.Context(), made.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

func (o *outside) running(t *testing.T, name string) (id string) {
	t.Helper()
	found, err := o.docker.ContainerInspect(t.Context(), name, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) || err == nil && !found.Container.State.Running {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return found.Container.ID
}

// breakMirror removes the objects of a mirror and leaves a lock behind.
func (o *outside) breakMirror(t *testing.T, name string) {
	t.Helper()
	id := o.run(t, client.ContainerCreateOptions{HostConfig: &container.HostConfig{
		Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: name, Target: "/mirror"}},
	}}, "sh", "-c", "rm -f /mirror/repo.git/objects/pack/*.pack && : > /mirror/repo.git/packed-refs.lock")
	wait := o.docker.ContainerWait(t.Context(), id, client.ContainerWaitOptions{})
	select {
	case end := <-wait.Result:
		if end.StatusCode != 0 {
			t.Fatalf("breaking mirror %s: exit code %d", name, end.StatusCode)
		}
	case err := <-wait.Error:
		t.Fatal(err)
	}
	if _, err := o.docker.ContainerRemove(t.Context(), id, client.ContainerRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
}

// proxy passes connections on to an engine until they are cut.
type proxy struct {
	address string // of the proxy
	engine  string

	mu    sync.Mutex // protects conns
	conns map[net.Conn]struct{}
	all   sync.WaitGroup
}

func startProxy(t *testing.T, engine string) *proxy {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "proxy.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: "unix://" + socket, engine: engine, conns: map[net.Conn]struct{}{}}
	p.all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.cut()
		p.all.Wait()
	})
	return p
}

func (p *proxy) serve(conn net.Conn) {
	defer conn.Close()
	network, target, _ := strings.Cut(p.engine, "://")
	engine, err := net.DialTimeout(network, target, 10*time.Second)
	if err != nil {
		return
	}
	defer engine.Close()
	p.mu.Lock()
	p.conns[conn], p.conns[engine] = struct{}{}, struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, conn)
		delete(p.conns, engine)
	}()
	var both sync.WaitGroup
	both.Go(func() { pass(engine, conn) })
	both.Go(func() { pass(conn, engine) })
	both.Wait()
}

// pass copies everything, including the end of the stream.
func pass(to, from net.Conn) {
	io.Copy(to, from)
	to.(*net.UnixConn).CloseWrite()
}

// cut breaks every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// startImpostor starts a server that answers like an engine of another launch.
func startImpostor(t *testing.T) (address string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "impostor.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/info") {
			io.WriteString(w, `{"OSType":"linux","Architecture":"x86_64","Labels":["berth.launch=somebody-else"]}`)
		}
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return "unix://" + socket
}

// testLogger returns a logger that writes to the test's output.
func testLogger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }
