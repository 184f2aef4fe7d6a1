package warden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/internal/pause"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/wall"
)

const (
	maxConns = 1024 // of all containers
	perPeer  = 8    // connections of one container

	// endGrace is how long a container that closed its last connection is observed, because it may be about to end.
	endGrace = 5 * time.Second
)

// Options configure the warden.
type Options struct {
	Socket string   // where agents connect; its directory exists
	Hidden []string // directories that rooms see empty, beside the agent's
	Init   []string // the command of a room's init; default "/berth/bin/berth-agent init"
	Log    *slog.Logger
}

// A Warden opens rooms.
type Warden struct {
	Options
	trial     func() error               // tries a room once; nil = rooms can be opened on this machine
	network   func() (weaker, err error) // tries walls of a network once
	lookAgain time.Duration              // how often the walls are renewed

	mu         sync.Mutex // protects what follows
	conns      int
	containers map[int]*container // by the pid of the first process
}

// New makes a warden.
func New(o Options) *Warden {
	if len(o.Init) == 0 {
		o.Init = []string{program, "init"}
	}
	return &Warden{
		Options: o, trial: sync.OnceValue(try), network: sync.OnceValues(wall.Try), lookAgain: lookAgain,
		containers: make(map[int]*container),
	}
}

// Isolation describes the walls that the warden can build on this machine. It tries a room at the first call.
func (w *Warden) Isolation() room.Isolation {
	if err := w.trial(); err != nil {
		return room.Isolation{Reason: err.Error()}
	}
	c, err := newTrial()
	if err != nil {
		return room.Isolation{Reason: err.Error()}
	}
	defer c.close()
	i := c.isolation()
	i.DiskQuota = i.Rooms && quotasAt(filepath.Dir(w.Socket))
	if _, err := w.network(); i.Rooms && err != nil {
		i.Reason = err.Error()
	} else {
		i.Network = i.Rooms
	}
	return i
}

