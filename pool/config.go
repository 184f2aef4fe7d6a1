package pool

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/berth-go/berth/store"
)

// The defaults of Config.
const (
	DefaultLaunchRate    = 60 // EC2 lets an account begin 5 launches at once and 2 more each second,
	DefaultLaunchBurst   = 5  // and the account may have other work
	DefaultIdleTimeout   = 10 * time.Minute
	DefaultMaxAge        = 7 * 24 * time.Hour
	DefaultBootTimeout   = 5 * time.Minute
	DefaultScanInterval  = 10 * time.Second
	DefaultProbeInterval = 10 * time.Second
	DefaultProbeTimeout  = 5 * time.Second
	DefaultProbeStrikes  = 5
	DefaultCallTimeout   = time.Minute
	DefaultOrphanGrace   = 5 * time.Minute
)

// Config configures a Manager. Cloud, Store, Probe and Demand are required. The zero value of every other field is the
// default that its comment gives, or means none.
type Config struct {
	Name  string      // of the pool
	Cloud Cloud       // required; may also be Versioned, Pinned and an Explainer
	Store store.Store // required
	// Boot returns the program that a launch's machine runs at its first boot, and the trust by which Probe recognizes that
	// machine's engine. It is called once per launch. nil = no program
	Boot func(ctx context.Context, launchID string) (userData []byte, trust string, err error)
	// Probe returns nil if the engine of an instance takes work. It returns an *OutlookError if the engine takes work and
	// its host knows something of the machine's future. It is called with a deadline, for many instances at once. Required
	Probe func(ctx context.Context, in *store.Instance) error
	// Demand returns how many queued sessions wait for a slot that a new instance could give them. Required
	Demand func(ctx context.Context) (int, error)
	// OnList is called with each list of the cloud's machines, and when it was asked for. It must not block. nil = no call
	OnList func(machines []Machine, asked time.Time)
	// OnChange is called with each change of an instance's state, after it is stored. It must not block. An instance that
	// is cordoned with the Outlook "interrupted" ends within minutes: its sessions should be informed. The State is "" if
	// the record of the instance is gone. nil = it is not called
	OnChange func(in store.Instance)
	// OnTick is called in each tick, after the plan was made and before its actions are taken. began is when the tick began. The
	// actions have the context that it returns; done is called when they have begun. nil = it is not called
	OnTick func(ctx context.Context, began time.Time, actions int) (acting context.Context, done func())
	Logger *slog.Logger

	InstanceType     string
	MinInstances     int
	MaxInstances     int // includes machines that no record knows, and launches of unknown outcome
	SlotsPerInstance int
	SpareSlots       int // free slots to keep ready, so that the next session need not wait for a boot

	// LaunchRate is how many calls of Cloud.Launch may begin in a minute, repeated ones included, and LaunchBurst how
	// many of them may begin at once after a quiet time. -1 = any number. Default: DefaultLaunchRate, DefaultLaunchBurst
	LaunchRate, LaunchBurst int

	IdleTimeout time.Duration // an instance that was not needed for so long is retired. DefaultIdleTimeout; -1 = never
	// MaxAge is the age at which an instance takes no more sessions, however busy it is. From three quarters of it on, at a
	// time of each instance's own, the instance is replaced if that costs no slot. DefaultMaxAge; -1 = never
	MaxAge        time.Duration
	BootTimeout   time.Duration // from launch to ready. DefaultBootTimeout
	ScanInterval  time.Duration // between two looks at the cloud while nothing changes; otherwise a tenth of it. DefaultScanInterval
	ProbeInterval time.Duration // between two probes of a ready instance; a tenth of it while one boots. DefaultProbeInterval
	ProbeTimeout  time.Duration // of one probe. DefaultProbeTimeout
	ProbeStrikes  int           // failed probes in a row after which an instance counts as lost. DefaultProbeStrikes
	CallTimeout   time.Duration // of one call to the cloud or the store. DefaultCallTimeout
	// OrphanGrace is how long a machine of the pool may be unknown to the store, or an instance unknown to the cloud,
	// before the Manager believes it: a cloud's list lags behind. It is twice as long if many are missing at once.
	// DefaultOrphanGrace
	OrphanGrace time.Duration
	// ForeignGrace says that no other store with the pool's name is in use. Machines that carry the pool's name and another
	// store's UID are then ended after that time, and count against MaxInstances until they have ended. If another store
	// launches a machine all the same, none is ended. It is at least OrphanGrace. 0 = such machines are left alone for ever,
	// and do not count
	ForeignGrace time.Duration
}

func (c Config) withDefaults() Config {
	c.LaunchRate = cmp.Or(c.LaunchRate, DefaultLaunchRate)
	c.LaunchBurst = cmp.Or(c.LaunchBurst, DefaultLaunchBurst)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, DefaultIdleTimeout)
	c.MaxAge = cmp.Or(c.MaxAge, DefaultMaxAge)
	c.BootTimeout = cmp.Or(c.BootTimeout, DefaultBootTimeout)
	c.ScanInterval = cmp.Or(c.ScanInterval, DefaultScanInterval)
	c.ProbeInterval = cmp.Or(c.ProbeInterval, DefaultProbeInterval)
	c.ProbeTimeout = cmp.Or(c.ProbeTimeout, DefaultProbeTimeout)
	c.ProbeStrikes = cmp.Or(c.ProbeStrikes, DefaultProbeStrikes)
	c.CallTimeout = cmp.Or(c.CallTimeout, DefaultCallTimeout)
	c.OrphanGrace = cmp.Or(c.OrphanGrace, DefaultOrphanGrace)
	if c.ForeignGrace > 0 {
		c.ForeignGrace = max(c.ForeignGrace, c.OrphanGrace)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnChange == nil {
		c.OnChange = func(store.Instance) {}
	}
	if c.OnTick == nil {
		c.OnTick = func(ctx context.Context, _ time.Time, _ int) (context.Context, func()) { return ctx, func() {} }
	}
	return c
}
