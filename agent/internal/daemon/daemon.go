// Package daemon is berth's agent. It runs in a container as the first process, for the container's life, and serves its
// clients over a socket that only root can reach.
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
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/internal/cache"
	"github.com/berth-go/berth/agent/internal/credential"
	"github.com/berth-go/berth/agent/internal/environ"
	"github.com/berth-go/berth/agent/internal/localport"
	"github.com/berth-go/berth/agent/internal/lost"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/room"
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
	Repository    mirror.Limits // bounds what the repository may be
	OrphanTimeout time.Duration // ends the agent after so long without a manager; 0 = never
	Rooms         room.Opener   // opens a room for each session; nil = sessions have none, and share what the container has
	Limits        room.Limits   // of each room, without PIDs, which follow from MaxProcesses
	Disk          DiskLimits    // of each session
	Program       string        // what git and the guard of forks run; default this program
	Egress        egress.Policy // of fetches and sessions
	Resolver      netip.Addr    // where a resolver for the sessions listens; the zero value = nowhere, sessions ask the engine's
	ResolvConf    string        // the file that names the resolver; default /etc/resolv.conf
	// Pin is that of names.Config.
	Pin func(ctx context.Context, addrs []netip.Addr, life time.Duration) error
	Log *slog.Logger
}

// A Daemon is a running agent.
type Daemon struct {
	Options
	boot      string
	build     func() string // hashes the program once
	table     *proc.Table
	mirror    *mirror.Mirror
	resolver  *resolver // nil = none
	places    *place.Places
	checkouts *checkouts
	spares    *room.Spares // nil = rooms are opened when they are needed
	opening   gate         // bounds the sessions that are being opened: work for the disk
	clearing  gate         // bounds those that are being cleared. Neither slow checkouts nor removals of many files hold up the other
	starts    gate         // commands with open streams that do not run yet, of sessions without rooms: one fork happens at a time
	caches    *cache.Store
	filler    filler
	prepared  *prepared
	lost      *lost.Store
	ports     *localport.Guard
	sessions  sessions
	commands  commands
	kept      budget
	calls     calls
	managers  managers
	meter     *meter
	desk      credential.Desk
	unbounded atomic.Bool // the file system does not bound what a session has
	endings   *endings
}

// Run runs the agent. It returns when ctx ends, or when there was no manager for OrphanTimeout.
func Run(ctx context.Context, o Options) error {
	// ctx ends with a signal that would end the program, also before it has set itself up. SIGCHLD comes here.
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
	defer d.checkouts.trees.Close()
	watching, end := context.WithCancel(ctx)
	defer end()
	loops.Go(func() { d.ports.Run(watching) })
	loops.Go(func() { d.places.Trash.Run(watching) })
	loops.Go(func() { d.checkouts.run(watching) })
	if d.resolver != nil {
		defer d.resolver.close()
	}

	listener, err := listen(o.Socket)
	if err != nil {
		return err
	}
	metering, stopMeter := context.WithCancel(context.Background())
	defer stopMeter()
	loops.Go(func() { d.meter.run(metering) })
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
			d.commands.lines.hangUp(nil)
			if n, idle := d.managers.others(""); o.OrphanTimeout > 0 && n == 0 && idle > o.OrphanTimeout {
				d.Log.Warn("no manager has come back: the agent ends", "idle", idle.Round(time.Second))
				return nil
			}
		}
	}
}

// setUp prepares the container.
func setUp(o Options) (*Daemon, error) {
	if err := limitProcess(o); err != nil {
		return nil, err
	}
	program := o.Program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	o.Program = program
	table := proc.NewTable()
	if err := table.Guard(program, "guard"); err != nil {
		return nil, err
	}
	d := newDaemon(o, program, table)
	image := environ.Read(os.Environ(), o.EtcDir)
	if err := openPlaces(d, image); err != nil {
		return nil, err
	}
	if err := openMirror(d, image, program); err != nil {
		return nil, err
	}
	return d, nil
}

// limitProcess sets what the sessions' commands inherit.
func limitProcess(o Options) error {
	syscall.Umask(0o022) // Directories that others must not enter get their modes explicitly.
	proc.DefaultSignals()
	if os.Getpid() != 1 {
		if err := proc.AdoptOrphans(); err != nil {
			return err
		}
	}
	if err := errors.Join(
		syscall.Setgroups(nil), proc.LimitProcesses(o.MaxProcesses), proc.LimitFiles(o.MaxFiles), proc.LimitCores(),
	); err != nil {
		return err
	}
	proc.Prewarm(spareThreads)
	return nil
}

