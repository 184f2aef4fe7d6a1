package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
)

// An Engine reaches the container engines of a pool's instances.
//
// Implementations: dockerengine (Docker), fake.Engine (in memory). The suite in enginetest checks that an implementation
// does what the comments in this file say.
//
// All methods of Engine, Host and Inside are safe for concurrent use, return when their context ends, and may be
// repeated after any error: a repeated call finds the work that was done, and does not do it twice.
type Engine interface {
	// Connect connects to the engine of an instance, and verifies that it is the one that was launched. If the engine
	// cannot be reached (ErrUnreachable), or the caller may not use it, the error names the address. ErrWrongHost:
	// another machine than the one that was launched answers.
	Connect(ctx context.Context, e Endpoint) (Host, error)
}

// Endpoint says where the engine of an instance is.
type Endpoint struct {
	Pool    string // the pool's name
	PoolUID string // distinguishes this pool from another one with the same name
	Launch  string // the launch ID
	Address string // "unix:///var/run/docker.sock", "tcp://10.0.0.5:2376"
	Trust   string // PEM: the certificate authority of this launch alone. Empty where the address is proof enough
}

// A Host is the container engine of one instance. It lists and changes only things that carry its pool's label. While the
// engine cannot be reached, every method returns ErrUnreachable, or its context's error.
type Host interface {
	// Probe returns nil if the engine takes work. Its error says which question the engine did not answer.
	// ErrWrongHost: it is not the engine any more to which Connect has connected. *NoticeError: the engine takes work,
	// but the cloud has announced to its machine that the machine may end soon.
	Probe(ctx context.Context) error
	// Ensure makes the container of a sharing key run, with its agent, its network and its volumes. It returns when Attach
	// can connect to the agent. A running container of the same name, key and pool is adopted. One that does not run is
	// replaced. ErrNameTaken: a container that is not the pool's has the name; it is not touched. ErrInUse: the container
	// belongs to another store with the same pool name, and a process is attached to it. ErrImage: the engine does not
	// have the image and cannot pull it. ErrRuntime: the engine does not have the runtime that it is to use.
	// *IsolationError: the spec requires rooms, and the engine gives none; a running container without rooms is replaced
	// then. After an error nothing of the container is left except its mirror. If the connection was lost, something may be
	// left, and the next Ensure adopts or replaces it.
	Ensure(ctx context.Context, spec ContainerSpec, progress func(message string)) (Container, error)
	// List returns everything that carries the pool's label, in any state and from any process.
	List(ctx context.Context) (Inventory, error)
	// Remove kills and removes the container with that name, and its checkouts. Its mirror stays. id, if not empty, is the
	// engine's ID of the container: one with another ID was made later, and is left alone. It is a success if there is no
	// such container. ErrInUse as for Ensure.
	Remove(ctx context.Context, name, id string) error
	// RemoveMirror removes a mirror. It is a success if there is none. ErrInUse: a container uses the mirror.
	RemoveMirror(ctx context.Context, name string) error
	// RemoveResource removes one of the Inventory.Resources that List has returned. It is a success if it is gone already.
	// ErrInUse: a container uses the resource. A start that needs the resource makes it again.
	RemoveResource(ctx context.Context, r Resource) error
	// Attach connects to the agent of a running container, by the container's name or by the engine's ID of it. An ID
	// means one container only, while its name may have passed to another one. agent.ErrGone: the container does not run.
	Attach(ctx context.Context, container string) (Inside, error)
	// Purge removes everything that List returns, including things that earlier processes left. Things that another living
	// process with the same pool name uses stay. It is a success if there is nothing. Images that were pulled stay: they
	// belong to the engine.
	Purge(ctx context.Context) error
	// Close releases the connections, and closes every Inside that Attach has returned. Containers go on.
	Close() error
}

// NoticeError is Probe's error for an engine that takes work on a machine to which its cloud has given notice.
type NoticeError struct {
	Notice Notice
	At     string // the time of the event, in the cloud's words. "" = not known
}

// Notice is what a cloud has announced to a machine.
type Notice string

// The notices.
const (
	NoticeInterrupted Notice = "interrupted" // the cloud takes the machine back, in minutes
	NoticeRebalance   Notice = "rebalance"   // advice: an interruption has become more likely
)

// Error implements error.
func (e *NoticeError) Error() string {
	return strings.TrimRight(fmt.Sprintf("the cloud has told the machine: %s %s", e.Notice, e.At), " ")
}

