package berth

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/files"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/plain"
	"github.com/berth-go/berth/internal/session"
	"github.com/berth-go/berth/internal/snapshot"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/snapshots"
	"github.com/berth-go/berth/store"
)

// SessionState is the state of a session.
type SessionState string

// The states of a session, in the order in which it passes through them.
const (
	SessionCreating    = SessionState(store.SessionCreating)
	SessionActive      = SessionState(store.SessionActive)
	SessionTerminating = SessionState(store.SessionTerminating)
	SessionEnded       = SessionState(store.SessionEnded)
)

// StartKind says what a session found when it came.
type StartKind string

// The kinds of start, the fastest first.
const (
	StartAttached = StartKind(store.StartAttached) // the container was up
	StartWarm     = StartKind(store.StartWarm)     // the instance had the repository's mirror
	StartCold     = StartKind(store.StartCold)     // the repository was cloned
)

// Session is a handle on one task's place. It is cheap, safe for concurrent use, and may be dropped at any time.
type Session struct {
	p      *Provider
	id     string
	info   atomic.Pointer[SessionInfo]
	status *session.Status
	own    *gate // of a handle for Config.OnEnd, and for berth's own work; nil = the Provider's
}

// SessionInfo is a snapshot of a session.
type SessionInfo struct {
	ID, TaskID, UserID string
	// Branch is the one that is checked out. After a tag or a commit, where HEAD is detached, it is what the request named;
	// "" if that named nothing and the remote's HEAD is detached.
	Branch     string
	Repository naming.Repository
	State      SessionState
	Container  ContainerInfo
	Instance   InstanceInfo
	Workdir    string // the checkout, inside the container
	Commit     string // that the session began with; "" = it is not known, as after SessionRequest.Restore
	Start      StartKind
	Labels     map[string]string
	CreatedAt  time.Time
	LeaseUntil time.Time // by the clock of the process that renewed the lease last; zero = it does not expire
	// LastActivity is when the session was last in use, as the store knows it: by a command, a connection, a file or KeepAlive, and exact to
	// a tenth of its IdleTimeout. It is by the clock of the process that stored it. Zero = it is not known, as without an IdleTimeout.
	LastActivity time.Time
	EndedAt      time.Time // zero = it has not ended
	Restored     bool      // it began with what SessionRequest.Restore names
	Saved        string    // where its work is: "branch NAME" or "snapshot NAME", or "instance ID" if only Config.KeepLost has kept it; "" = nowhere
}

// ContainerInfo names a container.
type ContainerInfo struct {
	Name string
	ID   string // the engine's own
}

// InstanceInfo is a snapshot of an instance. In a SessionInfo, only ID, CloudID, Address,
// Isolation and what follows it are set.
type InstanceInfo struct {
	ID      string // the launch ID
	CloudID string
	Address string // of its engine
	State   string // launching, booting, ready, cordoned, terminating, lost
	Reason  string // why it is cordoned, terminating or lost
	Slots   int
	Tasks   int // sessions that hold a slot
	Empty   int // containers that no session holds: see Config.ContainerIdleTimeout
	Since   time.Time
	// Isolation says what separates the sessions of a container there from each other. It is known once the first container
	// was started.
	Isolation Isolation
	// IsolationReason is why sessions have no rooms, or what a room does not bound. "" = nothing
	IsolationReason string
	// DiskQuota says that the kernel bounds what each session there has on the disk. If it is false, the sessions are measured,
	// and ended if they have too much: see Limits. It is known when Isolation is.
	DiskQuota bool
	// SharedCheckouts says that the checkouts of sessions there are mounts over the files of their commit, which they share: they are made
	// in the time of a mount, and take as much of the disk as the session changes. If it is false, git writes the files of each
	// checkout, and CheckoutReason says why. It is known when Isolation is.
	SharedCheckouts bool
	CheckoutReason  string
}

// Isolation says what separates sessions that share a container. "" = it is not known.
type Isolation string

// The kinds of isolation, the stronger first.
const (
	// IsolationRooms: each session has a room, with namespaces of its own for processes, mounts and IPC, and a cgroup of its
	// own, which bounds its memory, processes and processor time.
	IsolationRooms = Isolation(store.IsolationRooms)
	// IsolationUID: each session has a uid of its own. It sees the other sessions' processes, and shares /tmp, memory and
	// processors with them. The engine does not let berth do more.
	IsolationUID = Isolation(store.IsolationUID)
)

// session makes a handle from a record and that of its instance, which may be nil.
func (p *Provider) session(r *store.Session, in *store.Instance) *Session {
	s := &Session{p: p, id: r.ID, status: p.sessions.Status(r)}
	s.info.Store(describe(r, in))
	return s
}