// Run serves until ctx ends. Open rooms stay.
func (w *Warden) Run(ctx context.Context) error {
	listener, err := listen(w.Socket)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	defer listener.Close()
	if i := w.Isolation(); i.Rooms {
		w.Log.Info("warden ready", "cgroup", i.Cgroup, "memory", i.Memory, "cpu", i.CPU, "pids", i.PIDs, "network", i.Network, "disk_quota", i.DiskQuota)
		if weaker, err := w.network(); err == nil && weaker != nil {
			w.Log.Warn("one session can fill the machine's table of connections", "reason", weaker)
		}
		if err := fewFiles(); err != nil {
			w.Log.Warn("one session can use up the open files of the machine", "reason", err)
		}
	} else {
		w.Log.Warn("no rooms on this machine", "reason", i.Reason)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() { w.keep(ctx) })
	for {
		accepted, err := pause.Accept(listener, func(err error) { w.Log.Error("cannot accept a connection", "error", err) })
		if ctx.Err() != nil {
			if err == nil {
				accepted.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		conn := accepted.(*net.UnixConn)
		if !w.enter() {
			conn.Close()
			continue
		}
		serving.Go(func() {
			defer w.leave()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			if err := w.serve(ctx, conn); err != nil {
				w.Log.Warn("a connection ends", "error", err)
			}
		})
	}
}

// listen makes the socket anew. Only root can connect, because only agents may ask for rooms.
func listen(socket string) (*net.UnixListener, error) {
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	fresh := filepath.Join(filepath.Dir(socket), ".new")
	os.Remove(fresh)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: fresh, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // a later warden may have the socket then
	// A message that is sent before its connection is accepted tells who sent it only if the listener asks for that.
	if err := errors.Join(passCredentials(l), os.Chmod(fresh, 0o600), os.Rename(fresh, socket)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (w *Warden) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns >= maxConns {
		return false
	}
	w.conns++
	return true
}

func (w *Warden) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns--
}

// serve answers the requests of a connection, one after another.
func (w *Warden) serve(ctx context.Context, conn *net.UnixConn) error {
	p, err := identify(conn)
	if err != nil {
		return fmt.Errorf("refused: %w", err)
	}
	c, err := w.join(p)
	if err != nil {
		return err
	}
	defer w.part(c)
	buffer := make([]byte, maxMessage)
	for {
		var r request
		controls, err := receive(conn, buffer, syscall.CmsgSpace(syscall.SizeofUcred), &r)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			return nil
		}
		if err != nil {
			return err
		}
		if pid, ok := sender(controls); !ok || pid != c.pid {
			return fmt.Errorf("refused: process %d has sent a message in the name of process %d", pid, c.pid)
		}
		a, control := w.perform(ctx, c, r)
		fd := -1
		if control != nil {
			fd = int(control.Fd())
		}
		err = send(conn, a, fd)
		if control != nil {
			control.Close() // if the answer is lost, so is the other end, and the init ends
		}
		if err != nil {
			return err
		}
	}
}

// perform performs a request.
func (w *Warden) perform(ctx context.Context, c *container, r request) (a answer, control *os.File) {
	err := w.trial()
	switch {
	case r.Op == opIsolation:
		i := room.Isolation{}
		if err == nil {
			i = c.isolation()
		} else {
			i.Reason = err.Error()
		}
		return answer{Isolation: &i}, nil
	case err != nil:
	case r.Op == opOpen && r.Room != nil:
		if err = checkSpec(*r.Room); err == nil {
			control, a.PID, err = c.open(ctx, *r.Room)
		}
	case r.Op == opTake && r.Room != nil:
		if err = checkSpec(*r.Room); err == nil {
			err = c.take(ctx, *r.Room)
		}
	case r.Op == opClose:
		err = c.closeRoom(ctx, r.ID)
	case r.Op == opSync:
		err = c.sync(ctx, r.IDs)
	case r.Op == opNetwork && r.Network != nil:
		var policy egress.Policy
		if policy, err = r.Network.policy(); err == nil {
			err = c.putUp(policy)
		}
	case r.Op == opQuota && r.Quota != nil:
		a.Bounded, err = c.setQuota(*r.Quota)
	case r.Op == opUnlinked && r.Held != nil:
		a.Bytes, err = c.unlinked(*r.Held)
	case r.Op == opTry:
		err = c.tryCheckout(r.Dir)
	case r.Op == opPin && r.Pin != nil:
		err = c.pin(*r.Pin)
	case r.Op == opSockets:
		a.Sockets, err = c.sockets(ctx, r.ID)
	default:
		err = errors.New("unknown operation")
	}
	if err != nil {
		a.Error, a.NoCheckout = err.Error(), errors.Is(err, room.ErrNoCheckout)
		w.Log.Warn("failed", "op", r.Op, "process", c.pid, "error", err)
	}
	if note := c.note.Swap(nil); note != nil {
		a.Note = *note
		w.Log.Warn("a session has a cache of its own instead of a shared one", "process", c.pid, "reason", a.Note)
	}
	return a, control
}

// join returns the container of a peer, which it takes over in any case.
func (w *Warden) join(p *peer) (*container, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prune()
	c := w.containers[p.pid]
	if c == nil {
		c = newContainer(p, w.Options)
		w.containers[p.pid] = c
	} else {
		p.close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns >= perPeer {
		return nil, fmt.Errorf("process %d has %d connections already", c.pid, perPeer)
	}
	c.conns++
	return c, nil
}

// prune forgets containers that have ended: their pids may be used again. The lock is held.
func (w *Warden) prune() {
	for pid, c := range w.containers {
		if !ended(c.pidfd) {
			continue
		}
		delete(w.containers, pid)
		c.mu.Lock()
		if c.conns == 0 { // otherwise the last connection cleans up
			go c.gone()
		}
		c.mu.Unlock()
	}
}

// part ends a connection of a container. A container that ends then leaves nothing behind.
func (w *Warden) part(c *container) {
	c.mu.Lock()
	c.conns--
	last := c.conns == 0
	c.mu.Unlock()
	if !last || !awaitEnd(c.pidfd, endGrace) {
		return
	}
	w.mu.Lock()
	if w.containers[c.pid] == c {
		delete(w.containers, c.pid)
	}
	w.mu.Unlock()
	c.gone()
}
