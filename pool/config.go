package pool

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/berth-go/berth/store"
)

// Config configures a Manager. Cloud, Store, Probe and Demand are required. The zero value of every other field is the
// default that its comment gives, or means none.
type Config struct {
	Name  string      // of the pool
	Cloud Cloud       // required; may be Versioned and an Explainer, too
	Store store.Store // required
	// Boot makes what a launch's machine runs at its first boot, and what proves to Probe that an engine is that of this
	// machine. It is called once per launch. nil = nothing
	Boot func(ctx context.Context, launchID string) (userData []byte, trust string, err error)
	// Probe returns nil when the engine of an instance takes work, and an *OutlookError when it does and its host has
	// been told something of its future. It is called with a deadline, for many instances at once. Required
	Probe func(ctx context.Context, in *store.Instance) error
	// Demand returns how many queued sessions wait for a slot that a new instance could give them. Required
	Demand func(ctx context.Context) (int, error)
	// OnChange is told of every change of an instance's state, after it is stored. It must not block. An instance that
	// is cordoned with the Outlook "interrupted" ends within minutes: its sessions should be told. The State is "" when
	// the record of the instance is gone. nil = nobody
	OnChange func(in store.Instance)
	Logger   *slog.Logger

	InstanceType     string
	MinInstances     int
	MaxInstances     int // whatever costs money or may counts, machines that no record knows included
	SlotsPerInstance int
	SpareSlots       int // free slots to keep ready, so that the next session need not wait for a boot

	// LaunchRate is how many calls of Cloud.Launch may begin in a minute, repeated ones included, and LaunchBurst how
	// many of them at once after a quiet time. -1 = any number. 60 and 5: EC2 lets an account begin 5 launches at once
	// and 2 more each second, and the account may have other work.
	LaunchRate, LaunchBurst int

	IdleTimeout time.Duration // an instance that was not needed for so long is retired. 10 min; -1 = never
	// MaxAge is when an instance takes no more sessions, however busy it is. From three quarters of it on, at a time of
	// each instance's own, it is replaced when that costs no slot. 7 days; -1 = never
	MaxAge        time.Duration
	BootTimeout   time.Duration // from launch to ready. 5 min
	ScanInterval  time.Duration // between two looks at the cloud while nothing changes; a tenth of it while something does. 10 s
	ProbeInterval time.Duration // between two probes of a ready instance; a tenth of it while one boots. 10 s
	ProbeTimeout  time.Duration // of one probe. 5 s
	ProbeStrikes  int           // failed probes in a row until an instance counts as lost. 5
	CallTimeout   time.Duration // of one call to the cloud. 60 s
	// OrphanGrace is how long a machine of the pool may be unknown to the store, or an instance unknown to the cloud,
	// before that is believed: a cloud's list lags behind. Twice as long where many are missing at once. 5 min
	OrphanGrace time.Duration
	// ForeignGrace is for how long machines are left alone that carry the pool's name and another store's UID; until they
	// have ended, they count against MaxInstances. It says that no other store of that name is in use. When another one
	// launches a machine all the same, none is ended. At least OrphanGrace. 0 = they are left alone for ever, and do not
	// count
	ForeignGrace time.Duration
}

func (c Config) withDefaults() Config {
	c.LaunchRate = cmp.Or(c.LaunchRate, 60)
	c.LaunchBurst = cmp.Or(c.LaunchBurst, 5)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 10*time.Minute)
	c.MaxAge = cmp.Or(c.MaxAge, 7*24*time.Hour)
	c.BootTimeout = cmp.Or(c.BootTimeout, 5*time.Minute)
	c.ScanInterval = cmp.Or(c.ScanInterval, 10*time.Second)
	c.ProbeInterval = cmp.Or(c.ProbeInterval, 10*time.Second)
	c.ProbeTimeout = cmp.Or(c.ProbeTimeout, 5*time.Second)
	c.ProbeStrikes = cmp.Or(c.ProbeStrikes, 5)
	c.CallTimeout = cmp.Or(c.CallTimeout, time.Minute)
	c.OrphanGrace = cmp.Or(c.OrphanGrace, 5*time.Minute)
	if c.ForeignGrace > 0 {
		c.ForeignGrace = max(c.ForeignGrace, c.OrphanGrace)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnChange == nil {
		c.OnChange = func(store.Instance) {}
	}
	return c
}