func describe(r *store.Session, in *store.Instance) *SessionInfo {
	info := &SessionInfo{
		ID: r.ID, TaskID: r.TaskID, UserID: r.UserID, Branch: r.CheckedOut, Repository: r.SharingKey.Repository,
		State:     SessionState(r.State),
		Container: ContainerInfo{Name: r.ContainerName, ID: r.EngineID},
		Instance:  InstanceInfo{ID: r.Instance},
		Workdir:   r.Workdir, Commit: r.Commit, Start: StartKind(r.Start), Labels: r.Labels,
		CreatedAt: r.CreatedAt, LeaseUntil: r.LeaseUntil, EndedAt: r.EndedAt,
		Restored: r.Restored, Saved: r.Saved,
	}
	if !r.LeaseUntil.IsZero() {
		info.LastActivity = r.LeaseUntil.Add(-session.LeaseTerm(r.IdleTimeout))
	}
	if info.Branch == "" {
		info.Branch = r.Branch
	}
	if in != nil {
		info.Instance.CloudID, info.Instance.Address = in.CloudID, in.Address
		info.Instance.Isolation, info.Instance.IsolationReason = Isolation(in.Isolation), in.IsolationReason
		info.Instance.DiskQuota = in.DiskQuota
		info.Instance.SharedCheckouts, info.Instance.CheckoutReason = in.SharedCheckouts, in.CheckoutReason
	}
	return info
}

// gate returns the gate that calls of the handle pass.
func (s *Session) gate() *gate {
	if s.own != nil {
		return s.own
	}
	return s.p.calls
}

// String returns the session's ID.
func (s *Session) String() string { return "session " + s.id }

// GoString is String.
func (s *Session) GoString() string { return s.String() }

// ID returns the session's ID.
func (s *Session) ID() string { return s.id }

// Info returns the last snapshot that this handle has taken. Its Labels must not be changed.
func (s *Session) Info() SessionInfo { return *s.info.Load() }

// Refresh takes a new snapshot, and returns it. ErrSessionNotFound: it ended long ago.
func (s *Session) Refresh(ctx context.Context) (SessionInfo, error) {
	if err := s.p.calls.enter(); err != nil {
		return s.Info(), err
	}
	defer s.p.calls.leave()
	r, in, err := s.p.read(ctx, s.id)
	if err != nil {
		return s.Info(), err
	}
	if r.State == store.SessionEnded {
		s.status.End(s.p.sessions.Noticed(r))
	}
	info := describe(r, in)
	s.info.Store(info)
	return *info, nil
}

// Done returns a channel that is closed when the session has ended, for any reason. If another replica ends the session,
// this one notices within seconds.
func (s *Session) Done() <-chan struct{} { return s.status.Done() }

// Err returns why the session ended: ErrTerminated, ErrRevoked, ErrExpired, ErrOverLimit, ErrInstanceLost, ErrContainerLost, ErrAbandoned or
// a *StartError, which matches the most telling sentinel of what the failed CreateSession returned; ErrSessionNotFound if
// its record was removed before this process noticed the end. It is nil before Done is closed.
func (s *Session) Err() error { return s.status.Err() }

// FS returns the file system of the session, rooted at its checkout: an io/fs.FS that can also be written to, with the rights of the
// session. ctx bounds what is done with it. It costs nothing: the first use starts a program in the session's container, in a few
// milliseconds. Package files says more of names, rights and errors.
func (s *Session) FS(ctx context.Context) *files.FS {
	return files.New(ctx, s.p.files.Of(&commandHost{s: s}), s.Info().Workdir)
}

// KeepAlive renews the session's lease, as a running command does: the session lives for at least its IdleTimeout from now
// on, even if wall clocks are changed. At most once in a tenth of the IdleTimeout, it writes to the store and notifies the
// container's agent, for which it waits no more than 5 s. If the agent cannot be notified, that is logged, and is no error.
// If the session has ended, the error is that of Err. ErrSessionStarting: the session is still being created.
func (s *Session) KeepAlive(ctx context.Context) error {
	if err := s.p.calls.enter(); err != nil {
		return err
	}
	defer s.p.calls.leave()
	return s.p.sessions.Renew(ctx, s.id)
}

// Dial connects with a server that runs in the session: it can be the DialContext of an http.Transport. network is "tcp", "tcp4" or
// "tcp6". The host of address is empty or localhost, or an address of the container, such as 127.0.0.1. Dial reaches what processes of this
// session listen on, and nothing else: not other sessions of the container, nor berth's own ports.
//
// ctx bounds the dialling only. The connection has the methods of a net.TCPConn for deadlines and for closing one direction (CloseWrite).
// It outlasts short interruptions of the network: no byte is lost or comes twice. Read returns io.EOF only if the server has closed the
// connection or has ended. If the connection is lost, Read and Write say why with an error: that of Session.Err, if the session or the
// container ended or the instance was lost; ErrClosed, if the Provider was closed. While it is open, it renews the session's lease, as a
// running command does. A session may have 1024 connections at a time.
//
// syscall.ECONNREFUSED: the session does not listen there. If the session has ended, the error is that of Session.Err;
// ErrSessionStarting; ErrUnavailable: the agent has not answered for 30 s; errors.ErrUnsupported: the container runs an agent of an older
// version.
func (s *Session) Dial(ctx context.Context, network, address string) (_ net.Conn, err error) {
	defer func() { err = plain.Error(err) }()
	h := &commandHost{s: s}
	var conn net.Conn
	err = h.Use(ctx, func(inside orchestrator.Inside, release func()) error {
		ended := make(chan struct{})
		h.Go(func() { // ends with the connection, and so soon after Close
			<-ended
			release()
		})
		dialling, cancel := context.WithTimeoutCause(ctx, askTimeout, errNoAnswer)
		defer cancel()
		made, err := inside.Dial(dialling, agent.Dial{Session: s.id, Network: network, Address: address, Ended: func() { close(ended) }})
		if err != nil {
			close(ended)
			return h.asked(ctx, "dial "+address, err)
		}
		made.Explain(func(err error) error { return plain.Error(h.Explain(context.Background(), err)) })
		conn = made
		return nil
	})
	return conn, err
}

