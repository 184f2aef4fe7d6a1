package store

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/naming"
)

// Records are plain data: every field is exported and survives encoding/json. The process that acts writes the times, from
// its own clock.

// Pool is the one record of the pool itself.
type Pool struct {
	UID       string // made with the record; tells this store's things from those of another store with the same pool name
	Instances int    // number of Instance records: the launches that cost money, or may
	Queued    int    // number of sessions with Queued set
	QueueSeq  uint64 // counts how often a session joined or left the queue
	// Replicas are the processes that have taken their lease and have not been forgotten. The process that takes over from
	// a dead replica removes the replica and its lease when nothing of it is left.
	Replicas []string
	// ClientCA is the certificate (PEM) of the authority that lets this pool's processes into its hosts, and ClientKey its
	// key, sealed. Both are empty if hosts are reached in another way.
	ClientCA, ClientKey []byte
	// Settings are the settings of the whole pool, as its last planner had them. SettingsGeneration counts their changes.
	Settings           map[string]string
	SettingsGeneration int
	// Pins holds the values that the planner has resolved for its launches, such as the newest image: see pool.Pinned.
	Pins []byte
	// LaunchFailures counts the launches that failed since the last success. LaunchAfter is when the next one may be tried.
	// LaunchFailure is why the last launch failed; a success empties it.
	LaunchFailures int
	LaunchAfter    time.Time
	LaunchFailure  string
	Doubts         []Doubt  // launches that were given up although they may have left a machine, the latest last
	Conditions     []string // what the planner finds wrong with the pool as a whole, in words
	Wishes         uint64   // counts the wishes of operators for instances
	Closed         bool     // the pool is being destroyed or is destroyed: no new sessions, no launches
	Draining       bool     // the pool is Closed, and its instances are being retired
	Destroyers     []string // the replicas that are destroying the pool; none = no replica is
}

// Doubt is a launch whose record is gone. Its cloud may have started a machine for it although it said otherwise.
type Doubt struct {
	Launch string    // the launch ID
	At     time.Time // when its record was removed, by the wall clock of the process that removed it; nothing depends on it
}

// InstanceState is the state of an instance.
type InstanceState string

// The states of an instance, in the order in which it passes through them. A ready or cordoned instance may become
// InstanceLost. An instance that is gone has no record.
const (
	InstanceLaunching   InstanceState = "launching" // the cloud was asked, or is about to be; the outcome is not known
	InstanceBooting     InstanceState = "booting"   // the machine exists; its engine does not answer yet
	InstanceReady       InstanceState = "ready"
	InstanceCordoned    InstanceState = "cordoned" // takes no new session
	InstanceTerminating InstanceState = "terminating"
	InstanceLost        InstanceState = "lost" // its machine vanished, or does not answer any more
)

// Instance is one launch and the machine that it started.
type Instance struct {
	ID         string // the launch ID
	State      InstanceState
	Since      time.Time // when State was entered
	CreatedAt  time.Time
	Generation string // see pool.Versioned; "" = the cloud has none
	Frozen     []byte // the launch request, until the launch has returned; see pool.Cloud
	Trust      string // proves that an engine is this machine's: see orchestrator.Endpoint. Not secret
	CloudID    string // "" until the launch has returned
	Address    string
	Type, Zone string    // of its machine, as its cloud had listed it when it became ready; "" = not known
	Spot       bool      // so had it the market
	Reason     string    // why it is cordoned, terminating or lost
	Outlook    string    // the forecast that the instance was cordoned for: see pool.Outlook
	Terminated bool      // the cloud has accepted its termination
	Drain      bool      // cordoned for good: it takes no sessions again, and is to end
	Wish       Wish      // what an operator wants of it; "" = nothing
	WishReason string    // why
	Slots      int       // how many sessions it may hold
	Sessions   int       // how many it holds: sessions that have joined one of its containers and have not ended
	IdleSince  time.Time // when Sessions became 0
	UIDs       UIDs      // the uids in use on it
	Empties    []Empty   // its containers that no session holds, and that take sessions. They and Sessions are at most Slots
	// Isolation is what the last start on it found out. IsolationReason is why sessions have no rooms, or what a room does
	// not bound.
	Isolation       Isolation
	IsolationReason string
	DiskQuota       bool   // the kernel bounds what each session has on the disk, as that start found out
	SharedCheckouts bool   // checkouts are mounts over the files of a commit, as that start found out
	CheckoutReason  string // why they are not; "" = they are, or it is not known
}

// Sharing is the index from one sharing key to its containers and mirrors.
type Sharing struct {
	ID         string // the container name
	SharingKey naming.Key
	Containers []string // IDs of its Container records
	Mirrors    []string // IDs of the instances that hold its mirror
	// ColdStart is how long the last start took that cloned the repository, by the bill. 0 = not known
	ColdStart time.Duration
}

// Mirrors lists the mirrors that one instance holds. It is a record of its own because it changes when containers change,
// while the instance's record changes with each session.
type Mirrors struct {
	Instance string
	Entries  []Mirror
}

