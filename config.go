package berth

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"regexp"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/seal"
	"github.com/berth-go/berth/store"
)

// Config configures a Provider. The zero value of every field is the default that its comment gives; -1 means off,
// where that makes sense.
type Config struct {
	// Name of the pool: tags, labels and records carry it. Letters, digits and '-', at most 40. Default "berth".
	// Two pools that share a Docker engine need two names.
	Name string

	MinInstances        int           // kept even when idle. Default 0
	MaxInstances        int           // never exceeded, launches of unknown outcome included. Default 1
	MaxTasksPerInstance int           // slots of an instance. Default 10
	SpareSlots          int           // free slots kept ready, so that the next task need not wait for a boot. Default 0
	InstanceType        string        // Default "t3.large"
	InstanceIdleTimeout time.Duration // an instance without sessions is retired after it. Default 10 min; -1 = never
	BootTimeout         time.Duration // from launch to ready. Default 5 min
	// MaxInstanceAge is when an instance takes no more sessions, however busy it is. From three quarters of it on, at a
	// time of each instance's own, it is replaced when that costs no slot. Default 7 days; -1 = never
	MaxInstanceAge time.Duration
	// LaunchRate is how many launches may begin in a minute, repeated ones included; 5 may begin at once. Default 60;
	// -1 = any number
	LaunchRate int

	// SessionIdleTimeout ends a session that has had no running command and no KeepAlive for so long. It is renewed
	// generously: a session may live a tenth longer. Default 1 h; -1 = never
	SessionIdleTimeout time.Duration
	// QueueTimeout is how long CreateSession waits for a free slot; then it returns ErrNoCapacity. Default: as long as
	// its context
	QueueTimeout time.Duration
	// SessionRetention is how long an ended session can still be looked up. Default 10 min
	SessionRetention time.Duration

	// MaxContainersPerRepository allows more than one container per sharing key, when the instance of the first is
	// full. Default 1
	MaxContainersPerRepository int
	// ScopeFor gives the scope of a session's sharing key: sessions on one repository share a container only within
	// one scope (a branch, a user, a tenant). nil = one scope for all
	ScopeFor func(SessionRequest) string
	// Image is the image of the containers: it needs git and a POSIX shell, and no account or group of its own may have
	// an id from 9998 to 60000, which berth gives to sessions. Default: berth-workspace:bookworm if the engine has it
	// (see make image), else buildpack-deps:bookworm-scm, which is pulled
	Image string
	// ImageFor gives the image of one repository; "" = Image. nil = Image for all
	ImageFor func(naming.Repository) string
	// Limits bound each container. Its tasks share them, except for processes: each may have at most its share of
	// Limits.PIDs, which by default is 1024 processes and threads
	Limits orchestrator.Limits
	// MirrorMaxAge is how old the mirror may be when a task is attached to a running container; an older one is
	// fetched first. Default 1 min; -1 = any age
	MirrorMaxAge time.Duration
	// FetchTimeout bounds the fetch of a repository. A remote over HTTP that is silent for a minute is given up before.
	// Default 1 h
	FetchTimeout time.Duration
	// MirrorBudget is how many bytes of mirrors an instance keeps. Beyond it go those that no container uses, the least
	// recently used first. Default 20 GiB; -1 = no bound. Never more than 256 mirrors are kept
	MirrorBudget int64

	// Store holds the records. Whoever made it closes it, after the Provider. nil = memory of this Provider's own, but
	// NewEC2SharedProvider requires one: see there
	Store store.Store
	// Cloud and Engine are the drivers. New requires both
	Cloud  pool.Cloud
	Engine orchestrator.Engine

	// EC2 describes the instances of NewEC2SharedProvider. The other constructors do not look at it
	EC2 EC2Config
	// Sealer encrypts what must not be read in the Store: see seal.AES, awskms.New and NewEC2SharedProvider
	Sealer seal.Sealer
	// Dialer connects NewEC2SharedProvider to the engines of its instances, where that goes by SSH or a proxy: network is
	// "tcp", and TLS is spoken over what it returns. It must return when its context ends. nil = a direct connection
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)
	// RegistryAuth is asked at each pull of an image for what its registry wants to see, such as a token of ECR, which
	// lives for 12 hours. What it returns is neither kept nor logged. New does not look at it. nil = nothing
	RegistryAuth func(ctx context.Context, image string) (orchestrator.RegistryAuth, error)

	// boot makes what a launch's machine runs at its first boot; see pool.Config.
	boot         func(ctx context.Context, launchID string) (userData []byte, trust string, err error)
	foreignGrace time.Duration // see pool.Config

	// OnEvent is told what this Provider does, one event at a time, in order per session; what other replicas do, they
	// tell. It must not block, nor call Close or Destroy, which wait for it. nil = nobody
	OnEvent func(Event)
	// Logger gets what happens in the background. nil = discard
	Logger *slog.Logger
}