// Prefetcher is an optional interface of a Host. A Host implements it if its images come from elsewhere and take a while.
type Prefetcher interface {
	// Prefetch brings an image to the engine before the first container needs it. "" is the image that Ensure uses when its
	// spec names none. It is a success if the image is there already. ErrImage as for Ensure. An Ensure of the same image
	// waits for a Prefetch that is under way.
	Prefetch(ctx context.Context, image string, progress func(message string)) error
}

// Releaser is an optional interface of an Engine. An Engine implements it if it keeps something for its Manager.
type Releaser interface {
	// Release is called once, after the Manager has closed its Hosts.
	Release()
}

// Inside is a connection to the agent of a running container. When the connection is lost, it connects again, finds its
// running commands again, and loses no output. Every method returns agent.ErrGone once the container is gone. If the
// container's memory had been used up, that error is also an agent.ErrOutOfMemory. While the host cannot be reached,
// methods do not know whether the container is gone, and wait until their context ends.
type Inside interface {
	// Fetch brings the mirror up to date. Concurrent fetches wait for each other. If a fetch that was cut off has broken
	// the mirror, it is made again. *agent.GitError: git failed; a mirror that was complete before still is.
	// agent.ErrBranchNotFound: the fetch succeeded, but the remote does not have Branch. A mirror is private from the moment when
	// a credential was needed to fetch something in it, until it is removed. With Prove, the Fetch of a private mirror fails
	// with *agent.GitError unless the remote admits the credential of this Fetch, and says nothing of the mirror before. A
	// Fetch whose credential is needed fails while a session that is not Proven is in a mirror that is not private.
	// errors.ErrUnsupported: the container's agent is too old for Prove.
	Fetch(ctx context.Context, f agent.Fetch, progress func(agent.Progress)) (agent.Mirror, error)
	// Open makes the place of a session: a home, a temporary directory, and a repository of its own that is checked out and
	// borrows the mirror's objects. Opening an open session returns the checkout that is there. A failed Open leaves
	// nothing. With a Prepare, the place begins with the prepared layer that is for its commit, if there is one: Checkout.Prepared. agent.ErrBranchNotFound, *agent.GitError. agent.ErrProofRequired: the mirror is private and the session is not
	// Proven. errors.ErrUnsupported: the session is not Proven, and the container's agent is too old to check that.
	Open(ctx context.Context, s agent.Session) (agent.Checkout, error)
	// FillCaches fills caches for all sessions that are opened afterwards, from the default branch that the mirror has, and returns
	// when that is done: see agent.Client.FillCaches. It does nothing for a cache whose files have not changed since, or could not be
	// filled a short time ago. errors.ErrUnsupported: the container's agent is too old for it.
	FillCaches(ctx context.Context, f agent.Fill, progress func(agent.Progress)) (agent.Filled, error)
	// Prepare makes the prepared layer with which sessions of a branch begin, if their request has the same Prepare, and returns when
	// that is done: see agent.Client.Prepare. It sets the Image of the request. It makes nothing if there is a layer that such a session uses, if it
	// could not be made a short time ago, or if sessions do not share the files of a commit. Concurrent calls for one layer make it
	// once. errors.ErrUnsupported: the container's agent is too old for it.
	Prepare(ctx context.Context, p agent.Preparation, progress func(agent.Progress)) (agent.Prepared, error)
	// KeepWork keeps the work of a session beside the mirror, where the work stays when session and container are gone, for as long
	// as the mirror is there: see agent.Client.KeepWork. errors.ErrUnsupported: the container's agent is too old for it.
	KeepWork(ctx context.Context, k agent.Keep) (agent.Kept, error)
	// BringWork describes the kept work of a session, and unpacks it to another one unless into is empty: see
	// agent.Client.BringWork. agent.ErrNothingKept. errors.ErrUnsupported as for KeepWork.
	BringWork(ctx context.Context, kept, into string) (agent.Kept, error)
	// Promote makes what a session has added to the files of its commit the prepared layer with which sessions begin that have the same
	// Prepare as that session, and returns when that is done: see agent.Client.Promote. A layer of the same commit is replaced;
	// open sessions keep what they have. After an error, there is what there was before. agent.ErrNotPromoted: it has what is its user's,
	// or cannot be packed. agent.ErrUnknownSession, agent.ErrOverLimit. errors.ErrUnsupported: the container's agent is too old for it.
	Promote(ctx context.Context, p agent.Promotion, progress func(agent.Progress)) (agent.Prepared, error)
	// Layer writes a prepared layer to w, for PutLayer: see agent.ReadLayer. A layer that sessions use, or that was taken away from new
	// ones meanwhile, is written whole. agent.ErrNoLayer. errors.ErrUnsupported: the container's agent is too old for it.
	Layer(ctx context.Context, key, commit string, w io.Writer) error
	// PutLayer makes a prepared layer of what Layer has written, here or elsewhere, if a session of the branch would begin with it: see
	// agent.WriteLayer. An error, also one of r, leaves nothing. errors.ErrUnsupported as for Layer.
	PutLayer(ctx context.Context, o agent.Offer, r io.Reader) (agent.Prepared, error)
	// CloseSession kills every process of the session's uid, and then removes everything that the session owned. It
	// returns when both are done. Closing an unknown session does the same for its uid.
	CloseSession(ctx context.Context, id string, uid int) error
	// Sessions returns the IDs of the open sessions and their uids.
	Sessions(ctx context.Context) (map[string]int, error)
	// EndedSessions returns the sessions that the agent has ended by itself since the container's start, because they used more
	// than they may, by their Number. It leaves out those up to the number seen, and may leave out those that were closed since. It
	// waits until there is one. Nothing of such a session runs. Sessions
	// still returns it until CloseSession, and its other calls fail with agent.ErrOverLimit. A command that died so has
	// Exit.OverLimit. errors.ErrUnsupported: the container's agent is too old for it.
	EndedSessions(ctx context.Context, seen int) ([]agent.EndedSession, error)
	// Idle returns for how long a session has had no running command and no connection of Dial, by a monotonic clock. It is 0 while there is one.
	// Else it is the time since the last of these events: a command or a connection ended, the first Open, a Renew. A command runs until
	// the agent has seen it end. It does not matter which process started it, or whether one is attached. Processes that a
	// command left in the background do not count. agent.ErrUnknownSession. errors.ErrUnsupported: the container's agent
	// is too old for it.
	Idle(ctx context.Context, session string) (time.Duration, error)
	// Renew makes a session count as used now: its idle time starts again from zero. agent.ErrUnknownSession.
	// errors.ErrUnsupported: the container's agent is too old for it.
	Renew(ctx context.Context, session string) error
	// Start runs a command. ctx bounds the start only. If it ends first, a command that was started is killed as soon as
	// the host can be reached. agent.ErrUnknownSession, agent.ErrOverLimit, agent.ErrNotExecutable. errors.ErrUnsupported: the
	// container's agent is too old for a Terminal, for Detached, or to serve Files.
	Start(ctx context.Context, c agent.Command) (Process, error)
	// Commands returns the commands of a session that were started after the one whose Seq is after, in the order of their starts:
	// see agent.Client.Commands. It does not matter which process has started them. agent.ErrUnknownSession, agent.ErrOverLimit.
	// errors.ErrUnsupported: the container's agent is too old for it.
	Commands(ctx context.Context, session string, after uint64) ([]agent.CommandInfo, error)
	// AttachCommand copies the streams of a command that was started Detached, whichever process has started it: see agent.Client.Attach.
	// agent.ErrUnknownSession, agent.ErrOverLimit. agent.ErrUnknownCommand: the session has no such command. errors.ErrUnsupported:
	// the container's agent is too old for it.
	AttachCommand(ctx context.Context, a agent.Attach) (Process, agent.Attached, error)
	// Dial connects with what a session listens on, and with nothing else. ctx bounds the dialling only; the connection ends with
	// the Inside. While it is open, the session is not idle. agent.ErrUnknownSession, agent.ErrOverLimit. syscall.ECONNREFUSED: the
	// session does not listen there. errors.ErrUnsupported: the container's agent is too old for it.
	Dial(ctx context.Context, d agent.Dial) (*agent.Conn, error)
	// Ports returns the ports of TCP on which the processes of a session listen, in order. agent.ErrUnknownSession,
	// agent.ErrOverLimit. errors.ErrUnsupported: the container's agent is too old for it.
	Ports(ctx context.Context, session string) ([]agent.Port, error)
	// Questions takes questions of the gits of sessions that were opened with Credentials, and waits a while for one: see
	// agent.Client.Questions. Each goes to one process, and to another one if that is away or does not answer. errors.ErrUnsupported:
	// the container's agent is too old for it.
	Questions(ctx context.Context, seen uint64) ([]agent.Question, error)
	// AnswerQuestion answers a question. It is a success if nobody waits for the answer any more.
	AnswerQuestion(ctx context.Context, id string, a agent.Answer) error
	// Done returns a channel that is closed when the container is gone for good or Close is called.
	Done() <-chan struct{}
	// Err says why Done is closed: agent.ErrGone, agent.ErrIncompatible or agent.ErrClosed. It is nil before.
	Err() error
	// Close ends the connection. The container and its commands go on.
	Close() error
}