// SnapshotInfo describes a snapshot of a session.
type SnapshotInfo = snapshots.Info

// Snapshot keeps the session's work in Config.Snapshots: its checkout with all uncommitted and ignored files, and its repository with its
// branches, commits, index and stashes. SessionRequest.Snapshot starts sessions from it. The home, the temporary directory and what runs are
// not kept, and neither is the Env. Files that hold secrets are kept with the others.
//
// The processes of the session are stopped while its files are read, for about a second for each 100 MB that differ from the commit, so
// that what is kept fits together. The session needs room on the disk for what is kept, compressed. The name has 1 to 50 letters, digits,
// '.', '_' and '-'. A later snapshot of the same user, repository and name replaces the former one, once it is stored as a whole. An error
// leaves the former one as it is.
//
// ErrInvalid: there is no Config.Snapshots, or the name is unfit. ErrUnavailable: the store cannot be used. errors.ErrUnsupported: the
// container runs an agent of an older version. Others are as for Dial. If ctx ends first, nothing is stored.
func (s *Session) Snapshot(ctx context.Context, name string) (_ SnapshotInfo, err error) {
	defer func() { err = plain.Error(err) }()
	cfg := &s.p.cfg
	if cfg.Snapshots == nil {
		return SnapshotInfo{}, &FieldError{Field: "Config.Snapshots", Reason: "is needed to keep a snapshot"}
	}
	if !snapshot.CheckName(name) {
		return SnapshotInfo{}, &FieldError{Field: "name", Reason: snapshot.NameRule}
	}
	info := s.Info()
	scope, err := cfg.Sharing.snapshotScope(AccessRequest{UserID: info.UserID, Repository: info.Repository, Labels: info.Labels})
	if err != nil {
		return SnapshotInfo{}, err
	}
	id := snapshot.Owner{Repository: info.Repository, Scope: scope, User: info.UserID}.ID(name)
	header := snapshot.Header{
		Repository: info.Repository.String(), Scope: scope, User: info.UserID, Task: info.TaskID, Name: name, Branch: info.Branch, Created: time.Now().UTC(),
	}
	stored, err := snapshot.Save(ctx, cfg.Snapshots, &commandHost{s: s}, snapshot.Of(id), &header)
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("session %s: snapshot %q: %w", s.id, name, err)
	}
	s.p.events.snapshot(info, name)
	return snapshots.Of(header, stored), nil
}

// PortInfo describes a port of TCP on which a session listens.
type PortInfo struct {
	// Address is what it listens on. An unspecified address means all addresses of its family; that of IPv6 mostly those of IPv4 too.
	Address netip.AddrPort
	// Pid is a process that has the port, as the processes of the session see it, and Program its name, of which Linux keeps 15 bytes.
	// 0 and "" = it is not known.
	Pid     int
	Program string
}

// Ports returns the ports on which processes of the session listen, in order. Dial reaches them. To ask does not renew the session's
// lease. Errors are as for Dial.
func (s *Session) Ports(ctx context.Context) ([]PortInfo, error) {
	var ports []PortInfo
	err := (&commandHost{s: s}).ask(ctx, "list its ports", func(ctx context.Context, inside orchestrator.Inside) error {
		all, err := inside.Ports(ctx, s.id)
		for _, p := range all {
			ports = append(ports, PortInfo{Address: p.Addr, Pid: p.Pid, Program: p.Program})
		}
		return err
	})
	return ports, err
}

// portsInterval is how often WatchPorts looks.
const portsInterval = time.Second

// WatchPorts returns the ports on which processes of the session listen, as Ports does, and all of them again each time when they have
// changed. It looks once a second, so what comes and goes faster may be missed. It does not renew the session's lease. The sequence ends
// with an error: the cause of ctx, that of Session.Err when the session has ended, or another one of Ports, after which it may be used again.
func (s *Session) WatchPorts(ctx context.Context) iter.Seq2[[]PortInfo, error] {
	return func(yield func([]PortInfo, error) bool) {
		var last []PortInfo
		for first := true; ; first = false {
			ports, err := s.Ports(ctx)
			switch {
			case err != nil:
				yield(nil, err)
				return
			case first || !slices.Equal(ports, last):
				if !yield(slices.Clone(ports), nil) {
					return
				}
				last = ports
			}
			if err := loop.Sleep(ctx, portsInterval); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}