// DefaultMirrorBudget is the default of Config.MirrorBudget in bytes.
const DefaultMirrorBudget = 20 << 30

func (c Config) withDefaults() Config {
	c.Name = cmp.Or(c.Name, "berth")
	c.MaxInstances = cmp.Or(c.MaxInstances, 1)
	c.MaxTasksPerInstance = cmp.Or(c.MaxTasksPerInstance, 10)
	c.InstanceType = cmp.Or(c.InstanceType, "t3.large")
	c.InstanceIdleTimeout = cmp.Or(c.InstanceIdleTimeout, 10*time.Minute)
	c.BootTimeout = cmp.Or(c.BootTimeout, 5*time.Minute)
	c.MaxInstanceAge = cmp.Or(c.MaxInstanceAge, 7*24*time.Hour)
	c.LaunchRate = cmp.Or(c.LaunchRate, 60)
	c.SessionIdleTimeout = cmp.Or(c.SessionIdleTimeout, time.Hour)
	c.SessionRetention = cmp.Or(c.SessionRetention, 10*time.Minute)
	c.MaxContainersPerRepository = cmp.Or(c.MaxContainersPerRepository, 1)
	c.MirrorMaxAge = cmp.Or(c.MirrorMaxAge, time.Minute)
	c.FetchTimeout = cmp.Or(c.FetchTimeout, time.Hour)
	c.MirrorBudget = cmp.Or(c.MirrorBudget, DefaultMirrorBudget)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

var poolName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,38}[a-zA-Z0-9])?$`)

// longest bounds durations: sums with one that is meant as "for ever" would overflow.
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
	check(c.MinInstances >= 0 && c.MinInstances <= c.MaxInstances, "MinInstances", "must be from 0 to MaxInstances")
	check(c.MaxTasksPerInstance >= 1 && c.MaxTasksPerInstance <= store.MaxUID-store.MinUID+1, "MaxTasksPerInstance",
		"must be from 1 to 50001, the number of uids that an instance has")
	check(c.LaunchRate >= -1, "LaunchRate", "must not be negative, other than -1 for any number")
	check(c.SpareSlots >= 0, "SpareSlots", "must not be negative")
	check(c.MaxContainersPerRepository >= 1, "MaxContainersPerRepository", "must be at least 1")
	for _, d := range []struct {
		field string
		value time.Duration
		off   bool
	}{
		{"InstanceIdleTimeout", c.InstanceIdleTimeout, true},
		{"BootTimeout", c.BootTimeout, false},
		{"MaxInstanceAge", c.MaxInstanceAge, true},
		{"SessionIdleTimeout", c.SessionIdleTimeout, true},
		{"QueueTimeout", c.QueueTimeout, false},
		{"SessionRetention", c.SessionRetention, false},
		{"MirrorMaxAge", c.MirrorMaxAge, true},
		{"FetchTimeout", c.FetchTimeout, false},
	} {
		check(d.value >= 0 || d.off && d.value == -1, d.field, "must not be negative, other than -1 where that means off")
		check(d.value <= longest, d.field, tooLong)
	}
	check(c.MirrorBudget >= -1, "MirrorBudget", "must not be negative, other than -1 for no bound")
	check(c.Limits.MemoryBytes >= 0 && c.Limits.CPUs >= 0 && c.Limits.PIDs >= -1 && c.Limits.TmpBytes >= 0, "Limits",
		"must not be negative")
	check(c.Cloud != nil, "Cloud", "is required: use NewLocalProvider, or give a driver")
	check(c.Engine != nil, "Engine", "is required: use NewLocalProvider, or give a driver")
	return errors.Join(errs...)
}
