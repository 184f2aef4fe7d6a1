package dockerengine

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

const (
	// refillPause is how long a host waits after a start before it makes the next spare. The first session of that start has the CPU.
	refillPause = 2 * time.Second
	// spareLife is how long an engine keeps a spare at most, if it never tells the spare that its process is gone. spareRenewal is
	// when a living process makes another in its place.
	spareLife    = time.Hour
	spareRenewal = 50 * time.Minute

	sparePrefix = "berth-spare-" // of the name of a spare that no container has taken
	takenPrefix = "berth-net-"   // of one that is taken
)

// spareScript waits for a line. Without one it ends with its standard input, which the engine closes when the process that made the
// spare ends, and after spareLife. With one it holds the network until it is killed.
var spareScript = fmt.Sprintf(`trap 'exit 0' TERM
(sleep %d; kill -TERM 1) &
echo ready
read line || exit 0
kill $!
while sleep 86400; do :; done`, int(spareLife.Seconds()))

// spares are networks that are ready before a container needs them, because to make one is most of a container's start. Each is held by
// a container of its own, which runs a shell that sleeps. A container that takes a spare has its network namespace, as any
// container has one of its own: no other takes it, the container's agent puts up the walls in it before it serves, and the spare is
// removed with the container.
//
// A process takes only spares that it has made, so no two can take one. One that nobody has taken ends with its process.
type spares struct {
	*daemon
	bridge *bridge
	early  *early

	mu      sync.Mutex // protects the fields below
	ready   []*spare
	filling bool
	closed  bool
}

// spare is a spare that no container has taken yet.
type spare struct {
	id, network string
	conn        client.HijackedResponse // its standard streams
	gone        chan struct{}           // closed when the engine has ended conn
}

// use makes the next container of e use a spare, if there is one for that network. Without rooms nothing would put up walls in it.
func (e *ensuring) useSpare(ctx context.Context, network string) {
	e.spare = ""
	if e.spareless || e.isolation.Level != store.IsolationRooms {
		return
	}
	e.spare = e.spares.take(ctx, network)
	e.spareless = e.spare != "" // if this attempt fails, the next one has no spare
}

// dropSpare removes the spare of an attempt that has made no container.
func (e *ensuring) dropSpare(ctx context.Context) {
	if e.spare == "" {
		return
	}
	ctx, cancel := unbroken(ctx, e.opts.CallTimeout)
	defer cancel()
	if err := e.discard(ctx, e.spare); err != nil { // it is not in use, so that a sweep removes it
		e.log.Warn("cannot remove a spare network", "error", err)
	}
}

// take returns the ID of a spare, which then belongs to the caller. "" = there is none.
func (s *spares) take(ctx context.Context, network string) string {
	for {
		x := s.pop(network)
		if x == nil {
			return ""
		}
		err := s.claim(ctx, x)
		if err == nil {
			return x.id
		}
		s.log.Debug("cannot take a spare network", "error", err)
		if ctx.Err() != nil {
			return ""
		}
	}
}

// pop takes a spare for a network from the list, and drops those for others and those that have ended.
func (s *spares) pop(network string) *spare {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) > 0 {
		x := s.ready[0]
		s.ready = s.ready[1:]
		select {
		case <-x.gone:
		default:
			if x.network == network {
				return x
			}
			x.conn.Close()
		}
	}
	return nil
}

// claim gives a spare the name that says that it is taken, and tells it to stay when this process ends. If it cannot, the spare ends.
func (s *spares) claim(ctx context.Context, x *spare) error {
	ctx, cancel := unbroken(ctx, s.opts.CallTimeout)
	defer cancel()
	defer x.conn.Close()
	name := takenPrefix + short(x.id)
	if _, err := s.docker.ContainerRename(ctx, x.id, client.ContainerRenameOptions{NewName: name}); err != nil {
		return err
	}
	if _, err := x.conn.Conn.Write([]byte("stay\n")); err != nil {
		return errors.Join(err, s.discard(ctx, x.id))
	}
	return nil
}

// refill makes spares in the background until the engine has n of the pool that are not taken, those of other processes included.
func (s *spares) refill(image string, n int) {
	s.mu.Lock()
	begin := n > len(s.ready) && !s.filling && !s.closed
	s.filling = s.filling || begin
	s.mu.Unlock()
	if !begin {
		return
	}
	s.early.start(func(ctx context.Context) {
		err := loop.Sleep(ctx, refillPause)
		for more := true; err == nil && more; {
			more, err = s.addOne(ctx, image, n)
		}
		s.mu.Lock()
		s.filling = false
		s.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			s.log.Warn("cannot make a spare network", "error", err)
		}
	})
}

// addOne makes a spare unless the engine has n. more: it has made one.
func (s *spares) addOne(ctx context.Context, image string, n int) (more bool, err error) {
	have, err := s.listContainers(ctx, false, s.filter(kindSpare))
	if err != nil {
		return false, err
	}
	free := slices.DeleteFunc(have, func(c container.Summary) bool { return isTaken(nameOf(c.Names)) })
	if len(free) >= n {
		return false, nil
	}
	network, err := s.bridge.ensure(ctx)
	if err != nil {
		return false, err
	}
	x, err := s.make(ctx, image, network)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		x.conn.Close()
		return false, nil
	}
	s.ready = append(s.ready, x)
	go s.tend(x, image, n)
	return true, nil
}