// Process is a command that was started.
type Process interface {
	// ID returns what tells the command from all others, as Inside.Commands has it.
	ID() string
	// Wait returns when the command has ended and its streams are copied, or when the Inside ends. A Stdin whose Read
	// blocks, or a Writer that blocks, delays it until then. Wait calls the command's Ended before it waits for the streams.
	// It may be called once.
	//
	// The error does not depend on the exit code. It is the one that agent.Ends.Outcome makes of the ends of the streams.
	// nil: the output was delivered to its last byte. *agent.CutError: the exit is known, but a stream was cut off, by
	// agent.ErrGone, by agent.ErrClosed, or by exec.ErrWaitDelay when WaitDelay ended the copying. agent.ErrGone,
	// agent.ErrClosed or agent.ErrIncompatible itself: the exit is not known. Any other error is that of the caller's own
	// Reader or Writer.
	Wait() (agent.Exit, error)
	// Kill kills the command and everything that it started, including processes that left its process group. It returns
	// when they are dead. Killing a command that has ended is a success.
	Kill(ctx context.Context) error
	// Signal signals the program, or with group its process group, once. os.ErrProcessDone: the program has ended.
	// errors.ErrUnsupported: the container's agent is too old for it.
	Signal(ctx context.Context, sig syscall.Signal, group bool) error
	// Resize sets the size of the terminal of a command that was started with one. os.ErrProcessDone: the terminal is closed.
	Resize(ctx context.Context, size agent.Size) error
	// Detach ends the copying, and makes Wait return without the exit. A command that was started Detached goes on.
	Detach()
	// Delete kills the command, as Kill does, and drops what is kept of its output.
	Delete(ctx context.Context) error
}

