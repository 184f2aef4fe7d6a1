package store

import (
	"maps"
	"slices"
	"time"

	"github.com/berth-go/berth/naming"
)

// Records are plain data: every field is exported and survives encoding/json. Times are written by whoever acts, from
// its own clock.

// Pool is the one record of the pool itself.
type Pool struct {
	UID       string // made with the record; tells this store's things from those of another with the same pool name
	Instances int    // number of Instance records: what costs money, or may
	Queued    int    // number of sessions with Queued set
	QueueSeq  uint64 // counts the changes of which sessions these are
	// Replicas are the processes that have taken their lease and not been forgotten. Whoever takes over from one that
	// died, when nothing of it is left, removes it together with its lease.
	Replicas []string
	// ClientCA is the certificate (PEM) of the authority that lets this pool's processes into its hosts, and ClientKey its
	// key, sealed. Empty where hosts are reached otherwise.
	ClientCA, ClientKey []byte
	// Settings are those that concern the whole pool, as its last planner had them; SettingsGeneration counts how often
	// they changed.
	Settings           map[string]string
	SettingsGeneration int
	// Pins is what the planner has resolved for its launches, such as the newest image; see pool.Pinned.
	Pins []byte
	// LaunchFailures counts the launches that failed one after another; LaunchAfter is when the next may be tried.
	// LaunchFailure is why the last launch failed, and empty once one has succeeded since.
	LaunchFailures int
	LaunchAfter    time.Time
	LaunchFailure  string
	Closed         bool     // the pool is being destroyed, or was: no new sessions, no launches
	Draining       bool     // and its instances are being retired
	Destroyers     []string // the replicas that are destroying it; none: it is not, or that is done
}

// InstanceState is the state of an instance.
type InstanceState string

// The states of an instance, in the order in which it passes through them. Lost may follow any. Gone has no record.
const (
	InstanceLaunching   InstanceState = "launching" // the cloud was asked, or is about to be; the outcome is not known
	InstanceBooting     InstanceState = "booting"   // the machine is there, its engine does not answer yet
	InstanceReady       InstanceState = "ready"
	InstanceCordoned    InstanceState = "cordoned" // takes no new session
	InstanceTerminating InstanceState = "terminating"
	InstanceLost        InstanceState = "lost" // it vanished or does not answer any more
)

// Instance is one launch and the machine that came of it.
type Instance struct {
	ID         string // the launch ID
	State      InstanceState
	Since      time.Time // when State was entered
	CreatedAt  time.Time
	Generation string // see pool.Versioned; "" = the cloud has none
	Frozen     []byte // the launch request, until the launch has returned; see pool.Cloud
	Trust      string // what proves that an engine is this machine's; no secret. See orchestrator.Endpoint
	CloudID    string // "" until the launch has returned
	Address    string
	Reason     string    // why it is cordoned, terminating or lost
	Outlook    string    // what was foretold of its machine when it was cordoned for that; see pool.Outlook
	Terminated bool      // the cloud has accepted its termination
	Drain      bool      // cordoned for good: its end is wanted, and it will not take sessions again
	Slots      int       // how many sessions it may hold
	Sessions   int       // how many it holds: those joined to one of its containers and not ended
	IdleSince  time.Time // when Sessions became 0
	UIDs       UIDs      // the uids in use on it
}

// Sharing is what is known of one sharing key: the index from the key to its containers and mirrors.
type Sharing struct {
	ID         string // the container name
	SharingKey naming.Key
	Containers []string // IDs of its Container records
	Mirrors    []string // IDs of the instances that hold its mirror
}

// Mirrors lists the mirrors that one instance holds. It is a record of its own, since it changes with containers and
// the instance's record with each session.
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

// The states of a container. Gone has no record. It is lost when its instance is: that is not stored twice.
const (
	ContainerStarting ContainerState = "starting"
	ContainerReady    ContainerState = "ready"
	ContainerStopping ContainerState = "stopping" // its last session ended, its start failed, or it died: it is being removed
)

// Container is one container of a sharing key on one instance.
type Container struct {
	ID         string // unique for ever; a later container of the same name has another
	Name       string
	SharingKey naming.Key
	Instance   string
	State      ContainerState
	Since      time.Time
	CreatedAt  time.Time
	EngineID   string // the engine's own ID, once it runs
	Owner      string // the replica that starts or stops it
	Remote     string // what it fetches; holds no credential
	Sessions   int    // sessions that joined and have not ended
	Cold       bool   // its mirror was cloned by this start
	Superseded bool   // another was made for its sharing key while its instance took no sessions: nobody joins it any more
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
	Branch      string // as it was asked for
	Labels      map[string]string
	AuthorName  string
	AuthorEmail string
	IdleTimeout time.Duration // -1 = none

	State     SessionState
	Owner     string // the replica that creates or ends it
	CreatedAt time.Time
	Queued    bool // waits for a slot; then Container, Instance and UID are empty

	Container     string // Container.ID
	ContainerName string
	EngineID      string
	Instance      string // Instance.ID
	UID           int

	Workdir    string
	CheckedOut string // the branch
	Start      string // attached, warm, cold
	LeaseUntil time.Time

	EndedAt time.Time
	End     Failure // why it ends or ended, from terminating on
}

// Failure says why something ended.
type Failure struct {
	Reason  string // a word: see the constants of package berth's errors
	Phase   string // of a start that failed
	Message string // git's or the engine's own words; holds no credential
}

// Task makes a TaskID unique among the sessions that have not ended.
type Task struct {
	ID      string // the TaskID
	Session string
}

// User counts what a user holds, so that the queue can be fair between users. It is absent when that is nothing.
type User struct {
	ID       string // the UserID
	Sessions int    // those that hold a slot
}

// Lease says who may do what only one may do at a time. It is taken over by whoever has not seen its Beat change for
// Term, by its own monotonic clock; each takeover raises Fence.
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

// SharingKey is the key of what is known of a sharing key, by its container name.
func SharingKey(name string) Key { return Key{KindSharing, name} }

// ContainerKey is the key of a container.
func ContainerKey(id string) Key { return Key{KindContainer, id} }

// SessionKey is the key of a session.
func SessionKey(id string) Key { return Key{KindSession, id} }

// TaskKey is the key of a TaskID.
func TaskKey(taskID string) Key { return Key{KindTask, taskID} }

// UserKey is the key of what a user holds.
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
	c.Pins = slices.Clone(r.Pins)
	return &c
}

// Clone implements Record.
func (r *Instance) Clone() Record {
	c := *r
	c.Frozen = slices.Clone(r.Frozen)
	c.UIDs = r.UIDs.clone()
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
func (r *User) Clone() Record { c := *r; return &c }

// Clone implements Record.
func (r *Lease) Clone() Record { c := *r; return &c }
