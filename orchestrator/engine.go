package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
)

// An Engine reaches the container engines of a pool's instances.
//
// Implementations: dockerengine (Docker), fake.Engine (in memory). The suite in enginetest holds every one of
// them to what the comments in this file say.
//
// All methods of Engine, Host and Inside are safe for concurrent use, return when their context ends, and may be
// repeated after any error: what was done already is found, not done twice.
type Engine interface {
	// Connect reaches the engine of an instance and verifies that it is the one that was launched. An engine
	// that cannot be reached, or that the caller may not use, is an error that names the address.
	// ErrWrongHost: something answered, but it is not the machine that was launched.
	Connect(ctx context.Context, e Endpoint) (Host, error)
}

// Endpoint says where the engine of an instance is.
type Endpoint struct {
	Pool    string // Config.Name
	PoolUID string // tells this pool's records from those of another pool with the same name
	Launch  string // the launch ID
	Address string // "unix:///var/run/docker.sock", "tcp://10.0.0.5:2376"
	Trust   string // PEM: the certificate authority of this launch alone. Empty where the address proves enough
}

// A Host is the container engine of one instance. It shows and touches only what carries its pool's label.
type Host interface {
	// Probe returns nil when the engine takes work. Its error says what the engine was asked and did not answer.
	// ErrWrongHost: it is no longer the engine that Connect has found. *NoticeError: it takes work, on a machine that
	// knows that its end may be near.
	Probe(ctx context.Context) error
	// Ensure makes the container of a sharing key run, with its agent, its network and its volumes, and returns
	// when the agent can be attached to. A running container of the same name, key and pool is adopted; one that
	// does not run is replaced. ErrNameTaken: the name belongs to a stranger, whose container is not touched.
	// ErrInUse: it belongs to another store with the same pool name, and somebody is attached to it. ErrImage: the
	// image is not there and cannot be pulled. On an error nothing of the container is left, except that its mirror
	// stays; if the connection was lost, something may be left, which the next Ensure adopts or replaces.
	Ensure(ctx context.Context, spec ContainerSpec, progress func(message string)) (Container, error)
	// List returns the containers and mirrors of the pool, whatever their state.
	List(ctx context.Context) (Inventory, error)
	// Remove kills and removes the container of a name and its checkouts; its mirror stays. id, if not empty, is the
	// engine's own ID of the one that is meant: one with another ID came later, and is left alone. Absent is success;
	// ErrInUse as for Ensure.
	Remove(ctx context.Context, name, id string) error
	// RemoveMirror removes a mirror. Absent is success; ErrInUse: a container uses it.
	RemoveMirror(ctx context.Context, name string) error
	// Attach connects to the agent of a running container of that name, or of that engine's own ID, which means this one
	// alone: its name may be another's by now. agent.ErrGone: it does not run.
	Attach(ctx context.Context, container string) (Inside, error)
	// Purge removes every container, mirror, network and volume of the pool, also what an earlier process left. What
	// another living process with the same pool name uses stays. Nothing there is success.
	Purge(ctx context.Context) error
	// Close releases the connections, and closes every Inside that was attached through it. Containers go on.
	Close() error
}

// NoticeError is what Probe returns of an engine that takes work on a machine that its cloud has given notice.
type NoticeError struct {
	Notice Notice
	At     string // when it is to happen, in the cloud's words; "" = not known
}

// Notice is what a machine was told by its cloud.
type Notice string

// The notices.
const (
	NoticeInterrupted Notice = "interrupted" // the cloud takes the machine back, in minutes
	NoticeRebalance   Notice = "rebalance"   // advice: that has become more likely
)

// Error implements error.
func (e *NoticeError) Error() string {
	return strings.TrimRight(fmt.Sprintf("the cloud has told the machine: %s %s", e.Notice, e.At), " ")
}

// Prefetcher is what a Host may implement whose images come from elsewhere and take a while.
type Prefetcher interface {
	// Prefetch brings an image to the engine before the first container needs it. "" is the image that Ensure takes when
	// its spec names none. An image that is there is success; ErrImage as for Ensure, which waits for a Prefetch of the
	// same image that is under way.
	Prefetch(ctx context.Context, image string, progress func(message string)) error
}