// ContainerSpec describes the container of one sharing key.
type ContainerSpec struct {
	Name   string // naming.Key.ContainerName
	Key    naming.Key
	Image  string // "" = the engine's default. It must not have an account or group with an id from 9997 to 60000
	Limits Limits
	Egress Egress
	// Sessions is the largest number of sessions that the container will have at once. They share its Limits. 0 = 10
	Sessions int
	// RequireIsolation refuses an engine that gives sessions no rooms of their own.
	RequireIsolation bool
}

// Container is a container of the pool as its engine sees it.
type Container struct {
	Name    string
	ID      string // the engine's own
	Key     naming.Key
	PoolUID string
	Running bool
	Created time.Time
	Adopted bool // set by Ensure: the container ran already
	// PullBegan and Pulled are set by Ensure: when it began to pull the image, and how long that took. Pulled is 0 if the
	// image was there.
	PullBegan time.Time
	Pulled    time.Duration
	// Isolation is set by Ensure. It is the container's own, as it was made.
	Isolation Isolation
}

// Mirror is the mirror of one sharing key on an instance.
type Mirror struct {
	Name    string // the container's name
	Key     naming.Key
	Created time.Time
}

// Resource is anything else that an engine holds for a pool: a container that only helps to make others, a volume, or a
// network. Each carries the pool's label.
type Resource struct {
	Kind    string // its purpose, in the implementation's words: "helper", "work", "network"
	Type    string // the engine's type of such a thing: "container", "volume", "network"
	ID      string // the engine's own
	PoolUID string // of the pool that made it
	// InUse says that a container uses the resource, or that the next container will. A start that is under way may need a
	// resource that is not in use. It takes a minute at most, and after that nothing needs the resource.
	InUse bool
}

// Inventory is everything that an engine holds for a pool.
type Inventory struct {
	Containers []Container
	Mirrors    []Mirror
	Resources  []Resource
}

// Errors of an Engine and its Hosts.
var (
	ErrWrongHost = errors.New("another machine answers at this address")
	// ErrUnreachable: no engine answers at the address, or the connection to it broke, for example while the engine
	// restarts. The call may have had its effect.
	ErrUnreachable = errors.New("the engine cannot be reached")
	ErrNameTaken   = errors.New("a container that is not berth's has this name")
	ErrInUse       = errors.New("in use")
	ErrImage       = errors.New("image not available")
	ErrRuntime     = errors.New("runtime not available")
)
