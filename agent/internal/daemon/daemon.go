// Package daemon is berth's agent: it stays in a container for the container's life, as its first process, and does
// there what its clients ask for over a socket that only root can reach.
package daemon

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// Options say where things are. Tests move them; a container uses the defaults.
type Options struct {
	Socket        string        // default /berth/run/agent.sock
	MirrorDir     string        // default /berth/mirror
	SessionsDir   string        // default /sessions
	EtcDir        string        // default /etc
	Shared        []string      // nil = found
	MaxProcesses  int           // RLIMIT_NPROC of every session; default 1024
	MaxFiles      int           // RLIMIT_NOFILE of every command, if the hard limit allows; default 65536
	OrphanTimeout time.Duration // ends the agent when no manager was there for so long; 0 = never
	Log           *slog.Logger
}

// usualPath is for images that set none.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A Daemon is a running agent.
type Daemon struct {
	Options
	boot     string
	build    func() string // hashes the program once
	table    *proc.Table
	mirror   *mirror.Mirror
	places   *place.Places
	heavy    gate // opening and closing: work for the disk
	starts   gate // commands whose streams are open and that do not run yet: forks come one after another
	sessions sessions
	commands commands
	kept     budget
	calls    calls
	managers managers
}

// Run is the agent's life. It returns when ctx ends, or when nobody has needed it for OrphanTimeout.
func Run(ctx context.Context, o Options) error {
	// Signals that would end the program before it has set itself up come to ctx; children come here.
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)

	d, err := setUp(o)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	var loops sync.WaitGroup
	loops.Go(func() { d.table.Run(stop, children) })
	defer loops.Wait()
	defer close(stop)
	defer d.killAll()
	defer d.mirror.Close()

	listener, err := listen(o.Socket)
	if err != nil {
		return err
	}
	server := d.server()
	served := make(chan error, 1)
	loops.Go(func() { served <- server.Serve(listener) })
	defer server.Close()
	d.Log.Info("agent ready", "build", d.build(), "protocol", wire.Protocol, "boot", d.boot)

	tick := time.NewTicker(min(time.Minute, max(o.OrphanTimeout/4, 10*time.Millisecond)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			d.Log.Info("agent ends", "reason", context.Cause(ctx))
			return nil
		case err := <-served:
			return err
		case <-tick.C:
			if n, idle := d.managers.others(""); o.OrphanTimeout > 0 && n == 0 && idle > o.OrphanTimeout {
				d.Log.Warn("no manager has come back: the agent ends", "idle", idle.Round(time.Second))
				return nil
			}
		}
	}
}

// setUp prepares the container.
func setUp(o Options) (*Daemon, error) {
	syscall.Umask(0o077) // of the sessions' commands too; what must be seen by others is given its mode explicitly
	if os.Getpid() != 1 {
		if err := proc.AdoptOrphans(); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(
		syscall.Setgroups(nil), proc.LimitProcesses(o.MaxProcesses), proc.LimitFiles(o.MaxFiles),
	); err != nil {
		return nil, err
	}
	proc.Prewarm(spareThreads)
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	table := proc.NewTable()
	if err := table.Guard(program, "guard"); err != nil {
		return nil, err
	}
	env := os.Environ()
	path := lookup(env, "PATH")
	if path == "" {
		path = usualPath
	}
	d := &Daemon{
		Options:  o,
		boot:     rand.Text(),
		build:    sync.OnceValue(func() string { return hash(program) }),
		table:    table,
		heavy:    make(gate, 8),
		starts:   make(gate, 64),
		sessions: sessions{byID: make(map[string]*session), busy: make(map[any]chan struct{})},
		kept:     budget{limit: maxKept},
		commands: commands{byID: make(map[string]*command)},
		calls:    calls{byID: make(map[string]*call)},
		managers: managers{now: make(map[string]int), left: make(map[string]time.Time), since: time.Now()},
	}
	if d.Shared == nil {
		d.Shared = place.Writable("/", []string{"/proc", "/sys", "/berth", o.MirrorDir, o.SessionsDir},
			"/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock")
	}
	d.places, err = place.Open(place.Config{
		Root: o.SessionsDir, Etc: o.EtcDir, Shared: d.Shared, Env: env, Path: path, Table: d.table,
	})
	if err != nil {
		return nil, err
	}
	d.mirror, err = mirror.Open(mirror.Config{
		Dir: o.MirrorDir, Env: env, Path: path, Askpass: program, Table: d.table, Log: o.Log,
		Borrowed:   func() bool { return len(d.sessions.list()) > 0 },
		FewThreads: o.MaxProcesses < proc.UsualProcesses,
	})
	if err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	if err := d.places.AddMirror(mirror.UID, o.MirrorDir); err != nil {
		return nil, err
	}
	return d, nil
}

// spareThreads is more than the agent ever has in system calls at once: 8 for heavy, 8 that list processes, and some.
const spareThreads = 32

// killAll ends what sessions have running. In a container the kernel does that when the agent ends.
func (d *Daemon) killAll() {
	if os.Getpid() == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, uid := range d.sessions.list() {
		proc.KillUser(ctx, uid)
	}
	proc.KillUser(ctx, mirror.UID)
}

// listen opens the socket that only root can use.
func listen(socket string) (net.Listener, error) {
	dir := filepath.Dir(socket)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(dir, 0o700), os.Chmod(socket, 0o600)); err != nil {
		l.Close()
		return nil, err
	}
	return rootOnly{l}, nil
}

// rootOnly refuses every peer but root, whatever became of the socket's mode.
type rootOnly struct{ net.Listener }

func (l rootOnly) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if peer(conn) == 0 {
			return conn, nil
		}
		conn.Close()
	}
}

// peer returns the uid of the other side; -1 if unknown.
func peer(conn net.Conn) int {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return -1
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return -1
	}
	uid := -1
	raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	return uid
}

// hash returns the beginning of the SHA-256 of a file: the build of this program.
func hash(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:12]
}