func newDaemon(o Options, program string, table *proc.Table) *Daemon {
	d := &Daemon{
		Options:  o,
		boot:     rand.Text(),
		build:    sync.OnceValue(func() string { return hash(program) }),
		table:    table,
		opening:  make(gate, 8),
		clearing: make(gate, 8),
		starts:   make(gate, 64),
		filler:   filler{turn: make(gate, 1), failed: make(map[string]failedFill)},
		sessions: sessions{byID: make(map[string]*session), busy: make(map[any]chan struct{})},
		kept:     budget{limit: maxKept},
		commands: commands{byID: make(map[string]*command)},
		calls:    calls{byID: make(map[string]*call)},
		managers: managers{now: make(map[string]int), left: make(map[string]time.Time), since: time.Now()},
	}
	d.endings = newEndings(d.sessions.known)
	d.desk.Away = d.managers.away
	d.commands.lines = &lines{commands: &d.commands, sessions: &d.sessions, managers: &d.managers, kept: &d.kept}
	d.spares, d.ports = newSpares(d), newGuard(d)
	return d
}

// openPlaces makes the sessions' directories, and what measures them.
func openPlaces(d *Daemon, image *environ.Image) (err error) {
	if d.Shared == nil {
		excluded := []string{"/proc", "/sys", "/berth", d.MirrorDir, d.SessionsDir}
		d.Shared = place.Writable("/", excluded, append(place.Outside(excluded, image.Open()),
			"/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock")...)
	}
	shrink := func(ctx context.Context) error { return d.checkouts.trees.Shrink(ctx) }
	d.places, err = place.Open(place.Config{Root: d.SessionsDir, Etc: d.EtcDir, Shared: d.Shared, Image: image, Shrink: shrink, Program: d.Program, Log: d.Log})
	if err != nil {
		return err
	}
	d.checkouts = newCheckouts(d)
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.SessionsDir, &fs); err != nil {
		return fmt.Errorf("the disk of %s: %w", d.SessionsDir, err)
	}
	d.meter = newMeter(d, d.Disk.set(fs), fs)
	return nil
}

// openMirror opens the mirror, its caches, and the resolver.
func openMirror(d *Daemon, image *environ.Image, program string) (err error) {
	var nameserver netip.AddrPort
	if d.Resolver.IsValid() {
		if d.resolver, err = startResolver(d.Options); err != nil {
			return err
		}
		nameserver = d.resolver.upstream
	}
	d.mirror, err = mirror.Open(mirror.Config{
		Dir: d.MirrorDir, Image: image, Askpass: program, Egress: d.Egress, Nameserver: nameserver, Table: d.table, Log: d.Log,
		FreePorts:  d.ports.Free,
		Borrowed:   func() bool { return len(d.sessions.list()) > 0 },
		FreeRoom:   d.places.FreeRoom,
		FewThreads: d.MaxProcesses < proc.UsualProcesses,
		Limits:     d.Repository.Set(),
	})
	if err != nil {
		return fmt.Errorf("mirror: %w", err)
	}
	if d.caches, err = cache.Open(filepath.Join(d.MirrorDir, mirror.CachesName), room.LayerUID); err != nil {
		return fmt.Errorf("caches: %w", err)
	}
	if d.prepared, err = newPrepared(d.mirror, filepath.Join(d.MirrorDir, mirror.PreparedName)); err != nil {
		return err
	}
	if d.lost, err = lost.Open(filepath.Join(d.MirrorDir, mirror.LostName)); err != nil {
		return fmt.Errorf("kept work: %w", err)
	}
	return d.places.AddMirror(mirror.UID, d.MirrorDir)
}

// spareThreads is more than the agent ever has in system calls at once: 8 that open and 8 that clear sessions, 8 that list
// processes, and a few.
const spareThreads = 40

// killAll ends the processes of all sessions. In a container the kernel does that when the agent ends.
func (d *Daemon) killAll() {
	if os.Getpid() == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, s := range d.sessions.all() {
		if s.room != nil {
			s.room.Close(ctx)
		} else {
			proc.KillUser(ctx, s.UID)
		}
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
	return handovers{rootOnly{l}}, nil
}

// rootOnly refuses every peer except root, even if the socket's mode admits others.
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

// peer returns the uid of the other side, or -1 if it is unknown.
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

// hash returns the first digits of the SHA-256 of a file. Those of this program are its build.
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