// Inside is what the agent of a running container offers. It survives a lost connection: it connects again, finds
// its running commands again, and loses no output. Every method returns agent.ErrGone once the container is gone. While the host
// cannot be reached nobody knows whether it is: methods then wait for their context.
type Inside interface {
	// Fetch brings the mirror up to date; concurrent fetches wait for each other. A mirror that a cut-off fetch
	// broke is made anew. *agent.GitError: git failed; a mirror that was whole before still is.
	// agent.ErrBranchNotFound: fetched, but Branch is not there.
	Fetch(ctx context.Context, f agent.Fetch, progress func(agent.Progress)) (agent.Mirror, error)
	// Open makes the place of a session: home, temporary directory, and a repository of its own, checked out,
	// that borrows the mirror's objects. Opening an open session returns what is there. A failed Open leaves
	// nothing. agent.ErrBranchNotFound, *agent.GitError.
	Open(ctx context.Context, s agent.Session) (agent.Checkout, error)
	// CloseSession kills every process of the session's uid, then removes all that it owned, and returns when
	// both are done. Closing an unknown session does the same for its uid.
	CloseSession(ctx context.Context, id string, uid int) error
	// Sessions returns the IDs of the open sessions and their uids.
	Sessions(ctx context.Context) (map[string]int, error)
	// Idle returns how long a session has had no running command: 0 while one runs, else the time since the last one
	// ended, or since Open if there was none. A command runs until the agent has seen it end, whichever process started
	// it and whether or not one is attached; what it left in the background does not count. A session that is opened
	// again is not opened later. agent.ErrUnknownSession; errors.ErrUnsupported: the container runs an agent that is too
	// old to tell.
	Idle(ctx context.Context, session string) (time.Duration, error)
	// Start runs a command. ctx bounds the start only; if it ends first, what was started is killed as soon as the host
	// can be reached. agent.ErrUnknownSession, agent.ErrNotExecutable.
	Start(ctx context.Context, c agent.Command) (Process, error)
	// Done is closed when the container is gone for good or Close was called.
	Done() <-chan struct{}
	// Err says why Done is closed: agent.ErrGone, agent.ErrIncompatible or agent.ErrClosed. It is nil before.
	Err() error
	// Close ends the connection. The container and its commands go on.
	Close() error
}

// Process is a command that was started.
type Process interface {
	// Wait returns when the command has ended and its streams are copied, or when the Inside ends. Its error is not
	// about the exit code: agent.ErrGone, agent.ErrClosed, a failing stream, or exec.ErrWaitDelay when WaitDelay
	// ended the copying. A Stdin whose Read blocks and a Writer that blocks keep it until then. It calls the
	// command's Ended before it waits for the streams. It may be called once.
	Wait() (agent.Exit, error)
	// Kill ends the command and everything it started, also what left its process group. It returns when they
	// are dead. Killing what has ended is success.
	Kill(ctx context.Context) error
}

// ContainerSpec describes the container of one sharing key.
type ContainerSpec struct {
	Name   string // naming.Key.ContainerName
	Key    naming.Key
	Image  string // "" = the engine's default. It has no account or group of an id from 9998 to 60000
	Limits Limits
	// Sessions is how many the container will have at once, at most: they share its Limits. 0 = 10
	Sessions int
}

// Limits bound what one container, with all its sessions, may use. Zero is no limit, unless it says otherwise.
type Limits struct {
	MemoryBytes int64
	CPUs        float64
	// PIDs is how many processes and threads there may be. 256 of them are the agent's, and each session may have an
	// equal share of the others, 128 to 1024 of them, whether or not there are other sessions. So no number of sessions
	// can use up the container's processes, unless there are fewer than 256 and 128 for each session. A share below 1024 also
	// bounds what fetches on one instance, of all its containers together, may have.
	// 0 = 256, and 1024 for each session that the instance has room for; -1 = no limit, and 1024 for a session
	PIDs     int64
	TmpBytes int64 // size of the tmpfs on /tmp; 0 = 1 GiB
}

// Container is a container of the pool as its engine sees it.
type Container struct {
	Name    string
	ID      string // the engine's own
	Key     naming.Key
	PoolUID string
	Running bool
	Created time.Time
	Adopted bool // set by Ensure: it ran already
}

// Mirror is the mirror of one sharing key on an instance.
type Mirror struct {
	Name    string // the container's name
	Key     naming.Key
	Created time.Time
}

// Inventory is what an engine holds of a pool.
type Inventory struct {
	Containers []Container
	Mirrors    []Mirror
}

// Errors of an Engine and its Hosts.
var (
	ErrWrongHost = errors.New("another machine answers at this address")
	ErrNameTaken = errors.New("a container that is not berth's has this name")
	ErrInUse     = errors.New("in use")
	ErrImage     = errors.New("image not available")
)