// Mirror is the mirror of one sharing key on one instance.
type Mirror struct {
	Name   string // the container name, which is also the mirror's
	Size   int64  // bytes on disk; 0 = not known
	UsedAt time.Time
}

// ContainerState is the state of a container.
type ContainerState string

// The states of a container. A container that is gone has no record. A container is lost when its instance is lost, so it
// has no state for that.
const (
	ContainerStarting ContainerState = "starting"
	ContainerReady    ContainerState = "ready"
	ContainerStopping ContainerState = "stopping" // it is not kept empty, its start failed, or it died: it is being removed
)

// Container is one container of a sharing key on one instance.
type Container struct {
	ID         string // never reused: a later container of the same name has another ID
	Name       string
	SharingKey naming.Key
	Instance   string
	State      ContainerState
	Since      time.Time
	CreatedAt  time.Time
	EngineID   string // the engine's own ID, once it runs
	Owner      string // the replica that starts or stops the container
	Remote     string // the URL that it fetches from; holds no credential
	Sessions   int    // sessions that joined and have not ended
	Cold       bool   // its mirror was cloned by this start
	Image      string // with which it was started; "" = it has not started
	// WarmUntil is until when a host or the planner wants it up without sessions. Zero = none does.
	WarmUntil  time.Time
	Settings   string // a digest of all with which it was started; "" = that is not known
	Phases     Phases // of its start, without a checkout
	Isolation  Isolation
	Superseded bool // no session joins it any more: another container was made for its key while its instance took no sessions
	Failure    Failure
}

// SessionState is the state of a session.
type SessionState string

// The states of a session.
const (
	SessionCreating    SessionState = "creating"
	SessionActive      SessionState = "active"
	SessionTerminating SessionState = "terminating"
	SessionEnded       SessionState = "ended"
)

// Session is one task's place. Its secrets and environment are in no record.
type Session struct {
	ID          string
	TaskID      string
	UserID      string
	SharingKey  naming.Key
	Remote      string // origin's URL; holds no credential
	Branch      string // as the request has it
	Labels      map[string]string
	AuthorName  string
	AuthorEmail string
	IdleTimeout time.Duration // -1 = none
	MaxLifetime time.Duration `json:",omitempty"` // 0 = none
	Age         time.Duration `json:",omitempty"` // for how long it has been active at least, if it has a MaxLifetime
	// SelfContained says that the checkout has its own objects.
	SelfContained bool `json:",omitempty"`
	// NewBranch, Restore, RestoreKept, Submodules and LFS are as the request has them. Snapshot is the ID of the one that it was started from; "" = none
	NewBranch, Restore, RestoreKept, Snapshot string `json:",omitempty"`
	Submodules, LFS                           bool   `json:",omitempty"`

	State     SessionState
	Owner     string // the replica that creates or ends it
	CreatedAt time.Time
	// Trace names the span of the session's creation, for processes that do a part of it: the traceparent of W3C's Trace
	// Context. "" = the creation is not traced.
	Trace  string `json:",omitempty"`
	Queued bool   // waits for a slot; then Container, Instance and UID are empty
	// Waited is how long it was queued before it got its place. Took is how long its start took after that, once it is active.
	Waited, Took time.Duration
	// Phases are those of its start, once it is active: those of its container, unless that was running, and its own. It may have
	// come while its container was being started. Then the phases are longer than Took.
	Phases  Phases
	Arrived uint64 // Pool.QueueSeq at its arrival: orders arrivals without a clock
	// Revocations is User.Revocations at its arrival. A later revocation may end the session, an earlier one does not.
	Revocations uint64

	Container     string // Container.ID
	ContainerName string
	EngineID      string
	Instance      string // Instance.ID
	UID           int

	Workdir    string
	CheckedOut string // the branch; "" = none: HEAD is detached
	Commit     string `json:",omitempty"` // that was checked out; "" = it is not known
	Restored   bool   `json:",omitempty"` // it began with the work that Restore names
	Start      StartKind
	// LeaseUntil is the end of the lease by the wall clock of the process that renewed it last. It is for display, and a
	// hint for when to ask the agent.
	LeaseUntil time.Time
	Beat       uint64 // counts the renewals of the lease: see Lease.Beat
	// Untold says that the agent could not be notified of the last renewal. What it says of the session may be out of date.
	Untold bool `json:",omitempty"`

	EndedAt time.Time
	End     Failure // why it ends or ended, from terminating on
	// OnEndDone says that what the host does before the checkout is removed is done. Saved says where the work is, and Unsaved what is
	// not saved, and why.
	OnEndDone      bool   `json:",omitempty"`
	Saved, Unsaved string `json:",omitempty"`
}

// Phases says how long the phases of a start took. 0 = there was no such phase.
type Phases struct {
	Pull     time.Duration `json:",omitempty"` // of the image
	Create   time.Duration `json:",omitempty"` // of the container, without the pull
	Fetch    time.Duration `json:",omitempty"` // of the mirror
	Checkout time.Duration `json:",omitempty"`
}

// TraceID returns the ID of the trace of the session's creation, in hexadecimal digits; "" = it is not traced.
func (r *Session) TraceID() string {
	if parts := strings.Split(r.Trace, "-"); len(parts) >= 4 {
		return parts[1]
	}
	return ""
}