// tend reads what a spare says until it ends, and renews one that has become old.
func (s *spares) tend(x *spare, image string, n int) {
	renewal := time.AfterFunc(spareRenewal, func() {
		s.mu.Lock()
		i := slices.Index(s.ready, x)
		if i >= 0 {
			s.ready = slices.Delete(s.ready, i, i+1)
		}
		s.mu.Unlock()
		if i >= 0 {
			x.conn.Close()
			s.refill(image, n)
		}
	})
	defer renewal.Stop()
	defer close(x.gone)
	for {
		if _, err := x.conn.Reader.ReadString('\n'); err != nil {
			return
		}
	}
}

// make starts a spare.
func (s *spares) make(ctx context.Context, image, network string) (x *spare, err error) {
	ctx, cancel := unbroken(ctx, s.opts.StartTimeout)
	defer cancel()
	made, err := s.docker.ContainerCreate(ctx, s.config(image, network))
	if err != nil {
		return nil, err
	}
	if err := needs(made.ID != "", "the making of a spare network", "Id"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.discard(ctx, made.ID))
		}
	}()
	attached, err := s.docker.ContainerAttach(ctx, made.ID, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true})
	if err != nil {
		return nil, err
	}
	x = &spare{id: made.ID, network: network, conn: attached.HijackedResponse, gone: make(chan struct{})}
	if _, err = s.docker.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err == nil {
		err = awaitLine(ctx, x.conn.Reader, x.conn.Conn.Close)
	}
	if err != nil {
		x.conn.Close()
		return nil, err
	}
	return x, nil
}

// awaitLine returns when the spare has said that it is ready, or calls stop when ctx ends.
func awaitLine(ctx context.Context, r *bufio.Reader, stop func() error) error {
	defer context.AfterFunc(ctx, func() { _ = stop() })()
	if _, err := r.ReadString('\n'); err != nil {
		return fmt.Errorf("it did not begin: %w", err)
	}
	return nil
}

// config describes a spare. It holds no secret, has no right, and no volume.
func (s *spares) config(image, network string) client.ContainerCreateOptions {
	processes := int64(16)
	return client.ContainerCreateOptions{
		Name: sparePrefix + short(s.at.Pool+rand.Text()),
		Config: &container.Config{
			Image: image, Hostname: "berth", User: "65534:65534", WorkingDir: "/",
			Entrypoint: []string{"/bin/sh", "-c", spareScript}, Labels: s.labels(kindSpare),
			OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true,
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		},
		HostConfig: &container.HostConfig{
			NetworkMode: container.NetworkMode(network), IpcMode: container.IPCModePrivate, AutoRemove: true, ReadonlyRootfs: true,
			Runtime: s.opts.Runtime, Init: new(bool), CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
			Sysctls: networkSysctls, LogConfig: container.LogConfig{Type: "none"},
			Resources: container.Resources{PidsLimit: &processes},
		},
	}
}

// drop ends the spares that nobody has taken. Their containers go by themselves.
func (s *spares) drop(closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = s.closed || closed
	for _, x := range s.ready {
		x.conn.Close()
	}
	s.ready = nil
}

func isTaken(name string) bool { return strings.HasPrefix(name, takenPrefix) }

// spareOf returns the ID of the spare whose network a container has. "" = it has one of its own.
func spareOf(found container.InspectResponse) string {
	if found.HostConfig == nil {
		return ""
	}
	return found.HostConfig.NetworkMode.ConnectedContainer()
}

// spareHolds reports whether a container's spare runs, if it has one. Without, the container has no network.
func (d *daemon) spareHolds(ctx context.Context, found container.InspectResponse) (bool, error) {
	id := spareOf(found)
	if id == "" {
		return true, nil
	}
	holder, err := d.inspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil && holder.State.Running, err
}

// removeSpare removes a spare. ErrInUse: a container has its network.
func (r *resources) removeSpare(ctx context.Context, id string) error {
	found, err := r.inspect(ctx, id)
	if err != nil || !r.owns(found.Config.Labels, kindSpare) {
		return ignoreAbsent(err)
	}
	all, err := r.listContainers(ctx, true, r.filter(kindContainer))
	if err != nil {
		return err
	}
	for _, c := range all {
		if container.NetworkMode(c.HostConfig.NetworkMode).ConnectedContainer() == found.ID {
			return fmt.Errorf("%w: container %s has its network", orchestrator.ErrInUse, nameOf(c.Names))
		}
	}
	if found.Config.Labels[labelPoolUID] != r.at.PoolUID && !isTaken(strings.TrimPrefix(found.Name, "/")) {
		return errOtherPool(r.at.Pool)
	}
	return r.discard(ctx, id)
}
