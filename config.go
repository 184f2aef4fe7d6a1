package berth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	sshagent "golang.org/x/crypto/ssh/agent"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/internal/plain"
	"github.com/berth-go/berth/internal/usage"
	"github.com/berth-go/berth/internal/warmth"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/store"
)

// Config configures a Provider. The zero value of a field means the default that its comment gives. Where the comment says
// so, -1 means off.
type Config struct {
	// Name is the name of the pool, of at most 40 letters, digits and '-'. Tags, labels and records carry it. Two pools
	// that share a Docker engine need two names. Default "berth"
	Name string

	MinInstances        int           // instances that are kept even when idle. Default 0
	MaxInstances        int           // bounds the instances. Launches of unknown outcome count. Default 1
	MaxTasksPerInstance int           // slots of an instance. Default 10
	SpareSlots          int           // free slots that are kept ready, so that the next task need not wait for a boot. Default 0
	InstanceType        string        // Default "t3.large"
	InstanceIdleTimeout time.Duration // an instance without sessions is retired after it. Default 10 min; -1 = never
	BootTimeout         time.Duration // bounds the time from launch to ready. Default 5 min
	// MaxInstanceAge is the age at which an instance takes no more sessions, however busy it is. Each instance has a time of
	// its own, after three quarters of that age, from which it is replaced when that costs no slot. Default 7 days; -1 = never
	MaxInstanceAge time.Duration
	// LaunchRate bounds the launches that begin in a minute, including repeated ones. 5 may begin at once. Default 60;
	// -1 = any number
	LaunchRate int

	// SessionIdleTimeout ends a session that has had no running command and no KeepAlive for so long, by monotonic clocks.
	// A session may live a tenth longer. If the planner changes and the container cannot be asked, or could not be notified of
	// the last KeepAlive, it may live up to twice as long. Default 1 h; -1 = never
	SessionIdleTimeout time.Duration
	// QueueTimeout is how long CreateSession waits for a free slot; then it returns ErrNoCapacity. Default: as long as its
	// context. If there was no room, the error then also matches ErrNoCapacity
	QueueTimeout time.Duration
	// UserLimits bound the sessions of each user. The zero value bounds nothing
	UserLimits UserLimits
	// UserLimitsFor returns the limits of one user where they are not UserLimits; a field that is 0 is that of UserLimits, -1 =
	// no limit. It is called often, also while the queue is served, and must not block. If it panics, a new session of the user
	// is refused, and those that wait go on waiting. nil = UserLimits for all
	UserLimitsFor func(userID string) UserLimits
	// SessionRetention is how long an ended session can still be looked up. Default 10 min
	SessionRetention time.Duration

	// OnEnd is called before the checkout of a session is removed, so that the host can get out what is in it: when the session was
	// terminated, also by Destroy, when it expired, and when the cloud takes its instance back (EndInterrupted). It may be called in any
	// process of the pool, which all need the same. The Session is another handle: its commands, files and Patch work as before, while all
	// other handles say that the session has ended. What runs in the session goes on meanwhile. If the process dies, or is closed, before OnEnd
	// has returned, another process calls it again. An error, a panic, and the end of its context, after EndTimeout, do not keep the
	// session: they are logged, and are the ErrUnsaved of Session.Err and of the EventSessionEnded. It is not called after Revoke, nor
	// for sessions that were lost or have used too much. nil = no call
	OnEnd func(context.Context, *Session, EndReason) error
	// SaveWork keeps what a session has not pushed when it ends, after OnEnd, for SessionRequest.Restore: see docs/work.md. Default: SaveNothing
	SaveWork SaveWork
	// KeepLost keeps all that a session has on its instance if OnEnd or SaveWork fails, for SessionRequest.RestoreKept: see docs/work.md. It
	// bounds what an instance keeps of each sharing key. The zero value keeps nothing. Otherwise a field that is 0 is 7 days, 10 or 1 GiB
	KeepLost orchestrator.Retention
	// EndTimeout bounds OnEnd and SaveWork together; with both, OnEnd has half of it. With KeepLost, they have three quarters of it, and
	// the rest is for that. TerminateSession waits for them. Default 1 min
	EndTimeout time.Duration

	// ContainerIdleTimeout is how long a container stays up after its last session, so that the next session on its repository is
	// attached at once. Such an empty container takes room that no session needs: it is removed as soon as its slot is needed for
	// a session of another container, or its instance takes no sessions any more. It neither keeps an instance up nor launches
	// one: InstanceIdleTimeout runs beside it. Its share of the machine is Usage.Warm of its repository, and of no user. One whose
	// settings have changed, such as Image, Limits or Egress, is not joined: it is replaced. A container that is private (see
	// Sharing) never stays. Default 0: a container goes with its last session; with Warm, 3 min, in which the planner decides whether
	// it stays warm; -1 = it stays until its room is needed
	ContainerIdleTimeout time.Duration
	// Warm bounds the containers that are kept up without sessions: those that Provider.Warm asks for, and beside them those that the
	// planner expects to be wanted most, by the sessions of the days before. The zero value: none, and Provider.Warm is refused
	Warm Warm
	// MaxContainersPerRepository allows more than one container per sharing key, if the instance of the first is full.
	// Default 1
	MaxContainersPerRepository int
	// Sharing says which sessions on one repository share a container and a mirror. The zero value: all
	Sharing Sharing
	// Authorize is asked before a session joins or starts anything, at each CreateSession, also when the task has a session
	// already. An error, or a panic, refuses the request: CreateSession returns it within ErrAccessDenied. Authorize must
	// return when its context ends; CreateSession returns then in any case. It may be called concurrently. nil = everybody
	Authorize func(context.Context, AccessRequest) error
	// Credentials returns the credential for a fetch into a mirror, if the request's URL has none, and for each git in a session that
	// fetches or pushes over HTTP, also for submodules and Git LFS. It is asked each time, by a process that has a connection with the
	// session's container. What it returns is neither stored nor kept: return one that is valid for some minutes more, such as a token
	// from a cache. The zero Credential means none. In a session, git shows the error, so that it must hold no secret. Credentials must
	// return when its context ends, which is within 25 s. It may be called concurrently. See docs/credentials.md. nil = sessions have
	// no credentials
	Credentials func(context.Context, CredentialRequest) (Credential, error)
	// SSHAgent gives the gits of sessions, and any other program there that speaks ssh, an agent with the keys of a session. The keys stay
	// with it: the session gets the list of them, and signatures for logins at the server of its repository, or of CredentialHosts at port
	// 22, whose host keys must be known: see KnownHosts. It is asked for each of these, with the session's repository and PurposePush, and
	// must return soon, as Credentials. Mirrors are fetched without it. See docs/credentials.md. nil = sessions have no such agent
	SSHAgent func(context.Context, CredentialRequest) (sshagent.Agent, error)
	// CredentialHosts are the hosts, such as lfs.example.org, for which sessions may ask Credentials beside their repository's own,
	// over https. nil = none
	CredentialHosts []string
	// KnownHosts are the host keys of servers that mirrors, and the gits of sessions, use over ssh, as lines of OpenSSH's known_hosts. Those
	// of github.com, gitlab.com and bitbucket.org are known in any case. "" = any other server is trusted at first sight; otherwise one is
	// refused whose key is not here
	KnownHosts string
	// Access says when a user must prove that its credential reads a repository. The zero value is AccessProve
	Access Access
	// Image is the image of the containers. It needs git and a POSIX shell. It must have no account and no group with an ID
	// from 9997 to 60000: berth gives these to sessions. Default: berth-workspace:bookworm if the engine has it
	// (see make image), else buildpack-deps:bookworm-scm, which is pulled
	Image string
	// ImageFor returns the image of one repository; "" = Image. It must not block. If it panics, no container of the repository
	// starts. nil = Image for all
	ImageFor func(naming.Repository) string
	// Egress says which addresses sessions and fetches may connect to. By default, all but private, link-local, metadata and
	// other special ones, those of the instance itself and other containers: a git server with a private address must be in
	// Egress.Remotes. Sessions reach the loopback of their container. Without rooms, Egress holds for fetches alone
	Egress orchestrator.Egress
	// EgressFor returns the egress of one sharing key; a zero Egress = Config.Egress. It must return the same for the same
	// key, and must not block. If it panics, no container of the key starts. nil = Egress for all
	EgressFor func(naming.Key) orchestrator.Egress
	// Env is the environment of every command of every session, and of every fetch: a proxy, a file of certificates, the
	// address of a registry. It wins over the image's; SessionRequest.Env and Cmd.Env win over it. A fetch takes those of
	// git's own variables that concern TLS and proxies; it takes neither HOME nor PATH. Env may hold secrets, but every
	// session can read them. Env goes to the agent with each fetch and each session, and is kept in memory only. A change
	// takes effect for sessions that are created afterwards. See docs/operations.md, "Proxies and private certificates".
	// nil = nothing
	Env map[string]string
	// Caches are directories of packages that the sessions of a container share: orchestrator.GoModules, NPM, Pip, Cargo, Maven, and
	// others of your own. What a session writes to one is seen by that session alone. Each is filled from the default branch, by a
	// command that runs in the background: see docs/caches.md. Sessions without rooms have caches of their own. A change takes
	// effect for sessions that are created afterwards. nil = none
	Caches []orchestrator.Cache
	// PrepareFor says how the workspace of a repository is prepared: by commands, such as "npm ci", that run once on a fresh checkout and
	// whose result sessions then begin with. See docs/prepare.md. It runs in the background, without the environment or credential of
	// a session: the sessions that come meanwhile start without, unless Prepare.Wait says how long they wait. If it fails, sessions
	// start without, and EventPrepared, the log and Stats say so. PrepareFor is called at each start, must return the same for the
	// same repository, and must not block. If it panics, nothing is prepared. The zero Prepare: nothing is. nil = nothing for all
	PrepareFor func(naming.Repository) orchestrator.Prepare
	// Devcontainer reads .devcontainer/devcontainer.json of each commit: its onCreateCommand and updateContentCommand prepare the
	// workspace, before the commands of PrepareFor, and its containerEnv and remoteEnv are in the environment of all commands, under Env
	// and SessionRequest.Env. Nothing else of it is used, such as image and mounts: EventDevcontainer names what there is. See
	// docs/prepare.md
	Devcontainer bool
	// RequireImageDigest refuses images that are not named by digest (name@sha256:...): what a name or a tag means can
	// change. Image is then required, and a request is refused with a *FieldError if ImageFor returns another one
	RequireImageDigest bool
	// Runtime is the engine's name of the runtime that runs the containers, such as runsc (gVisor) or kata. The engine must
	// have it. With any but runc and crun, sessions have no rooms: a stronger wall stands around each container, and a weaker
	// one between the sessions in it. New ignores Runtime. Default: the engine's default
	Runtime string
	// Limits bound each container, and each session in it. The defaults are safe on the machine at hand: together, the
	// sessions of an instance cannot use more memory than it has
	Limits orchestrator.Limits
	// RequireIsolation refuses instances whose engine does not let berth give each session a room of its own (see
	// InstanceInfo.Isolation): a session there fails at once, with orchestrator.ErrNoIsolation. Without it, such an
	// instance is used, and the log and Stats say so. See docs/operations.md, "Rooms"
	RequireIsolation bool
	// MirrorMaxAge is how old the mirror may be when a task is attached to a running container. An older one is fetched
	// first. Default 1 min; -1 = any age
	MirrorMaxAge time.Duration
	// FetchTimeout bounds the fetch of a repository. A fetch fails earlier if the remote or a proxy accepts no connection
	// for 30 s, accepts one and sends nothing at all for 75 s, if an HTTP request makes no progress for a minute, or if git
	// reports nothing for 5 min. A fetch is tried up to five times within 30 s if the remote answers 408, 429, 500, 502, 503
	// or 504, breaks the connection, or has a name that cannot be looked up. Default 1 h
	FetchTimeout time.Duration
	// MirrorBudget is how many bytes of mirrors an instance keeps. Beyond it, the mirrors that no container uses are
	// removed, the least recently used first. An instance never keeps more than 256 mirrors. Default 20 GiB; -1 = no bound
	MirrorBudget int64

	// LeftoverGrace is how long a container may be unknown to the Store, or a helper container, volume or network of the
	// pool may be unused, before it is removed: a process that died has left it. A start needs its helper container for at
	// most a minute. If the helper is removed earlier, the start begins again. Default 5 min
	LeftoverGrace time.Duration

	// PricePerHour returns the price of a machine in US dollars, for the bill: see Provider.Usage. It is called for each
	// machine once a minute, by the process that plans, and may take some seconds. Time whose price is not known (ok is false)
	// has no cost. ec2cloud.Prices knows EC2's. nil = no price is known
	PricePerHour func(pool.Machine) (usd float64, ok bool)
	// UsageLabels are the names of at most 4 labels of sessions by which the bill is kept, beside repository and user. Each
	// combination of their values has a row an hour. A value is cut after 64 bytes. nil = none
	UsageLabels []string
	// UsageRetention is how long the rows of the bill are kept. Default 35 days; -1 = for ever
	UsageRetention time.Duration

	// Snapshots keeps what Session.Snapshot is asked to keep, and has what SessionRequest.Snapshot names: see docs/snapshots.md. SaveWork may
	// keep work there. Prepared layers are kept there for other instances: see docs/prepare.md. All processes of the pool use the same one. Its maker closes it, if that is to be done. nil = there is none, and
	// both are ErrInvalid
	Snapshots orchestrator.SnapshotStore
	// SnapshotRetention says which snapshots of sessions are kept. The planner removes the others once an hour, prepared layers that were
	// stored more than 30 days ago, and what uploads have left. The zero value keeps all of sessions
	SnapshotRetention orchestrator.Retention
	// Store holds the records. Its maker closes it, after the Provider. nil = memory of this Provider's own, except that
	// NewEC2SharedProvider requires a Store: see there
	Store store.Store
	// Cloud and Engine are the drivers. New requires both; the other constructors set them
	Cloud  pool.Cloud
	Engine orchestrator.Engine

	// EC2 describes the instances of NewEC2SharedProvider. The other constructors ignore it
	EC2 EC2Config
	// Sealer encrypts the secrets that are kept in the Store: see seal.AES, awskms.New and NewEC2SharedProvider
	Sealer seal.Sealer
	// Dialer connects NewEC2SharedProvider to the engines of its instances, for example by SSH or through a proxy. network
	// is "tcp". TLS is spoken over the connection that it returns. It must return when its context ends. nil = a direct
	// connection
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)
	// RegistryAuth returns the credentials for a pull of an image, such as a token of ECR, which lives for 12 hours. It is
	// called at each pull. The credentials are neither kept nor logged. New ignores it. nil = no credentials
	RegistryAuth func(ctx context.Context, image string) (orchestrator.RegistryAuth, error)

	// OnEvent is called with what this Provider does, one event at a time, and in order per session. Other replicas call
	// their own with what they do. It must not block, nor call Close or Destroy, which wait for it. A panic in it is logged. nil = no call
	OnEvent func(Event)
	// MeterProvider and TracerProvider take berth's metrics and traces: see docs/metrics.md. nil = the process's global ones,
	// which cost next to nothing until the program installs an SDK of OpenTelemetry. Those of its packages noop turn metrics and
	// traces off
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
	// MetricRepositories is how many repositories metrics name: those with the most starts. All others are one, "_OTHER". In the
	// life of a process, up to four times as many get a name. Default 0: metrics name none
	MetricRepositories int
	// Logger logs the background work. nil = discard. Messages and attributes are one line each, without control characters
	// and direction overrides, whatever words of others they hold
	Logger *slog.Logger
}