// Failure says why something ended.
type Failure struct {
	Reason  EndReason
	Phase   Phase  // of a start that failed
	Cause   string // a word for the error, for programs: see orchestrator.Stored. "" = none
	Message string // git's or the engine's own words; holds no credential
}

// Task makes a TaskID unique among the sessions that have not ended.
type Task struct {
	ID      string // the TaskID
	Session string
}

// User counts what a user has in the pool, so that the queue can be fair between users, and limits can be kept. A user of
// whom nothing is to be counted or remembered has no record.
type User struct {
	ID       string // the UserID
	Sessions int    // those that hold a slot
	Queued   int    // those with Queued set
	// Starts counts the sessions that were admitted within the last minute, the oldest first, while the user has a limit for
	// them. Entries that are over may stay until the record of the user's last ended session is removed.
	Starts []Starts
	// Revocations counts the calls of Revoke for this user. A user with any keeps the record: see Session.Revocations.
	Revocations uint64
}

// Starts counts sessions that were admitted at about the same time.
type Starts struct {
	Last time.Time // when the last one was admitted, by the wall clock of the process that did
	N    int
}

// Lease names the process that may do something that only one process may do at a time. Another process takes the lease
// over if, by its own monotonic clock, Beat has not changed for Term. Each takeover raises Fence.
type Lease struct {
	ID     string
	Holder string
	Fence  uint64
	Beat   uint64
	Term   time.Duration
}

// PoolKey is the key of the pool's record.
func PoolKey() Key { return Key{Kind: KindPool} }

// InstanceKey is the key of an instance.
func InstanceKey(id string) Key { return Key{KindInstance, id} }

// SharingKey is the key of the index of a sharing key, by its container name.
func SharingKey(name string) Key { return Key{KindSharing, name} }

// ContainerKey is the key of a container.
func ContainerKey(id string) Key { return Key{KindContainer, id} }

// SessionKey is the key of a session.
func SessionKey(id string) Key { return Key{KindSession, id} }

// TaskKey is the key of a TaskID.
func TaskKey(taskID string) Key { return Key{KindTask, taskID} }

// UserKey is the key of the counts of a user.
func UserKey(userID string) Key { return Key{KindUser, userID} }

// MirrorsKey is the key of the list of an instance's mirrors.
func MirrorsKey(instance string) Key { return Key{KindMirrors, instance} }

// LeaseKey is the key of a lease.
func LeaseKey(id string) Key { return Key{KindLease, id} }

// Key implements Record.
func (*Pool) Key() Key { return PoolKey() }

// Key implements Record.
func (r *Instance) Key() Key { return InstanceKey(r.ID) }

// Key implements Record.
func (r *Sharing) Key() Key { return SharingKey(r.ID) }

// Key implements Record.
func (r *Container) Key() Key { return ContainerKey(r.ID) }

// Key implements Record.
func (r *Session) Key() Key { return SessionKey(r.ID) }

// Key implements Record.
func (r *Task) Key() Key { return TaskKey(r.ID) }

// Key implements Record.
func (r *User) Key() Key { return UserKey(r.ID) }

// Key implements Record.
func (r *Mirrors) Key() Key { return MirrorsKey(r.Instance) }

// Key implements Record.
func (r *Lease) Key() Key { return LeaseKey(r.ID) }

// Clone implements Record.
func (r *Pool) Clone() Record {
	c := *r
	c.Replicas, c.Destroyers = slices.Clone(r.Replicas), slices.Clone(r.Destroyers)
	c.Settings = maps.Clone(r.Settings)
	c.ClientCA, c.ClientKey = slices.Clone(r.ClientCA), slices.Clone(r.ClientKey)
	c.Pins, c.Doubts = slices.Clone(r.Pins), slices.Clone(r.Doubts)
	c.Conditions = slices.Clone(r.Conditions)
	return &c
}

// Clone implements Record.
func (r *Instance) Clone() Record {
	c := *r
	c.Frozen = slices.Clone(r.Frozen)
	c.UIDs, c.Empties = r.UIDs.clone(), slices.Clone(r.Empties)
	return &c
}

// Clone implements Record.
func (r *Sharing) Clone() Record {
	c := *r
	c.Containers = slices.Clone(r.Containers)
	c.Mirrors = slices.Clone(r.Mirrors)
	return &c
}

// Clone implements Record.
func (r *Mirrors) Clone() Record {
	c := *r
	c.Entries = slices.Clone(r.Entries)
	return &c
}

// Clone implements Record.
func (r *Container) Clone() Record { c := *r; return &c }

// Clone implements Record.
func (r *Session) Clone() Record {
	c := *r
	c.Labels = maps.Clone(r.Labels)
	return &c
}

// Clone implements Record.
func (r *Task) Clone() Record { c := *r; return &c }

// Clone implements Record.
func (r *User) Clone() Record {
	c := *r
	c.Starts = slices.Clone(r.Starts)
	return &c
}

// Clone implements Record.
func (r *Lease) Clone() Record { c := *r; return &c }