// warmIdleTimeout is the default of Config.ContainerIdleTimeout with Config.Warm. It is longer than the bill takes to tell the
// planner of a session, so that the first sessions on a repository count.
const warmIdleTimeout = 3 * time.Minute

// maxUsageLabels bounds the rows of the bill.
const maxUsageLabels = 4

// DefaultMirrorBudget is the default of Config.MirrorBudget in bytes.
const DefaultMirrorBudget = 20 << 30

func (c Config) withDefaults() Config {
	c.Name = cmp.Or(c.Name, "berth")
	c.MaxInstances = cmp.Or(c.MaxInstances, 1)
	c.MaxTasksPerInstance = cmp.Or(c.MaxTasksPerInstance, 10)
	c.InstanceType = cmp.Or(c.InstanceType, "t3.large")
	c.InstanceIdleTimeout = cmp.Or(c.InstanceIdleTimeout, pool.DefaultIdleTimeout)
	c.BootTimeout = cmp.Or(c.BootTimeout, pool.DefaultBootTimeout)
	c.MaxInstanceAge = cmp.Or(c.MaxInstanceAge, pool.DefaultMaxAge)
	c.LaunchRate = cmp.Or(c.LaunchRate, pool.DefaultLaunchRate)
	c.SessionIdleTimeout = cmp.Or(c.SessionIdleTimeout, time.Hour)
	c.SessionRetention = cmp.Or(c.SessionRetention, 10*time.Minute)
	c.EndTimeout = cmp.Or(c.EndTimeout, time.Minute)
	c.MaxContainersPerRepository = cmp.Or(c.MaxContainersPerRepository, 1)
	if c.Warm.Containers > 0 {
		c.Warm.Refresh = cmp.Or(c.Warm.Refresh, defaultWarmRefresh)
		c.ContainerIdleTimeout = cmp.Or(c.ContainerIdleTimeout, warmIdleTimeout)
	}
	c.MirrorMaxAge = cmp.Or(c.MirrorMaxAge, time.Minute)
	c.FetchTimeout = cmp.Or(c.FetchTimeout, orchestrator.DefaultFetchTimeout)
	c.MirrorBudget = cmp.Or(c.MirrorBudget, DefaultMirrorBudget)
	c.UsageRetention = cmp.Or(c.UsageRetention, usage.DefaultRetention)
	c.UsageLabels = slices.Clone(c.UsageLabels)
	c.Env = maps.Clone(c.Env)
	c.Egress.Allow, c.Egress.Remotes = slices.Clone(c.Egress.Allow), slices.Clone(c.Egress.Remotes)
	c.Caches = slices.Clone(c.Caches)
	c.CredentialHosts = slices.Clone(c.CredentialHosts)
	c.LeftoverGrace = cmp.Or(c.LeftoverGrace, orchestrator.DefaultOrphanGrace)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = plain.Logger(c.Logger)
	return c
}

// String returns the pool's name, and shows nothing that may hold a secret. fmt and log/slog use it, with the exceptions that
// SessionRequest.String names.
func (c Config) String() string { return fmt.Sprintf("berth.Config of pool %q", c.Name) }

// GoString is String.
func (c Config) GoString() string { return c.String() }

// LogValue implements slog.LogValuer: it is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

var poolName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,38}[a-zA-Z0-9])?$`)

// longest bounds durations. A sum with a longer one, meant as "for ever", would overflow.
const longest = 100 * 365 * 24 * time.Hour

const tooLong = "must be at most 100 years; -1 is for ever where that is allowed"

// validate checks a Config with its defaults. It returns all faults at once.
func (c Config) validate() error {
	var errs []error
	check := func(ok bool, field, reason string) {
		if !ok {
			errs = append(errs, &FieldError{Field: "Config." + field, Reason: reason})
		}
	}
	check(poolName.MatchString(c.Name), "Name", "must be 1 to 40 letters, digits and inner '-'")
	check(c.MaxInstances >= 1, "MaxInstances", "must be at least 1")
	check(c.MinInstances >= 0 && c.MinInstances <= max(c.MaxInstances, 1), "MinInstances", "must be from 0 to MaxInstances")
	check(c.MaxTasksPerInstance >= 1 && c.MaxTasksPerInstance <= store.MaxUID-store.MinUID+1, "MaxTasksPerInstance",
		"must be from 1 to 50001, the number of uids that an instance has")
	check(c.LaunchRate >= -1, "LaunchRate", "must not be negative, except -1 for any number")
	check(c.SpareSlots >= 0, "SpareSlots", "must not be negative")
	check(c.MetricRepositories >= 0, "MetricRepositories", "must not be negative")
	check(c.MaxContainersPerRepository >= 1, "MaxContainersPerRepository", "must be at least 1")
	c.checkDurations(check)
	check(c.SaveWork >= SaveNothing && c.SaveWork <= SaveWhole, "SaveWork", "must be SaveNothing, SaveToBranch, SaveToSnapshots or SaveWhole")
	check(c.SaveWork < SaveToSnapshots || c.Snapshots != nil, "Snapshots", "is required, because SaveWork is SaveToSnapshots or SaveWhole")
	check(c.Access >= AccessProve && c.Access <= AccessAllowAll, "Access", "must be AccessProve, AccessProveAlways or AccessAllowAll")
	c.Sharing.validate(check)
	if err := gitremote.CheckKnownHosts(c.KnownHosts); err != nil {
		check(false, "KnownHosts", err.Error())
	}
	if err := checkCredentialHosts(c.CredentialHosts); err != nil {
		check(false, "CredentialHosts", err.Error())
	}
	check(c.Warm.Containers >= 0 && c.Warm.Containers <= warmth.MaxWishes, "Warm.Containers", "must be from 0 to 1000")
	check(c.Warm.PerInstance >= 0, "Warm.PerInstance", "must not be negative")
	check(len(c.UsageLabels) <= maxUsageLabels && !slices.ContainsFunc(c.UsageLabels, func(name string) bool {
		return name == "" || strings.Contains(name, "=")
	}), "UsageLabels", "must be at most 4 names without '='")
	check(c.MirrorBudget >= -1, "MirrorBudget", "must not be negative, except -1 for no bound")
	check(min(c.UserLimits.Sessions, c.UserLimits.Queued, c.UserLimits.StartsPerMinute) >= -1, "UserLimits",
		"must not be negative, except -1 for no limit")
	c.Limits.Check(func(field, reason string) { check(false, "Limits."+field, reason) })
	check(!c.RequireImageDigest || byDigest(c.Image), "Image", "must be name@sha256:..., because RequireImageDigest is set")
	repository := c.Limits.Repository
	check(min(repository.Refs, repository.RefBytes, repository.FetchBytes, repository.Files, repository.Bytes, repository.Depth) >= -1,
		"Limits.Repository", "must not be negative, except -1 for no limit")
	if field, reason := c.Egress.Check(); reason != "" {
		check(false, "Egress."+field, reason)
	}
	if at, reason := agent.CheckCaches(c.Caches); reason != "" {
		check(false, "Caches"+at, reason)
	}
	if err := checkEnv(c.Env); err != nil {
		check(false, "Env", err.Error())
	}
	return errors.Join(errs...)
}

func (c Config) checkDurations(check func(ok bool, field, reason string)) {
	for field, keep := range map[string]orchestrator.Retention{"SnapshotRetention": c.SnapshotRetention, "KeepLost": c.KeepLost} {
		check(keep.MaxAge >= 0 && keep.MaxCount >= 0 && keep.MaxBytes >= 0, field, "must not be negative")
		check(keep.MaxAge <= longest, field, tooLong)
	}
	for _, d := range []struct {
		field string
		value time.Duration
		off   bool
	}{
		{"InstanceIdleTimeout", c.InstanceIdleTimeout, true},
		{"ContainerIdleTimeout", c.ContainerIdleTimeout, true},
		{"BootTimeout", c.BootTimeout, false},
		{"MaxInstanceAge", c.MaxInstanceAge, true},
		{"SessionIdleTimeout", c.SessionIdleTimeout, true},
		{"QueueTimeout", c.QueueTimeout, false},
		{"SessionRetention", c.SessionRetention, false},
		{"EndTimeout", c.EndTimeout, false},
		{"MirrorMaxAge", c.MirrorMaxAge, true},
		{"FetchTimeout", c.FetchTimeout, false},
		{"LeftoverGrace", c.LeftoverGrace, false},
		{"UsageRetention", c.UsageRetention, true},
		{"Warm.Refresh", c.Warm.Refresh, true},
	} {
		check(d.value >= 0 || d.off && d.value == -1, d.field, "must not be negative, except -1 where that means off")
		check(d.value <= longest, d.field, tooLong)
	}
}
